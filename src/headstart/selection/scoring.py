"""What one candidate's rows are worth for the labels of a subset, by sample where a figure is a mean over samples."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from headstart.core.errors import UsageError
from headstart.data.splits import folds
from headstart.evaluation.transferability import h_score, log_me, neighbour_hits
from headstart.heads.selection import parse, select
from headstart.tasks import TASKS
from headstart.tasks.task import Targets

METRICS = ("linear", "knn", "hscore", "logme")
"""What candidates can be ordered by: the cross-validated head, neighbours, the H-score, LogME."""

MOST_NEIGHBOURS = 10_000
"""Rows whose neighbours are looked at, where candidates are not ordered by that."""

HEAD = "lda"
"""Closed form, cross-validated from one pass: the proxy of the head that is shipped."""

Values = Mapping[str, Any]
"""By metric, (n,) what each sample adds, NaN where it is not in the subset; or one number where the metric is none of samples."""


@dataclass(frozen=True)
class Subset:
    """Some of n samples.

    Attributes:
        at: (m,) their positions.
        y: their targets.
        groups: (m,) numbers of what shares a fold; None where each stands alone.
        n: how many there are in all.
    """

    at: Int[np.ndarray, "m"]
    y: Targets
    groups: Int[np.ndarray, "m"] | None
    n: int


def score(x: Float[np.ndarray, "m d"], subset: Subset, *, metric: str, seed: int) -> Values:
    """Every figure of one candidate's rows; higher is better throughout.

    Args:
        x: rows of the subset.
        subset: whose they are.
        metric: one of `METRICS` that is wanted besides the head's and the neighbours'.
        seed: decides the folds.

    Raises:
        UsageError: the metric needs one label a sample.
        FitError: no head can be fitted.
    """
    y, groups = subset.y, subset.groups
    found: dict[str, Any] = {"linear": _spread(subset, out_of_fold(x, y, groups=groups, seed=seed).figure)}
    if y.task == "single_label":
        # Every row is compared with every other: past some there is no time for it, and no need where nothing is ordered by it.
        few = slice(None) if metric == "knn" else slice(MOST_NEIGHBOURS)
        hits = neighbour_hits(x[few], y.values[few], groups=None if groups is None else groups[few])[0]
        found["knn"] = _spread(replace(subset, at=subset.at[few]), hits)
        if metric in {"hscore", "logme"}:
            found[metric] = (h_score if metric == "hscore" else log_me)(x, y.values)
    elif metric != "linear":
        raise UsageError(f"the metric {metric} needs one label a sample, and the task is {y.task}: use linear")
    return found


@dataclass(frozen=True)
class OutOfFold:
    """What a head that has not seen it makes of each of m samples.

    Attributes:
        figure: what it adds to the task's first figure; negative where lower is better.
        loss: its log-loss, or its error where there are no probabilities.
    """

    figure: Float[np.ndarray, "m"]
    loss: Float[np.ndarray, "m"]


def out_of_fold(x: Float[np.ndarray, "m d"], y: Targets, *, groups: np.ndarray | None, seed: int) -> OutOfFold:
    """Cross-validate the head on rows.

    Raises:
        FitError: no head can be fitted.
    """
    own = y
    if y.task == "single_label":
        present, index = np.unique(y.values, return_inverse=True)
        own = Targets(index.reshape(-1).astype(np.int64), tuple(y.labels[c] for c in present), y.task)
    fold = folds(own.values, task=y.task, groups=groups, seed=seed)
    recipe = parse(HEAD if y.task == "single_label" else "ridge")
    found = select(x, own, fold=fold, recipe=recipe, groups=groups, seed=seed)
    task = TASKS.get(y.task)
    outcomes = task.outcomes(own, task.predict(found.oof_scores, found.temperature))
    name, first = next(iter(outcomes.items()))
    return OutOfFold(np.asarray(first if name == "accuracy" else -first), np.asarray(outcomes.get("log_loss", first)))


def mean(values: Values, metric: str) -> float:
    """A figure."""
    return float(np.nanmean(values[metric]))


def gap(top: Any, other: Any) -> tuple[float, float]:
    """By how much one is behind, over the samples that both have, and the paired standard error; infinite where there is none."""
    difference = np.asarray(top) - np.asarray(other)
    if difference.ndim == 0:
        return float(difference), np.inf
    shared = difference[np.isfinite(difference)]
    if len(shared) < 2:
        return float("nan"), np.inf
    return float(shared.mean()), float(shared.std(ddof=1) / np.sqrt(len(shared)))


def summary(value: Any) -> tuple[float, float]:
    """A figure and its standard error; NaN where it has none."""
    known = np.asarray(value)[np.isfinite(value)] if np.ndim(value) else np.array([value])
    error = float(known.std(ddof=1) / np.sqrt(len(known))) if len(known) > 1 else float("nan")
    return float(known.mean()), error


def _spread(subset: Subset, values: Float[np.ndarray, "m"]) -> Float[np.ndarray, "n"]:
    out = np.full(subset.n, np.nan)
    out[subset.at] = values
    return out
