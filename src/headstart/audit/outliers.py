"""Items that are unlike all others: by the distance to the k-th nearest row, or by that from the mean of all rows."""

import numpy as np
from jaxtyping import Bool, Float, Int

MOST_NEIGHBOURS = 50
_FENCE = 3.0


def neighbours_for(n: int) -> int:
    """Which neighbour's distance counts among n items: the square root of n, at most `MOST_NEIGHBOURS`."""
    return max(1, min(MOST_NEIGHBOURS, int(np.sqrt(n))))


def outlier_scores(cosines: Float[np.ndarray, "n j"]) -> Float[np.ndarray, "n"]:
    """How far each item is from the others: 1 less the cosine of its k-th nearest; 0 is the same direction, 2 the opposite one.

    Source: Sun et al., "Out-of-distribution detection with deep nearest neighbors" (2022).

    Args:
        cosines: of each item's nearest other items, nearest first; the last finite one counts.
    """
    finite = np.isfinite(cosines)
    last = np.maximum(finite.sum(axis=1) - 1, 0)
    found = cosines[np.arange(len(cosines)), last]
    return np.asarray(1.0 - np.where(np.isfinite(found), found, -1.0), np.float64)


def from_the_mean(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n"]:
    """The distance of each row from the mean of all: what comes from elsewhere often has rows of another length altogether.

    Some strangers that are alike are each other's neighbours and look at home by their k-th nearest; their distance from the mean
    does not hide them.
    """
    return np.asarray(np.linalg.norm(np.asarray(x, np.float64) - np.asarray(x, np.float64).mean(axis=0), axis=1))


def joint(*measures: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """The largest rank that any measure gives each item, as a share of all: no single measure is best everywhere."""
    from scipy.stats import rankdata

    return np.asarray(np.max([rankdata(each) / (len(each) + 1) for each in measures], axis=0))


def far_out(scores: Float[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
    """Which scores lie past Tukey's outer fence: three interquartile ranges above the upper quartile."""
    low, high = np.percentile(scores, (25, 75))
    return np.asarray((scores > high + _FENCE * (high - low)) & (scores > high))


def ranks(order: Int[np.ndarray, "m"], n: int) -> Float[np.ndarray, "m"]:
    """From the most unlike one on, what share of all is less so: for showing."""
    return np.asarray(1.0 - (np.arange(len(order)) + 1) / (n + 1))
