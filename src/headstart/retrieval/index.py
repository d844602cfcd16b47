"""Exact search by inner product on whitened rows, a block at a time, so that a million rows may be mapped from disk.

Rows are made of length 1, whitened by the principal components of the collection, `(x - mu) V (e + eps)^-1/2`, and made of length 1
again: directions in which all items vary alike, such as brightness, then count no more than others. Source: Jegou and Chum, Negative
Evidences and Co-occurrences in Image Retrieval: The Benefit of PCA and Whitening, ECCV 2012.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

DIMENSIONS = 256
"""Components that are kept, where there are rows enough."""

ROWS_A_COMPONENT = 8
"""A component is kept for each so many rows: with fewer, the last ones are noise that whitening would blow up."""

RIDGE = 10.0
"""eps, in units of the mean eigenvalue of the components that are kept; the paper adds nothing.

Frozen features of few classes lose by full whitening: with eps 0.1 the mean average precision of cifar10's labels fell from 0.31 (cosine)
to 0.19 and recall at 1 from 0.65 to 0.63; with 10 they are 0.30 and 0.66 (benchmarks/search.py).
"""

_CELLS = 1 << 22
_RESIDENT_BYTES = 1 << 30


@dataclass(frozen=True)
class Whitening:
    """A linear map of rows of length 1.

    Attributes:
        mean: (d,) of the collection's rows of length 1.
        matrix: (d, r) to the whitened components.
    """

    mean: Float[np.ndarray, "d"]
    matrix: Float[np.ndarray, "d r"]

    def apply(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n r"]:
        """Whitened rows of length 1, float32."""
        return _unit((_unit(x) - self.mean) @ self.matrix)


@dataclass(frozen=True)
class Cosine:
    """No map but length 1: plain cosine."""

    def apply(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """Rows of length 1, float32."""
        return _unit(x)


@dataclass(frozen=True)
class Nearest:
    """The nearest rows of each query, best first; where a collection has fewer, places are left with -1.

    Attributes:
        positions: (q, k) among the collection.
        scores: (q, k) cosines of the mapped rows, from -1 to 1; -inf for places that are left.
    """

    positions: Int[np.ndarray, "q k"]
    scores: Float[np.ndarray, "q k"]


@dataclass(frozen=True)
class Index:
    """A collection that is ready to be searched.

    Attributes:
        x: (n, d) raw rows, in memory or mapped from disk.
        way: what maps them.
        resident: all mapped rows, where they fit; else every search maps them again, block by block.
    """

    x: Float[np.ndarray, "n d"]
    way: Whitening | Cosine
    resident: Float[np.ndarray, "n r"] | None

    def nearest(
        self, queries: Float[np.ndarray, "q d"], *, k: int, same: tuple[np.ndarray, np.ndarray] | None = None
    ) -> Nearest:
        """The k nearest rows of each query by inner product of mapped rows.

        Args:
            queries: raw rows of the same backbone.
            k: how many.
            same: (q,) and (n,) numbers; a row whose number is the query's is left out, as a query never finds itself.
        """
        mapped, n = self.way.apply(queries), len(self.x)
        best = np.full((len(mapped), k), -np.inf, dtype=np.float32)
        where = np.full((len(mapped), k), -1, dtype=np.int64)
        for part, rows in self.blocks(beside=len(mapped)):
            scores = mapped @ rows.T
            if same is not None:
                scores[same[0][:, None] == same[1][part]] = -np.inf
            both = np.concatenate([best, scores], axis=1)
            places = np.concatenate([where, np.broadcast_to(np.arange(n)[part], scores.shape)], axis=1)
            top = _top(both, k)
            best, where = np.take_along_axis(both, top, axis=1), np.take_along_axis(places, top, axis=1)
        return Nearest(np.where(np.isfinite(best), where, -1), best)

    def blocks(self, *, beside: int = 0) -> Iterator[tuple[slice, Float[np.ndarray, "b r"]]]:
        """The mapped rows, so many at a time that their scores against `beside` queries fit memory."""
        step = max(1, min(65_536, _CELLS // max(beside, self.x.shape[1])))
        for start in range(0, len(self.x), step):
            part = slice(start, min(start + step, len(self.x)))
            yield part, self.way.apply(self.x[part]) if self.resident is None else self.resident[part]


def build(x: Float[np.ndarray, "n d"], *, whiten: bool = True, dimensions: int = DIMENSIONS) -> Index:
    """An index over a collection; the whitening is fitted on it and on nothing else.

    Args:
        x: (n, d) raw rows, in memory or mapped from disk.
        whiten: False: plain cosine.
        dimensions: components to keep at most; fewer where there are few rows.
    """
    way = fit_whitening(x, dimensions=dimensions) if whiten else Cosine()
    width = way.matrix.shape[1] if isinstance(way, Whitening) else x.shape[1]
    index = Index(x, way, None)
    if 4 * len(x) * width > _RESIDENT_BYTES:
        return index
    mapped = np.empty((len(x), width), dtype=np.float32)
    for part, rows in index.blocks():
        mapped[part] = rows
    return Index(x, way, mapped)


def fit_whitening(x: Float[np.ndarray, "n d"], *, dimensions: int = DIMENSIONS) -> Whitening:
    """The whitening of a collection, from one pass: products in float32 a block, summed in float64."""
    n, d = x.shape
    mean, values, vectors = _spectrum(x) if n > d else _small_spectrum(x)
    kept = max(1, min(dimensions, d, n // ROWS_A_COMPONENT))
    values, vectors = np.maximum(values[:kept], 0.0), vectors[:, :kept]
    floor = RIDGE * float(values.mean()) or 1.0
    return Whitening(mean.astype(np.float32), (vectors / np.sqrt(values + floor)).astype(np.float32))


Spectrum = tuple[Float[np.ndarray, "d"], Float[np.ndarray, "r"], Float[np.ndarray, "d r"]]


def _spectrum(x: Float[np.ndarray, "n d"]) -> Spectrum:
    """Mean, eigenvalues and eigenvectors of the covariance of rows of length 1, largest first."""
    n, d = x.shape
    step = max(1, _CELLS // d)
    mean, gram = np.zeros(d), np.zeros((d, d))
    for start in range(0, n, step):
        rows = _unit(x[start : start + step])
        mean += rows.sum(axis=0, dtype=np.float64)
        gram += rows.T @ rows
    mean /= n
    values, vectors = np.linalg.eigh(gram / n - np.outer(mean, mean))
    return mean, values[::-1], vectors[:, ::-1]


def _small_spectrum(x: Float[np.ndarray, "n d"]) -> Spectrum:
    """The same of fewer rows than features, from the rows themselves."""
    rows = _unit(x).astype(np.float64)
    mean = rows.mean(axis=0)
    _, lengths, vectors = np.linalg.svd(rows - mean, full_matrices=False)
    return mean, lengths**2 / len(rows), vectors.T


def _unit(x: np.ndarray) -> np.ndarray:
    """Rows of length 1 as float32; a row of zeros stays so."""
    rows = np.asarray(x, dtype=np.float32)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1.0), dtype=np.float32)


def _top(scores: Float[np.ndarray, "q m"], k: int) -> Int[np.ndarray, "q k"]:
    """Positions of the k highest scores of each row, best first; equal scores by position."""
    if scores.shape[1] > k:
        near = np.sort(np.argpartition(-scores, k - 1, axis=1)[:, :k], axis=1)
    else:
        near = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    order = np.argsort(-np.take_along_axis(scores, near, axis=1), axis=1, kind="stable")
    return np.asarray(np.take_along_axis(near, order, axis=1))
