"""The pipeline: threads read and prepare samples while the model computes; rows come out as their batches finish."""

import os
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from headstart.backbones.backbone import Backbone
from headstart.core.errors import SampleError
from headstart.data.preparation import Batch, Fact, Preparation, Prepared
from headstart.features.ahead import Ahead, Outcome
from headstart.features.running import Runner

# Bytes of prepared samples that may wait to be sorted into batches, and of views that may wait until their batch is full.
_AHEAD_BYTES = 256 << 20
_GATHERED_BYTES = 256 << 20
# Batches' worth of views of unequal length that are gathered, so that sorting by length leaves little padding.
_LOOKAHEAD = 32.0
# More views than any batch has.
_MANY = 1 << 20
# What a view costs besides its values, bytes.
_OBJECT = 512

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


def run(
    backbone: Backbone, positions: Sequence[int], *, content: Content, runner: Runner
) -> Generator[Done, None, None]:
    """Prepare and embed samples; each is yielded once, in no particular order.

    Memory does not grow with the number of samples or their length: at most 256 MB of prepared samples and 256 MB of views wait, apart
    from single samples that are larger than that.

    Args:
        backbone: what makes the rows.
        positions: which samples.
        content: reads one sample by its position, as bytes or as text; called from several threads. May raise OSError or SampleError.
        runner: runs the backbone.
    """
    preparation = backbone.preparation

    def prepare(position: int) -> Outcome:
        return _prepare(preparation, position, content)

    threads = max(2, min(8, os.cpu_count() or 1))
    with closing(Ahead(prepare, positions, threads=threads, most_bytes=_AHEAD_BYTES).handed_out()) as prepared:
        yield from embedded(backbone, prepared, runner=runner)


def embedded(
    backbone: Backbone, prepared: Iterable[tuple[int, Outcome]], *, runner: Runner, most: int = _MANY
) -> Generator[Done, None, None]:
    """Embed samples that are prepared; each is yielded once, in no particular order.

    Args:
        backbone: what makes the rows.
        prepared: each sample's position, and the sample or the reason why there is none.
        runner: runs the backbone.
        most: views of a batch, whatever its budget; of few samples smaller batches have less padding, and come out on all cores.
    """
    preparation, merging = backbone.preparation, _Merging(backbone)
    sent: deque[list[_View]] = deque()
    failed: list[tuple[int, str]] = []

    def collated() -> Iterator[Batch]:
        for views in _batches(prepared, preparation, merging=merging, failed=failed, runner=runner, least=1 / most):
            sent.append(views)
            yield preparation.collate([view.array for view in views])

    with closing(runner.run(collated())) as made:
        for rows in made:
            views = sent.popleft()
            assert all(len(array) == len(views) for array in rows), "rows of a batch are as many as its views"
            done = merging.add(views, rows)
            yield replace(done, failed=done.failed + tuple(failed))
            failed.clear()
    assert not sent, "every batch has its rows"
    if failed:
        yield Done((), (), (), tuple(failed))


def _batches(
    prepared: Iterable[tuple[int, Outcome]],
    preparation: Preparation,
    *,
    merging: "_Merging",
    failed: list[tuple[int, str]],
    runner: Runner,
    least: float,
) -> Iterator[list["_View"]]:
    """Views sorted into batches; samples that cannot be prepared go to `failed`."""
    gathered = _Gathered()
    for position, outcome in prepared:
        if isinstance(outcome, str):
            failed.append((position, outcome))
            continue
        merging.expect(position, outcome)
        runner.met(len(outcome.views))
        whole = len(outcome.views) == 1
        for view, weight in zip(outcome.views, outcome.weights, strict=True):
            cost = max(preparation.cost(view) / runner.scale, least)
            waiting = _View(position, _own(view), weight, cost, whole)
            for batches in gathered.add(preparation.bucket(view), waiting):
                yield from batches
    for batches in gathered.rest():
        yield from batches


def _own(view: np.ndarray) -> np.ndarray:
    """The view, copied where it would keep a much longer recording in memory while it waits."""
    return view.copy() if isinstance(view.base, np.ndarray) and view.base.nbytes > 2 * view.nbytes else view


@dataclass(frozen=True, slots=True)
class _View:
    position: int
    array: np.ndarray
    weight: float
    cost: float
    whole: bool

    @property
    def size(self) -> int:
        return self.array.nbytes + _OBJECT


_Batches = list[list[_View]]


