"""Labels that are probably wrong: confident learning on out-of-fold probabilities, and a vote of neighbours that agrees.

Source: Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels" (2021). The ranking is by
self-confidence, the probability of the given label; it departs from the paper's pruning in that nothing is ever removed.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

NEIGHBOURS = 20
_SHARPNESS = 1 / 0.07


@dataclass(frozen=True)
class Doubts:
    """Which labels are doubted.

    Attributes:
        scores: (n,) 1 less the out-of-fold probability of the given label: the higher, the more suspicious.
        suggested: (n,) the class that each item would rather have; its own where none is surer.
        flagged: (n,) where both the probabilities and the neighbours would rather have the suggested class.
    """

    scores: Float[np.ndarray, "n"]
    suggested: Int[np.ndarray, "n"]
    flagged: Bool[np.ndarray, "n"]


def rank_labels(probabilities: Float[np.ndarray, "n k"], targets: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """How suspicious each given label is: 1 less its probability.

    Args:
        probabilities: out of fold and calibrated.
        targets: the given class indices.
    """
    return np.asarray(1.0 - probabilities[np.arange(len(targets)), targets])


def doubt_labels(
    probabilities: Float[np.ndarray, "n k"],
    targets: Int[np.ndarray, "n"],
    *,
    near: tuple[Int[np.ndarray, "n j"], Float[np.ndarray, "n j"]],
) -> Doubts:
    """Confident learning, and whether the neighbours agree.

    A class is meant confidently where its probability is at least the mean that it has among items so labelled. An item whose most
    probable confident class is not its own is doubted; it is flagged where its neighbours vote for that class too.

    Args:
        probabilities: out of fold and calibrated.
        targets: the given class indices.
        near: positions and cosines of each item's nearest other items, copies of it left out.
    """
    n, k = probabilities.shape
    own = probabilities[np.arange(n), targets]
    counts = np.bincount(targets, minlength=k)
    usual = np.where(counts > 0, np.bincount(targets, weights=own, minlength=k) / np.maximum(counts, 1), np.inf)
    confident = np.where(probabilities >= usual, probabilities, -1.0)
    suggested = np.where(confident.max(axis=1) > 0, confident.argmax(axis=1), targets)
    votes = _votes(targets, near, k)
    agrees = (votes.argmax(axis=1) == suggested) & (votes[np.arange(n), suggested] > votes[np.arange(n), targets])
    return Doubts(1.0 - own, suggested, (suggested != targets) & agrees)


def _votes(targets: np.ndarray, near: tuple[np.ndarray, np.ndarray], k: int) -> Float[np.ndarray, "n k"]:
    """The neighbours' labels, each weighted by how near it is."""
    where, cosines = near[0][:, :NEIGHBOURS], near[1][:, :NEIGHBOURS]
    weights = np.exp(_SHARPNESS * (np.where(np.isfinite(cosines), cosines, -np.inf) - 1.0))
    votes = np.zeros((len(where), k))
    np.add.at(
        votes, (np.repeat(np.arange(len(where)), where.shape[1]), targets[where].reshape(-1)), weights.reshape(-1)
    )
    return votes
