"""The model that a tuning ships: calibrated and judged by the samples that were set aside, measured beside the frozen one."""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from headstart.backbones.backbone import Backbone
from headstart.core.progress import Progress
from headstart.data.splits import folds
from headstart.evaluation.comparison import HIGHER_IS_BETTER, Difference, paired_difference
from headstart.evaluation.conformal import COVERAGE
from headstart.features.extraction import extract
from headstart.heads.fitted import Head
from headstart.model.examples import examples_for
from headstart.model.judge import Judge, fit_judge
from headstart.model.model import Model, join
from headstart.model.reports import OUT_OF_FOLD, TUNED
from headstart.model.split_record import SplitRecord
from headstart.model.tuning_record import TuningRecord
from headstart.tuning.gate import Gate, decide
from headstart.verbs.tune_decisions import Deciding, deciding
from headstart.verbs.tune_ground import ASIDE, Ground, temperature_of

if TYPE_CHECKING:
    from headstart.tuning.ladder import Climbed


@dataclass(frozen=True)
class Candidate:
    """What a tuning would ship.

    Attributes:
        backbone: with its weights.
        head: of its rows.
        rows: (aside, d) of the samples that were set aside.
        strategy: the recipe.
        told: how it was made, in a sentence's first half.
        title: `tuned` or `distilled`.
        found: the ladder's end; None where a head alone was trained.
    """

    backbone: Backbone
    head: Head
    rows: np.ndarray
    strategy: str
    told: str
    title: str = "tuned"
    found: "Climbed | None" = None

    @property
    def scores(self) -> Float[np.ndarray, "aside k"]:
        """Of the samples that were set aside."""
        return self.head.scores(self.rows)


def shipped_model(
    model: Model,
    ground: Ground,
    *,
    candidate: Candidate,
    gate: Gate,
    optimise: str | None = None,
    progress: Progress,
) -> tuple[Model, Mapping[str, Difference]]:
    """The tuned model, measured on the evaluated part beside the frozen one.

    Args:
        model: the frozen one.
        ground: of the tuning.
        candidate: what won.
        gate: what the gate saw.
        optimise: what decisions are to be good at; None: what the frozen model's are.
        progress: stage `extract`, in samples.
    """
    backbone, head, rows = candidate.backbone, candidate.head, candidate.rows
    y = ground.y.take(ground.aside_rows)
    temperature = temperature_of(candidate.scores, y, task=ground.task)
    predicted = ground.task.predict(candidate.scores, temperature)
    decides = deciding(model, ground, predicted=predicted, optimise=optimise)
    predicted = decides.shifted(predicted)
    aside_metrics = ground.task.metrics(y, predicted, chosen=decides.chosen, classes=ground.classes)
    metrics, compared = _measured(ground, candidate, decides, temperature=temperature, progress=progress)
    report = replace(
        model.report,
        head=f"{TUNED}{candidate.strategy}",
        n={"train": len(ground.fit_rows), "val": 0, "test": 0}
        | ({} if metrics is None else {ground.prepared.evaluated: len(ground.held)}),
        classes=ground.classes,
        metrics=aside_metrics if metrics is None else metrics,
        evaluated_on=ground.prepared.evaluated if metrics is not None else OUT_OF_FOLD,
        out_of_fold=aside_metrics,
        candidates=(),
        precision=None,
        findings=(),
        tuning=_record(candidate, ground, gate=gate, compared=compared),
        notes=(*model.report.notes, _told(candidate, ground), *decides.notes),
    )
    tuned = replace(
        model,
        backbone=backbone,
        head=head,
        labels=ground.y.labels,
        temperature=temperature,
        prior=decides.prior,
        split=_split_record(model, ground, measured=metrics is not None),
        report=report,
        fitted_precision=backbone.specs[0].precision,
        rule=decides.rule,
        deployment_prior=decides.deployed,
        judge=None,
    )
    judge = _judge(tuned, ground, rows=rows, predicted=predicted, before=model.judge)
    shown = None if model.examples is None else examples_for(judge, ground.samples)
    return replace(tuned, judge=judge, examples=shown), compared


def _split_record(model: Model, ground: Ground, *, measured: bool) -> SplitRecord:
    """What the tuned model has met, what its network was trained on before among it; what chose is no evidence any more."""
    digests = ground.extraction.features[0].digests
    before = model.split.taught if model.report.tuned else digests[:0]
    met = {"train": np.concatenate([digests[ground.train], before])}
    held = {ground.prepared.evaluated: digests[ground.held]} if measured else {}
    return SplitRecord.of(met | held, aside=digests[ground.aside])


