"""What a report shows beside a model's own figures: the data gate and the learning curve of its data, by its own backbone."""

from dataclasses import replace

from headstart.audit.findings import Audit
from headstart.core.errors import HeadstartError
from headstart.core.progress import Progress, silent
from headstart.data.reading import ReadOptions
from headstart.model.items import Items, to_evaluate
from headstart.model.model import Model
from headstart.model.reports import OUT_OF_FOLD
from headstart.verbs.check import CheckOptions, check
from headstart.verbs.curve import Curve, CurveOptions, curve

MOST_ROWS = 20_000
"""Past so many training samples no learning curve is drawn unasked: it would take longer than the rest of the report."""


def audit_of(model: Model, data: Items, *, target: str | None = None, progress: Progress = silent) -> Audit | None:
    """What the data gate finds in a model's data; None where it cannot look at it, which the report of the data itself then says.

    Args:
        model: whose backbone makes the rows.
        data: labelled data, as for `evaluate`.
        target: the column with the labels, where it has another name than in training.
        progress: as for `check`.
    """
    try:
        samples = to_evaluate(data, modality=model.modality, reading=model.reading, target=target)
        reading = replace(ReadOptions(), task=model.task)
        return check(samples, backbone=model.backbone, options=CheckOptions(reading=reading), progress=progress)
    except HeadstartError:
        return None


def curve_of(model: Model, data: Items, *, target: str | None = None, progress: Progress = silent) -> Curve | None:
    """The learning curve of a model's training data; None where the data does not hold it, or it is too large to be quick.

    Args:
        model: whose backbone makes the rows.
        data: labelled data, as for `evaluate`.
        target: the column with the labels, where it has another name than in training.
        progress: as for `curve`.
    """
    if model.report.n["train"] > MOST_ROWS:
        return None
    try:
        samples = to_evaluate(data, modality=model.modality, reading=model.reading, target=target)
        if "train" not in samples.parts and model.report.evaluated_on != OUT_OF_FOLD:
            return None
        options = CurveOptions(reading=replace(model.reading, target=None))
        return curve(samples, backbone=model.backbone, options=options, progress=progress)
    except HeadstartError:
        return None
