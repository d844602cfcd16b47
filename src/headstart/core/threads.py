"""Threads for work that nothing can interrupt. Those of `concurrent.futures` are waited for when the process ends, however long one is at it."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

from headstart.core.waiting import Waiting

T = TypeVar("T")


class Threads:
    """A few threads of one model, which so keeps no other from its own."""

    def __init__(self, n: int, *, name: str) -> None:
        """Start them.

        Args:
            n: how many.
            name: of each.
        """
        self._queue: SimpleQueue[Waiting[Callable[[], Any], Any] | None] = SimpleQueue()
        self._threads = [threading.Thread(target=self._run, name=name, daemon=True) for _ in range(n)]
        for each in self._threads:
            each.start()

    def submit(self, work: Callable[[], T]) -> "Future[T]":
        """What the work gives, once a thread has done it. A future that is cancelled before its turn lets go of the work at once."""
        waiting = Waiting[Callable[[], Any], T]([work])
        self._queue.put(waiting)
        return waiting.future

    def stop(self, *, seconds: float) -> None:
        """End once what waits is done, which is waited for so long and no longer."""
        end = time.monotonic() + seconds
        for _ in self._threads:
            self._queue.put(None)
        for each in self._threads:
            each.join(max(0.0, end - time.monotonic()))

    def _run(self) -> None:
        while (taken := self._queue.get()) is not None:
            if taken.future.set_running_or_notify_cancel():  # from here on it cannot be given up, and the work is there
                try:
                    taken.give(taken.held.pop()())
                except BaseException as error:  # noqa: BLE001  (it is handed to whoever waits, and the thread lives on)
                    taken.fail(error)
            # Or it would keep a result until there is more to do, and an error, which knows this frame, itself.
            del taken
