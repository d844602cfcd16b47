"""What a task is: the same words for every kind of target."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from headstart.evaluation.comparison import HIGHER_IS_BETTER
from headstart.evaluation.intervals import Estimate
from headstart.evaluation.judgement import NOTHING, Judgement


@dataclass(frozen=True)
class Decision:
    """What a decision rule answers for one sample.

    Attributes:
        label: the class index.
        rule: the rule's name.
    """

    label: int
    rule: str


@dataclass(frozen=True)
class Targets:
    """Encoded targets of n samples.

    Attributes:
        values: (n,) int64 class indices for `single_label`, (n, k) bool for `multi_label`, (n,) float64 for `regression`.
        labels: the k label names that the indices and columns stand for; empty for regression.
        task: the task's name.
    """

    values: np.ndarray
    labels: tuple[str, ...]
    task: str

    def __len__(self) -> int:
        return int(self.values.shape[0])

    def take(self, rows: np.ndarray) -> "Targets":
        """The targets at these positions."""
        return Targets(self.values[rows], self.labels, self.task)


class Task(ABC):
    """A plug-in of `tasks`.

    Attributes:
        name: the file's stem.
        link: how scores become a prediction: `softmax`, `sigmoid` or `identity`.
        primary: the metric that a person looks at first.
    """

    name: str
    link: str
    primary: str

    @abstractmethod
    def fits(self, column: pa.ChunkedArray) -> bool:
        """Whether a target column looks like this task's, for when nobody said."""

    @abstractmethod
    def encode(self, column: pa.ChunkedArray, labels: tuple[str, ...] | None) -> Targets:
        """Encode a target column without nulls; `labels` None means: take them from the column, sorted by name.

        Raises:
            DataError: a value is no target of this task, or a label is not among `labels`; names the values.
        """

    @abstractmethod
    def predict(self, scores: Float[np.ndarray, "n k"], temperature: float) -> Float[np.ndarray, "n k"]:
        """Scores to calibrated probabilities (rows sum to 1 for softmax), or to values (n, 1) for regression."""

    @abstractmethod
    def metrics(
        self,
        targets: Targets,
        predicted: Float[np.ndarray, "n k"],
        *,
        chosen: Int[np.ndarray, "n"] | None = None,
        classes: Mapping[str, int] | None = None,
        seed: int = 0,
    ) -> dict[str, Estimate]:
        """Every metric of the task by name, each with its 95 % interval. Names: docs/json.md.

        Args:
            targets: the truth.
            predicted: what `predict` gave.
            chosen: class indices that a decision rule answers; None for the most probable ones. Only `single_label` has such a rule.
            classes: training samples of each label, as `summary` counts them; where they are uneven, there are more figures.
            seed: decides the resamples.
        """

    @abstractmethod
    def outcomes(
        self, targets: Targets, predicted: Float[np.ndarray, "n k"], *, chosen: Int[np.ndarray, "n"] | None = None
    ) -> dict[str, Float[np.ndarray, "n"]]:
        """What each sample adds to those metrics that are plain means over samples, by their names; the first decides a comparison.

        The arguments are those of `metrics`.
        """

    def figure(
        self, targets: Targets, predicted: Float[np.ndarray, "n k"], *, chosen: Int[np.ndarray, "n"] | None = None
    ) -> tuple[str, Float[np.ndarray, "n"]]:
        """The name of the first of the outcomes, and what each sample adds to it, turned so that higher is better: errors and losses are negative.

        The arguments are those of `metrics`.
        """
        name, first = next(iter(self.outcomes(targets, predicted, chosen=chosen).items()))
        return name, np.asarray(first, dtype=np.float64) * (1.0 if name in HIGHER_IS_BETTER else -1.0)

    @abstractmethod
    def prediction(
        self,
        predicted: Float[np.ndarray, "k"],
        labels: tuple[str, ...],
        *,
        judgement: Judgement = NOTHING,
        decision: Decision | None = None,
    ) -> Mapping[str, Any]:
        """The JSON of one prediction, without `input`. Keys that a model does not carry are null, and so is the answer where it abstains.

        Args:
            predicted: what `predict` gave for the sample.
            labels: the k names.
            judgement: what the judge says of it.
            decision: what a decision rule answers; None for the most probable label. Only `single_label` has such a rule.
        """

    @abstractmethod
    def summary(self, targets: Targets) -> Mapping[str, int]:
        """Count per label (or an empty mapping for regression): for reports and the class prior."""
