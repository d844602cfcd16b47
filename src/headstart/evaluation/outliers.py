"""How unlike the training rows a row is: Mahalanobis distances and the distance to the k-th neighbour, ranked among held-out rows.

Sources: Lee et al., "A simple unified framework for detecting out-of-distribution samples" (2018; the distance to the nearest class
mean), Ren et al., "A simple fix to Mahalanobis distance" (2021; relative to the distance from the mean of all), and Sun et al.,
"Out-of-distribution detection with deep nearest neighbors" (2022). No single detector is best everywhere, so that the largest of
their ranks decides. The relative distance finds new kinds among known ones; of rows that lie far from everything it makes
ordinary ones, since both of its distances grow there alike, which is why the plain one stands beside it.

Fitted and scored in NumPy. Fitting has one thread: its products are small, and two threads that wait for each other on a busy machine
took 26 to 72 s where one took 4 to 5.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

MOST_NEIGHBOURS = 50
"""The neighbour whose distance counts is the square root of the number of stored rows, and at most this one."""
MOST_DIRECTIONS = 256
"""Mahalanobis distances are taken along at most so many principal directions."""
THRESHOLD = 0.95
"""A row is an outlier where it is more unlike than this share of the held-out rows."""
MOST_QUERIES = 2000
"""Held-out rows that the ranks are taken among: 95 % of them is 95 % of all to half a point."""

_ROWS_PER_DIRECTION = 5
_ITERATIONS = 4
_BLOCK = 1024
# So few rows at once are looked at without the threads of BLAS.
_FEW = 4
# Below this share of the largest value or variance, what is left is rounding.
_FLAT = 1e-6


@dataclass(frozen=True)
class OutlierStatistics:
    """What it takes to say how unlike the training rows a row is.

    Attributes:
        mean: (d,) float32, of the stored rows.
        directions: (d, r) float32. Along them the stored rows have variance 1 and are uncorrelated, and so are they within the classes.
        within: (r,) their variance within the classes, shrunk; 1 where there are none.
        centres: (c, r) means of the classes along the directions; one row, the mean of all, where there are none.
        rows: (s, d) float32, the stored rows less the mean, of length 1.
        k: which neighbour's distance counts.
        held_out: (q, m) sorted distances of m rows, each left out with its fold: to the nearest centre, the neighbour's, and with
            classes the relative one.
        joint: (m,) sorted, the largest rank of each of these rows among the q.
        threshold: a row is an outlier where its score is above this.
    """

    mean: Float[np.ndarray, "d"]
    directions: Float[np.ndarray, "d r"]
    within: Float[np.ndarray, "r"]
    centres: Float[np.ndarray, "c r"]
    rows: Float[np.ndarray, "s d"]
    k: int
    held_out: Float[np.ndarray, "q m"]
    joint: Float[np.ndarray, "m"]
    threshold: float = THRESHOLD

    def distances(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "q n"]:
        """The q distances of each row, in the order of `held_out`."""
        parts = [self._distances(x[start : start + _BLOCK]) for start in range(0, len(x), _BLOCK)]
        return np.concatenate(parts, axis=1) if parts else np.zeros((len(self.held_out), 0))

    def scores(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n"]:
        """The share of held-out rows that are less unlike the training rows, from 0 to 1; 1 is most unlike."""
        ranks = [_rank(known, found) for known, found in zip(self.held_out, self.distances(x), strict=True)]
        return _rank(self.joint, np.max(ranks, axis=0))

    def _distances(self, x: np.ndarray) -> np.ndarray:
        centred = np.asarray(x, dtype=np.float64) - self.mean
        few = len(x) <= _FEW
        z = np.einsum("nd,dr->nr", centred, self.directions) if few else centred @ self.directions.astype(np.float64)
        gaussian = _gaussian(z, self.within, self.centres)[: len(self.held_out) - 1]
        return np.stack([gaussian[0], _kth_distance(_cosines(unit(centred), self.rows), self.k), *gaussian[1:]])


def fit_outliers(
    x: Float[np.ndarray, "n d"], targets: Int[np.ndarray, "n"] | None, *, fold: Int[np.ndarray, "n"], seed: int = 0
) -> OutlierStatistics | None:
    """Statistics of the training rows, and the distances of rows that were left out of them. None where the rows do not vary.

    Args:
        x: at most some 10,000 rows, all of which are stored.
        targets: class indices; None where there are no classes.
        fold: the fold of each row; a row is held out together with its fold, so that neither it nor its copies are its neighbours.
        seed: decides which rows are held out, past `MOST_QUERIES`.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(1, user_api="blas"):
        return _fit(x, targets, fold=fold, seed=seed)


