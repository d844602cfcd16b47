"""`evaluate`: a model's figures on labelled data that it was not fitted on."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from headstart.core.errors import DataError
from headstart.core.progress import Progress, silent
from headstart.data.opening import open_samples
from headstart.data.samples import Samples
from headstart.model.loading import load
from headstart.model.model import Model
from headstart.model.reports import EvaluationReport


def evaluate(
    model: Model | str | Path,
    data: str | Path | Sequence[str | Path] | Samples,
    *,
    part: str | None = None,
    target: str | None = None,
    progress: Progress = silent,
) -> EvaluationReport:
    """Metrics with their intervals. Data that has parts is evaluated on `part`, else on its `test`, else on its `val`.

    Args:
        model: a model or the directory of one.
        data: labelled data, read as the model's training data was.
        part: `train`, `val` or `test`.
        target: the column with the labels, where it is called otherwise than in the training data.
        progress: stages `read` and `extract`, in samples.

    Raises:
        DataError: the data cannot be used, or has labels that the model does not know.
    """
    opened = model if isinstance(model, Model) else load(Path(model))
    samples = data if isinstance(data, Samples) else _samples(opened, data, target)
    chosen = part or next((name for name in ("test", "val") if name in samples.parts), "")
    if part and part not in samples.parts:
        raise DataError(
            f"{samples.source} has no part {part!r}: it has {', '.join(samples.parts) or 'no split at all'}"
        )
    return opened.evaluate(samples.part(chosen) if chosen else samples, part=chosen, progress=progress)


def _samples(model: Model, data: str | Path | Sequence[str | Path], target: str | None) -> Samples:
    options = replace(model.reading, modality=model.modality, target=target or model.reading.target)
    return open_samples(data, options=options)
