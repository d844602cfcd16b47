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


def audit_of(
    model: Model, data: Items, *, target: str | None = None, progress: Progress = silent
) -> tuple[Audit | None, str]:
    """What the data gate finds in a model's data; None where it cannot look at it, with a sentence that says why.

    Args:
        model: whose backbone makes the rows.
        data: labelled data, as for `evaluate`.
        target: the column with the labels, where it has another name than in training.
        progress: as for `check`.
    """
    try:
        samples = to_evaluate(data, modality=model.modality, reading=model.reading, target=target)
        reading = replace(ReadOptions(), task=model.task)
        found = check(samples, backbone=model.backbone, options=CheckOptions(reading=reading), progress=progress)
    except HeadstartError as error:
        return None, f"the data was not checked: {error}"
    return found, ""


def curve_of(
    model: Model, data: Items, *, target: str | None = None, progress: Progress = silent
) -> tuple[Curve | None, str]:
    """The learning curve of a model's training data; None where the data does not hold it, or it is too large to be quick, with why.

    Args:
        model: whose backbone makes the rows.
        data: labelled data, as for `evaluate`.
        target: the column with the labels, where it has another name than in training.
        progress: as for `curve`.
    """
    if model.report.n["train"] > MOST_ROWS:
        return (
            None,
            f"no learning curve was drawn: of more than {MOST_ROWS:,} training samples  headstart curve  makes one",
        )
    try:
        samples = to_evaluate(data, modality=model.modality, reading=model.reading, target=target)
        if "train" not in samples.parts and model.report.evaluated_on != OUT_OF_FOLD:
            return None, "no learning curve was drawn: the data does not hold the training samples"
        options = CurveOptions(reading=replace(model.reading, target=None))
        return curve(samples, backbone=model.backbone, options=options, progress=progress), ""
    except HeadstartError as error:
        return None, f"no learning curve was drawn: {error}"