def _fit(x: np.ndarray, targets: np.ndarray | None, *, fold: np.ndarray, seed: int) -> OutlierStatistics | None:
    mean = np.asarray(x, dtype=np.float64).mean(axis=0).astype(np.float32)
    centred = np.asarray(x, dtype=np.float32) - mean
    if np.abs(centred).max() <= _FLAT * np.abs(x).max():
        return None
    basis = _principal(centred, seed=seed)
    z = np.asarray(centred @ basis, dtype=np.float64)
    turn, within, centres = _statistics(z, targets)
    rows = unit(centred).astype(np.float16).astype(np.float32)
    k = max(1, min(MOST_NEIGHBOURS, int(np.sqrt(len(x)))))
    chosen = np.sort(np.random.default_rng(seed).permutation(len(x))[:MOST_QUERIES])
    gaussian = _left_out(z, targets, fold=fold, chosen=chosen)
    near = _neighbours_left_out(rows, fold=fold, chosen=chosen, k=k)
    held_out = np.sort(np.stack([gaussian[0], near, *gaussian[1:]]), axis=1)
    ranks = [_rank(np.sort(each), each) for each in (gaussian[0], near, *gaussian[1:])]
    return OutlierStatistics(
        mean=mean,
        directions=(basis @ turn).astype(np.float32),
        within=within,
        centres=centres,
        rows=rows,
        k=k,
        held_out=held_out,
        joint=np.sort(np.max(ranks, axis=0)),
    )


def _cosines(x: Float[np.ndarray, "n d"], rows: Float[np.ndarray, "s d"]) -> Float[np.ndarray, "n s"]:
    """The products of all pairs of rows; of a few with many one by one.

    The threads of BLAS go on waiting for more in a loop, on the cores that the network of the next sample needs: of two cores and one
    sentence at a time, MiniLM took 19 ms for one with them, and 12 without.
    """
    return np.stack([np.vecdot(rows, each) for each in x]) if len(x) <= _FEW else x @ rows.T


def unit(centred: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """Rows made of length 1, as float32; a row of zeros stays one."""
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.where(length > 0, length, 1.0), dtype=np.float32)


