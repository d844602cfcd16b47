"""Estimates with their 95 % intervals: shares of samples by Wilson's score, everything else by the bootstrap over samples.

Resampling n rows only matters through what a metric sums up, so no row is ever drawn twice by hand: a function of the confusion
matrix is resampled exactly by multinomial draws over its cells, and a function of means by weighting the rows.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

RESAMPLES = 1000
EXACT_ROWS = 16_384
"""Past so many rows, resampled means are drawn from their normal limit instead."""

_CELLS = 1 << 23
# The normal distribution's quantile of 97.5 %.
_Z = 1.959963984540054


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval.

    Attributes:
        value: the figure on the data as it is.
        low: lower end of the interval.
        high: upper end of the interval.
    """

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """The figure as programs read it."""
        return {"value": self.value, "low": self.low, "high": self.high}


def estimate(value: float, draws: Float[np.ndarray, "b"], *, centred: bool = False) -> Estimate:
    """The percentile interval of resampled values. It always holds the value itself.

    Args:
        value: the figure on the data as it is.
        draws: the figure on b resamples; draws that are not finite (a class that a resample lost) are left out.
        centred: shift the draws until their median is the value, and keep them from 0 up: for a figure that resampling itself
            pushes up, such as a mean of absolute values.
    """
    draws = draws[np.isfinite(draws)]
    if not len(draws):
        return Estimate(float(value), float(value), float(value))
    if centred:
        draws = np.maximum(draws - np.median(draws) + value, 0.0)
    low, high = np.percentile(draws, (2.5, 97.5))
    return Estimate(float(value), float(min(low, value)), float(max(high, value)))


def share(hits: int, n: int) -> Estimate:
    """A share of n samples with Wilson's score interval (1927), which says something also where all or none are hits.

    Args:
        hits: how many are.
        n: of how many; at least 1.
    """
    value, square = hits / n, _Z**2 / n
    middle = (value + square / 2) / (1 + square)
    half = _Z * np.sqrt(value * (1 - value) / n + square / (4 * n)) / (1 + square)
    return Estimate(value, float(max(0.0, min(value, middle - half))), float(min(1.0, max(value, middle + half))))


def confusion_draws(
    labels: tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]],
    statistic: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
    *,
    k: int,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> np.ndarray:
    """A statistic of the confusion matrix on each resample: exactly the bootstrap over rows, without the rows.

    Only cells that are not empty are drawn, so memory grows with the rows and labels and not with the labels squared.

    Args:
        labels: true and predicted class indices.
        statistic: takes the (b, k) resampled counts of hits, of true and of predicted labels, and returns (b, ...) values; called
            with a few resamples at a time.
        k: how many labels there are.
        seed: decides the draws.
        resamples: b in all.

    Returns:
        The statistic's values, (resamples, ...).
    """
    from scipy.sparse import csr_array

    rng = np.random.default_rng(seed)
    cells, counts = np.unique(np.asarray(labels[0], dtype=np.int64) * k + labels[1], return_counts=True)
    true, predicted, order = cells // k, cells % k, np.arange(len(cells))
    shape, hit = (k, len(cells)), true == predicted
    sums = [
        csr_array((weights.astype(np.float64), (label, order)), shape=shape)
        for weights, label in ((hit, true), (np.ones(len(cells)), true), (np.ones(len(cells)), predicted))
    ]
    step = max(1, min(resamples, _CELLS // max(len(cells), 3 * k)))
    parts = []
    for start in range(0, resamples, step):
        drawn = rng.multinomial(counts.sum(), counts / counts.sum(), size=min(step, resamples - start))
        parts.append(statistic(*(np.asarray(add @ drawn.T).T for add in sums)))
    return np.concatenate(parts)


def mean_draws(
    columns: Float[np.ndarray, "n m"], *, seed: int = 0, resamples: int = RESAMPLES
) -> Float[np.ndarray, "b m"]:
    """The means of m columns on each resample of the n rows, jointly.

    Up to `EXACT_ROWS` rows this is the bootstrap itself. Past them the means are drawn from their joint normal limit, with the
    columns' covariance over n: at that size the two cannot be told apart, and a million rows take no longer than a thousand.
    """
    columns = np.asarray(columns, dtype=np.float64)
    n, m = columns.shape
    rng = np.random.default_rng(seed)
    if n > EXACT_ROWS:
        mean = columns.mean(axis=0)
        values, vectors = np.linalg.eigh(np.cov(columns, rowvar=False, ddof=0).reshape(m, m) / n)
        return np.asarray(mean + (rng.standard_normal((resamples, m)) * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)
    return np.concatenate([weights @ columns / n for weights in row_weights(n, rng=rng, resamples=resamples)])


def row_weights(n: int, *, rng: np.random.Generator, resamples: int) -> Iterator[Float[np.ndarray, "b n"]]:
    """How often each of n rows occurs in each resample, a block of resamples at a time."""
    step = max(1, min(resamples, _CELLS // max(n, 1)))
    for start in range(0, resamples, step):
        b = min(step, resamples - start)
        drawn = rng.integers(0, n, size=(b, n), dtype=np.int32) + np.arange(b, dtype=np.int32)[:, None] * n
        yield np.bincount(drawn.reshape(-1), minlength=b * n).reshape(b, n).astype(np.float64)
