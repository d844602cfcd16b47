"""`explain`: why a model says what it says of one item: the parts it hangs on, and the nearest training examples."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from headstart.core.errors import DataError, SampleError, UsageError
from headstart.core.progress import Progress, silent
from headstart.features.choosing import AUTO
from headstart.features.contents import content_of
from headstart.features.extraction import embed
from headstart.heads.fitted import unit_rows
from headstart.model.items import Items, to_evaluate, to_predict
from headstart.model.loading import load
from headstart.model.model import Model, check_engine, join
from headstart.model.nearest import Example, Nearest, nearest, nearest_carried
from headstart.model.saliency import Saliency, saliency
from headstart.verbs.rows import rows_of


@dataclass(frozen=True)
class Explanation:
    """Why a model says what it says of one item.

    Attributes:
        prediction: as `predict` prints it.
        saliency: which parts it hangs on.
        nearest: training examples, nearest first; empty where none are at hand.
        notes: what could not be told, and why.
        content: the file's bytes, or the text; no part of the JSON.
        seconds: what took how long.
    """

    prediction: Mapping[str, Any]
    saliency: Saliency
    nearest: tuple[Example, ...]
    notes: tuple[str, ...]
    content: bytes | str = field(repr=False)
    seconds: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The object that `headstart explain --json` prints (docs/json.md)."""
        return {
            "prediction": dict(self.prediction),
            "saliency": self.saliency.to_json(),
            "nearest": [example.to_json() for example in self.nearest],
            "notes": list(self.notes),
            "seconds": dict(self.seconds),
        }


@dataclass(frozen=True)
class ExplainOptions:
    """What a person may choose of an explanation.

    Attributes:
        label: the label to explain; empty for the predicted one.
        k: how many training examples to show.
        target: the column with the labels of the training data, where it is called otherwise than at the fit.
        engine: what runs the backbone.
    """

    label: str = ""
    k: int = 5
    target: str | None = None
    engine: str = AUTO


def explain(
    model: Model | str | Path,
    item: str | Path,
    *,
    data: Items | None = None,
    options: ExplainOptions = ExplainOptions(),
    progress: Progress = silent,
) -> Explanation:
    """Explain one prediction.

    Args:
        model: a model or the directory of one.
        item: a file; for a text model a `str` is the text itself.
        data: the training data, whose nearest items are shown; its rows come from the store. None: those that the model carries.
        options: everything else that can be chosen.
        progress: stages `read` and `extract`, in samples.

    Raises:
        DataError: the item cannot be read, or is of another modality; or the data cannot be used.
        UsageError: the model has no such label.
    """
    began = time.perf_counter()
    opened = model if isinstance(model, Model) else load(Path(model))
    check_engine(opened.backbone, options.engine)
    samples = to_predict(item, modality=opened.modality, reading=opened.reading)
    if len(samples) != 1:
        raise UsageError(f"one item is explained at a time, and {item} holds {len(samples)}: name one file or text")
    [prediction] = opened.predict(samples, engine=options.engine)[:1]
    if "error" in prediction:
        raise DataError(f"{prediction['input']} cannot be explained: it {prediction['error']}")
    content = content_of(samples)(0)
    try:
        found = saliency(
            opened,
            content,
            label=options.label or str(prediction.get("label") or ""),
            engine=options.engine,
            progress=progress,
        )
    except SampleError as error:
        raise DataError(f"{prediction['input']} cannot be explained: it {error}") from error
    mapped = time.perf_counter()
    row = join(embed(opened.backbone, samples, engine=options.engine).features)
    near, notes = _nearest(opened, row, data, options, progress)
    seconds = {"saliency": mapped - began, "total": time.perf_counter() - began}
    return Explanation(prediction, found, near, opened.warnings + notes, content, seconds)


def _nearest(model: Model, row: np.ndarray, data: Items | None, options: ExplainOptions, progress: Progress) -> Nearest:
    """The nearest training examples, from the data where it is given, else from what the model carries."""
    if data is not None:
        return _in_data(model, row, data, options, progress)
    if model.judge is None or model.judge.neighbours is None:
        return (), (
            "the model carries no training examples: name the training data (--data DATA) to see the nearest ones",
        )
    return nearest_carried(model, row, k=options.k)


def _in_data(model: Model, row: np.ndarray, data: Items, options: ExplainOptions, progress: Progress) -> Nearest:
    """The nearest labelled items of the training part.

    Raises:
        DataError: the data is of another modality or has no labels.
    """
    samples = to_evaluate(data, modality=model.modality, reading=model.reading, target=options.target)
    if samples.modality != model.modality:
        raise DataError(f"this model takes {model.modality} input, and {samples.source} holds {samples.modality}")
    samples = samples.part("train") if "train" in samples.parts else samples
    if not samples.has_target:
        raise DataError(
            f"{samples.source} has no labels, so its items are no training examples: name the training data"
        )
    samples = samples.take(np.flatnonzero(np.asarray(pc.is_valid(samples.table.column("target")))))
    rows = rows_of(samples, model.backbone, engine=options.engine, progress=progress)
    mean = rows.x.mean(axis=0, dtype=np.float64).astype(np.float32)
    targets = rows.samples.table.column("target").to_pylist()
    labels = [", ".join(each) if isinstance(each, list) else str(each) for each in targets]
    return nearest(unit_rows(row, mean), unit_rows(rows.x, mean), ids=rows.samples.ids, labels=labels, k=options.k)
