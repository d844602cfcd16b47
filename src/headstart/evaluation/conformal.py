"""Split conformal prediction: sets of labels, and intervals of values, that hold the truth at a chosen rate. Functions of arrays.

Source: Vovk et al., *Algorithmic Learning in a Random World* (2005); for sets the score of Sadinle, Lei and Wasserman, "Least
ambiguous set-valued classifiers with bounded error levels" (LAC, 2019), which is 1 less the probability of the true label.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

FEWEST_BY_LABEL = 50
"""Calibration rows that a label needs for a quantile of its own: below, its coverage would vary by more than 4 points at 90 %."""

COVERAGE = 0.9
"""The share of truths that sets and intervals are to hold, where nobody asks for another."""


@dataclass(frozen=True)
class Conformal:
    """What makes sets or intervals of predictions.

    Attributes:
        coverage: the share of truths that the sets or intervals are to hold.
        quantile: a label belongs to the set where 1 less its probability is at most this; 1 lets every label in. For values it is the
            half width of the interval, in the target's unit.
        by_label: (k) the same of each label by its own rows, None for a label with too few of them; None for values.
        n: calibration rows.
        spread: standard deviation of the coverage that n calibration rows give, over draws of these rows.
    """

    coverage: float
    quantile: float
    by_label: tuple[float | None, ...] | None
    n: int
    spread: float


def fit_conformal(
    probabilities: Float[np.ndarray, "n k"], targets: Int[np.ndarray, "n"], *, coverage: float = COVERAGE
) -> Conformal:
    """The quantile of 1 - p_y over calibration rows: the ceil((n + 1) coverage)-th smallest; 1 where that rank exceeds n.

    Rows that no fit has seen (a held-out part) give the exact guarantee: new rows are covered at `coverage` at least, on average over
    draws of the rows. Out-of-fold rows of the training part, which `fit` uses because they cost no labels, give it approximately, as
    CV+ does (Barber et al., "Predictive inference with the jackknife+", 2021): the heads that scored them saw fewer rows than the
    head that ships, so that it tends to be a little better than its sets suppose.

    Args:
        probabilities: calibrated probabilities of rows that were not fitted on.
        targets: class indices.
        coverage: the share of truths that the sets are to hold, between 0 and 1.
    """
    scores = 1.0 - probabilities[np.arange(len(targets)), targets]
    by_label = tuple(
        _quantile(scores[targets == label], coverage, default=1.0)
        if (targets == label).sum() >= FEWEST_BY_LABEL
        else None
        for label in range(probabilities.shape[1])
    )
    quantile = _quantile(scores, coverage, default=1.0)
    return Conformal(coverage, quantile, by_label, len(targets), coverage_spread(len(targets), coverage))


def fit_interval(
    predicted: Float[np.ndarray, "n"], targets: Float[np.ndarray, "n"], *, coverage: float = COVERAGE
) -> Conformal | None:
    """The quantile of the absolute residuals: value and half width make the interval. None where there are too few rows for any.

    Args:
        predicted: values of rows that were not fitted on.
        targets: their true values.
        coverage: the share of truths that the intervals are to hold, between 0 and 1.
    """
    quantile = _quantile(np.abs(predicted - targets), coverage, default=math.inf)
    if not math.isfinite(quantile):
        return None
    return Conformal(coverage, quantile, None, len(targets), coverage_spread(len(targets), coverage))


def prediction_sets(
    probabilities: Float[np.ndarray, "n k"], conformal: Conformal, *, by_label: bool = False
) -> Bool[np.ndarray, "n k"]:
    """The labels that each row may have. The most probable one is always among them.

    That departs from LAC, which leaves a set empty where no label is probable enough: one row in ten, where the model is right
    more often than `coverage` asks. An empty set tells a person nothing, and one label more only adds to the coverage.

    Args:
        probabilities: calibrated probabilities.
        conformal: what `fit_conformal` found.
        by_label: hold each label's own truths at the coverage (Mondrian), where it has a quantile of its own.
    """
    quantiles: list[float] = [conformal.quantile] * probabilities.shape[1]
    if by_label and conformal.by_label is not None:
        quantiles = [conformal.quantile if own is None else own for own in conformal.by_label]
    inside = np.asarray(1.0 - probabilities <= np.array(quantiles))
    inside[np.arange(len(inside)), probabilities.argmax(axis=1)] = True
    return inside


def coverage_spread(n: int, coverage: float) -> float:
    """The standard deviation of the coverage over draws of n calibration rows; 0 where there are too few for anything but full sets.

    Given the rows, the coverage follows Beta(r, n + 1 - r), r = ceil((n + 1) coverage) (Vovk, "Conditional validity of inductive
    conformal predictors", 2012), where scores do not tie.
    """
    rank = _rank(n, coverage)
    return 0.0 if rank > n else math.sqrt(rank * (n + 1 - rank) / ((n + 1) ** 2 * (n + 2)))


def _rank(n: int, coverage: float) -> int:
    # Less what rounding adds: 0.9 * 10 is to be 9, and not the next number above it.
    return math.ceil((n + 1) * coverage - 1e-9)


def _quantile(scores: Float[np.ndarray, "n"], coverage: float, *, default: float) -> float:
    rank = _rank(len(scores), coverage)
    return default if rank > len(scores) else float(np.partition(scores, rank - 1)[rank - 1])
