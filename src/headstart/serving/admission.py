"""How much may be under way at once: beyond it a request is refused at once, instead of waiting for an answer that comes too late."""

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from headstart.serving.options import Limits
from headstart.serving.refusals import busy, too_large

# What there is room for at once, in parts that add up without rounding.
_ROOM = 1_000_000
# Seconds after which one that waits for its turn looks whether somebody waits for it.
_LOOK = 0.05


class GivenUp(Exception):
    """Nobody waits for it any more."""


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
        self._pace, self._explained = 0.02, 1.0  # seconds an input and an explanation take, followed slowly

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

    def keep(self, size: int) -> Callable[[], None]:
        """Count so many bytes that outlive their request, whether there is room or not: they are there. What is given lets go of them, once."""
        self.bytes += size

        def let_go() -> None:
            self.bytes -= size

        return let_go

    def check(self, size: int) -> None:
        """Refuse what there is no room for now.

        Raises:
            RefusedError: as said.
        """
        if size > 0 and self.bytes + size > self._limits.memory:
            raise busy(max(self.wait, self.explanations_wait))

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
            raise busy(self.explanations_wait)
        self.explanations += 1
        try:
            yield
        finally:
            self.explanations -= 1

    def note(self, seconds: float, *, n: int) -> None:
        """So many inputs took so long together."""
        self._pace += 0.1 * (seconds / max(n, 1) - self._pace)

    def note_explanation(self, seconds: float) -> None:
        """An explanation took so long, beside the others that were under way."""
        self._explained += 0.3 * (seconds / max(self.explanations, 1) - self._explained)

    @property
    def wait(self) -> float:
        """Seconds until the inputs under way are answered, as far as one can tell; none takes longer than a request may."""
        return min(self.items * self._pace, self._limits.wait)

    @property
    def explanations_wait(self) -> float:
        """Seconds until the explanations under way are answered, likewise."""
        return min(self.explanations * self._explained, self._limits.wait)


class Turns:
    """Large inputs are decoded one after the other, small ones beside each other: together no more than one of the largest takes.

    First come, first served: a large one waits for those before it and for none after it.
    """

    def __init__(self) -> None:
        self._free, self._changed = _ROOM, threading.Condition()
        self._waiting: deque[object] = deque()

    @contextmanager
    def of(self, share: float, given_up: threading.Event | None = None) -> Iterator[None]:
        """Wait for a share of the room; from any thread.

        Args:
            share: of the room, 1 being all of it.
            given_up: set where nobody waits for it any more.

        Raises:
            GivenUp: it was set before the turn came.
        """
        part = math.ceil(min(max(share, 0.0), 1.0) * _ROOM)
        with self._changed:
            self._wait(part, given_up)
            self._free -= part
        try:
            yield
        finally:
            with self._changed:
                self._free += part
                self._changed.notify_all()

    def _wait(self, part: int, given_up: threading.Event | None) -> None:
        """Until there is room, and nobody who came before waits for it."""
        ticket = object()
        self._waiting.append(ticket)
        try:
            while True:
                if given_up is not None and given_up.is_set():
                    raise GivenUp
                if self._waiting[0] is ticket and self._free >= part:
                    return
                self._changed.wait(None if given_up is None else _LOOK)
        finally:
            self._waiting.remove(ticket)
            self._changed.notify_all()  # there may be room for the next too
