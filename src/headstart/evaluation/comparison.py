"""Two models on the very same samples: paired differences, their intervals, and whether chance alone would explain them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from headstart.evaluation.intervals import Estimate, estimate, mean_draws

HIGHER_IS_BETTER = frozenset({"accuracy"})
"""Figures of which more is better; of the others, which are losses and errors, less is."""

LEVEL = 0.05
"""Two models are told apart where chance alone gives such a difference less often than this."""


@dataclass(frozen=True)
class Difference:
    """One figure of two models, A and B, on the same samples.

    Attributes:
        a: A's.
        b: B's.
        difference: a - b, with the 95 % interval of resampled samples, both models' outcomes of a sample staying together.
        p: the two-sided probability of so large a difference were both equally good.
        better: `a` or `b` where the two can be told apart, else empty.
    """

    a: float
    b: float
    difference: Estimate
    p: float
    better: str

    def to_json(self) -> dict[str, Any]:
        """The figure as programs read it."""
        values = {"a": self.a, "b": self.b, "difference": self.difference.to_json(), "p": self.p}
        return values | {"better": self.better or None}


def paired_difference(
    a: Float[np.ndarray, "n"], b: Float[np.ndarray, "n"], *, higher_is_better: bool, seed: int = 0
) -> Difference:
    """Compare what two models made of each of the same n samples.

    The test is McNemar's exact one (a binomial test of the samples on which only one model is right) where the outcomes are 0 or 1, and
    Student's paired one elsewhere (where all differ by the same, whose spread of 0 tells it nothing, the sign test). Samples count as independent of each other: copies and groups make p too small.

    Args:
        a: A's outcome of each sample, such as 1 where it is right, or its loss.
        b: B's.
        higher_is_better: whether large outcomes are good.
        seed: decides the resamples.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    difference = a - b
    mean = float(difference.mean())
    p = _p(difference)
    wins = (mean > 0) == higher_is_better
    better = ("a" if wins else "b") if p < LEVEL and mean else ""
    draws = mean_draws(difference[:, None], seed=seed)[:, 0]
    return Difference(float(a.mean()), float(b.mean()), estimate(mean, draws), p, better)


def _p(difference: np.ndarray) -> float:
    from scipy import stats

    unequal = difference[difference != 0]
    if not len(unequal):
        return 1.0
    if np.isin(unequal, (-1.0, 1.0)).all() or np.ptp(difference) <= 1e-9 * np.abs(difference).max():
        return float(stats.binomtest(int((unequal > 0).sum()), len(unequal)).pvalue)
    return float(stats.ttest_1samp(difference, 0.0).pvalue)
