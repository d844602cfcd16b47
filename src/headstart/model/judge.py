"""The judge: what a model says of its own predictions.

That is sets or intervals that hold the truth, what is unlike the training data, and why the model would rather not answer. It is fitted by `fit` from out-of-fold probabilities and training rows, travels in the model directory, and scores in NumPy alone: the
one call `Judge.verdict` is what every place that gives a prediction uses.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from headstart.core.digests import of_tensors
from headstart.core.errors import UsageError, suggest
from headstart.core.spec import BackboneSpec
from headstart.evaluation.conformal import COVERAGE, Conformal, fit_conformal, fit_interval, prediction_sets
from headstart.evaluation.intervals import Estimate, estimate, mean_draws, share
from headstart.evaluation.judgement import Judgement
from headstart.evaluation.outliers import OutlierStatistics, fit_outliers

if TYPE_CHECKING:
    from headstart.heads.fitted import Head

MOST_ROWS = 10_000
"""Training rows that a judge stores: 25 MB at 1,280 numbers each."""

WHEN = ("any", "outlier", "unsure")
"""When a model says that it does not know."""

_MOST_NAMED = 5


@dataclass(frozen=True)
class Judging:
    """How predictions are judged.

    Attributes:
        abstain: when to give no answer: `outlier`, where a sample is unlike the training data; `unsure`, where more than one label is
            possible at the model's coverage; `any`, at either; empty: never.
        by_label: hold each label's own truths at the coverage, and not only all of them together.
    """

    abstain: str = ""
    by_label: bool = False

    def check(self) -> None:
        """Refuse an occasion that there is not.

        Raises:
            UsageError: names the nearest one.
        """
        if self.abstain and self.abstain not in WHEN:
            known = ", ".join(WHEN)
            raise UsageError(
                f"a model can abstain when {known}, and got {self.abstain!r}.{suggest(self.abstain, list(WHEN))}"
            )


@dataclass(frozen=True)
class Bond:
    """What a judge was fitted for; with anything else its word is worth nothing.

    Attributes:
        head: digest of the head's tensors and numbers, its temperature, and the backbone's.
        backbone: digest of the specs that make the rows.
    """

    head: str
    backbone: str

    @classmethod
    def of(cls, head: "Head", *, temperature: float, specs: Sequence[BackboneSpec], precision: str) -> "Bond":
        """The bond of a model's parts; `precision` is the one that it was fitted at, whatever it runs at."""
        described = [replace(spec, precision=precision).to_json() for spec in specs]
        rows = hashlib.blake2b(json.dumps(described, sort_keys=True).encode(), digest_size=16).hexdigest()
        parts = dict(_parts("head", head))
        arrays = {name: part for name, part in parts.items() if isinstance(part, np.ndarray)}
        plain = [(name, repr(part)) for name, part in parts.items() if name not in arrays]
        told = json.dumps([type(head).__name__, plain, of_tensors(arrays), repr(float(temperature)), rows])
        return cls(hashlib.blake2b(told.encode(), digest_size=16).hexdigest(), rows)


@dataclass(frozen=True)
class Neighbourhood:
    """Training rows, to find those that are nearest to a new one.

    Attributes:
        rows: (m, d) float32, less the mean and of length 1: the product with another such row is the cosine.
        mean: (d,) float32.
        ids: m ids of samples, as the training data had them.
        labels: (m,) class indices; -1 where a sample has not one label.
    """

    rows: Float[np.ndarray, "m d"]
    mean: Float[np.ndarray, "d"]
    ids: tuple[str, ...]
    labels: Int[np.ndarray, "m"]


@dataclass(frozen=True)
class Verdict:
    """What a judge says of n predictions.

    Attributes:
        sets: the labels that each may have; None where the judge has no sets.
        intervals: (n, 2) ends of what each value may be; None where it has no intervals.
        outlier: (n,) how unlike the training data each is, from 0 to 1; None where the judge cannot tell.
        outliers: (n,) whether that is past the threshold; None likewise.
        reasons: n reasons to give no answer, empty where there is none.
        labels: the k names.
        order: (n, k) the labels from the most probable one on.
    """

    sets: Bool[np.ndarray, "n k"] | None
    intervals: Float[np.ndarray, "n 2"] | None
    outlier: Float[np.ndarray, "n"] | None
    outliers: Bool[np.ndarray, "n"] | None
    reasons: tuple[str, ...]
    labels: tuple[str, ...]
    order: Int[np.ndarray, "n k"]

    def judgement(self, row: int) -> Judgement:
        """What is said of one prediction."""
        interval = None if self.intervals is None else (float(self.intervals[row, 0]), float(self.intervals[row, 1]))
        return Judgement(
            set=self.names(row),
            interval=interval,
            outlier=None if self.outlier is None else float(self.outlier[row]),
            is_outlier=self.outliers is not None and bool(self.outliers[row]),
            abstain=self.reasons[row],
        )

    def names(self, row: int) -> tuple[str, ...] | None:
        """The names in one row's set, most probable first; None where there are no sets."""
        if self.sets is None:
            return None
        return tuple(self.labels[label] for label in self.order[row] if self.sets[row, label])


