"""Standard error while it serves: what decoders write there may hold what was sent, so only our own log is heard."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TextIO, TypeGuard

from headstart.core.shared import Shared

# Their loggers would write bytes of what was sent.
_TALKATIVE = ("python_multipart", "PIL")
_STDERR = 2


def unheard() -> AbstractContextManager[None]:
    """Nothing that is written to standard error is seen, but what is logged: libmpg123, libtiff and others write there by themselves.

    Several may be entered at once, and left in any order: with the last everything is as it was.
    """
    return _SILENCE.held()


@contextmanager
def _silence() -> Iterator[None]:
    sys.stderr.flush()
    try:
        kept = os.fdopen(os.dup(_STDERR), "w", encoding="utf-8", errors="backslashreplace", buffering=1)
    except OSError:  # there is none
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    levels = {name: logging.getLogger(name).level for name in _TALKATIVE}
    handlers = [each for each in logging.getLogger().handlers if _is_stderr(each)]
    last = logging.lastResort
    with kept:
        before = [(each, each.setStream(kept)) for each in handlers]
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        if last is not None:
            logging.lastResort = logging.StreamHandler(kept)
            logging.lastResort.setLevel(last.level)
        os.dup2(nowhere, _STDERR)
        os.close(nowhere)
        try:
            yield
        finally:
            with suppress(ValueError, OSError):
                sys.stderr.flush()
            os.dup2(kept.fileno(), _STDERR)
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
            for handler, stream in before:
                handler.setStream(stream or sys.stderr)
            logging.lastResort = last


_SILENCE = Shared(_silence)


def _is_stderr(handler: logging.Handler) -> "TypeGuard[logging.StreamHandler[TextIO]]":
    """Whether a handler writes to the file that is silenced."""
    if not isinstance(handler, logging.StreamHandler):
        return False
    try:
        return bool(handler.stream.fileno() == _STDERR)
    except (OSError, ValueError, AttributeError):
        return False
