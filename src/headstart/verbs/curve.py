"""`curve`: a figure against the number of labels, and whether more of them will help."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Int

from headstart.core.errors import FitError, Skipped, UsageError, suggest
from headstart.core.progress import Progress, silent
from headstart.data.splits import folds, join_groups
from headstart.evaluation.comparison import HIGHER_IS_BETTER
from headstart.evaluation.intervals import Estimate
from headstart.evaluation.learning_curve import (
    LEAST_POINTS,
    Extrapolation,
    Measured,
    extrapolate,
    nested_order,
    point_estimate,
    sizes_up_to,
)
from headstart.heads.selection import parse, select
from headstart.model.reports import OUT_OF_FOLD, skipped_json
from headstart.tasks import TASKS
from headstart.tasks.task import Targets, Task
from headstart.verbs.fit_data import FitData, FitOptions, prepare
from headstart.verbs.rows import Data, RowOptions, Rows, opened, rows_of

STAGE = "fitting subsets"
# One recipe for all sizes: closed form, and its one option is chosen anew within each subset.
_HEADS = {"single_label": "lda", "multi_label": "ridge", "regression": "ridge"}
_REPEATS = 5
_HIGHER = HIGHER_IS_BETTER | {"balanced_accuracy", "macro_f1", "map", "r2"}
_SHARES = {"accuracy", "balanced_accuracy", "macro_f1", "map"}
# What a person would go and label for: half a point of a share, 2 % of anything else.
_WORTH_POINTS, _WORTH_SHARE = 0.005, 0.02
_Z = 1.959963984540054


@dataclass(frozen=True)
class CurveOptions(RowOptions):
    """What a person may choose of a learning curve.

    Attributes:
        metric: a figure of the task, such as `macro_f1`; empty for the one that a person looks at first.
        points: how many sizes are tried, in even steps of a ratio.
        hold_out: share of `train` to set aside as `test`, where the data has no split of its own; 0: scored out of fold.
        seed: decides subsets and folds.
    """

    metric: str = ""
    points: int = 8
    hold_out: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class CurvePoint:
    """The figure at n labels, with its 95 % interval."""

    n: int
    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """The point as programs read it."""
        return {"n": self.n, "value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Curve:
    """A figure against the number of labels.

    Attributes:
        metric: which figure.
        points: what was measured, by rising n.
        fitted: `a`, `b` and `c` of value = a - b n^-c; None where there are too few points.
        forecast: what the law says of twice and four times the labels.
        gains: what these would add to the figure of today; negative where a lower figure is better.
        band: the law from the first point to four times the labels, for drawing.
        sentence: will more data help?
        n: labels that there are now.
        head: the recipe that was fitted at every size.
        scored_on: what the figures are of: `test`, `val` or `train, out of fold`.
        scored: how many samples that are.
        skipped: inputs left out, each with its reason.
        notes: how the data was understood, one sentence each.
        seconds: what took how long.
    """

    metric: str
    points: tuple[CurvePoint, ...]
    fitted: Mapping[str, float] | None
    forecast: tuple[CurvePoint, ...]
    gains: tuple[CurvePoint, ...]
    band: tuple[CurvePoint, ...]
    sentence: str
    n: int
    head: str
    scored_on: str
    scored: int
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The object that `headstart curve --json` prints (docs/json.md)."""
        lists = {name: [each.to_json() for each in getattr(self, name)] for name in ("points", "forecast", "gains", "band")}
        return {
            "metric": self.metric,
            **lists,
            "fitted": None if self.fitted is None else dict(self.fitted),
            "sentence": self.sentence,
            "n": self.n,
            "head": self.head,
            "scored_on": self.scored_on,
            "scored": self.scored,
            "skipped": skipped_json(self.skipped),
            "notes": list(self.notes),
            "seconds": dict(self.seconds),
        }


