"""Temperatures and probabilities: how scores become numbers that mean what they say. Functions of arrays.

A link says how: `softmax` (one of k labels), `sigmoid` (each of k labels or not) or `identity` (a value; no temperature).
"""

import numpy as np
from jaxtyping import Float

TEMPERATURES = (1e-6, 1e6)
"""No temperature leaves this range."""

_CHUNK = 1 << 22
_ITERATIONS = 60


def softmax(scores: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """Probabilities that sum to 1 in each row, without overflow."""
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def sigmoid(scores: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """A probability for each entry, without overflow."""
    return np.asarray(np.exp(-np.logaddexp(0.0, -scores)))


def probabilities(scores: Float[np.ndarray, "n k"], *, temperature: float, link: str) -> Float[np.ndarray, "n k"]:
    """Calibrated probabilities of scores, or the scores themselves for the identity link, as float64."""
    z = np.asarray(scores, dtype=np.float64)
    if link == "identity":
        return z
    return softmax(z / temperature) if link == "softmax" else sigmoid(z / temperature)


def log_losses(
    scores: Float[np.ndarray, "n k"], targets: np.ndarray, *, temperature: float, link: str
) -> Float[np.ndarray, "n"]:
    """Each row's loss: the negative log-likelihood in nats; for sigmoid the mean over labels; for identity the squared error.

    Args:
        scores: before temperature and link.
        targets: (n,) class indices, (n, k) bool, or (n,) values.
        temperature: what the scores are divided by; not used for identity.
        link: `softmax`, `sigmoid` or `identity`.
    """
    z = np.asarray(scores, dtype=np.float64)
    if link == "identity":
        return np.asarray((z[:, 0] - targets) ** 2)
    z = z / temperature
    if link == "sigmoid":
        return np.asarray(np.logaddexp(0.0, np.where(targets, -z, z)).mean(axis=1))
    z = z - z.max(axis=1, keepdims=True)
    return np.asarray(np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), targets])


def fit_temperature(scores: Float[np.ndarray, "n k"], targets: np.ndarray, *, link: str) -> float:
    """The temperature that makes the scores of rows which no fit has seen most likely.

    The negative log-likelihood is convex in 1/T; its root is found by Newton steps kept inside a bracket. One departure from
    `min NLL(scores / T)`: one further row is supposed, with the scores of an average row and a label drawn evenly. Without it,
    rows that are all told right would drive T to 0 and make the first mistake infinitely surprising; beside n rows it weighs 1/n.

    Args:
        scores: out-of-fold or held-out scores; k = 1 or scores without any spread give 1.0.
        targets: (n,) class indices or (n, k) bool.
        link: `softmax` or `sigmoid`; `identity` gives 1.0.

    Returns:
        T within `TEMPERATURES`.
    """
    z = np.asarray(scores, dtype=np.float64)
    if link == "identity" or not z.size or (link == "softmax" and z.shape[1] < 2):
        return 1.0
    scale = float(np.abs(z - z.mean(axis=1, keepdims=True) if link == "softmax" else z).mean())
    if not np.isfinite(scale) or scale < np.finfo(np.float64).tiny:
        return 1.0
    slope = _softmax_slope if link == "softmax" else _sigmoid_slope
    low, high = scale / TEMPERATURES[1], scale / TEMPERATURES[0]
    beta = 1.0
    for _ in range(_ITERATIONS):
        first, second = slope(z / scale, targets, beta)
        low, high = (beta, high) if first < 0 else (low, beta)
        proposal = beta - first / second if second > 0 else np.inf
        if not low < proposal < high:
            proposal = float(np.sqrt(low * high))
        if abs(proposal - beta) <= 1e-7 * beta:
            break
        beta = float(proposal)
    return float(np.clip(scale / beta, *TEMPERATURES))


def _softmax_slope(z: np.ndarray, targets: np.ndarray, beta: float) -> tuple[float, float]:
    """First and second derivative in beta = 1/T of the summed negative log-likelihood with its supposed row."""
    n, k = z.shape
    first = second = 0.0
    for start in range(0, n, max(1, _CHUNK // k)):
        part = z[start : start + max(1, _CHUNK // k)]
        own = part[np.arange(len(part)), targets[start : start + len(part)]]
        p = softmax(beta * part)
        mean = (p * part).sum(axis=1)
        variance = (p * (part - mean[:, None]) ** 2).sum(axis=1)
        first += float((mean - own).sum() + (mean - part.mean(axis=1)).sum() / n)
        second += float(variance.sum() * (1 + 1 / n))
    return first, second


def _sigmoid_slope(z: np.ndarray, targets: np.ndarray, beta: float) -> tuple[float, float]:
    """As `_softmax_slope`, for k independent labels."""
    n = len(z)
    p = sigmoid(beta * z)
    first = (z * (p - targets)).sum() + (z * (p - 0.5)).sum() / n
    second = (z**2 * p * (1 - p)).sum() * (1 + 1 / n)
    return float(first), float(second)


def paired_standard_error(a: Float[np.ndarray, "n"], b: Float[np.ndarray, "n"]) -> float:
    """Standard error of the mean of a - b, for losses of two candidates on the same n rows; 0.0 for fewer than two rows."""
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    return float(difference.std(ddof=1) / np.sqrt(len(difference))) if len(difference) > 1 else 0.0
