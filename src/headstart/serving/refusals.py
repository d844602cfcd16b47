"""What a server refuses, each with the status that says whose fault it is; and what it says of a failure of its own."""

import logging
import math
import traceback
from collections.abc import Mapping

LOG = logging.getLogger("headstart.serving")


class RefusedError(Exception):
    """A request that is answered with an error.

    Attributes:
        status: of HTTP.
        sentence: what was expected, what came, and the way out.
        headers: that go with it.
    """

    def __init__(self, status: int, sentence: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.headers = status, sentence, dict(headers or {})


def too_large(sentence: str) -> RefusedError:
    """413: it holds more than the server takes."""
    return RefusedError(413, sentence)


def unusable(sentence: str) -> RefusedError:
    """422: it was understood, and what is in it cannot be answered."""
    return RefusedError(422, sentence)


def malformed(sentence: str) -> RefusedError:
    """400: it is not what its own headers say."""
    return RefusedError(400, sentence)


def busy(seconds: float) -> RefusedError:
    """429: too much is under way; the client comes again in so many seconds."""
    wait = str(max(1, math.ceil(seconds)))
    return RefusedError(429, f"too much is under way here: come again in {wait} s", headers={"Retry-After": wait})


def failed(error: Exception) -> str:
    """What a client is told of an error that nobody foresaw. The log holds its kind and place: its words may hold what was sent."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    LOG.error("%s in %s, line %s", type(error).__name__, place.filename, place.lineno)
    return "the server failed at this; its log says where"