def curve(
    data: Data,
    *,
    backbone: Any = None,
    options: CurveOptions = CurveOptions(),
    progress: Progress = silent,
) -> Curve:
    """Measure how a figure grows with the number of labels, and extrapolate it.

    One closed-form recipe (shrinkage LDA for one label a sample, else ridge) is fitted on nested, stratified, group-disjoint subsets
    of `train`: five of each small size, three of the larger ones, and all of it once. Where there is a `test` or `val` part they are
    scored on it; else each of five folds is held out once and the subsets come from the others.

    Args:
        data: labelled data, as for `fit`.
        backbone: shorthand for `options.backbone`.
        options: everything else that can be chosen.
        progress: stages `read` and `extract`, in samples, and `fitting subsets`, in fits.

    Raises:
        DataError: the data cannot be used; FitError: there are too few labels for a curve.
        UsageError: the task has no such metric.
    """
    began = time.perf_counter()
    options = options if backbone is None else replace(options, backbone=backbone)
    prepared = prepare(
        data, FitOptions(reading=options.reading, hold_out=options.hold_out, seed=options.seed, offline=options.offline)
    )
    chosen = opened(prepared.samples.modality, options)
    rows = rows_of(prepared.samples, chosen, engine=options.engine, progress=progress)
    study = _study(prepared, rows, options)
    extracted = time.perf_counter()
    measured = _measured(study, options, progress)
    n = len(study.train)
    found = extrapolate(measured.law, at=(2 * n, 4 * n), now=n, seed=options.seed)
    drawn = np.unique(np.rint(np.geomspace(measured.law.n[0], 4 * n, 40)).astype(int))
    band = extrapolate(measured.law, at=tuple(map(int, drawn)), now=n, seed=options.seed)
    return Curve(
        metric=study.metric,
        points=measured.points,
        fitted=None if found is None else {"a": found.law.a, "b": found.law.b, "c": found.law.c},
        forecast=() if found is None else _points((2 * n, 4 * n), found.forecasts),
        gains=() if found is None else _points((2 * n, 4 * n), found.gains),
        band=() if band is None else _points(drawn, band.forecasts),
        sentence=_sentence(study.metric, found, n, now=measured.points[-1].value),
        n=n,
        head=study.head,
        scored_on=prepared.evaluated or OUT_OF_FOLD,
        scored=study.scored,
        skipped=prepared.samples.skipped + rows.extraction.skipped,
        notes=prepared.notes + prepared.doubts + rows.extraction.notes,
        seconds={"features": extracted - began, "total": time.perf_counter() - began},
    )


@dataclass(frozen=True)
class _Study:
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
        return len(self.train if self.held is None else self.held)


def _study(data: FitData, rows: Rows, options: CurveOptions) -> _Study:
    """Rows and targets by part.

    Raises:
        FitError: there are too few training samples; UsageError: the task has no such metric.
    """
    samples = rows.samples
    parts = np.asarray(samples.table.column("split").to_pylist(), dtype=object)
    inside, outside = np.flatnonzero(parts == "train"), np.flatnonzero(parts == data.evaluated)
    train = data.task.encode(samples.take(inside).table.column("target"), None)
    held = data.task.encode(samples.take(outside).table.column("target"), train.labels or None) if len(outside) else None
    least = _least(train)
    if len(train) < 2 * least:
        raise FitError(
            f"a learning curve of {samples.source} needs at least {2 * least} training samples, and there are {len(train)}: label more first"
        )
    names = None if samples.groups is None else samples.groups[inside]
    return _Study(
        task=data.task,
        metric=_metric(data.task, options.metric, train),
        head=_HEADS[data.task.name],
        x=np.asarray(rows.x[inside]),
        train=train,
        groups=join_groups(names, rows.digests[inside]),
        x_held=np.asarray(rows.x[outside]) if len(outside) else None,
        held=held,
        seed=options.seed,
    )


def _least(train: Targets) -> int:
    """The smallest size that a head is fitted on: two of each class, and at least ten."""
    return max(10, 2 * len(train.labels))


def _metric(task: Task, asked: str, train: Targets) -> str:
    """The metric to follow.

    Raises:
        UsageError: the task has no such metric.
    """
    k = max(1, len(train.labels))
    probe = np.tile(np.arange(k), 2) if task.name == "single_label" else train.values[:2]
    shown = np.full((len(probe), k), 1.0 / k)
    known = [name for name in task.metrics(Targets(probe, train.labels, task.name), shown) if "." not in name]
    known = [name for name in known if name != "calibration_error"] + [task.primary]
    if asked and asked not in known:
        raise UsageError(f"the task {task.name} has no metric {asked!r} to follow.{suggest(asked, known)}")
    return asked or task.primary


@dataclass(frozen=True)
class _Points:
    points: tuple[CurvePoint, ...]
    law: Measured


