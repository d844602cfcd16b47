"""What running at another precision changes: `fit` measures it on training items, and a model that runs so says it."""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.backbones import precision as precisions
from headstart.backbones.backbone import Backbone, TorchBackbone
from headstart.core.errors import UsageError, gist
from headstart.core.progress import Progress, silent
from headstart.data.samples import Samples
from headstart.features.extraction import extract
from headstart.model import json_types as kinds

if TYPE_CHECKING:
    from headstart.model.model import Model

# Training items that the change is measured on.
MOST = 500


@dataclass(frozen=True)
class PrecisionChange:
    """How the answers of a fitted model change where its backbone runs at another precision, on items that it was fitted on.

    Attributes:
        fitted: the precision of the rows that the head was fitted on.
        other: the one that it is compared with.
        n: training items that both gave a row for.
        labels: of these, those whose label, or set of labels, differs; 0 for regression.
        probability: the largest difference of a calibrated probability; None for regression.
        value: for regression the largest difference of the value, in the target's unit; else None.
    """

    fitted: str
    other: str
    n: int
    labels: int
    probability: float | None
    value: float | None

    @property
    def sentence(self) -> str:
        """The change in words, as what follows "in float32: "."""
        if self.value is not None:
            return f"the values of {self.n:,} training items change by up to {self.value:.3g}"
        by = f"by up to {self.probability or 0.0:.2g}"
        if not self.labels:
            return f"no label of {self.n:,} training items changes, and probabilities change {by}"
        return f"the labels of {self.labels:,} of {self.n:,} training items change, and probabilities {by}"

    def to_json(self) -> dict[str, Any]:
        """The object under `precision` in what `headstart fit --json` prints (docs/json.md)."""
        return dataclasses.asdict(self)


def is_change(value: Any) -> bool:
    """Whether a JSON value is what `PrecisionChange.to_json` writes."""
    if not isinstance(value, dict) or set(value) != {field.name for field in dataclasses.fields(PrecisionChange)}:
        return False
    known = all(kinds.is_text(value[key]) and value[key] in precisions.PRECISIONS for key in ("fitted", "other"))
    counted = kinds.is_count(value["n"]) and kinds.is_count(value["labels"]) and value["labels"] <= value["n"] > 0
    if not known or not counted or value["fitted"] == value["other"]:
        return False
    if value["probability"] is None:
        return kinds.is_number(value["value"]) and value["value"] >= 0 and value["labels"] == 0
    return value["value"] is None and kinds.is_number(value["probability"]) and 0 <= value["probability"] <= 1


def run_at(backbone: Backbone, precision: str) -> Backbone:
    """The backbone run at a precision that a person asked for.

    Raises:
        UsageError: there is no such precision, or the backbone has its own only.
    """
    spec = backbone.specs[0]
    if spec.precision == precision:
        return backbone
    precisions.settle(precision, {})
    if not isinstance(backbone, TorchBackbone):
        raise UsageError(
            f"{spec.title} runs in {spec.precision} only, and got the precision {precision!r}: leave it out"
        )
    return backbone.at(precision)


def runnable(backbone: Backbone) -> str:
    """The precision for this device: the backbone's own, or float32 where the device has no units for that."""
    own = backbone.specs[0].precision
    if own == precisions.FLOAT32 or not isinstance(backbone, TorchBackbone) or own in precisions.device().units:
        return own
    return precisions.FLOAT32


def counterpart(backbone: Backbone) -> str:
    """The precision that a fit is compared with: float32 for a narrower one, else bfloat16 where the device has it; empty for none."""
    if not isinstance(backbone, TorchBackbone):
        return ""
    if backbone.specs[0].precision != precisions.FLOAT32:
        return precisions.FLOAT32
    return precisions.BFLOAT16 if precisions.BFLOAT16 in precisions.device().units else ""


def measure(
    model: "Model", samples: Samples, *, rows: np.ndarray, progress: Progress = silent
) -> tuple[PrecisionChange | None, tuple[str, ...]]:
    """What the counterpart of the model's precision changes on at most 500 of its training items, evenly spaced.

    The rows come through the feature store. Whatever goes wrong is a note, since the fit itself is done.

    Args:
        model: just fitted.
        samples: n samples that its head was fitted on.
        rows: their (n, d) rows.
        progress: stage `comparing precisions`, in samples.

    Returns:
        The change, None where there is no counterpart or nothing could be measured; and what a person should know of it.
    """
    if not (other := counterpart(model.backbone)):
        return None, ()
    chosen = spread(len(samples))

    def told(stage: str, done: int, total: int) -> None:
        if stage == "extract":
            progress("comparing precisions", done, total)

    try:
        elsewhere = model.at(other)
        extraction = extract(samples.take(chosen), elsewhere.backbone, progress=told)
        after = elsewhere.probabilities(extraction.features)
    except Exception as error:  # noqa: BLE001  (a person's own network may raise anything where it was not asked to run)
        return None, (f"what {other} would change could not be measured: {gist(error)}",)
    notes = tuple(f"in {other}: {note}" for note in extraction.notes)
    kept = chosen[extraction.kept]
    if lost := len(chosen) - len(kept):
        reason = extraction.skipped[0].reason
        notes += (f"in {other} {lost:,} of {len(chosen):,} training items give no row: {reason}",)
    if not len(kept):
        return None, notes
    before = model.predicted(rows[kept])
    return compare(model, before, after=after, other=other), notes


def compare(model: "Model", before: np.ndarray, *, after: np.ndarray, other: str) -> PrecisionChange:
    """The change between two sets of predictions of the same items, (n, k) each and n above 0."""
    decided = ([_decision(model.prediction(row)) for row in each] for each in (before, after))
    largest = float(np.abs(after - before).max())
    return PrecisionChange(
        fitted=model.fitted_precision,
        other=other,
        n=len(before),
        labels=sum(one != another for one, another in zip(*decided, strict=True)),
        probability=largest if model.labels else None,
        value=None if model.labels else largest,
    )


def spread(n: int) -> np.ndarray:
    """At most 500 positions among n, evenly spaced and increasing, always the same ones."""
    k = min(n, MOST)
    return np.arange(k, dtype=np.int64) * n // max(k, 1)


def _decision(prediction: Any) -> tuple[Any, Any]:
    """What a prediction decides: its label or labels; nothing for a number."""
    return prediction.get("label"), prediction.get("labels")
