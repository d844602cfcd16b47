"""`predict`: a model's answers for files, folders, tables or texts."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from headstart.core.progress import Progress, silent
from headstart.data.opening import open_samples, texts_as_samples
from headstart.data.samples import Samples
from headstart.model.loading import load
from headstart.model.model import Model


def predict(
    model: Model | str | Path,
    items: str | Path | Sequence[str | Path] | Samples,
    *,
    progress: Progress = silent,
) -> list[dict[str, Any]]:
    """One prediction for each item, in order, with calibrated probabilities; docs/json.md states the shape.

    Args:
        model: a model or the directory of one.
        items: files, a folder or a table, labelled or not. For a text model a `str` is the text itself and a `Path` is a file.
        progress: stage `extract`, in samples.

    Returns:
        A dictionary for each item; `{"input", "error"}` for one that cannot be read.
    """
    opened = model if isinstance(model, Model) else load(Path(model))
    samples = items if isinstance(items, Samples) else _samples(opened, items)
    answers = opened.predict(samples, progress=progress)
    return answers + [{"input": each.input, "error": each.reason} for each in samples.skipped]


def _samples(model: Model, items: str | Path | Sequence[str | Path]) -> Samples:
    several = [items] if isinstance(items, str | Path) else list(items)
    if model.modality == "text" and all(isinstance(item, str) for item in several):
        return texts_as_samples([str(item) for item in several])
    options = replace(
        model.reading, labelled=False, modality=model.modality, target=None, group=None, separator=None, task=None
    )
    return open_samples(items, options=options)
