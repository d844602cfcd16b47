"""Feeding an engine: batches on their way in, remembered until their rows have come out."""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from headstart.data.preparation import Batch


@dataclass
class Piece:
    """A batch, or a part of one that was too large.

    Attributes:
        batch: the part.
        last: whether it ends its batch.
        since: when it was handed to an engine.
    """

    batch: Batch
    last: bool = True
    since: float = 0.0


def joined(parts: Sequence[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
    """The rows of a batch from those of its pieces."""
    return parts[0] if len(parts) == 1 else tuple(map(np.concatenate, zip(*parts, strict=True)))


class Feeding:
    """Batches in order, in pieces of a limited size. What an engine took and did not answer can be taken back."""

    def __init__(self, batches: Iterable[Batch]) -> None:
        self._source = iter(batches)
        self._sent: deque[Piece] = deque()
        self._again: deque[Piece] = deque()
        self._limit: int | None = None
        self._fault: BaseException | None = None
        self._exhausted = False

    @property
    def empty(self) -> bool:
        """Whether every piece was answered and no more will come."""
        return self._exhausted and not self._sent and not self._again

    @property
    def oldest(self) -> Piece:
        """The piece whose rows come next."""
        return self._sent[0]

    @property
    def largest(self) -> int:
        """Samples of the largest piece that an engine has."""
        return max((len(piece.batch) for piece in self._sent), default=0)

    def pieces(self) -> Iterator[Batch]:
        """What an engine is given. An error of the source ends it, and waits for `check`: it is none of the engine's."""
        while (piece := self._take()) is not None:
            piece.since = time.perf_counter()
            self._sent.append(piece)
            yield piece.batch

    def answered(self) -> None:
        """The rows of the oldest piece have come."""
        self._sent.popleft()

    def take_back(self) -> None:
        """What is unanswered is given out again, first."""
        self._again.extendleft(reversed(self._sent))
        self._sent.clear()

    def limit(self, n: int) -> None:
        """Give out no more than n samples at once from now on."""
        self._limit = n

    def check(self) -> None:
        """Raise what the source raised."""
        if self._fault is not None:
            raise self._fault

    def _take(self) -> Piece | None:
        if not self._again:
            try:
                self._again.append(Piece(next(self._source)))
            except StopIteration:
                self._exhausted = True
                return None
            except BaseException as error:  # noqa: BLE001  (raised again by `check`)
                self._fault, self._exhausted = error, True
                return None
        piece = self._again.popleft()
        size = self._limit
        if size is None or size >= len(piece.batch):
            return piece
        starts = range(0, len(piece.batch), size)
        parts = [Batch(piece.batch.values[i : i + size], piece.batch.lengths[i : i + size]) for i in starts]
        self._again.extendleft(Piece(part, piece.last and part is parts[-1]) for part in reversed(parts))
        return self._again.popleft()