@dataclass(frozen=True)
class Judge:
    """What a model needs to judge its predictions. Every part may be missing.

    Attributes:
        conformal: what makes sets of labels, or intervals of values.
        outliers: what tells how unlike the training data a sample is.
        neighbours: training rows with their ids.
        bond: what it was fitted for: `conformal` for its head, and what looks at rows for its backbone.
    """

    conformal: Conformal | None
    outliers: OutlierStatistics | None
    neighbours: Neighbourhood | None
    bond: Bond

    def fits(self, bond: Bond) -> bool:
        """Whether it was fitted for a model of this bond."""
        rows = self.outliers is None or self.bond.backbone == bond.backbone
        return rows and (self.conformal is None or self.bond.head == bond.head)

    def without_sets(self) -> "Judge":
        """What still holds after the head or its temperature changed: all that looks at rows alone."""
        return replace(self, conformal=None)

    def verdict(
        self,
        x: Float[np.ndarray, "n d"],
        probabilities: Float[np.ndarray, "n k"],
        *,
        labels: tuple[str, ...],
        judging: Judging = Judging(),
        chosen: Int[np.ndarray, "n"] | None = None,
    ) -> Verdict:
        """Judge n predictions. NumPy only.

        Args:
            x: the rows that were scored.
            probabilities: their calibrated probabilities; values (n, 1) for regression.
            labels: the k names; empty for regression.
            judging: when to abstain, and how sets are made.
            chosen: what a decision rule answers, where that need not be the most probable label: it then is in the set as well.

        Raises:
            UsageError: there is no such occasion to abstain.
        """
        judging.check()
        sets = intervals = None
        if self.conformal is not None and labels:
            sets = prediction_sets(probabilities, self.conformal, by_label=judging.by_label)
            if chosen is not None:
                sets[np.arange(len(sets)), chosen] = True
        elif self.conformal is not None:
            intervals = probabilities[:, :1] + self.conformal.quantile * np.array([-1.0, 1.0])
        scores = None if self.outliers is None else self.outliers.scores(x)
        past = None if self.outliers is None or scores is None else scores > self.outliers.threshold
        order = np.argsort(-probabilities, axis=1, kind="stable")
        said = Verdict(sets, intervals, scores, past, ("",) * len(x), labels, order)
        if not judging.abstain:
            return said
        return replace(said, reasons=tuple(self._reason(said, row, judging.abstain) for row in range(len(x))))

    def to_json(self) -> dict[str, Any]:
        """The object under `judge` in what `headstart fit --json` prints (docs/json.md)."""
        sets, rows = self.conformal, self.neighbours
        return {
            "coverage": None if sets is None else sets.coverage,
            "quantile": None if sets is None else sets.quantile,
            "spread": None if sets is None else sets.spread,
            "n": None if sets is None else sets.n,
            "outlier_threshold": None if self.outliers is None else self.outliers.threshold,
            "rows": 0 if rows is None else len(rows.rows),
        }

    @property
    def sentence(self) -> str:
        """What its sets or intervals promise, for a person; empty where it has none."""
        sets = self.conformal
        if sets is None:
            return ""
        what = "sets of labels" if sets.by_label is not None else f"intervals of ± {sets.quantile:.3g}"
        return f"{what} hold the truth in {100 * sets.coverage:.4g} % of cases, ± {100 * sets.spread:.2g} % for {sets.n:,} calibration samples"

    def _reason(self, said: Verdict, row: int, when: str) -> str:
        found = []
        if when in {"any", "outlier"} and said.outlier is not None and said.outliers is not None and said.outliers[row]:
            share = math.floor(1000 * said.outlier[row]) / 10
            found.append(f"unlike the training data: further from it than {share:g} % of held-out samples")
        names = said.names(row) or ()
        if when in {"any", "unsure"} and len(names) > 1 and self.conformal is not None:
            shown = ", ".join(names[:_MOST_NAMED]) + (
                f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
            )
            found.append(f"{len(names)} labels are possible at {100 * self.conformal.coverage:.4g} % coverage: {shown}")
        return "; ".join(found)