def _principal(centred: np.ndarray, *, seed: int) -> Float[np.ndarray, "d r"]:
    """Principal directions by subspace iteration from a random start (Halko, Martinsson and Tropp, 2011).

    At most one for five rows: held-out rows are seen by the directions, and where these are nearly as many as the rows, they fit
    the rows so closely that every new one looks unlike them.
    """
    n, d = centred.shape
    r = max(1, min(MOST_DIRECTIONS, d, n // _ROWS_PER_DIRECTION))
    wide = min(d, n, r + 16)
    found = np.random.default_rng(seed).standard_normal((d, wide)).astype(np.float32)
    for _ in range(_ITERATIONS):
        found = np.linalg.qr(centred.T @ (centred @ found))[0]
    projected = np.asarray(centred @ found, dtype=np.float64)
    variances, vectors = np.linalg.eigh(projected.T @ projected)
    kept = np.flatnonzero(variances > _FLAT * variances[-1])[::-1][:r]
    return np.asarray(found @ vectors[:, kept].astype(np.float32))


def _statistics(z: np.ndarray, targets: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A turn that makes the total covariance 1 and that within the classes diagonal; this diagonal, and the centres so turned.

    Both covariances are shrunk towards a multiple of the identity.
    """
    n = len(z)
    mean = z.mean(axis=0)
    total = _shrunk((z - mean).T @ (z - mean) / n, n)
    variances, vectors = np.linalg.eigh(total)
    whitening = vectors / np.sqrt(variances)
    if targets is None:
        return whitening, np.ones(len(total)), (mean @ whitening)[None]
    present, index = np.unique(targets, return_inverse=True)
    means = np.stack([z[index == c].mean(axis=0) for c in range(len(present))])
    rest = z - means[index]
    inner = whitening.T @ _shrunk(rest.T @ rest / n, n) @ whitening
    within, rotation = np.linalg.eigh(inner)
    turn = whitening @ rotation
    return turn, np.maximum(within, _FLAT), means @ turn


def _shrunk(covariance: Float[np.ndarray, "r r"], n: int) -> Float[np.ndarray, "r r"]:
    """The covariance, shrunk by the share of Chen et al., "Shrinkage algorithms for MMSE covariance estimation" (OAS, 2010)."""
    r = len(covariance)
    trace, square = np.trace(covariance), (covariance**2).sum()
    gap = (n + 1 - 2 / r) * (square - trace**2 / r)
    share = 1.0 if gap <= 0 else min(1.0, ((1 - 2 / r) * square + trace**2) / gap)
    floor = max(trace / r, np.finfo(np.float64).tiny)
    return np.asarray((1 - share) * covariance + max(share, _FLAT) * floor * np.eye(r))


def _gaussian(z: np.ndarray, within: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The squared distance to the nearest centre, and this less the one to the mean of all, which is where z is 0."""
    scaled, means = z / np.sqrt(within), centres / np.sqrt(within)
    squares = (scaled**2).sum(axis=1)[:, None] - 2 * scaled @ means.T + (means**2).sum(axis=1)
    nearest = squares.min(axis=1)
    return nearest, nearest - (z**2).sum(axis=1)


def _left_out(
    z: np.ndarray, targets: np.ndarray | None, *, fold: np.ndarray, chosen: np.ndarray
) -> tuple[np.ndarray, ...]:
    """The Gaussian distances of the chosen rows, by the statistics of the other folds."""
    found = np.empty((2, len(chosen)))
    for own, rest in _splits(fold, chosen):
        centred = z - z[rest].mean(axis=0)
        turn, within, centres = _statistics(centred[rest], None if targets is None else targets[rest])
        found[:, own] = _gaussian(centred[chosen[own]] @ turn, within, centres)
    return tuple(found) if targets is not None else (found[0],)


def _neighbours_left_out(rows: np.ndarray, *, fold: np.ndarray, chosen: np.ndarray, k: int) -> np.ndarray:
    """The distance of the chosen rows to their k-th neighbour among the other folds."""
    found = np.empty(len(chosen))
    for start in range(0, len(chosen), _BLOCK):
        block = chosen[start : start + _BLOCK]
        cosines = rows[block] @ rows.T
        cosines[fold[block][:, None] == fold[None, :]] = -np.inf
        fewest = int(np.isfinite(cosines).sum(axis=1).min())
        found[start : start + _BLOCK] = _kth_distance(cosines, min(k, fewest))
    return found


def _kth_distance(cosines: np.ndarray, k: int) -> np.ndarray:
    """1 less the k-th largest cosine of each row: half the squared distance of rows of length 1."""
    at = cosines.shape[1] - k
    return np.asarray(1.0 - np.partition(cosines, at, axis=1)[:, at], dtype=np.float64)


def _splits(fold: np.ndarray, chosen: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each fold the positions of its rows among the chosen, and the rows of the others."""
    for number in np.unique(fold[chosen]):
        yield np.flatnonzero(fold[chosen] == number), np.flatnonzero(fold != number)


def _rank(known: Float[np.ndarray, "m"], found: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """The share of sorted known values that each value reaches, as if there were one more: never 1, whatever the value."""
    return np.asarray(np.searchsorted(known, found, side="right") / (len(known) + 1))
