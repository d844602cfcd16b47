"""The training examples that are nearest to an item, by the cosine of their rows less the training rows' mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from headstart.heads.fitted import unit_rows

if TYPE_CHECKING:
    from headstart.model.model import Model

# A training example whose row has a larger cosine with the item's is the item itself.
_ITSELF = 1 - 1e-6


@dataclass(frozen=True)
class Example:
    """A training example near an item.

    Attributes:
        rank: 1 for the nearest.
        id: its id in the training data.
        label: its label, or its value as text; empty where the model does not carry it.
        similarity: cosine of the two rows less the training rows' mean, at most 1.
        place: its position among those that were searched; no part of the JSON.
    """

    rank: int
    id: str
    label: str
    similarity: float
    place: int = -1

    def to_json(self) -> dict[str, Any]:
        """The example as programs read it."""
        return {"rank": self.rank, "id": self.id, "label": self.label, "similarity": self.similarity}


Nearest = tuple[tuple[Example, ...], tuple[str, ...]]
"""The examples, nearest first, and notes."""


def nearest_carried(model: "Model", row: Float[np.ndarray, "1 d"], *, k: int) -> Nearest:
    """The nearest of the training rows that a model carries; none where it carries none.

    Args:
        model: whose judge has the rows.
        row: one that its backbone made.
        k: how many.
    """
    carried = None if model.judge is None else model.judge.neighbours
    if carried is None:
        return (), ()
    labels = [model.labels[i] if 0 <= i < len(model.labels) else "" for i in carried.labels]
    return nearest(unit_rows(row, carried.mean), carried.rows, ids=carried.ids, labels=labels, k=k)


def nearest(
    row: Float[np.ndarray, "1 d"],
    rows: Float[np.ndarray, "m d"],
    *,
    ids: Sequence[str],
    labels: Sequence[str],
    k: int,
) -> Nearest:
    """The k nearest examples but the item itself, and a note where it is among them.

    Args:
        row: of the item, less the rows' mean, of length 1.
        rows: of m examples, likewise.
        ids: of them.
        labels: of them.
        k: how many.
    """
    similarity = np.asarray(rows @ row[0], dtype=np.float64)
    itself = similarity > _ITSELF
    order = [int(i) for i in np.argsort(-similarity, kind="stable") if not itself[i]][:k]
    found = tuple(Example(rank, ids[i], labels[i], float(similarity[i]), i) for rank, i in enumerate(order, 1))
    return found, (
        "the item itself is among the training examples and is not shown as its own",
    ) if itself.any() else ()
