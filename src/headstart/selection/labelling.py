"""What to label next: the middle of each cluster of rows, of all rows at first, later of those that the head is unsure of.

With no labels yet, k-means with as many clusters as are to be labelled, and the real item nearest to each centroid. With some,
DropQuery: the head answers again on rows from which features were dropped, and the items whose label changes are clustered instead.
Source: Gupte and others, Revisiting Active Learning in the Era of Vision Foundation Models, TMLR 2024. It departs from the paper in
what a dropped feature becomes: the mean of the pool instead of 0, so that rows off centre stay where rows are.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

DROPPED = 0.75
TIMES = 3
"""Three answers on rows without three quarters of their features, as in the paper."""

NEAR = 0.05
"""An item is a near copy of another where their squared distance is below this share of an item's usual one from its cluster's middle."""

_BATCHED = 10_000
_CELLS = 1 << 24

Decide = Callable[[Float[np.ndarray, "n d"]], Int[np.ndarray, "n"]]


@dataclass(frozen=True)
class Picked:
    """Items to label, the one that stands for most others first.

    Attributes:
        positions: (m,) among the pool.
        sizes: (m,) how many items each one's cluster has.
    """

    positions: Int[np.ndarray, "m"]
    sizes: Int[np.ndarray, "m"]


def changes(
    x: Float[np.ndarray, "n d"], decide: Decide, *, mean: Float[np.ndarray, "d"], seed: int
) -> Int[np.ndarray, "n"]:
    """How many of three answers on rows with dropped features differ from the answer on the whole row.

    Args:
        x: raw rows.
        decide: rows to class indices.
        mean: what a dropped feature becomes; what is kept is blown up around it, so that the expected row is the row.
        seed: decides what is dropped.
    """
    rng = np.random.default_rng(seed)
    counts = np.zeros(len(x), dtype=np.int64)
    step = max(1, _CELLS // x.shape[1])
    for start in range(0, len(x), step):
        part = slice(start, start + step)
        rows = np.asarray(x[part], dtype=np.float32)
        whole = decide(rows)
        for _ in range(TIMES):
            kept = rng.random(rows.shape, dtype=np.float32) >= DROPPED
            counts[part] += decide(mean + kept * (rows - mean) / (1 - DROPPED)) != whole
    return counts


def uncertain(counts: Int[np.ndarray, "n"], *, least: int) -> Bool[np.ndarray, "n"]:
    """Items whose label changes in most of the answers; where these are fewer than `least`, those whose label changes at all, or all."""
    for bar in (TIMES // 2 + 1, 1):
        if (counts >= bar).sum() >= least:
            return np.asarray(counts >= bar)
    return np.ones(len(counts), dtype=bool)


def centres(
    x: Float[np.ndarray, "n d"],
    *,
    n: int,
    known: Float[np.ndarray, "m d"] | None = None,
    seed: int = 0,
) -> Picked:
    """The real items nearest to the centroids of k-means with n clusters on rows of length 1; no near copy of another or of a known one.

    Args:
        x: (n, d) raw rows of the pool.
        n: how many to pick; fewer are picked where the pool has fewer that differ.
        known: (m, d) rows of items that are labelled already.
        seed: decides where k-means starts.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans

    rows = _unit(x)
    k = min(n, len(rows))
    make = KMeans if len(rows) <= _BATCHED else MiniBatchKMeans
    fitted = make(k, n_init=1, random_state=seed).fit(rows)
    member, sizes = fitted.labels_, np.bincount(fitted.labels_, minlength=k)
    near = (
        1.0 - NEAR * float(fitted.inertia_) / len(rows) / 2
    )  # as a cosine: |a - b|^2 = 2 - 2 a.b for rows of length 1
    free = np.ones(len(rows), dtype=bool)
    if known is not None:
        _drop_near(free, rows, _unit(known), near)
    chosen: list[int] = []
    of: list[int] = []
    central = [rows[member == c] @ fitted.cluster_centers_[c] for c in range(k)]
    for c in np.argsort(-sizes, kind="stable"):
        inside = np.flatnonzero(member == c)
        order = inside[np.argsort(-central[c], kind="stable")]
        first = next((int(row) for row in order if free[row]), None)
        if first is not None:
            _take(first, free, rows, near)
            chosen.append(first)
            of.append(int(sizes[c]))
    while (
        len(chosen) < k and free.any()
    ):  # clusters of copies gave nothing: the free item farthest from all that were picked
        left = np.flatnonzero(free)
        closest = (rows[left] @ rows[chosen].T).max(axis=1) if chosen else np.zeros(len(left))
        first = int(left[closest.argmin()])
        _take(first, free, rows, near)
        chosen.append(first)
        of.append(int(sizes[member[first]]))
    return Picked(np.array(chosen, dtype=np.int64), np.array(of, dtype=np.int64))


def _take(row: int, free: np.ndarray, rows: np.ndarray, near: float) -> None:
    """Take one item, and with it its near copies."""
    free[rows @ rows[row] > near] = False
    free[row] = False


def _drop_near(free: np.ndarray, rows: np.ndarray, taken: np.ndarray, near: float) -> None:
    """Leave out what is a near copy of a taken row, some taken rows at a time."""
    step = max(1, _CELLS // max(1, len(rows)))
    for start in range(0, len(taken), step):
        free &= ~((rows @ taken[start : start + step].T).max(axis=1, initial=-1.0) > near)


def _unit(x: np.ndarray) -> np.ndarray:
    rows = np.asarray(x, dtype=np.float32)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1.0), dtype=np.float32)
