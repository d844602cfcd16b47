"""`evaluate`: a model's figures on labelled data that it was not fitted on."""

from pathlib import Path

from headstart.core.progress import Progress, silent
from headstart.features.choosing import AUTO
from headstart.model.items import Items
from headstart.model.loading import load
from headstart.model.model import Model
from headstart.model.reports import EvaluationReport


def evaluate(
    model: Model | str | Path,
    data: Items,
    *,
    part: str | None = None,
    target: str | None = None,
    engine: str = AUTO,
    precision: str = "",
    progress: Progress = silent,
) -> EvaluationReport:
    """Metrics with their intervals. Data that has parts is evaluated on `part`, else on its `test`, else on its `val`.

    Args:
        model: a model or the directory of one.
        data: labelled data, laid out like the training data or one part of it.
        part: `train`, `val` or `test`.
        target: the column with the labels, where it is called otherwise than in the training data.
        engine: what runs the backbone, such as `openvino`; `auto` chooses.
        precision: what to run the model at, where not at that it was fitted at; the report's warnings say what that changes.
        progress: stages `read` and `extract`, in samples.

    Raises:
        DataError: the data cannot be used, or has labels that the model does not know.
    """
    opened = model if isinstance(model, Model) else load(Path(model), precision=precision)
    opened = opened.at(precision) if precision else opened
    return opened.evaluate(data, part=part, target=target, engine=engine, progress=progress)
