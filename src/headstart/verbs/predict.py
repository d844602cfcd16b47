"""`predict`: a model's answers for files, folders, tables or texts."""

from pathlib import Path
from typing import Any

from headstart.core.progress import Progress, silent
from headstart.features.choosing import AUTO
from headstart.model.items import Items
from headstart.model.judge import Judging
from headstart.model.loading import load
from headstart.model.model import Model


def predict(
    model: Model | str | Path,
    items: Items,
    *,
    judging: Judging = Judging(),
    engine: str = AUTO,
    precision: str = "",
    progress: Progress = silent,
) -> list[dict[str, Any]]:
    """One prediction for each item, in order, with calibrated probabilities; docs/json.md states the shape.

    Args:
        model: a model or the directory of one.
        items: files, a folder or a table, labelled or not. For a text model a `str` is the text itself and a `Path` is a file.
        judging: when to give no answer but the reason, and how sets are made.
        engine: what runs the backbone, such as `openvino`; `auto` chooses.
        precision: what to run the model at, where not at that it was fitted at; `Model.warnings` says what that changes.
        progress: stage `extract`, in samples.

    Returns:
        A dictionary for each item; `{"input", "error"}` for one that cannot be read.

    Raises:
        UsageError: the model is to abstain and carries no judge.
    """
    opened = model if isinstance(model, Model) else load(Path(model), precision=precision)
    opened = opened.at(precision) if precision else opened
    return opened.predict(items, judging=judging, engine=engine, progress=progress)
