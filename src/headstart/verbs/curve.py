"""`curve`: a figure against the number of labels, and whether more of them will help."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from headstart.core.errors import Skipped
from headstart.core.progress import Progress, silent
from headstart.evaluation.intervals import Estimate
from headstart.evaluation.learning_curve import LEAST_POINTS, RECENT, Extrapolation, extrapolate
from headstart.model.reports import OUT_OF_FOLD, skipped_json
from headstart.verbs.curve_points import HIGHER, curve_study, measure
from headstart.verbs.fit_data import FitOptions, prepare
from headstart.verbs.rows import Data, RowOptions, opened, rows_of

_SHARES = {"accuracy", "balanced_accuracy", "macro_f1", "map"}
# What a person would go and label for: half a point of a share, 2 % of anything else.
_WORTH_POINTS, _WORTH_SHARE = 0.005, 0.02


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
    points: int = 10
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
        band: the law from an eighth of the labels to four times as many, for drawing.
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
        lists = {
            name: [each.to_json() for each in getattr(self, name)] for name in ("points", "forecast", "gains", "band")
        }
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
    study = curve_study(prepared, rows, metric=options.metric, seed=options.seed)
    extracted = time.perf_counter()
    estimates, measured = measure(study, points=options.points, progress=progress)
    n = len(study.train)
    found = extrapolate(measured, at=(2 * n, 4 * n), now=n, seed=options.seed)
    drawn = np.unique(np.rint(np.geomspace(measured.n[-1] / RECENT, 4 * n, 40)).astype(int))
    band = extrapolate(measured, at=tuple(map(int, drawn)), now=n, seed=options.seed)
    return Curve(
        metric=study.metric,
        points=_points(measured.n, estimates),
        fitted=None if found is None else {"a": found.law.a, "b": found.law.b, "c": found.law.c},
        forecast=() if found is None else _points((2 * n, 4 * n), found.forecasts),
        gains=() if found is None else _points((2 * n, 4 * n), found.gains),
        band=() if band is None else _points(drawn, band.forecasts),
        sentence=_sentence(study.metric, found, n, now=estimates[-1].value),
        n=n,
        head=study.head,
        scored_on=prepared.evaluated or OUT_OF_FOLD,
        scored=study.scored,
        skipped=prepared.samples.skipped + rows.extraction.skipped,
        notes=prepared.notes + prepared.doubts + rows.extraction.notes,
        seconds={"features": extracted - began, "total": time.perf_counter() - began},
    )


def _points(sizes: Any, estimates: tuple[Estimate, ...]) -> tuple[CurvePoint, ...]:
    return tuple(CurvePoint(int(n), one.value, one.low, one.high) for n, one in zip(sizes, estimates, strict=True))


def _sentence(metric: str, found: Extrapolation | None, n: int, *, now: float) -> str:
    """Will more data help?"""
    title = metric.replace("_", "-") if metric == "log_loss" else metric.replace("_", " ")
    if found is None:
        return f"too few sizes to say: the curve needs at least {LEAST_POINTS}, so label more first"
    share = metric in _SHARES
    sign = 1.0 if metric in HIGHER else -1.0
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
