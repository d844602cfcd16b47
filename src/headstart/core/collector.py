"""Python's collector of reference cycles, where a process makes much that it keeps.

The collector looks through what is new whenever so much was made, and through everything now and then. An import of torch and transformers
makes 400,000 objects and throws away next to none, so a fifth of its seconds are spent on looking.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from headstart.core.shared import Shared


@contextmanager
def _paused() -> Iterator[None]:
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:  # else whoever runs the process wants it so
            gc.enable()


@contextmanager
def _set_aside() -> Iterator[None]:
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


PAUSED = Shared(_paused)
"""Nothing is looked through; for what ends soon."""

SET_ASIDE = Shared(_set_aside)
"""What there was at its beginning is not looked through; for a server, where a full look would keep every client waiting."""
