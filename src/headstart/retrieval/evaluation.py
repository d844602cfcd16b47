"""How well labels are found again: each item of the collection asks for the others."""

import numpy as np
from jaxtyping import Int

from headstart.evaluation.intervals import Estimate, estimate, mean_draws, share
from headstart.retrieval.index import Index

RECALL_AT = (1, 5, 10)
MOST_QUERIES = 1000
# Scores that are sorted for the mean average precision.
_MOST_SCORES = 20_000_000
# Scores that are held at once.
_CELLS = 1 << 23


def leave_one_out(
    index: Index, labels: Int[np.ndarray, "n"], *, content: Int[np.ndarray, "n"], seed: int = 0
) -> tuple[dict[str, Estimate], int]:
    """Recall at 1, 5 and 10 and the mean average precision over queries from the collection itself.

    A query never finds itself nor an item of its own content; items whose label nobody else has ask nothing. Past some number of
    queries, chosen at random, more would sharpen nothing. Recall at k is the share of queries that have an item of their label
    among the k nearest, as the literature of metric learning says it.

    Args:
        index: the collection.
        labels: class of each item, -1 for none.
        content: a number for each content.
        seed: decides which items ask.

    Returns:
        The figures with their intervals, and how many items asked; none where no two items of different content share a label.
    """
    from sklearn.metrics import average_precision_score

    asking = _asking(labels, content)
    if not len(asking):
        return {}, 0
    most = min(len(asking), MOST_QUERIES, max(50, _MOST_SCORES // len(labels)))
    chosen = np.sort(np.random.default_rng(seed).choice(asking, most, replace=False))
    nearest = index.nearest(index.x[chosen], k=max(RECALL_AT), same=(content[chosen], content))
    own = labels[chosen]
    figures = {
        f"recall_at_{k}": share(int(_found(labels, nearest.positions[:, :k], own).sum()), most) for k in RECALL_AT
    }
    precisions = np.empty(most)
    step = max(1, _CELLS // len(labels))
    for start in range(0, most, step):
        rows = chosen[start : start + step]
        mapped = index.way.apply(index.x[rows])
        scores = np.concatenate([mapped @ block.T for _, block in index.blocks(beside=len(rows))], axis=1)
        for i, row in enumerate(rows):
            others = content != content[row]
            precisions[start + i] = average_precision_score(labels[others] == labels[row], scores[i][others])
    figures["map"] = estimate(float(precisions.mean()), mean_draws(precisions[:, None], seed=seed)[:, 0])
    return figures, most


def _found(labels: np.ndarray, places: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Whether one of the places has the query's own label."""
    return np.asarray(((labels[places] == own[:, None]) & (places >= 0)).any(axis=1))


def _asking(labels: np.ndarray, content: np.ndarray) -> np.ndarray:
    """Items with a label that an item of other content has too."""
    pairs = np.unique(np.stack([labels, content], axis=1), axis=0)
    contents = np.bincount(pairs[pairs[:, 0] >= 0, 0], minlength=int(labels.max(initial=-1)) + 2)
    return np.flatnonzero((labels >= 0) & (contents[labels] > 1))
