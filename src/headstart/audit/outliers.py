"""Items that are unlike all others: by the distance to the k-th nearest row, or by that from the mean of all rows."""

import numpy as np
from jaxtyping import Bool, Float, Int

from headstart.audit.neighbours import kth_cosine

MOST_NEIGHBOURS = 50
_FENCE = 3.0


def find_outliers(
    x: Float[np.ndarray, "n d"], *, apart: Int[np.ndarray, "n"] | None = None
) -> tuple[Float[np.ndarray, "n"], Bool[np.ndarray, "n"]]:
    """How unlike the others each item is, as the larger of its ranks by either distance, and which lie past the fence of one.

    Args:
        x: rows.
        apart: (n,) numbers of which equal ones do not count as neighbours, such as those of copies.
    """
    measures = (from_the_kth(x, apart=apart), from_the_mean(x))
    return joint(*measures), np.logical_or.reduce([far_out(each) for each in measures])


def from_the_kth(x: Float[np.ndarray, "n d"], *, apart: Int[np.ndarray, "n"] | None = None) -> Float[np.ndarray, "n"]:
    """1 less the cosine of each row and its k-th nearest other one; k is the square root of their number, at most `MOST_NEIGHBOURS`.

    Source: Sun et al., "Out-of-distribution detection with deep nearest neighbors" (2022). As there, and unlike where copies are
    sought, no mean is taken from the rows: less their mean, those of one collection point as far apart as strangers do.
    """
    k = max(1, min(MOST_NEIGHBOURS, int(np.sqrt(len(x)))))
    return 1.0 - kth_cosine(x, k, apart=apart)


def from_the_mean(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n"]:
    """The distance of each row from the mean of all: what comes from elsewhere often has rows of another length altogether.

    More than k strangers that are alike are each other's neighbours and look at home by their k-th nearest; their distance from the
    mean does not hide them.
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
