"""How much may be under way at once: beyond it a request is refused at once, instead of waiting for an answer that comes too late."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from headstart.serving.options import Limits
from headstart.serving.refusals import busy, too_large


class Admission:
    """Counts inputs, explanations and bytes under way. Only the event loop's thread uses it.

    Attributes:
        items: inputs under way.
        explanations: explanations under way, which are no inputs: they keep no prediction out.
        bytes: of bodies, and of what was decoded of them.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.items = self.explanations = self.bytes = 0
        self._pace = 0.02  # seconds an input takes, followed slowly

    @contextmanager
    def hold(self, size: int = 0, *, beside: int = 0) -> Iterator[Callable[[int], None]]:
        """Room for so many bytes; what is given takes the number that they turn out to be, also one that is larger.

        Args:
            size: of what is held.
            beside: bytes that the same request holds already.

        Raises:
            RefusedError: there is none now, or never.
        """
        if size + beside > self._limits.memory:
            raise too_large(f"becomes {size:,} bytes, and this server holds {self._limits.memory:,} at once")
        held = 0

        def resize(to: int) -> None:
            nonlocal held
            self.check(to - held)
            self.bytes += to - held
            held = to

        try:
            resize(size)
            yield resize
        finally:
            self.bytes -= held

    def check(self, size: int) -> None:
        """Refuse what there is no room for now.

        Raises:
            RefusedError: as said.
        """
        if size > 0 and self.bytes + size > self._limits.memory:
            raise busy(self.wait)

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

    @contextmanager
    def explanation(self) -> Iterator[None]:
        """Room for an explanation.

        Raises:
            RefusedError: there is none.
        """
        if self.explanations >= self._limits.explanations:
            raise busy(self.wait)
        self.explanations += 1
        try:
            yield
        finally:
            self.explanations -= 1

    def note(self, seconds: float, *, n: int) -> None:
        """So many inputs took so long together."""
        self._pace += 0.1 * (seconds / max(n, 1) - self._pace)

    @property
    def wait(self) -> float:
        """Seconds until what is under way is answered, as far as one can tell."""
        return self.items * self._pace


class Turns:
    """Large inputs are decoded one after the other, small ones beside each other: together no more than one of the largest takes."""

    def __init__(self) -> None:
        self._free, self._changed = 1.0, threading.Condition()

    @contextmanager
    def of(self, share: float) -> Iterator[None]:
        """Wait for a share of the room, 1 being all of it; from any thread."""
        part = min(max(share, 0.0), 1.0)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= part - 1e-9)
            self._free -= part
        try:
            yield
        finally:
            with self._changed:
                self._free += part
                self._changed.notify_all()
