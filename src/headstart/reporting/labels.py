"""What became of each label: the confusion matrix, the pairs that are confused most, and the table of labels."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int

from headstart.evaluation.intervals import share
from headstart.reporting.evidence import Evidence
from headstart.reporting.story import Cell, ClassRow, Confusion, Pair
from headstart.reporting.words import percent

MOST_MATRIX = 20
"""Labels past which no confusion matrix is shown, and the most confused pairs alone."""

MOST_PAIRS = 12
MOST_ROWS = 200
"""Rows of the table of labels; with more labels those of lowest recall are shown."""


def counts(evidence: Evidence) -> Int[np.ndarray, "k k"]:
    """How often each true label (a row) was predicted as each label (a column)."""
    k = len(evidence.targets.labels)
    pairs = evidence.targets.values.astype(np.int64) * k + evidence.chosen
    return np.bincount(pairs, minlength=k * k).reshape(k, k)


def confusion(evidence: Evidence) -> Confusion | None:
    """The confusion matrix; None for more than `MOST_MATRIX` labels and for tasks that have none."""
    labels = evidence.targets.labels
    if evidence.targets.task != "single_label" or len(labels) > MOST_MATRIX:
        return None
    table = counts(evidence)
    totals = np.maximum(table.sum(axis=1), 1)
    rows = tuple(
        tuple(Cell(int(table[i, j]), round(float(table[i, j] / totals[i]), 4), i == j) for j in range(len(labels)))
        for i in range(len(labels))
    )
    return Confusion(labels, rows)


def pairs(evidence: Evidence) -> tuple[Pair, ...]:
    """The pairs of labels that are confused most often, in the order of their counts."""
    if evidence.targets.task != "single_label":
        return ()
    labels, wrong = evidence.targets.labels, evidence.wrong
    k = len(labels)
    totals = np.bincount(evidence.targets.values, minlength=k)
    cells, found = np.unique(
        evidence.targets.values[wrong].astype(np.int64) * k + evidence.chosen[wrong], return_counts=True
    )
    order = np.argsort(-found, kind="stable")[:MOST_PAIRS]
    return tuple(
        Pair(labels[cell // k], labels[cell % k], int(count), percent(count / totals[cell // k]))
        for cell, count in zip(cells[order], found[order], strict=True)
    )


def rows(evidence: Evidence, trained: Mapping[str, int]) -> tuple[ClassRow, ...]:
    """A row for each label, those of lowest recall first; labels without a sample come last.

    Args:
        evidence: what was predicted.
        trained: training samples of each label.
    """
    if evidence.targets.task == "regression":
        return ()
    true, said = _indicators(evidence)
    taken = _taken_for(evidence)
    extra = _average_precision(evidence, true) if evidence.targets.task == "multi_label" else {}
    found = [
        ClassRow(
            label=label,
            trained=int(trained.get(label, 0)),
            support=int(true[i]),
            recall=_share(int(said[0][i]), int(true[i])),
            precision=_share(int(said[0][i]), int(said[1][i])),
            extra=extra.get(i, ""),
            confused=taken.get(i, ""),
        )
        for i, label in enumerate(evidence.targets.labels)
    ]
    found.sort(key=lambda row: (row.recall is None, row.recall[0] if row.recall else 0.0, row.label))
    return tuple(found[:MOST_ROWS])


def _indicators(evidence: Evidence) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """For each label its samples, its hits and its predictions."""
    k = len(evidence.targets.labels)
    values, chosen = evidence.targets.values, evidence.chosen
    if evidence.targets.task == "multi_label":
        return values.sum(axis=0), ((values & chosen).sum(axis=0), chosen.sum(axis=0))
    hits = np.bincount(values[values == chosen], minlength=k)
    return np.bincount(values, minlength=k), (hits, np.bincount(chosen, minlength=k))


def _share(hits: int, n: int) -> tuple[float, float, float] | None:
    if not n:
        return None
    found = share(hits, n)
    return found.value, found.low, found.high


def _taken_for(evidence: Evidence) -> dict[int, str]:
    """For each label that has errors the one that it is most often taken for."""
    if evidence.targets.task != "single_label":
        return {}
    wrong, labels = evidence.wrong, evidence.targets.labels
    k = len(labels)
    cells, found = np.unique(
        evidence.targets.values[wrong].astype(np.int64) * k + evidence.chosen[wrong], return_counts=True
    )
    best: dict[int, str] = {}
    for position in np.argsort(-found, kind="stable"):
        best.setdefault(int(cells[position] // k), f"{labels[cells[position] % k]} ({found[position]:,})")
    return best


def _average_precision(evidence: Evidence, true: np.ndarray) -> dict[int, str]:
    from sklearn.metrics import average_precision_score

    columns = [i for i in range(len(true)) if true[i]]
    return {
        i: f"{average_precision_score(evidence.targets.values[:, i], evidence.predicted[:, i]):.3f}" for i in columns
    }
