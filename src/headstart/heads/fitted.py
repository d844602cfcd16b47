"""The closed set of fitted heads. Immutable, scored in NumPy, so that predicting needs no torch."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

LINKS = ("softmax", "sigmoid", "identity")


@dataclass(frozen=True)
class Linear:
    """`scores = x @ weight + bias`: what ridge, logistic regression, LDA and nearest mean all become.

    Attributes:
        weight: (d, k) float32.
        bias: (k,) float32.
        link: `softmax`, `sigmoid` or `identity`.
    """

    weight: Float[np.ndarray, "d k"]
    bias: Float[np.ndarray, "k"]
    link: str

    def scores(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n k"]:
        """Scores of n rows, before temperature and link, as float64."""
        return np.asarray(x, dtype=np.float64) @ self.weight.astype(np.float64) + self.bias


@dataclass(frozen=True)
class Neighbours:
    """A vote of the k nearest stored rows by cosine.

    Attributes:
        rows: (m, d) float32, of length 1.
        votes: (m, k) float32: one-hot classes, label indicators or values of the stored rows.
        mean: (d,) float32, subtracted from a row before its length is made 1.
        k: how many neighbours vote.
        sharpness: a neighbour's weight is exp(sharpness * cosine).
        link: as for `Linear`. For softmax and sigmoid the scores are logarithms of vote shares, smoothed.
    """

    rows: Float[np.ndarray, "m d"]
    votes: Float[np.ndarray, "m k"]
    mean: Float[np.ndarray, "d"]
    k: int
    sharpness: float
    link: str

    def scores(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n k"]:
        """Scores of n rows, before temperature and link, as float64."""
        raise NotImplementedError


Head = Linear | Neighbours
