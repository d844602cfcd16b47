"""Estimates with their 95 % intervals, by the bootstrap over samples.

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


def confusion_draws(
    confusion: Int[np.ndarray, "k k"],
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> np.ndarray:
    """A statistic of the confusion matrix on each resample: exactly the bootstrap over rows, without the rows.

    Args:
        confusion: counts, true label by predicted label.
        statistic: takes (b, k, k) resampled counts and returns (b, ...) values; called with a few resamples at a time.
        seed: decides the draws.
        resamples: b in all.

    Returns:
        The statistic's values, (resamples, ...).
    """
    rng = np.random.default_rng(seed)
    k = confusion.shape[0]
    cells = np.flatnonzero(confusion)
    counts = confusion.reshape(-1)[cells]
    total = int(counts.sum())
    step = max(1, min(resamples, _CELLS // (k * k)))
    parts = []
    for start in range(0, resamples, step):
        drawn = np.zeros((min(step, resamples - start), k * k))
        drawn[:, cells] = rng.multinomial(total, counts / total, size=len(drawn))
        parts.append(statistic(drawn.reshape(-1, k, k)))
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
