"""What `GET /metrics` tells, in Prometheus' format: counts and times, and nothing of what was asked."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.requests import ClientDisconnect

from headstart.serving.refusals import RefusedError

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


KIND = CONTENT_TYPE_LATEST
"""The content type of that text."""


class Metrics:
    """The figures of one server, in a registry of its own: several servers of a process do not mix.

    Attributes:
        requests: by route and status.
        seconds: that requests took, by route.
        predictions: inputs, also those to explain, by model and outcome: `answered`, `unreadable`, `refused` (it holds too much, or came at a bad time),
            `failed` (also where no answer was made in time) or `abandoned` (its client went). What is in a body that is refused as a whole is not known, and not counted.
        under_way: inputs that are waited for.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "headstart_requests", "Requests, by route and status.", ["route", "status"], registry=self._registry
        )
        self.seconds = Histogram(
            "headstart_request_seconds",
            "Seconds that requests took, by route.",
            ["route"],
            registry=self._registry,
            buckets=_SECONDS,
        )
        self.predictions = Counter(
            "headstart_inputs", "Inputs, by model and outcome.", ["model", "outcome"], registry=self._registry
        )
        self.under_way = Gauge("headstart_inputs_under_way", "Inputs that are waited for.", registry=self._registry)

    @contextmanager
    def inputs(self, model: str) -> Iterator["Tally"]:
        """Count the inputs of a request, each once, those that it did not get to by how it ended."""
        tally, rest = Tally(self.predictions, model), "failed"
        try:
            yield tally
        except RefusedError as refused:
            rest = outcome(refused)
            raise
        except ClientDisconnect:
            rest = "abandoned"
            raise
        finally:
            tally.add(rest, tally.left)

    def text(self) -> bytes:
        """All figures as text."""
        return generate_latest(self._registry)


class Tally:
    """What became of the inputs of one request.

    Attributes:
        left: those of which it is not known yet.
    """

    def __init__(self, counter: Counter, model: str) -> None:
        self._counter, self._model, self.left = counter, model, 0

    def add(self, became: str, n: int = 1) -> None:
        """It became this of so many."""
        if n:
            self.left -= n
            self._counter.labels(self._model, became).inc(n)


def outcome(refused: RefusedError) -> str:
    """What became of an input that was refused so."""
    return {422: "unreadable", 500: "failed", 503: "failed"}.get(refused.status, "refused")