def _measured(study: _Study, options: CurveOptions, progress: Progress) -> _Points:
    """The figure at every size."""
    if study.held is None:
        fold = folds(study.train.values, task=study.task.name, groups=study.groups, seed=options.seed)
        most = len(study.train) - int(np.bincount(fold).max())
    else:
        fold, most = None, len(study.train)
    sizes = sizes_up_to(most, least=min(_least(study.train), most), points=options.points)
    repeats = [_repeats(n, most, fold) for n in sizes]
    orders = [_order(study, number, fold) for number in range(max(repeats))]
    done, total, figures = 0, sum(repeats), []
    for n, times in zip(sizes, repeats, strict=True):
        scored = []
        for number in range(times):
            progress(STAGE, done, total)
            scored.append(_score(study, orders[number][:n], number, fold))
            done += 1
        figures.append(_figures(study, [one for one in scored if one is not None], out_of_fold=fold is not None))
    progress(STAGE, total, total)
    return _summary(study, np.array(sizes), figures)


def _repeats(n: int, most: int, fold: np.ndarray | None) -> int:
    if fold is not None:
        return int(fold.max()) + 1
    return 1 if n == most else _REPEATS if 4 * n <= most else 3


def _order(study: _Study, number: int, fold: np.ndarray | None) -> Int[np.ndarray, "m"]:
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


def _score(study: _Study, rows: np.ndarray, number: int, fold: np.ndarray | None) -> Scored | None:
    """Targets and predictions of the scored rows by a head fitted on some rows; None where these have one label only."""
    own, present = _occurring(study.train.take(rows), study.task)
    if study.task.name == "single_label" and len(present) < 2:
        return None
    groups = None if study.groups is None else study.groups[rows]
    inner = folds(own.values, task=study.task.name, groups=groups, seed=study.seed)
    chosen = select(study.x[rows], own, fold=inner, recipe=parse(study.head), groups=groups, seed=study.seed)
    if study.held is not None and study.x_held is not None:
        truth, x = study.held, study.x_held
    else:
        out = np.flatnonzero(fold == number)
        truth, x = study.train.take(out), study.x[out]
    predicted = study.task.predict(chosen.head.scores(x), chosen.temperature)
    whole = np.zeros((len(x), max(1, len(study.train.labels))))
    whole[:, present] = predicted
    return truth, whole


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


def _figures(study: _Study, scored: list[Scored], *, out_of_fold: bool) -> _Figures:
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


def _summary(study: _Study, sizes: np.ndarray, figures: list[_Figures]) -> _Points:
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
    higher = study.metric in _HIGHER
    best = 1.0 if higher else 0.0
    points = []
    for n, value, own, error in zip(sizes, values, figures, spread, strict=True):
        found = point_estimate(float(value), float(np.hypot(error, own.sampling)), best=best, higher_is_better=higher)
        points.append(CurvePoint(int(n), found.value, found.low, found.high))
    return _Points(tuple(points), Measured(sizes, values, spread, level, best, higher))


def _points(sizes: Any, estimates: tuple[Estimate, ...]) -> tuple[CurvePoint, ...]:
    return tuple(CurvePoint(int(n), one.value, one.low, one.high) for n, one in zip(sizes, estimates, strict=True))


def _sentence(metric: str, found: Extrapolation | None, n: int, *, now: float) -> str:
    """Will more data help?"""
    title = metric.replace("_", "-") if metric == "log_loss" else metric.replace("_", " ")
    if found is None:
        return f"too few sizes to say: the curve needs at least {LEAST_POINTS}, so label more first"
    share = metric in _SHARES
    sign = 1.0 if metric in _HIGHER else -1.0
    worth = _WORTH_POINTS if share else _WORTH_SHARE * abs(now)
    twice, fourfold = (_gain(gain, share=share) for gain in found.gains)
    low, high = sorted((sign * found.gains[0].low, sign * found.gains[0].high))
    said = f"twice the labels ({2 * n:,}) would change {title} by {twice}, four times ({4 * n:,}) by {fourfold}"
    if low > 0 and sign * found.gains[0].value >= worth:
        return f"yes: {said}"
    if high < worth:
        return f"hardly, the curve is flat: {said}"
    return f"perhaps: {said}; the curve is too rough to be sure"


def _gain(gain: Estimate, *, share: bool) -> str:
    """A gain with its interval: in points for shares, else in the figure's own unit."""
    if share:
        return f"{100 * gain.value:+.1f} points [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"
    return f"{gain.value:+.3g} [{gain.low:+.3g}, {gain.high:+.3g}]"
