"""The look-ahead: threads prepare samples while the model computes, handed out in order, within a bound of memory."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from headstart.data.preparation import Prepared

Outcome = Prepared | str

# Samples that a thread takes at once, and such blocks that may be under way or waiting.
_BLOCK = 8
_BLOCKS = 256
# What an array or a text costs besides its values, bytes.
_OBJECT = 512


def size_of(outcome: Outcome) -> int:
    """Bytes that a prepared sample holds."""
    return _OBJECT if isinstance(outcome, str) else _OBJECT + sum(view.nbytes for view in outcome.views)


@dataclass(eq=False)
class _Block:
    """Some samples of one thread: those that are ready wait here until they are handed out."""

    number: int
    positions: Sequence[int]
    ready: deque[tuple[int, Outcome, int]] = field(default_factory=deque)
    complete: bool = False
    error: BaseException | None = None


class Ahead:
    """Samples prepared in threads, in the order of their positions.

    A thread begins a sample only where what waits, plus what is under way, reckoned by what samples held of late, fits the bound; the
    sample that is handed out next is always begun. So at most the bound waits, or where single samples are larger than that one for
    each thread at the very beginning, and one at a time from then on.
    """

    def __init__(
        self, prepare: Callable[[int], Outcome], positions: Sequence[int], *, threads: int, most_bytes: int
    ) -> None:
        self._prepare, self._positions, self._threads = prepare, positions, threads
        self._most, self._share = most_bytes, most_bytes // 64
        self._changed = threading.Condition()
        self._waiting = self._under_way = self._turn = 0
        self._usual = 0.0
        self._stopped = False

    def handed_out(self) -> Generator[tuple[int, Outcome], None, None]:
        """Each position with its sample, or with the reason why there is none. Closing the generator ends the threads.

        One sample alone is prepared where it is asked for: there is nothing that could be prepared beside it.
        """
        if len(self._positions) == 1:
            yield self._positions[0], self._prepare(self._positions[0])
            return
        pool = ThreadPoolExecutor(max_workers=self._threads, thread_name_prefix="headstart-prepare")
        blocks: deque[_Block] = deque()
        try:
            for number, start in enumerate(range(0, len(self._positions), _BLOCK)):
                blocks.append(_Block(number, self._positions[start : start + _BLOCK]))
                pool.submit(self._work, blocks[-1])
                if len(blocks) >= _BLOCKS:
                    yield from self._hand_out(blocks.popleft())
            while blocks:
                yield from self._hand_out(blocks.popleft())
        finally:
            with self._changed:
                self._stopped = True
                self._changed.notify_all()
            pool.shutdown(wait=True, cancel_futures=True)

    def _hand_out(self, block: _Block) -> Iterator[tuple[int, Outcome]]:
        complete = False
        while not complete:
            with self._changed:
                while not block.ready and not block.complete:
                    self._changed.wait(1.0)  # with a limit, as Windows lets no Ctrl-C through to a wait without one
                taken, block.ready = block.ready, deque()
                complete = block.complete
            freed = 0
            while taken:
                position, outcome, size = taken.popleft()
                yield position, outcome
                del outcome
                freed += size
                if freed >= self._share or not taken:
                    self._release(freed)
                    freed = 0
        if block.error is not None:
            raise block.error
        with self._changed:
            self._turn = block.number + 1
            self._changed.notify_all()

    def _release(self, size: int) -> None:
        with self._changed:
            self._waiting -= size
            self._changed.notify_all()

    def _work(self, block: _Block) -> None:
        """Prepare one block in a thread; what is ready is shown when it is much, when this thread has to wait, and at the end."""
        done: deque[tuple[int, Outcome, int]] = deque()
        hidden = 0
        try:
            for position in block.positions:
                if not self._begin(block, done):
                    return
                hidden = hidden if done else 0
                size = 0
                try:
                    outcome = self._prepare(position)
                    size = size_of(outcome)
                finally:
                    self._end(size)
                done.append((position, outcome, size))
                del outcome
                hidden += size
                if hidden >= self._share:
                    self._show(block, done)
                    hidden = 0
        except BaseException as error:  # noqa: BLE001  (raised again where the samples are handed out)
            block.error = error
        finally:
            with self._changed:
                block.complete = True
                self._show(block, done)

    def _begin(self, block: _Block, done: deque[tuple[int, Outcome, int]]) -> bool:
        """Wait until there is room for one more sample; False where nobody wants it any more."""
        with self._changed:
            if not self._room():
                self._show(block, done)
            while not (self._stopped or self._room() or (block.number == self._turn and not block.ready)):
                self._changed.wait()
            self._under_way += 1
            return not self._stopped

    def _end(self, size: int) -> None:
        with self._changed:
            self._under_way -= 1
            self._waiting += size
            self._usual = max(float(size), 0.9 * self._usual)

    def _room(self) -> bool:
        return self._waiting + (self._under_way + 1) * self._usual <= self._most

    def _show(self, block: _Block, done: deque[tuple[int, Outcome, int]]) -> None:
        with self._changed:
            block.ready.extend(done)
            done.clear()
            self._changed.notify_all()
