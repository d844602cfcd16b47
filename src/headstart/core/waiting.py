"""Work that waits for a thread, and what comes of it: what nobody waits for any more, or is done, holds no memory."""

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

W = TypeVar("W")
A = TypeVar("A")


@dataclass(frozen=True)
class Waiting(Generic[W, A]):
    """A piece of work.

    Attributes:
        held: the work, and nothing once it was taken, was given up or is done.
        future: what comes of it.
    """

    held: list[W]
    future: "Future[A]" = field(default_factory=Future)

    def __post_init__(self) -> None:
        """Let go of the work where it is given up before its turn."""
        held = self.held

        # A future never forgets what it calls when it is done: this reaches the list and not the future, or each would keep the other,
        # and so an input and its result, until a collector comes by.
        def dropped(future: "Future[A]") -> None:
            if future.cancelled():
                held.clear()

        self.future.add_done_callback(dropped)

    @property
    def work(self) -> W | None:
        """The work while it is held."""
        return next(iter(self.held), None)

    def give(self, answer: A) -> None:
        """What comes of it."""
        self.held.clear()
        self.future.set_result(answer)

    def fail(self, error: BaseException) -> None:
        """Why nothing comes of it."""
        self.held.clear()
        self.future.set_exception(error)
