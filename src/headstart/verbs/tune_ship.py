"""The model that a tuning ships: calibrated and judged by the samples that were set aside, measured beside the frozen one."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.backbones.network import NetworkBackbone
from headstart.core.progress import Progress
from headstart.data.splits import folds
from headstart.evaluation.comparison import HIGHER_IS_BETTER, Difference, paired_difference
from headstart.features.extraction import extract
from headstart.heads.fitted import Linear
from headstart.model.judge import fit_judge
from headstart.model.model import Model, join
from headstart.model.reports import TUNED
from headstart.model.rule import Rule
from headstart.model.split_record import SplitRecord
from headstart.verbs.tune_ground import ASIDE, Ground, temperature_of

if TYPE_CHECKING:
    from headstart.tuning.ladder import Climbed


def shipped_model(
    model: Model,
    ground: Ground,
    *,
    frozen: NetworkBackbone,
    found: "Climbed",
    rows: np.ndarray,
    progress: Progress,
) -> tuple[Model, Mapping[str, Difference]]:
    """The tuned model, measured on the evaluated part beside the frozen one."""
    backbone = found.state.backbone(frozen)
    head = found.state.linear(ground.start.link)
    y = ground.y.take(ground.aside_rows)
    scores = head.scores(rows)
    temperature = temperature_of(scores, y, task=ground.task)
    counts = ground.task.summary(ground.y.take(ground.fit_rows))
    metrics, compared = _measured(ground, backbone, head, temperature=temperature, classes=counts, progress=progress)
    digests = ground.extraction.features[0].digests
    parts = np.asarray(ground.samples.table.column("split").to_pylist(), dtype=object)
    names = ["train", *([ground.prepared.evaluated] if ground.prepared.evaluated else [])]
    predicted = ground.task.predict(scores, temperature)
    aside_metrics = ground.task.metrics(y, predicted, classes=counts)
    report = replace(
        model.report,
        head=f"{TUNED}{found.run.strategy}",
        n={**model.report.n, "train": len(ground.fit_rows)},
        classes=counts,
        metrics=aside_metrics if metrics is None else metrics,
        evaluated_on=ground.prepared.evaluated if metrics is not None else model.report.evaluated_on,
        out_of_fold=aside_metrics,
        candidates=(),
        precision=None,
        findings=(),
        notes=(*model.report.notes, _told(found, ground)),
    )
    tuned = replace(
        model,
        backbone=backbone,
        head=head,
        labels=ground.y.labels,
        temperature=temperature,
        prior=tuple(counts[label] / len(ground.fit_rows) for label in ground.y.labels) if ground.y.labels else None,
        split=SplitRecord.of({name: digests[parts == name] for name in names}),
        report=report,
        fitted_precision=backbone.specs[0].precision,
        rule=Rule(),
        deployment_prior=None,
        judge=None,
    )
    judge = fit_judge(
        rows,
        y.values,
        predicted=predicted,
        fold=folds(y.values, task=y.task, groups=None, n_folds=ASIDE),
        ids=ground.samples.take(ground.aside).ids,
        bond=tuned.bond,
    )
    return replace(tuned, judge=judge), compared


def _measured(
    ground: Ground,
    backbone: NetworkBackbone,
    head: Linear,
    *,
    temperature: float,
    classes: Mapping[str, int],
    progress: Progress,
) -> tuple[Mapping[str, Any] | None, Mapping[str, Difference]]:
    """The tuned model's figures on the evaluated part, and beside those of the frozen one."""
    part = ground.prepared.evaluated
    if not part:
        return None, {}
    held = np.flatnonzero(np.asarray(ground.samples.table.column("split").to_pylist(), dtype=object) == part)
    samples = ground.samples.take(held)
    targets = ground.task.encode(samples.table.column("target"), ground.y.labels or None)
    rows = extract(samples, backbone, progress=progress)
    predicted = ground.task.predict(head.scores(join(rows.features)), temperature)
    before = ground.task.predict(
        ground.frozen.head.scores(join(ground.extraction.features)[held]), ground.frozen.temperature
    )
    ours, theirs = ground.task.outcomes(targets, predicted), ground.task.outcomes(targets, before)
    compared = {
        name: paired_difference(
            np.asarray(ours[name]), np.asarray(theirs[name]), higher_is_better=name in HIGHER_IS_BETTER
        )
        for name in ours
    }
    return ground.task.metrics(targets, predicted, classes=classes), compared


def _told(found: "Climbed", ground: Ground) -> str:
    return (
        f"tuned by {found.run.strategy} for {found.run.steps:,} steps of {found.run.batch} from the fitted head, rate {found.rate:.3g}; "
        f"the {found.point.title} weights at {found.point.share:g} of the way; trained on {len(ground.fit_rows):,} samples, and the "
        "figures out of fold are of those that were set aside"
    )
