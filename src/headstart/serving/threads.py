"""Threads that prepare inputs. Those of `concurrent.futures` are waited for when the process ends, however long one is at an input."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

_Work = tuple["Future[Any]", Callable[[], Any]]


class Threads:
    """A few threads of one model, which so keeps no other from its own."""

    def __init__(self, n: int, *, name: str) -> None:
        """Start them.

        Args:
            n: how many.
            name: of each.
        """
        self._queue: SimpleQueue[_Work | None] = SimpleQueue()
        self._threads = [threading.Thread(target=self._run, name=name, daemon=True) for _ in range(n)]
        for each in self._threads:
            each.start()

    def submit(self, work: Callable[[], T]) -> "Future[T]":
        """What the work gives, once a thread has done it. A future that is cancelled before its turn costs nothing."""
        future: Future[T] = Future()
        self._queue.put((future, work))
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
            future, work = taken
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as error:  # noqa: BLE001  (it is handed to whoever waits, and the thread lives on)
                    future.set_exception(error)
            del taken, future, work  # or it would keep an input until there is more to do