def fit_judge(
    x: Float[np.ndarray, "n d"],
    targets: np.ndarray,
    *,
    predicted: Float[np.ndarray, "n k"],
    fold: Int[np.ndarray, "n"],
    ids: Sequence[str],
    bond: Bond,
    coverage: float = COVERAGE,
    seed: int = 0,
) -> Judge | None:
    """The judge of a model, from its training rows and what it answered on them out of fold; None where these tell nothing.

    Of more than `MOST_ROWS` rows, a sample is looked at and stored in which rare classes keep all of theirs.

    Args:
        x: rows, in memory or mapped from disk.
        targets: (n,) class indices, (n, k) label indicators or (n,) values.
        predicted: out of fold, calibrated: probabilities, or values (n, 1).
        fold: the fold in which each row was held out.
        ids: n ids of samples.
        bond: the model's.
        coverage: the share of truths that sets and intervals are to hold.
        seed: decides what is sampled.
    """
    classes = targets if targets.ndim == 1 and targets.dtype.kind in "iu" else None
    conformal: Conformal | None = None
    if classes is not None:
        conformal = fit_conformal(predicted, classes, coverage=coverage)
    elif targets.ndim == 1:
        conformal = fit_interval(predicted[:, 0], targets, coverage=coverage)
    kept = _sample(len(x), classes, seed=seed)
    rows = np.asarray(x[kept], dtype=np.float32)
    own = None if classes is None else classes[kept]
    outliers = fit_outliers(rows, own, fold=fold[kept], seed=seed)
    if outliers is None:
        return None if conformal is None else Judge(conformal, None, None, bond)
    labels = np.full(len(kept), -1, np.int64) if own is None else own.astype(np.int64)
    near = Neighbourhood(outliers.rows, outliers.mean, tuple(ids[row] for row in kept), labels)
    return Judge(conformal, outliers, near, bond)


def judged(
    verdict: Verdict, truths: np.ndarray, *, outcomes: Mapping[str, Float[np.ndarray, "n"]]
) -> dict[str, Estimate]:
    """What a judge was worth on n samples: docs/json.md names the figures.

    Args:
        verdict: what it said of them, abstaining where it would.
        truths: class indices, label indicators or values.
        outcomes: what each sample adds to the task's means, as `Task.outcomes` gives it.
    """
    figures: dict[str, Estimate] = {}
    if verdict.sets is not None:
        hit = verdict.sets[np.arange(len(truths)), truths]
        figures |= {"coverage": share(int(hit.sum()), len(hit)), "set_size": _mean(verdict.sets.sum(axis=1))}
    if verdict.intervals is not None:
        low, high = verdict.intervals.T
        hit = (low <= truths) & (truths <= high)
        figures |= {"coverage": share(int(hit.sum()), len(hit)), "interval_width": _mean(high - low)}
    if verdict.outliers is not None:
        figures["outliers"] = share(int(verdict.outliers.sum()), len(verdict.outliers))
    answered = np.array([not reason for reason in verdict.reasons])
    figures["abstained"] = share(int((~answered).sum()), len(answered))
    if "accuracy" in outcomes and answered.any():
        figures["accuracy_of_answers"] = share(int(outcomes["accuracy"][answered].sum()), int(answered.sum()))
    return figures


def _mean(values: np.ndarray) -> Estimate:
    return estimate(float(values.mean()), mean_draws(values[:, None])[:, 0])


def _sample(n: int, classes: np.ndarray | None, *, seed: int) -> Int[np.ndarray, "m"]:
    """At most `MOST_ROWS` positions, sorted: at random, and evenly from the classes as far as they have rows."""
    if n <= MOST_ROWS:
        return np.arange(n)
    order = np.random.default_rng(seed).permutation(n)
    if classes is not None:
        shuffled = classes[order]
        by_class = np.argsort(shuffled, kind="stable")
        counts = np.bincount(shuffled)
        within = np.empty(n, np.int64)
        within[by_class] = np.arange(n) - np.repeat(np.cumsum(counts) - counts, counts)
        order = order[np.argsort(within, kind="stable")]
    return np.sort(order[:MOST_ROWS])


def _parts(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The arrays and plain values in a head's fields, each by its name."""
    if dataclasses.is_dataclass(value):
        yield from _parts(name, vars(value))
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _parts(f"{name}.{key}", each)
    elif isinstance(value, tuple | list):
        for i, each in enumerate(value):
            yield from _parts(f"{name}.{i}", each)
    else:
        yield name, value.item() if isinstance(value, np.generic) else value
