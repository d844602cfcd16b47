"""One of several labels for each sample, such as the species on a photo.

The decision is the most probable label; probabilities are the calibrated ones.
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
class SingleLabel(Task):
    """A softmax over k labels."""

    name: str = "single_label"
    link: str = "softmax"
    primary: str = "accuracy"

    def fits(self, column: pa.ChunkedArray) -> bool:
        """Whether the column holds names, truth values, or a few distinct whole numbers."""
        return columns.holds_names(column) or columns.holds_few_whole_numbers(column)

    def encode(self, column: pa.ChunkedArray, labels: tuple[str, ...] | None) -> Targets:
        """Label names to class indices.

        Raises:
            DataError: a value is no name, or is not among `labels`.
        """
        if columns.holds_lists(column):
            raise DataError(
                "one label was expected for each sample, and the target column holds lists: the task is multi_label"
            )
        names = columns.as_names(column)
        known = tuple(sorted(pc.unique(names).to_pylist())) if labels is None else labels
        index = columns.index_of(names, known)
        return Targets(index, known, self.name)

    def predict(self, scores: Float[np.ndarray, "n k"], temperature: float) -> Float[np.ndarray, "n k"]:
        """Calibrated probabilities; each row sums to 1."""
        return probabilities(scores, temperature=temperature, link=self.link)

    def metrics(self, targets: Targets, predicted: Float[np.ndarray, "n k"], *, seed: int = 0) -> dict[str, Estimate]:
        """Accuracy, balanced accuracy, macro-F1, log-loss, calibration error and `recall.NAME` of each label that occurs."""
        return metrics.single_label(targets.values, predicted, labels=targets.labels, seed=seed)

    def outcomes(self, targets: Targets, predicted: Float[np.ndarray, "n k"]) -> dict[str, Float[np.ndarray, "n"]]:
        """Whether the most probable label is right, and the log-loss."""
        own = predicted[np.arange(len(targets)), targets.values]
        hit = (predicted.argmax(axis=1) == targets.values).astype(np.float64)
        return {"accuracy": hit, "log_loss": metrics.surprise(own)}

    def prediction(
        self, predicted: Float[np.ndarray, "k"], labels: tuple[str, ...], *, judgement: Judgement = NOTHING
    ) -> Mapping[str, Any]:
        """The most probable label with all probabilities by name, and the labels that it may be."""
        best = int(np.argmax(predicted))
        return {
            "label": None if judgement.abstain else labels[best],
            "rule": "most probable",
            "probability": float(predicted[best]),
            "probabilities": {label: float(p) for label, p in zip(labels, predicted, strict=True)},
            "set": None if judgement.set is None else list(judgement.set),
            "outlier": judgement.outlier_json(),
            "abstain": judgement.abstain or None,
        }

    def summary(self, targets: Targets) -> Mapping[str, int]:
        """How many samples each label has."""
        counts = np.bincount(targets.values, minlength=len(targets.labels))
        return {label: int(count) for label, count in zip(targets.labels, counts, strict=True)}


PLUGIN = SingleLabel()
