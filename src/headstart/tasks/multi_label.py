"""Any number of labels for each sample, such as the sounds in a recording.

A label is predicted where its calibrated probability is at least one half.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float

from headstart.core.errors import DataError
from headstart.evaluation import metrics
from headstart.evaluation.calibration import probabilities
from headstart.evaluation.intervals import Estimate
from headstart.evaluation.judgement import NOTHING, Judgement
from headstart.tasks import columns
from headstart.tasks.task import Targets, Task


@dataclass(frozen=True)
class MultiLabel(Task):
    """A sigmoid for each of k labels."""

    name: str = "multi_label"
    link: str = "sigmoid"
    primary: str = "map"

    def fits(self, column: pa.ChunkedArray) -> bool:
        """Whether the column holds lists."""
        return columns.holds_lists(column)

    def encode(self, column: pa.ChunkedArray, labels: tuple[str, ...] | None) -> Targets:
        """Lists of label names to one truth value for each sample and label. An empty list is a sample without any label.

        Raises:
            DataError: the column holds no lists, a list is missing, a name is missing or empty, or is not among `labels`.
        """
        if not columns.holds_lists(column):
            raise DataError(f"a list of labels was expected for each sample, and the target column holds {column.type}")
        if column.null_count:
            raise DataError(
                f"a list of labels was expected for each sample, and {column.null_count} are missing: write an empty list"
            )
        names = columns.as_names(pc.list_flatten(column))
        known = tuple(sorted(pc.unique(names).to_pylist())) if labels is None else labels
        values = np.zeros((len(column), len(known)), dtype=bool)
        values[_parents(column), columns.index_of(names, known)] = True
        return Targets(values, known, self.name)

    def predict(self, scores: Float[np.ndarray, "n k"], temperature: float) -> Float[np.ndarray, "n k"]:
        """A calibrated probability for each label."""
        return probabilities(scores, temperature=temperature, link=self.link)

    def metrics(self, targets: Targets, predicted: Float[np.ndarray, "n k"], *, seed: int = 0) -> dict[str, Estimate]:
        """Mean average precision, macro-F1 at 0.5, log-loss, calibration error and `recall.NAME` of each label that occurs."""
        return metrics.multi_label(targets.values, predicted, labels=targets.labels, seed=seed)

    def outcomes(self, targets: Targets, predicted: Float[np.ndarray, "n k"]) -> dict[str, Float[np.ndarray, "n"]]:
        """The log-loss, the mean over labels."""
        likelihood = np.where(targets.values, predicted, 1.0 - predicted)
        return {"log_loss": metrics.surprise(likelihood).mean(axis=1)}

    def prediction(
        self, predicted: Float[np.ndarray, "k"], labels: tuple[str, ...], *, judgement: Judgement = NOTHING
    ) -> Mapping[str, Any]:
        """The labels of probability one half and more, and all probabilities by name."""
        by_name = {label: float(p) for label, p in zip(labels, predicted, strict=True)}
        chosen = [label for label, p in by_name.items() if p >= metrics.THRESHOLD]
        return {
            "labels": None if judgement.abstain else chosen,
            "probabilities": by_name,
            "outlier": judgement.outlier_json(),
            "abstain": judgement.abstain or None,
        }

    def summary(self, targets: Targets) -> Mapping[str, int]:
        """How many samples carry each label."""
        counts = targets.values.sum(axis=0)
        return {label: int(count) for label, count in zip(targets.labels, counts, strict=True)}


def _parents(column: pa.ChunkedArray) -> np.ndarray:
    """The row of each element of the flattened lists."""
    return np.repeat(np.arange(len(column)), np.asarray(pc.list_value_length(column), dtype=np.int64))


PLUGIN = MultiLabel()