@dataclass
class _Bucket:
    """Views that may share a batch, waiting until there are enough."""

    views: list[_View] = field(default_factory=list)
    total: float = 0.0
    size: int = 0
    even: bool = True

    def add(self, view: _View) -> None:
        self.even = self.even and (not self.views or view.array.shape == self.views[0].array.shape)
        self.views.append(view)
        self.total += view.cost
        self.size += view.size

    @property
    def ripe(self) -> bool:
        return self.total + 1e-9 >= (1.0 if self.even else _LOOKAHEAD)

    def batches(self, *, last: bool) -> _Batches:
        """Cut what waits into batches within the budget, longest first; a part-filled one stays unless this is the end.

        Views are sorted by length also where they cost the same: short ones cost no less than a set share of a batch.
        """
        ordered = sorted(self.views, key=lambda view: (-view.cost, -view.array.size))
        cut: _Batches = []
        start = 0
        while start < len(ordered):
            most = max(1, int(1.0 / ordered[start].cost + 1e-9))
            if len(ordered) - start < most and not last:
                break
            cut.append(ordered[start : start + most])
            start += most
        self.views, self.total, self.size, self.even = [], 0.0, 0, True
        for view in ordered[start:]:
            self.add(view)
        return cut


class _Gathered:
    """The buckets. Where all of them together hold too much, the fullest give out what they have, full batches or not."""

    def __init__(self) -> None:
        self._buckets: dict[Hashable, _Bucket] = {}
        self.size = 0

    def add(self, key: Hashable, view: _View) -> Iterator[_Batches]:
        """Take a view in; yields the batches that are due."""
        bucket = self._buckets.setdefault(key, _Bucket())
        bucket.add(view)
        self.size += view.size
        if bucket.ripe:
            yield self._cut(key, last=False)
        if self.size > _GATHERED_BYTES:
            for full in sorted(self._buckets, key=lambda each: -self._buckets[each].size):
                if self.size <= _GATHERED_BYTES // 2:
                    break
                yield self._cut(full, last=True)

    def rest(self) -> Iterator[_Batches]:
        """All that still waits."""
        for key in list(self._buckets):
            yield self._cut(key, last=True)

    def _cut(self, key: Hashable, *, last: bool) -> _Batches:
        bucket = self._buckets[key]
        before = bucket.size
        cut = bucket.batches(last=last)
        self.size -= before - bucket.size
        if not bucket.views:
            del self._buckets[key]
        return cut


class _Merging:
    """Averages the rows of a sample's views, and hands samples out when all their views have come."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._expected: dict[int, Prepared] = {}
        self._sums: dict[int, list[np.ndarray]] = {}
        self._come: dict[int, int] = {}

    def expect(self, position: int, prepared: Prepared) -> None:
        self._expected[position] = Prepared((), prepared.weights, prepared.facts)

    def add(self, views: Sequence[_View], rows: tuple[np.ndarray, ...]) -> Done:
        """Take the rows of a batch in; the samples that are whole now."""
        alone = [i for i, view in enumerate(views) if view.whole]
        positions = [views[i].position for i in alone]
        parts = [[np.asarray(array[alone], np.float32)] for array in rows]
        for i, view in enumerate(views):
            if not view.whole and (averaged := self._average(view, [array[i] for array in rows])) is not None:
                positions.append(view.position)
                for part, row in zip(parts, averaged, strict=True):
                    part.append(row[None])
        return self._done(positions, [np.concatenate(part) for part in parts])

    def _average(self, view: _View, rows: list[np.ndarray]) -> list[np.ndarray] | None:
        weighted = [np.float64(view.weight) * row.astype(np.float64) for row in rows]
        sums = self._sums.get(view.position)
        self._sums[view.position] = weighted if sums is None else [a + b for a, b in zip(sums, weighted, strict=True)]
        self._come[view.position] = come = self._come.get(view.position, 0) + 1
        weights = self._expected[view.position].weights
        if come < len(weights):
            return None
        del self._come[view.position]
        return [(total / sum(weights)).astype(np.float32) for total in self._sums.pop(view.position)]

    def _done(self, positions: list[int], rows: list[np.ndarray]) -> Done:
        expected = [self._expected.pop(position) for position in positions]
        finite = np.ones(len(positions), bool)
        for array in rows:
            finite &= np.isfinite(array).all(axis=1)
        reason = f"{self._backbone.specs[0].title} gave a row that is not finite for it; leave it out"
        return Done(
            tuple(position for position, good in zip(positions, finite, strict=True) if good),
            tuple(array[finite] for array in rows),
            tuple(dict(each.facts) for each, good in zip(expected, finite, strict=True) if good),
            tuple((position, reason) for position, good in zip(positions, finite, strict=True) if not good),
        )


def _prepare(preparation: Preparation, position: int, content: Content) -> Outcome:
    try:
        return preparation.prepare(content(position))
    except SampleError as error:
        return str(error)
    except OSError as error:
        return f"cannot be read ({error.strerror or error}): check that it exists and that you may read it"
