"""Filling the feature store: what it lacks is extracted, here or on a cluster, and committed as it comes."""

import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

from headstart.backbones.backbone import Backbone
from headstart.core.errors import CacheError
from headstart.core.progress import Progress
from headstart.data.preparation import Fact
from headstart.data.samples import Samples
from headstart.features.cluster import Heard, run_on_ray
from headstart.features.contents import unchanged
from headstart.features.hashing import Digested
from headstart.features.pipeline import Done, run
from headstart.features.running import Runner
from headstart.features.store import Shelf

# Rows are committed when computing them took this many times what the last commit took, and after so many seconds at most.
_TIMES_COST = 50.0
_MOST_SECONDS = 1.0


@dataclass
class Filled:
    """What filling the store came to: failed reasons by distinct number, and which of the distinct ones were missing and were made."""

    failed: dict[int, str]
    missing: np.ndarray
    made: np.ndarray
    notes: list[str]
    engine: str = "none"


@dataclass(frozen=True)
class Wanted:
    """What is to be filled in: the samples, what they hold, the distinct digests among these, and the first position of each."""

    samples: Samples
    digested: Digested
    distinct: np.ndarray
    first: np.ndarray


@dataclass(frozen=True)
class Way:
    """How rows are made: by what, on which engine, and where."""

    backbone: Backbone
    engine: str
    on: str

    def parts(self, wanted: Wanted, positions: list[int]) -> tuple[Generator[Done, None, None], Runner | Heard]:
        """The rows as they come, and who knows what happened on the way."""
        if self.on:
            heard = Heard()
            samples, digests = wanted.samples, wanted.digested.digests
            parts = run_on_ray(
                self.backbone, positions, samples=samples, digests=digests, engine=self.engine, heard=heard
            )
            return parts, heard
        runner = Runner(self.backbone, self.engine, rows=len(positions))
        return run(self.backbone, positions, content=unchanged(wanted.samples, wanted.digested), runner=runner), runner


def fill(filled: Filled, wanted: Wanted, *, way: Way, progress: Progress) -> None:
    """Extract what the store lacks, and note in `filled` what became of it."""
    filled.failed.clear()
    with ExitStack() as stack:
        shelves = [stack.enter_context(Shelf(spec)) for spec in way.backbone.specs]
        for shelf in shelves:
            shelf.reclaim()
            if dropped := shelf.drop_damaged():
                filled.notes.append(f"{dropped} stored rows lay in a damaged file and were extracted again")
        missing = np.flatnonzero(np.any([shelf.find(wanted.distinct).missing for shelf in shelves], axis=0))
        filled.missing[missing] = True
        if not len(missing):
            return  # before an engine is looked for, which would load torch
        by_position = {int(wanted.first[k]): int(k) for k in missing}
        pending = stack.enter_context(_Pending(shelves, wanted.distinct))
        parts, told = way.parts(wanted, list(by_position))
        stack.callback(_note, filled, told)
        done = 0
        for part in stack.enter_context(closing(parts)):
            numbers = [by_position[position] for position in part.positions]
            filled.failed.update({by_position[position]: reason for position, reason in part.failed})
            pending.add(numbers, part.rows, part.facts)
            filled.made[numbers] = True
            done += len(part.positions) + len(part.failed)
            progress("extract", done, len(missing))


def _note(filled: Filled, told: Runner | Heard) -> None:
    filled.notes += told.events
    if told.used:
        filled.engine = told.engine


class _Pending:
    """Rows on their way into the shelves.

    They are committed when what has been computed since the last commit took 50 times as long as a commit does, and after a second at
    most, so that committing costs no more than 2 %; and at the end of the block, however it ends.
    """

    def __init__(self, shelves: list[Shelf], distinct: np.ndarray) -> None:
        self._shelves, self._distinct = shelves, distinct
        self._digests: list[bytes] = []
        self._facts: list[Mapping[str, Fact]] = []
        self._rows: list[list[np.ndarray]] = [[] for _ in shelves]
        self._cost, self._since = 0.0, time.perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, CacheError):
            self.commit()

    def add(self, numbers: list[int], rows: tuple[np.ndarray, ...], facts: tuple[Mapping[str, Fact], ...]) -> None:
        if numbers:
            for waiting, array in zip(self._rows, rows, strict=True):
                waiting.append(array)
        self._facts += facts
        self._digests += [self._distinct[number].tobytes() for number in numbers]
        if time.perf_counter() - self._since >= min(_MOST_SECONDS, _TIMES_COST * self._cost):
            self.commit()

    def commit(self) -> None:
        began = time.perf_counter()
        if n := len(self._digests):
            for shelf, waiting in zip(self._shelves, self._rows, strict=True):
                shelf.append(self._digests, np.concatenate(waiting)[:n], facts=self._facts)
            self._digests, self._facts, self._rows = [], [], [[] for _ in self._shelves]
            self._cost = time.perf_counter() - began
        self._since = time.perf_counter()
