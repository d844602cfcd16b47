"""Threads that prepare inputs. Those of `concurrent.futures` are waited for when the process ends, however long one is at an input."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


# Work in a list that is empty once somebody took it or it was given up, and the future. A future never forgets what it calls when it is done:
# that reaches the list and not the future, or each would keep the other, and so an input and its result, until a collector comes by.
_Waiting = tuple[list[Callable[[], Any]], "Future[Any]"]


class Threads:
    """A few threads of one model, which so keeps no other from its own."""

    def __init__(self, n: int, *, name: str) -> None:
        """Start them.

        Args:
            n: how many.
            name: of each.
        """
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._threads = [threading.Thread(target=self._run, name=name, daemon=True) for _ in range(n)]
        for each in self._threads:
            each.start()

    def submit(self, work: Callable[[], T]) -> "Future[T]":
        """What the work gives, once a thread has done it. A future that is cancelled before its turn lets go of the work at once."""
        held: list[Callable[[], Any]] = [work]
        future: Future[T] = Future()

        def dropped(future: "Future[T]") -> None:
            if future.cancelled():
                held.clear()

        future.add_done_callback(dropped)
        self._queue.put((held, future))
        return future

    def stop(self, *, seconds: float) -> None:
        """End once what waits is done, which is waited for so long and no longer."""
        end = time.monotonic() + seconds
        for _ in self._threads:
            self._queue.put(None)
        for each in self._threads:
            each.join(max(0.0, end - time.monotonic()))

    def _run(self) -> None:
        while (taken := self._queue.get()) is not None:
            held, future = taken
            if future.set_running_or_notify_cancel():  # from here on it cannot be given up, and the work is there
                try:
                    future.set_result(held.pop()())
                except BaseException as error:  # noqa: BLE001  (it is handed to whoever waits, and the thread lives on)
                    future.set_exception(error)
            # Or they would keep a result until there is more to do, and an error, which knows this frame, itself.
            del taken, held, future
