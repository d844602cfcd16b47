"""The pipeline: threads read and prepare samples while the model computes; rows come out as their batches finish."""

import os
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from headstart.backbones.backbone import Backbone
from headstart.core.errors import SampleError
from headstart.data.preparation import Batch, Fact, Preparation, Prepared
from headstart.features.engine import Engine

# Samples that one task of a thread prepares, and tasks that may be under way or waiting: what bounds the memory.
_BLOCK = 8
_TASKS = 12
# Batches' worth of views of unequal cost that are gathered, so that sorting by length leaves little padding.
_LOOKAHEAD = 16.0

Content = Callable[[int], bytes | str]
Facts = dict[str, Fact]


@dataclass(frozen=True)
class Done:
    """What became of some samples: their rows, one array per spec, or the reasons why there are none.

    Attributes:
        positions: the samples' positions, as they were handed in.
        rows: one (n, d) float32 array per spec, in the order of `positions`.
        facts: what was met while each sample was prepared.
        failed: position and reason of samples that have no row.
    """

    positions: tuple[int, ...]
    rows: tuple[Float[np.ndarray, "n d"], ...]
    facts: tuple[Facts, ...]
    failed: tuple[tuple[int, str], ...] = ()


def run(backbone: Backbone, positions: Sequence[int], *, content: Content, engine: Engine) -> Iterator[Done]:
    """Prepare and embed samples; each is yielded once, in no particular order.

    Args:
        backbone: what makes the rows.
        positions: which samples.
        content: reads one sample by its position, as bytes or as text; called from several threads. May raise OSError or SampleError.
        engine: how the backbone is run.
    """
    gathered: dict[Hashable, _Bucket] = {}
    merging = _Merging()
    pool = ThreadPoolExecutor(max_workers=max(2, min(8, os.cpu_count() or 1)), thread_name_prefix="headstart-prepare")
    try:
        for position, outcome in _prepared(pool, backbone.preparation, positions, content):
            if isinstance(outcome, str):
                yield Done((), (), (), ((position, outcome),))
                continue
            merging.expect(position, outcome)
            for view, weight in zip(outcome.views, outcome.weights, strict=True):
                bucket = gathered.setdefault(backbone.preparation.bucket(view), _Bucket())
                bucket.add(_View(position, view, weight, backbone.preparation.cost(view)))
                if bucket.ripe:
                    yield from _embed(backbone, engine, bucket.batches(last=False), merging)
        for bucket in gathered.values():
            yield from _embed(backbone, engine, bucket.batches(last=True), merging)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True)
class _View:
    position: int
    array: np.ndarray
    weight: float
    cost: float


@dataclass
class _Bucket:
    """Views that may share a batch, waiting until there are enough."""

    views: list[_View] = field(default_factory=list)
    total: float = 0.0
    even: bool = True

    def add(self, view: _View) -> None:
        self.even = self.even and (not self.views or view.cost == self.views[0].cost)
        self.views.append(view)
        self.total += view.cost

    @property
    def ripe(self) -> bool:
        return self.total + 1e-9 >= (1.0 if self.even else _LOOKAHEAD)

    def batches(self, *, last: bool) -> list[list[_View]]:
        """Cut what waits into batches within the budget, longest first; a part-filled one stays unless this is the end."""
        ordered = sorted(self.views, key=lambda view: -view.cost)
        cut: list[list[_View]] = []
        while ordered:
            most = max(1, int(1.0 / ordered[0].cost + 1e-9))
            if len(ordered) < most and not last:
                break
            cut.append(ordered[:most])
            ordered = ordered[most:]
        self.views, self.total = ordered, sum(view.cost for view in ordered)
        return cut


class _Merging:
    """Averages the rows of a sample's views, and hands samples out when all their views have come."""

    def __init__(self) -> None:
        self._expected: dict[int, Prepared] = {}
        self._sums: dict[int, list[np.ndarray]] = {}
        self._come: dict[int, int] = {}

    def expect(self, position: int, prepared: Prepared) -> None:
        self._expected[position] = Prepared((), prepared.weights, prepared.facts)

    def add(self, views: Sequence[_View], rows: tuple[np.ndarray, ...]) -> None:
        for i, view in enumerate(views):
            weighted = [np.float64(view.weight) * array[i].astype(np.float64) for array in rows]
            sums = self._sums.get(view.position)
            self._sums[view.position] = (
                weighted if sums is None else [a + b for a, b in zip(sums, weighted, strict=True)]
            )
            self._come[view.position] = self._come.get(view.position, 0) + 1

    def finished(self, backbone: Backbone) -> Iterator[Done]:
        """The samples whose views have all come since the last call."""
        ready = [p for p, come in self._come.items() if p in self._expected and come == len(self._expected[p].weights)]
        if not ready:
            return
        kept, rows, facts, failed = [], [], [], []
        for position in ready:
            expected = self._expected.pop(position)
            sums = self._sums.pop(position)
            del self._come[position]
            row = [(total / sum(expected.weights)).astype(np.float32) for total in sums]
            if all(np.isfinite(part).all() for part in row):
                kept.append(position)
                rows.append(row)
                facts.append(dict(expected.facts))
            else:
                failed.append(
                    (position, f"{backbone.specs[0].title} gave a row that is not finite for it; leave it out")
                )
        arrays = tuple(
            np.stack([row[i] for row in rows]) if rows else np.empty((0, spec.dim), np.float32)
            for i, spec in enumerate(backbone.specs)
        )
        yield Done(tuple(kept), arrays, tuple(facts), tuple(failed))


def _embed(backbone: Backbone, engine: Engine, batches: list[list[_View]], merging: _Merging) -> Iterator[Done]:
    collated: Iterator[Batch] = (backbone.preparation.collate([view.array for view in views]) for views in batches)
    for views, rows in zip(batches, engine.run(backbone, collated), strict=True):
        merging.add(views, rows)
        yield from merging.finished(backbone)


def _prepared(
    pool: ThreadPoolExecutor, preparation: Preparation, positions: Sequence[int], content: Content
) -> Iterator[tuple[int, Prepared | str]]:
    """Samples prepared in threads, in order, with a bounded number ahead."""

    def task(block: Sequence[int]) -> list[tuple[int, Prepared | str]]:
        return [(position, _prepare(preparation, position, content)) for position in block]

    waiting: deque[Future[list[tuple[int, Prepared | str]]]] = deque()
    for start in range(0, len(positions), _BLOCK):
        waiting.append(pool.submit(task, positions[start : start + _BLOCK]))
        if len(waiting) >= _TASKS:
            yield from waiting.popleft().result()
    while waiting:
        yield from waiting.popleft().result()


def _prepare(preparation: Preparation, position: int, content: Content) -> Prepared | str:
    try:
        return preparation.prepare(content(position))
    except SampleError as error:
        return str(error)
    except OSError as error:
        return f"the file cannot be read ({error.strerror or error}); check that it exists and that you may read it"
