"""The galleries: the worst errors, and what an audit suspects to be labelled wrongly."""

import numpy as np

from headstart.features.contents import content_of
from headstart.model.model import Model
from headstart.reporting.evidence import Evidence
from headstart.reporting.inputs import Audit, Suspect
from headstart.reporting.media import shorten, show_at
from headstart.reporting.story import Gallery, Item, Media
from headstart.reporting.words import percent

MOST_ITEMS = {"image": 24, "text": 20, "audio": 10}
"""Items of a gallery. A photo takes up to 14 kB of the page, a recording up to 64 kB."""

_LONGEST_NAME = 90


def name_of(text: str) -> str:
    """An id or a label, cut in the middle where it is very long: what tells names apart stands at their end."""
    return text if len(text) <= _LONGEST_NAME else f"{text[:30]} … {text[-50:]}"


def shown_label(evidence: Evidence, row: int) -> str:
    """What an item is."""
    return _written(evidence, np.asarray(evidence.targets.values[row]))


def answer(evidence: Evidence, row: int) -> str:
    """What was predicted for an item."""
    return _written(evidence, np.asarray(evidence.chosen[row]))


def shown_prediction(evidence: Evidence, row: int) -> str:
    """What was predicted for an item, with its probability where there is one answer."""
    if evidence.targets.task != "single_label":
        return answer(evidence, row)
    return f"{answer(evidence, row)} ({_brief(float(evidence.predicted[row, int(evidence.chosen[row])]))})"


def worst_errors(model: Model, evidence: Evidence) -> Gallery:
    """The errors that the model was surest of; for values the items that are farthest off."""
    most = MOST_ITEMS[model.modality]
    order, total = _worst(evidence)
    content, ids = content_of(evidence.samples), evidence.samples.ids
    items = tuple(
        Item(
            id=name_of(ids[row]),
            label=shown_label(evidence, row),
            said=answer(evidence, row),
            sure=_sure(evidence, row),
            why="",
            media=show_at(model.backbone.preparation, content, position=row),
        )
        for row in order[:most].tolist()
    )
    return Gallery(items, total)


def label_suspects(model: Model, evidence: Evidence, *, audit: Audit | None) -> Gallery | None:
    """The items that an audit suspects to be labelled wrongly; those that are no part of the evidence are shown without a picture.

    None where no audit was made.
    """
    if audit is None:
        return None
    found = [each for each in audit.suspects if each.kind == "label_error"]
    place = {name: row for row, name in enumerate(evidence.samples.ids)}
    content = content_of(evidence.samples)
    items = []
    for each in found[: MOST_ITEMS[model.modality]]:
        row = place.get(each.input)
        shown = Media("none") if row is None else show_at(model.backbone.preparation, content, position=row)
        items.append(_suspect(each, shown))
    return Gallery(tuple(items), len(found))


def _suspect(each: Suspect, shown: Media) -> Item:
    return Item(
        id=name_of(each.input),
        label=name_of(each.label),
        said=name_of(each.suggestion),
        sure=_brief(min(max(each.score, 0.0), 1.0)),
        why=shorten(each.why, 160),
        media=shown,
    )


def _worst(evidence: Evidence) -> tuple[np.ndarray, int]:
    """Rows from the worst on, and how many errors there are."""
    if evidence.targets.task == "regression":
        error = np.abs(evidence.chosen - evidence.targets.values)
        return np.argsort(-error, kind="stable"), len(evidence)
    wrong = np.flatnonzero(evidence.wrong)
    if evidence.targets.task == "multi_label":
        likelihood = np.where(evidence.targets.values, evidence.predicted, 1 - evidence.predicted)[wrong].min(axis=1)
        return wrong[np.argsort(likelihood, kind="stable")], len(wrong)
    sure = evidence.predicted[wrong, evidence.chosen[wrong]]
    return wrong[np.argsort(-sure, kind="stable")], len(wrong)


def _sure(evidence: Evidence, row: int) -> str:
    if evidence.targets.task == "single_label":
        return _brief(float(evidence.predicted[row, int(evidence.chosen[row])]))
    if evidence.targets.task == "regression":
        return f"off by {evidence.chosen[row] - evidence.targets.values[row]:+.3g}"
    wrong = np.flatnonzero(evidence.chosen[row] != evidence.targets.values[row])
    worst = max(wrong, key=lambda j: abs(float(evidence.predicted[row, j]) - float(evidence.targets.values[row, j])))
    return f"{name_of(evidence.targets.labels[worst])}: {_brief(float(evidence.predicted[row, worst]))}"


def _written(evidence: Evidence, value: np.ndarray) -> str:
    targets = evidence.targets
    if targets.task == "regression":
        return f"{float(value):.4g}"
    if targets.task == "single_label":
        return name_of(targets.labels[int(value)])
    names = [targets.labels[i] for i in np.flatnonzero(value)]
    return shorten(", ".join(names), 120) or "no label"


def _brief(share: float) -> str:
    """A share in whole per cent, where there is little room."""
    return percent(share, 0).replace("over ", ">").replace("under ", "<")
