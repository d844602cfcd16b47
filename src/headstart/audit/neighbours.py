"""The nearest rows of each row, by cosine: candidates for copies, votes on labels, and distances for outliers."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

MOST_ROWS = 100_000
"""No more rows are compared with each other: the time grows with the square of their number."""

_CELLS = 1 << 24
_LEAST_ROWS = 1000
_SECONDS_A_PAIR, _FLOPS_A_SECOND = 1e-8, 2.5e11


def nearest(
    x: Float[np.ndarray, "n d"], k: int, *, apart: Int[np.ndarray, "n"] | None = None
) -> tuple[Int[np.ndarray, "n k"], Float[np.ndarray, "n k"]]:
    """Positions and cosines of the k nearest other rows, nearest first, after the mean was taken from all.

    Exact: `X X^T` a block at a time, so that memory grows with n and not with its square.

    Args:
        x: rows.
        k: how many; fewer where there are fewer other rows.
        apart: (n,) numbers of which equal ones are no neighbours of each other, such as those of copies; None: only a row itself is not
            its own neighbour. Where too few others are left, a cosine is -inf.
    """
    u = unit(x)
    n = len(u)
    k = max(1, min(k, n - 1))
    where, cosines = np.empty((n, k), np.int64), np.empty((n, k), np.float32)
    for block, near in _blocks(u, apart):
        at = np.argpartition(near, n - k, axis=1)[:, n - k :]
        found = np.take_along_axis(near, at, axis=1)
        order = np.argsort(-found, axis=1, kind="stable")
        where[block], cosines[block] = (np.take_along_axis(each, order, axis=1) for each in (at, found))
    return where, cosines


def kth_cosine(
    x: Float[np.ndarray, "n d"], k: int, *, apart: Int[np.ndarray, "n"] | None = None
) -> Float[np.ndarray, "n"]:
    """The cosine of each row and its k-th nearest other one, of rows as they are; of the last one where there are fewer than k.

    Args:
        x: rows.
        k: which.
        apart: as for `nearest`; the cosine is -1 where no other row is left.
    """
    u = _long_one(np.asarray(x, np.float32))
    n = len(u)
    found = np.empty(n, np.float32)
    for block, near in _blocks(u, apart):
        near.partition(max(0, n - k), axis=1)
        nearer = near[:, max(0, n - k) :]
        found[block] = nearer.min(axis=1, initial=np.inf, where=np.isfinite(nearer))
    return np.asarray(np.where(np.isfinite(found), found, -1.0), np.float64)


def _blocks(u: Float[np.ndarray, "n d"], apart: np.ndarray | None) -> Iterator[tuple[slice, Float[np.ndarray, "b n"]]]:
    """Cosines of some rows and all others at a time; -inf where they are no neighbours of each other."""
    n = len(u)
    step = max(1, _CELLS // n)
    for start in range(0, n, step):
        block = slice(start, min(n, start + step))
        near = u[block] @ u.T
        rows = np.arange(block.start, block.stop)
        if apart is None:
            near[np.arange(len(rows)), rows] = -np.inf
        else:
            near[apart[rows][:, None] == apart[None, :]] = -np.inf
        yield block, near


def affordable(seconds: float, d: int) -> int:
    """How many rows two cores compare with each other in a time, at most `MOST_ROWS`: a reckoning, so that no clock decides a result.

    One product of all rows finds copies, two find doubtful labels and outliers: one and a half each time.
    """
    each = _SECONDS_A_PAIR + 3.0 * d / _FLOPS_A_SECOND
    return int(min(MOST_ROWS, max(_LEAST_ROWS, np.sqrt(seconds / each))))


def unit(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """Rows less their mean, of length 1, as float32; a row that is the mean stays 0."""
    return _long_one(np.asarray(x, np.float32) - np.asarray(x, np.float64).mean(axis=0).astype(np.float32))


def _long_one(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(x / np.where(length > 0, length, 1.0), np.float32)
