"""Decisions from probabilities: offsets and costs that choose, and change no probability."""

import numpy as np
from jaxtyping import Float, Int

TAUS = (1.0, 0.75, 1.25, 0.5)
"""Strengths of the adjustment by the prior, the Bayes rule first: it wins a tie."""

_CANDIDATES = 256
_SWEEPS = 10

_SMALLEST = 1e-12
"""Probabilities and priors below this count as this, so that their logarithm is finite."""


def balanced_offsets(prior: Float[np.ndarray, " k"], *, tau: float = 1.0) -> Float[np.ndarray, " k"]:
    """Give the offsets of post-hoc logit adjustment: -tau log prior (Menon et al., 2021).

    Args:
        prior: Share of each class among the training rows.
        tau: Strength; 1 is the Bayes rule for balanced accuracy under calibrated probabilities.
    """
    return np.asarray(-tau * np.log(np.maximum(prior, _SMALLEST)))


def shift_prior(
    probabilities: Float[np.ndarray, "n k"], *, prior: Float[np.ndarray, " k"], deployed: Float[np.ndarray, " k"]
) -> Float[np.ndarray, "n k"]:
    """Probabilities under other class shares: p times deployed / prior, made to add up to 1 (Saerens et al., 2002).

    This holds where the samples of a class look alike in both places, and only the shares of the classes differ.

    Args:
        probabilities: under the training shares.
        prior: share of each class among the training rows.
        deployed: share of each class where the probabilities are used.
    """
    shifted = probabilities * (deployed / np.maximum(prior, _SMALLEST))
    return np.asarray(shifted / np.maximum(shifted.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny))


def choose_by_offsets(
    probabilities: Float[np.ndarray, "n k"], offsets: Float[np.ndarray, " k"]
) -> Int[np.ndarray, " n"]:
    """Choose the class with the largest log-probability plus offset; ties go to the first."""
    return np.asarray(np.argmax(np.log(np.maximum(probabilities, _SMALLEST)) + offsets, axis=1))


def choose_by_costs(probabilities: Float[np.ndarray, "n k"], costs: Float[np.ndarray, "k k"]) -> Int[np.ndarray, " n"]:
    """Choose the class of the least expected cost; ties go to the first.

    Args:
        probabilities: Calibrated probabilities, one row per item.
        costs: What it costs to answer column j where the truth is row i.
    """
    return np.asarray(np.argmin(probabilities @ costs, axis=1))


def choose_tau(
    probabilities: Float[np.ndarray, "n k"], targets: Int[np.ndarray, " n"], *, prior: Float[np.ndarray, " k"]
) -> float:
    """The strength of `TAUS` with the best balanced accuracy.

    Args:
        probabilities: of rows that no fit has seen.
        targets: their class indices.
        prior: Share of each class among the training rows.
    """
    from sklearn.metrics import recall_score

    def worth(tau: float) -> float:
        chosen = choose_by_offsets(probabilities, balanced_offsets(prior, tau=tau))
        return float(recall_score(targets, chosen, labels=np.unique(targets), average="macro", zero_division=0))

    return max(TAUS, key=worth)


def macro_f1_offsets(
    probabilities: Float[np.ndarray, "n k"], targets: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " k"]:
    """Offsets that raise macro-F1, by coordinate ascent from no offset: one class after the other, until none gains.

    Of the thresholds of one class at most 256 are tried, evenly spaced among the rows; of equally good ones the offset that moves
    least is taken.

    Args:
        probabilities: of rows that no fit has seen.
        targets: their class indices.
    """
    scores = np.log(np.maximum(probabilities, _SMALLEST))
    k = scores.shape[1]
    offsets, best = np.zeros(k), -1.0
    for _ in range(_SWEEPS):
        before = best
        for label in range(k):
            tried, worth = _along(scores + offsets, targets, label)
            top = np.flatnonzero(worth >= worth.max() - 1e-12)
            if worth.max() > best + 1e-12:
                best = float(worth.max())
                offsets[label] += tried[top[np.argmin(np.abs(tried[top]))]]
        if best <= before + 1e-12:
            break
    return offsets


def recall_offset(
    probabilities: Float[np.ndarray, "n k"], targets: Int[np.ndarray, " n"], *, label: int, recall: float
) -> float:
    """The smallest offset from 0 up that gives a label this recall.

    Args:
        probabilities: of rows that no fit has seen.
        targets: their class indices; at least one is `label`.
        label: the class index.
        recall: share of the label's rows that are to be answered with it.
    """
    margins, _ = _margins(np.log(np.maximum(probabilities, _SMALLEST)), label)
    own = np.sort(margins[targets == label])
    needed = own[int(np.ceil(recall * len(own) - 1e-9)) - 1]
    return max(0.0, float(needed + 1e-9))


def _margins(scores: np.ndarray, label: int) -> tuple[np.ndarray, np.ndarray]:
    """What a label lacks to be chosen in each row, and which other label it is that is above."""
    others = scores.copy()
    others[:, label] = -np.inf
    above = others.argmax(axis=1)
    return others[np.arange(len(scores)), above] - scores[:, label], above


def _along(scores: np.ndarray, targets: np.ndarray, label: int) -> tuple[np.ndarray, np.ndarray]:
    """Offsets of one label, and the macro-F1 over the occurring classes with each, from counts that one pass of the rows gives."""
    k = scores.shape[1]
    margins, above = _margins(scores, label)
    order = np.unique(margins)
    middle = (order[1:] + order[:-1]) / 2
    if len(middle) > _CANDIDATES:
        middle = middle[np.linspace(0, len(middle) - 1, _CANDIDATES).astype(int)]
    tried = np.unique(np.concatenate([[order[0] - 1.0, 0.0, order[-1] + 1.0], middle]))
    # A row goes over to the label from the first offset above its margin on.
    first = np.searchsorted(tried, margins, side="right")
    m = len(tried) + 1
    counts = np.bincount(above * m + first, minlength=k * m).reshape(k, m)
    right = np.bincount((above * m + first)[above == targets], minlength=k * m).reshape(k, m)
    chosen = counts.sum(axis=1, keepdims=True) - counts.cumsum(axis=1)[:, :-1]
    hits = right.sum(axis=1, keepdims=True) - right.cumsum(axis=1)[:, :-1]
    chosen[label] = np.bincount(first, minlength=m).cumsum()[:-1]
    hits[label] = np.bincount(first[targets == label], minlength=m).cumsum()[:-1]
    true = np.bincount(targets, minlength=k)
    occurring = true > 0
    f1 = 2 * hits[occurring] / (true[:, None] + chosen)[occurring]
    return tried, f1.mean(axis=0)
