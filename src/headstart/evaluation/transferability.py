"""How well rows suit labels, without fitting the head that will be shipped: neighbours, the H-score and the evidence of a linear model.

Large studies favour plain neighbours over designed scores (arXiv 2503.18528); the designed ones saturate where rows are as wide as they are
many. They order nothing here unless they are asked for.
"""

import numpy as np
from jaxtyping import Float, Int

NEIGHBOURS = (1, 5, 20)
"""The numbers of neighbours that are tried."""

_SHARPNESS = 1 / 0.07
_BLOCK = 1024
_ROUNDS, _SETTLED = 200, 1e-9


def neighbour_hits(
    x: Float[np.ndarray, "n d"], y: Int[np.ndarray, "n"], *, groups: Int[np.ndarray, "n"] | None = None
) -> tuple[Float[np.ndarray, "n"], int]:
    """Which rows a vote of their nearest neighbours tells right, each left out itself, at the best number of neighbours.

    Rows are made of length 1; a neighbour's vote weighs exp(cosine / 0.07), as in DINOv2's evaluation.

    Args:
        x: rows.
        y: class indices from 0 up.
        groups: equal numbers are no neighbours of each other; None: only a row itself is not its own.

    Returns:
        (n,) 1.0 where the vote is right, and how many neighbours voted.
    """
    length = np.linalg.norm(np.asarray(x, np.float32), axis=1, keepdims=True)
    u = np.asarray(x / np.where(length > 0, length, 1.0), np.float32)
    n, own = len(u), np.arange(len(u)) if groups is None else np.asarray(groups)
    most = [k for k in NEIGHBOURS if k < n] or [1]
    hits = np.zeros((len(most), n))
    for start in range(0, n, _BLOCK):
        block = slice(start, min(n, start + _BLOCK))
        near = u[block] @ u.T
        near[own[block][:, None] == own[None, :]] = -np.inf
        at = np.argpartition(-near, most[-1] - 1, axis=1)[:, : most[-1]]
        cosines = np.take_along_axis(near, at, axis=1)
        order = np.argsort(-cosines, axis=1, kind="stable")
        at, cosines = np.take_along_axis(at, order, axis=1), np.take_along_axis(cosines, order, axis=1)
        weight = np.exp((cosines - 1.0) * _SHARPNESS)
        for place, k in enumerate(most):
            votes = np.zeros((len(at), int(y.max()) + 1))
            np.add.at(votes, (np.arange(len(at))[:, None], y[at[:, :k]]), weight[:, :k])
            hits[place, block] = votes.argmax(axis=1) == y[block]
    best = int(hits.mean(axis=1).argmax())
    return hits[best], most[best]


def h_score(x: Float[np.ndarray, "n d"], y: Int[np.ndarray, "n"]) -> float:
    """The regularised H-score: the variance between classes, measured by the shrunk covariance of the rows. Higher is better.

    Source: Ibrahim, Ponomareva and Mazumder, "Newer is not always better" (2021), with Ledoit and Wolf's shrinkage.

    Args:
        x: rows.
        y: class indices.
    """
    from sklearn.covariance import ledoit_wolf_shrinkage

    z = np.asarray(x, np.float64) - np.asarray(x, np.float64).mean(axis=0)
    n, d = z.shape
    scale = np.sqrt((z**2).mean())
    if not scale > 0:
        return 0.0
    z /= scale
    share = float(ledoit_wolf_shrinkage(z, assume_centered=True))
    covariance = z.T @ z / n
    shrunk = (1 - share) * covariance + share * np.trace(covariance) / d * np.eye(d)
    present, index, counts = np.unique(y, return_inverse=True, return_counts=True)
    means = np.stack([z[index == c].mean(axis=0) for c in range(len(present))]) * np.sqrt(counts / n)[:, None]
    return float((1 - share) * (means * np.linalg.solve(shrunk, means.T).T).sum())


def log_me(x: Float[np.ndarray, "n d"], y: Int[np.ndarray, "n"]) -> float:
    """LogME: the log evidence of a Bayesian linear model for each class against the rest, a row and class. Higher is better.

    Source: You et al., "LogME" (2021), corrected: `log_evidence` says how.

    Args:
        x: rows.
        y: class indices.
    """
    return float(np.mean([log_evidence(x, (y == c).astype(np.float64))[0] for c in np.unique(y)]))


def log_evidence(x: Float[np.ndarray, "n d"], target: Float[np.ndarray, "n"]) -> tuple[float, float, float]:
    """The log evidence of one target under `target = x w + noise`, a row, at the precisions that make it largest.

    Weights and noise are Gaussian with precisions a and b. Two departures from the published code, both found by comparing it with the
    Gaussian's density: the prior of the directions without a single row (d > n) counts too, and nothing is added to the weights' norm,
    so that the value does not change with the rows' unit.

    Args:
        x: rows.
        target: values.

    Returns:
        The evidence in nats a row, a and b.
    """
    rows = np.asarray(x, np.float64)
    n, d = rows.shape
    scale = np.sqrt((rows**2).sum() / n) or 1.0
    rows = rows / scale
    values, vectors = np.linalg.eigh(rows @ rows.T if n <= d else rows.T @ rows)
    kept = values > values[-1] * max(n, d) * np.finfo(np.float64).eps
    e, basis = values[kept], vectors[:, kept]
    along = basis if n <= d else rows @ basis / np.sqrt(e)
    square = (along.T @ target) ** 2
    rest = max(float((target**2).sum() - square.sum()), 0.0)
    floor = np.finfo(np.float64).eps * max(float((target**2).sum()), np.finfo(np.float64).tiny)
    ratio, a, b = 1.0, 1.0, 1.0
    for _ in range(_ROUNDS):
        used = float((e / (e + ratio)).sum())
        weights = float((e * square / (ratio + e) ** 2).sum())
        residual = float((square / (1 + e / ratio) ** 2).sum()) + rest
        a, b = max(used, floor) / max(weights, floor), max(n - used, floor) / max(residual, floor)
        before, ratio = ratio, min(max(a / b, 1e-12), 1e12)
        if abs(ratio - before) <= _SETTLED * before:
            break
    weights = float((e * square / (ratio + e) ** 2).sum())
    residual = float((square / (1 + e / ratio) ** 2).sum()) + rest
    determinant = float(np.log(a + b * e).sum()) + (d - len(e)) * np.log(a)
    evidence = d * np.log(a) + n * np.log(b) - determinant - b * residual - a * weights - n * np.log(2 * np.pi)
    return float(evidence / (2 * n)), float(a * scale**2), float(b)
