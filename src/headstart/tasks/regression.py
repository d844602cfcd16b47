"""A number for each sample, such as an age or a price.

The value is the head's score; its interval is the judge's.
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
class Regression(Task):
    """The identity link: scores are values in the target's unit, and k = 1."""

    name: str = "regression"
    link: str = "identity"
    primary: str = "mae"

    def fits(self, column: pa.ChunkedArray) -> bool:
        """Whether the column holds numbers that are not just a few whole ones."""
        return columns.holds_numbers(column) and not columns.holds_few_whole_numbers(column)

    def encode(self, column: pa.ChunkedArray, labels: tuple[str, ...] | None) -> Targets:  # noqa: ARG002  (there are none)
        """Numbers, or strings that spell numbers, as float64.

        Raises:
            DataError: a value is no finite number; names up to five.
        """
        if columns.holds_lists(column):
            raise DataError("one number was expected for each sample, and the target column holds lists")
        if pa.types.is_boolean(column.type):
            raise DataError("a number was expected for each sample, and the target column holds truth values")
        values = np.asarray(_numbers(column), dtype=np.float64)
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            shown = ", ".join(repr(column[int(row)].as_py()) for row in bad[:5]) + (" and more" if len(bad) > 5 else "")
            raise DataError(
                f"a finite number was expected for each sample, and {len(bad)} of {len(values)} are not: {shown}."
                " Mend them, leave out those samples, or ask for another task"
            )
        return Targets(values, (), self.name)

    def predict(self, scores: Float[np.ndarray, "n 1"], temperature: float) -> Float[np.ndarray, "n 1"]:
        """The scores themselves: a temperature means nothing for values."""
        return probabilities(scores, temperature=temperature, link=self.link)

    def metrics(self, targets: Targets, predicted: Float[np.ndarray, "n 1"], *, seed: int = 0) -> dict[str, Estimate]:
        """Mean absolute error in the target's unit, and R² where the targets vary."""
        return metrics.regression(targets.values, predicted[:, 0], seed=seed)

    def outcomes(self, targets: Targets, predicted: Float[np.ndarray, "n 1"]) -> dict[str, Float[np.ndarray, "n"]]:
        """The absolute error in the target's unit."""
        return {"mae": np.abs(predicted[:, 0] - targets.values)}

    def prediction(
        self,
        predicted: Float[np.ndarray, "1"],
        labels: tuple[str, ...],  # noqa: ARG002  (there are none)
        *,
        judgement: Judgement = NOTHING,
    ) -> Mapping[str, Any]:
        """The value, and the ends of what it may be."""
        low, high = judgement.interval or (None, None)
        return {
            "value": None if judgement.abstain else float(predicted[0]),
            "low": low,
            "high": high,
            "outlier": judgement.outlier_json(),
            "abstain": judgement.abstain or None,
        }

    def summary(self, targets: Targets) -> Mapping[str, int]:  # noqa: ARG002  (values are not counted)
        """Nothing: values are not counted."""
        return {}


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    """The column as float64; a value that spells no number is NaN."""
    if columns.holds_numbers(column):
        return np.asarray(pc.cast(column, pa.float64(), safe=False))
    return np.array([_number(value) for value in column.to_pylist()], dtype=np.float64)


def _number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return float("nan")


PLUGIN = Regression()
