"""One thread a model, which answers together what waits: while it is at work the next inputs gather, and the busier it is the larger its batches are.

Of what waits the oldest is always answered next, so that nothing waits for ever, together with what is nearest to it in size: texts of one length
have no padding between them.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from headstart.core.waiting import Waiting

W = TypeVar("W")
A = TypeVar("A")


class Worker(Generic[W, A]):
    """Answers work in batches: the oldest piece, and of the others those that are most like it, in the order in which they came."""

    def __init__(
        self,
        answer: Callable[[Sequence[W]], Sequence[A]],
        *,
        most: int,
        name: str,
        alone: Callable[[W], bool] = lambda work: False,  # noqa: ARG005
        size: Callable[[W], float] = lambda work: 0.0,  # noqa: ARG005
    ) -> None:
        """Start the thread.

        Args:
            answer: one answer for each piece of work; called from one thread only.
            most: pieces that are answered at once.
            name: of the thread.
            alone: which pieces are answered alone: those that take so long that no other ought to wait for them.
            size: of a piece that is not answered alone; those of one size cost least together.
        """
        self._answer, self._most, self._alone, self._size = answer, most, alone, size
        self._queue: deque[Waiting[W, A]] = deque()
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether work would be answered."""
        return self._thread.is_alive() and not self._stopped

    def submit(self, work: W) -> "Future[A]":
        """The answer to come. A future that is cancelled before its turn costs nothing.

        Raises:
            RuntimeError: it was stopped.
        """
        waiting = Waiting[W, A]([work])
        with self._changed:
            if self._stopped:
                raise RuntimeError("the worker was stopped")
            self._queue.append(waiting)
            self._changed.notify()
        return waiting.future

    def between(self) -> None:
        """Answer some of what waits, but for what is answered alone: called while one of those is answered, which takes long."""
        self._settle(self._beside())

    def _beside(self) -> list[Waiting[W, A]]:
        """What is answered while another takes long."""
        with self._changed:
            waiting = [
                (each, work) for each in self._queue if (work := each.work) is not None and not self._alone(work)
            ]
            taken = self._together(waiting) if waiting else []
            chosen = set(map(id, taken))
            self._queue = deque(each for each in self._queue if id(each) not in chosen)
        return [each for each in taken if each.future.set_running_or_notify_cancel()]

    def stop(self, *, seconds: float) -> None:
        """Answer what waits, and end; what is left after so many seconds is given up."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            taken = self._taken()
            if not taken:
                return
            self._settle([each for each in taken if each.future.set_running_or_notify_cancel()])
            del taken  # or it would keep what was answered until there is more to do

    def _taken(self) -> list[Waiting[W, A]]:
        """What is answered next, once there is something; empty at the end."""
        with self._changed:
            while not (waiting := [(each, work) for each in self._queue if (work := each.work) is not None]):
                self._queue.clear()  # all of it was given up
                if self._stopped:
                    return []
                self._changed.wait()
            taken = self._together(waiting)
            chosen = set(map(id, taken))
            self._queue = deque(each for each, _ in waiting if id(each) not in chosen)
            return taken

    def _together(self, waiting: Sequence[tuple[Waiting[W, A], W]]) -> list[Waiting[W, A]]:
        """The oldest of what waits, and those that are answered with it."""
        oldest, first = waiting[0]
        if self._alone(first):
            return [oldest]
        size = self._size(first)
        others = [(abs(self._size(work) - size), each) for each, work in waiting if not self._alone(work)]
        others.sort(key=lambda found: found[0])  # stable: of those that are equally near the older one comes first
        return [each for _, each in others[: self._most]]

    def _settle(self, taken: list[Waiting[W, A]]) -> None:
        """Answer some together; where that fails, each alone, so that one of them costs no other its answer.

        The list is empty after it: an error knows this frame and those around it, and would be kept by the future that they hold.
        """
        if not taken:
            return
        try:
            answers = self._answer([work for each in taken for work in each.held])
            assert len(answers) == len(taken), "there is an answer for each"
        except BaseException as error:  # noqa: BLE001  (it is handed to whoever waits, and the thread lives on)
            if len(taken) == 1:
                taken.pop().fail(error)
        else:
            for answer in answers:
                taken.pop(0).give(answer)
        while taken:
            self._settle([taken.pop(0)])
