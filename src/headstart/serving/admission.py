"""How much may be under way at once: beyond it a request is refused at once, instead of waiting for an answer that comes too late."""

from collections.abc import Iterator
from contextlib import contextmanager

from headstart.serving.options import Limits
from headstart.serving.refusals import busy


class Admission:
    """Counts inputs and bytes under way. Only the event loop's thread uses it.

    Attributes:
        items: inputs under way.
        bytes: of their bodies.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.items = self.bytes = 0
        self._pace = 0.02  # seconds an input takes, followed slowly

    @contextmanager
    def body(self, size: int) -> Iterator[None]:
        """Room for a body.

        Raises:
            RefusedError: there is none.
        """
        if self.bytes + size > self._limits.memory:
            raise busy(self.wait)
        self.bytes += size
        try:
            yield
        finally:
            self.bytes -= size

    @contextmanager
    def inputs(self, n: int) -> Iterator[None]:
        """Room for n inputs.

        Raises:
            RefusedError: there is none.
        """
        if self.items + n > self._limits.queue:
            raise busy(self.wait)
        self.items += n
        try:
            yield
        finally:
            self.items -= n

    def note(self, seconds: float, *, n: int) -> None:
        """So many inputs took so long together."""
        self._pace += 0.1 * (seconds / max(n, 1) - self._pace)

    @property
    def wait(self) -> float:
        """Seconds until what is under way is answered, as far as one can tell."""
        return self.items * self._pace
