"""The points of a learning curve: nested subsets, a head fitted on each, and what it comes to on samples it has not seen."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from headstart.core.errors import FitError, UsageError, suggest
from headstart.core.progress import Progress
from headstart.data.splits import folds, join_groups
from headstart.evaluation.comparison import HIGHER_IS_BETTER
from headstart.evaluation.intervals import Estimate
from headstart.evaluation.learning_curve import Measured, nested_order, point_estimate, sizes_up_to
from headstart.heads.selection import parse, select
from headstart.tasks.task import Targets, Task
from headstart.verbs.fit_data import FitData
from headstart.verbs.rows import Rows

STAGE = "fitting subsets"
HIGHER = HIGHER_IS_BETTER | {"balanced_accuracy", "macro_f1", "map", "r2"}
"""Figures of which more is better; of the others less is."""

# One recipe for all sizes: closed form, and its one option is chosen anew at each size.
_HEADS = {"single_label": "lda", "multi_label": "ridge", "regression": "ridge"}
_REPEATS = 5
_Z = 1.959963984540054


@dataclass(frozen=True)
class CurveStudy:
    """What a curve is measured on.

    Attributes:
        task: of the targets.
        metric: the figure that is followed.
        head: the recipe that is fitted at every size.
        x: (n, d) training rows.
        train: their targets.
        groups: (n,) what must stay together, or None.
        x_held: (m, d) rows to score on; None: out of fold.
        held: their targets.
        seed: decides subsets and folds.
    """

    task: Task
    metric: str
    head: str
    x: np.ndarray
    train: Targets
    groups: np.ndarray | None
    x_held: np.ndarray | None
    held: Targets | None
    seed: int

    @property
    def scored(self) -> int:
        """How many samples the figures are of."""
        return len(self.train if self.held is None else self.held)


def curve_study(data: FitData, rows: Rows, *, metric: str, seed: int) -> CurveStudy:
    """Rows and targets by part.

    Raises:
        FitError: there are too few training samples; UsageError: the task has no such metric.
    """
    samples = rows.samples
    parts = np.asarray(samples.table.column("split").to_pylist(), dtype=object)
    inside, outside = np.flatnonzero(parts == "train"), np.flatnonzero(parts == data.evaluated)
    train = data.task.encode(samples.take(inside).table.column("target"), None)
    held = (
        data.task.encode(samples.take(outside).table.column("target"), train.labels or None) if len(outside) else None
    )
    least = _least(train)
    if len(train) < 2 * least:
        raise FitError(
            f"a learning curve of {samples.source} needs at least {2 * least} training samples, and there are {len(train)}: label more first"
        )
    names = None if samples.groups is None else samples.groups[inside]
    return CurveStudy(
        task=data.task,
        metric=_metric(data.task, metric, train),
        head=_HEADS[data.task.name],
        x=np.asarray(rows.x[inside]),
        train=train,
        groups=join_groups(names, rows.digests[inside]),
        x_held=np.asarray(rows.x[outside]) if len(outside) else None,
        held=held,
        seed=seed,
    )


def _least(train: Targets) -> int:
    """The smallest size that a head is fitted on: two of each class, and at least ten."""
    return max(10, 2 * len(train.labels))


def _metric(task: Task, asked: str, train: Targets) -> str:
    """The metric to follow.

    Raises:
        UsageError: the task has no such metric.
    """
    uniform = np.full((len(train), max(1, len(train.labels))), 1.0 / max(1, len(train.labels)))
    known = (
        [name for name in task.metrics(train, uniform) if "." not in name and name != "calibration_error"]
        if asked
        else ()
    )
    if asked and asked not in known:
        raise UsageError(f"the task {task.name} has no metric {asked!r} to follow.{suggest(asked, known)}")
    return asked or task.primary


def measure(study: CurveStudy, *, points: int, progress: Progress) -> tuple[tuple[Estimate, ...], Measured]:
    """The figure at every size, with the interval of each, and what a law is fitted to.

    Raises:
        FitError: no subset has two labels.
    """
    if study.held is None:
        fold = folds(study.train.values, task=study.task.name, groups=study.groups, seed=study.seed)
        most = len(study.train) - int(np.bincount(fold).max())
    else:
        fold, most = None, len(study.train)
    sizes = sizes_up_to(most, least=min(_least(study.train), most), points=points)
    repeats = [_repeats(n, most, fold) for n in sizes]
    orders = [_order(study, number, fold) for number in range(max(repeats))]
    done, total, figures = 0, sum(repeats), []
    for n, times in zip(sizes, repeats, strict=True):
        scored: list[Scored] = []
        settled: _Settled | None = None
        for number in range(times):
            progress(STAGE, done, total)
            done += 1
            one = _score(study, orders[number][:n], number, fold=fold, settled=settled)
            if one is not None:
                scored.append(one[0])
                settled = one[1] if fold is None else None
        figures.append(_figures(study, scored, out_of_fold=fold is not None))
    progress(STAGE, total, total)
    return _summary(study, np.array(sizes), figures)


def _repeats(n: int, most: int, fold: np.ndarray | None) -> int:
    if fold is not None:
        return int(fold.max()) + 1
    return 1 if n == most else _REPEATS if 4 * n <= most else 3


def _order(study: CurveStudy, number: int, fold: np.ndarray | None) -> Int[np.ndarray, "m"]:
    """The rows of one series of nested subsets, first ones first: of all rows, or of those outside one fold."""
    rows = np.arange(len(study.train)) if fold is None else np.flatnonzero(fold != number)
    y = study.train.values[rows] if study.task.name == "single_label" else np.zeros(len(rows), dtype=np.int64)
    groups = None if study.groups is None or not _many(study.groups) else study.groups[rows]
    if y.max() and groups is None:
        y = np.unique(y, return_inverse=True)[1].reshape(-1)
    return np.asarray(rows[nested_order(y, groups, seed=study.seed + 1000 * number)])


def _many(groups: np.ndarray) -> bool:
    """Whether groups are more than a few copies of single samples: else the subsets are better stratified than grouped."""
    return 2 * len(np.unique(groups)) <= len(groups)


Scored = tuple[Targets, np.ndarray]


@dataclass(frozen=True)
class _Settled:
    """The recipe with its option and the temperature that the first subset of a size chose; the others of that size take them over."""

    recipe: str
    temperature: float


def _score(
    study: CurveStudy, rows: np.ndarray, number: int, *, fold: np.ndarray | None, settled: _Settled | None
) -> tuple[Scored, _Settled] | None:
    """Targets and predictions of the scored rows by a head fitted on some rows; None where these have one label only.

    Out of fold nothing is taken over: the rows that one subset is scored on are in the others.
    """
    own, present = _occurring(study.train.take(rows), study.task)
    if study.task.name == "single_label" and len(present) < 2:
        return None
    groups, x = None if study.groups is None else study.groups[rows], study.x[rows]
    if settled is None:
        inner = folds(own.values, task=study.task.name, groups=groups, seed=study.seed)
        chosen = select(x, own, fold=inner, recipe=parse(study.head), groups=groups, seed=study.seed)
        head, settled = chosen.head, _Settled(chosen.recipe, chosen.temperature)
    else:
        head = parse(settled.recipe).fit(x, own, groups=groups, seed=study.seed)
    if study.held is not None and study.x_held is not None:
        truth, scored = study.held, study.x_held
    else:
        out = np.flatnonzero(fold == number)
        truth, scored = study.train.take(out), study.x[out]
    whole = np.zeros((len(scored), max(1, len(study.train.labels))))
    whole[:, present] = study.task.predict(head.scores(scored), settled.temperature)
    return (truth, whole), settled


def _occurring(y: Targets, task: Task) -> tuple[Targets, np.ndarray]:
    """The targets with the labels that occur, and where these stand among all."""
    if task.name != "single_label":
        return y, np.arange(max(1, len(y.labels)))
    present, index = np.unique(y.values, return_inverse=True)
    return Targets(index.reshape(-1).astype(np.int64), tuple(y.labels[i] for i in present), y.task), present


@dataclass(frozen=True)
class _Figures:
    """The figure of each fit of one size, and the standard error of one of them that comes from the scored rows."""

    values: np.ndarray
    sampling: float


def _figures(study: CurveStudy, scored: list[Scored], *, out_of_fold: bool) -> _Figures:
    """The figure of each fit. Out of fold, where each fit scores other rows, the whole is one figure of all rows."""
    if not scored:
        return _Figures(np.zeros(0), 0.0)
    each = [study.task.metrics(truth, predicted, seed=study.seed)[study.metric] for truth, predicted in scored]
    values = np.array([one.value for one in each])
    if out_of_fold:
        joined = Targets(np.concatenate([truth.values for truth, _ in scored]), study.train.labels, study.task.name)
        one = study.task.metrics(joined, np.concatenate([shown for _, shown in scored]), seed=study.seed)[study.metric]
        return _Figures(values - values.mean() + one.value, (one.high - one.low) / (2 * _Z))
    return _Figures(values, float(np.mean([(one.high - one.low) / (2 * _Z) for one in each])))


def _summary(study: CurveStudy, sizes: np.ndarray, figures: list[_Figures]) -> tuple[tuple[Estimate, ...], Measured]:
    """Points with their intervals, and what the law is fitted to.

    The variance between subsets of one size is taken to fall like 1 / n, and pooled over the sizes: three fits alone say little of it.
    """
    there = [i for i, one in enumerate(figures) if len(one.values)]
    if not there:
        raise FitError("no subset has two labels: the groups hold one label each, so no curve can be drawn")
    sizes, figures = sizes[there], [figures[i] for i in there]
    several = [(n, one.values) for n, one in zip(sizes, figures, strict=True) if len(one.values) > 1]
    free = sum(len(values) - 1 for _, values in several)
    pooled = sum(n * values.var(ddof=1) * (len(values) - 1) for n, values in several) / max(free, 1)
    repeats = np.array([len(one.values) for one in figures])
    level = float(figures[-1].sampling)
    spread = np.sqrt(np.maximum(pooled / sizes, 1e-8) / repeats)
    values = np.array([one.values.mean() for one in figures])
    higher = study.metric in HIGHER
    best = 1.0 if higher else 0.0
    estimates = tuple(
        point_estimate(float(value), float(np.hypot(error, own.sampling)), best=best, higher_is_better=higher)
        for value, own, error in zip(values, figures, spread, strict=True)
    )
    return estimates, Measured(sizes, values, spread, level, best, higher)