def _judge(
    tuned: Model, ground: Ground, *, rows: np.ndarray, predicted: np.ndarray, before: Judge | None
) -> Judge | None:
    """From the samples that were set aside, at the coverage of the frozen model's."""
    coverage = COVERAGE if before is None or before.conformal is None else before.conformal.coverage
    y = ground.y.take(ground.aside_rows)
    return fit_judge(
        rows,
        y.values,
        predicted=predicted,
        fold=folds(y.values, task=y.task, groups=ground.aside_groups, n_folds=ASIDE),
        ids=ground.samples.take(ground.aside).ids,
        bond=tuned.bond,
        coverage=coverage,
    )


def _measured(
    ground: Ground, candidate: Candidate, decides: Deciding, *, temperature: float, progress: Progress
) -> tuple[Mapping[str, Any] | None, Mapping[str, Difference]]:
    """The tuned model's figures on the evaluated part, and, of the probabilities alone, beside those of the frozen one."""
    held = ground.held
    if not len(held):
        return None, {}
    samples, task = ground.samples.take(held), ground.task
    targets = task.encode(samples.table.column("target"), ground.y.labels or None)
    rows = extract(samples, candidate.backbone, progress=progress)
    predicted = task.predict(candidate.head.scores(join(rows.features)), temperature)
    before = task.predict(ground.frozen.head.scores(join(ground.extraction.features)[held]), ground.frozen.temperature)
    ours, theirs = task.outcomes(targets, predicted), task.outcomes(targets, before)
    compared = {
        name: paired_difference(
            np.asarray(ours[name]), np.asarray(theirs[name]), higher_is_better=name in HIGHER_IS_BETTER
        )
        for name in ours
    }
    at_use = decides.shifted(predicted)
    chosen = decides.rule.choose(at_use) if task.link == "softmax" else None
    return task.metrics(targets, at_use, chosen=chosen, classes=ground.classes), compared


def _record(candidate: Candidate, ground: Ground, *, gate: Gate, compared: Mapping[str, Difference]) -> TuningRecord:
    found = candidate.found
    head = (
        "the same backbone, frozen, with a head of the labels alone"
        if candidate.title != "tuned"
        else "the frozen head"
    )
    return TuningRecord(
        title=candidate.title,
        beaten=head,
        figure=ground.figure,
        gate=asdict(gate),
        part=ground.prepared.evaluated,
        compared=compared,
        steps=0 if found is None else found.run.steps,
        rate=0.0 if found is None else found.rate,
        curve=() if found is None else found.trained.curve,
        tries={} if found is None else {f"{rate:.3g}": loss for rate, loss in found.tries.items()},
        share=0.0 if found is None else found.point.share,
    )


def _told(candidate: Candidate, ground: Ground) -> str:
    return f"{candidate.told}; trained on {len(ground.fit_rows):,} samples, and the figures out of fold are of those that were set aside"


def gated(ground: Ground, scores: np.ndarray) -> Gate:
    """Compare tuned scores of what was set aside with those of the head that has to be beaten, on the half that chose nothing.

    Args:
        ground: of the tuning.
        scores: (aside, k) of the samples that were set aside.
    """
    y = ground.y.take(ground.aside_rows)
    temperature = temperature_of(scores[ground.chooses], y.take(ground.chooses), task=ground.task)
    _, outcomes = ground.task.figure(y, ground.task.predict(scores, temperature))
    deciding = ~ground.chooses
    return decide(ground.frozen_outcomes[deciding], outcomes[deciding])


@contextlib.contextmanager
def run_folder(given: Path | None) -> Iterator[Path]:
    """The folder of a run: the given one, or a temporary one that goes at the end."""
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def mirrored(frozen: Backbone, ground: Ground, *, flip: bool | None) -> tuple[bool, tuple[str, ...]]:
    """Whether pictures are mirrored, and how that was found out; `flip` says it where it is given."""
    if ground.samples.modality != "image":
        return False, ()
    if flip is not None:
        return flip, ()
    from headstart.tuning.mirroring import is_safe

    chooses = ground.chooses
    targets = ground.y.take(ground.aside_rows[chooses])

    def outcome(x: np.ndarray) -> np.ndarray:
        predicted = ground.task.predict(ground.frozen.head.scores(x), ground.frozen.temperature)
        return ground.task.figure(targets.take(np.arange(len(x))), predicted)[1]

    pictures, plain = ground.samples.take(ground.aside[chooses]), ground.frozen_outcomes[chooses]
    if is_safe(frozen, pictures, plain=plain, outcome=outcome):
        return True, ("pictures are mirrored while training, as the frozen model tells mirrored ones as well",)
    return False, ("pictures are not mirrored while training, as the frozen model tells mirrored ones worse",)
