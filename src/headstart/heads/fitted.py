"""The closed set of fitted heads. Immutable, scored in NumPy, so that predicting needs no torch."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

LINKS = ("softmax", "sigmoid", "identity")
ACTIVATIONS = ("relu", "gelu_tanh")
MOST_LAYERS = 4
"""More hidden layers than these no head has."""

FLOOR = 1e-6
"""A share of votes is no nearer to 0 and to 1 than this, so that its logarithm is finite."""

_BLOCK = 1024
_CELLS = 1 << 24
_ROOT = float(np.sqrt(2.0 / np.pi))


@dataclass(frozen=True)
class Linear:
    """`scores = x @ weight + bias`: what ridge, logistic regression, LDA and nearest mean all become.

    Attributes:
        weight: (d, k) float32.
        bias: (k,) float64, as the scores of values far from 0, such as times in seconds, need it.
        link: `softmax`, `sigmoid` or `identity`.
    """

    weight: Float[np.ndarray, "d k"]
    bias: Float[np.ndarray, "k"]
    link: str

    def scores(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n k"]:
        """Scores of n rows, before temperature and link, as float64."""
        return np.asarray(np.asarray(x, dtype=np.float64) @ self.weight.astype(np.float64) + self.bias)


@dataclass(frozen=True)
class Layer:
    """One hidden layer: `activation(x @ weight + bias)`.

    Attributes:
        weight: (d, h) float32.
        bias: (h,) float64: where rows lie far from 0 it is large, and float32 would lose the differences.
    """

    weight: Float[np.ndarray, "d h"]
    bias: Float[np.ndarray, "h"]


@dataclass(frozen=True)
class Mlp:
    """Hidden layers, then a linear output: what random features and the small network become.

    Attributes:
        hidden: the hidden layers, at least one; the first takes raw rows, so whatever standardised them is folded into it.
        weight: (h, k) float32, of the output.
        bias: (k,) float64, of the output.
        activation: of every hidden layer: `relu`, or `gelu_tanh`, `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`, which NumPy
            can compute and the exact form, with the error function, not. Source: Hendrycks and Gimpel, 2016, section 2.
        link: as for `Linear`.
    """

    hidden: tuple[Layer, ...]
    weight: Float[np.ndarray, "h k"]
    bias: Float[np.ndarray, "k"]
    activation: str
    link: str

    def scores(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n k"]:
        """Scores of n rows, before temperature and link, as float64.

        Rows are taken a block at a time, so that memory does not grow with n h.
        """
        layers = [(layer.weight.astype(np.float64), layer.bias) for layer in self.hidden]
        output = self.weight.astype(np.float64)
        step = max(1, min(_BLOCK, _CELLS // max(len(layer.bias) for layer in self.hidden)))
        scores = np.empty((len(x), len(self.bias)))
        for start in range(0, len(x), step):
            values = np.asarray(x[start : start + step], dtype=np.float64)
            for weight, bias in layers:
                values = _activate(values @ weight + bias, self.activation)
            scores[start : start + step] = values @ output + self.bias
        return scores


def _activate(values: Float[np.ndarray, "n h"], activation: str) -> Float[np.ndarray, "n h"]:
    if activation == "relu":
        return np.asarray(np.maximum(values, 0.0))
    # From 10 on the hyperbolic tangent is 1 to the last bit, and its argument would overflow in the end.
    near = np.clip(values, -10.0, 10.0)
    return np.asarray(0.5 * values * (1.0 + np.tanh(_ROOT * (near + 0.044715 * near**3))))


@dataclass(frozen=True)
class Neighbours:
    """A vote of the k nearest stored rows by cosine.

    Attributes:
        rows: (m, d) float32, of length 1.
        votes: (m, k) float32: one-hot classes or label indicators of the stored rows; float64 for values.
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
        """Scores of n rows, before temperature and link, as float64.

        Rows are taken a block at a time, so that memory does not grow with n m.
        """
        step = max(1, min(_BLOCK, _CELLS // max(1, len(self.rows))))
        prior = self.votes.mean(axis=0, dtype=np.float64)
        scores = [
            vote_scores(
                self._nearest(np.asarray(x[start : start + step])),
                self.votes,
                prior=prior,
                sharpness=self.sharpness,
                link=self.link,
            )
            for start in range(0, len(x), step)
        ]
        return np.concatenate(scores) if scores else np.zeros((0, self.votes.shape[1]))

    def _nearest(self, x: Float[np.ndarray, "n d"]) -> tuple[np.ndarray, np.ndarray]:
        """Positions and cosines of the k nearest stored rows."""
        cosines = unit_rows(x, self.mean) @ self.rows.T
        k = min(self.k, cosines.shape[1])
        positions = np.argpartition(cosines, cosines.shape[1] - k, axis=1)[:, cosines.shape[1] - k :]
        return positions, np.take_along_axis(cosines, positions, axis=1)


def unit_rows(x: Float[np.ndarray, "n d"], mean: Float[np.ndarray, "d"]) -> Float[np.ndarray, "n d"]:
    """Rows less the mean, made of length 1, as float32; a row that is the mean itself stays 0."""
    centred = np.asarray(x, dtype=np.float64) - mean
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.where(length > 0, length, 1.0), dtype=np.float32)


def vote_scores(
    nearest: tuple[Int[np.ndarray, "n j"], Float[np.ndarray, "n j"]],
    votes: Float[np.ndarray, "m k"],
    *,
    prior: Float[np.ndarray, "k"] | Float[np.ndarray, "n k"],
    sharpness: float,
    link: str,
) -> Float[np.ndarray, "n k"]:
    """Scores from the votes of the nearest rows (their positions and cosines), each weighted by exp(sharpness * cosine).

    For softmax and sigmoid the shares are smoothed by one further neighbour that votes as the prior says, and the score is
    the logarithm of the share (softmax) or of its odds (sigmoid); for identity it is the weighted mean of the values.
    """
    positions, cosines = nearest
    weights = np.exp(sharpness * (cosines.astype(np.float64) - cosines.max(axis=1, keepdims=True)))
    weights /= weights.sum(axis=1, keepdims=True)
    shares = np.zeros((len(positions), votes.shape[1]))
    for nearest_one, weight in zip(positions.T, weights.T, strict=True):
        shares += weight[:, None] * votes[nearest_one]
    if link == "identity":
        return np.asarray(shares)
    j = positions.shape[1]
    smoothed = (j * shares + np.clip(prior, FLOOR, 1 - FLOOR)) / (j + 1)
    return np.asarray(np.log(smoothed) if link == "softmax" else np.log(smoothed) - np.log1p(-smoothed))


Head = Linear | Neighbours | Mlp
