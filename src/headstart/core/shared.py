"""A state of the whole process, such as where its standard error goes: several servers in threads may want it at once, and leave in any order."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager


class Shared:
    """Entered by the first that wants it, and left by the last."""

    def __init__(self, enter: Callable[[], AbstractContextManager[None]]) -> None:
        """Begin outside of it.

        Args:
            enter: makes what is entered.
        """
        self._enter, self._lock, self._inside, self._ending = enter, threading.Lock(), 0, ExitStack()

    @contextmanager
    def held(self) -> Iterator[None]:
        """In it; from any thread, and left from any."""
        with self._lock:
            if not self._inside:
                self._ending.enter_context(self._enter())
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    self._ending.close()
