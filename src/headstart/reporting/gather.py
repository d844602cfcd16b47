"""`gather`: compose the story that the page tells from a model and labelled data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from headstart.core.progress import Progress, silent
from headstart.evaluation.intervals import Estimate
from headstart.model.model import Model
from headstart.reporting import checks, confidence, draw_values, embedding, galleries, labels, making, tuning, verdict
from headstart.reporting.evidence import Evidence
from headstart.reporting.inputs import Audit, Curve, Judgement, Suspect
from headstart.reporting.story import DataSection, Plot, Story
from headstart.reporting.words import ITEMS, KINDS, now, sentence
from headstart.tasks import TASKS

STAGE = "drawing"
_MOST_SENTENCES, _MOST_SKIPPED = 40, 12
_STEPS = 6


@dataclass(frozen=True)
class Sources:
    """What other verbs found, where they were run.

    Attributes:
        audit: of the data.
        curve: the figure against the number of labels.
        directory: of the model, where it has one.
        unchecked: why there is no audit, where one was tried.
    """

    audit: Audit | None = None
    curve: Curve | None = None
    directory: Path | None = None
    unchecked: str = ""


def gather(
    model: Model, evidence: Evidence, *, sources: Sources = Sources(), seed: int = 0, progress: Progress = silent
) -> Story:
    """Everything that the page shows.

    Args:
        model: whose results are told.
        evidence: the samples with their predictions.
        sources: what other verbs found.
        seed: decides what is drawn at random.
        progress: stage `drawing`, in steps.
    """
    progress(STAGE, 0, _STEPS)
    metrics = TASKS.get(model.task).metrics(evidence.targets, evidence.predicted, seed=seed)
    rows = labels.rows(evidence, model.report.classes)
    warnings = _warnings(model, evidence)
    audit = sources.audit or recorded(model)
    asked = checks.run(checks.Facts(evidence, metrics, rows, warnings, audit, seed))
    progress(STAGE, 1, _STEPS)
    layout = embedding.make_map(model, evidence, seed=seed)
    progress(STAGE, 3, _STEPS)
    errors = galleries.worst_errors(model, evidence)
    suspects = galleries.label_suspects(model, evidence, audit=sources.audit)
    progress(STAGE, 4, _STEPS)
    story = Story(
        title=_title(evidence),
        kind=f"{model.modality} {KINDS.get(model.task, model.task)}",
        made=now(),
        facts=_facts(model, evidence),
        verdict=verdict.verdict(evidence, metrics, modality=model.modality),
        checks=asked,
        figures=verdict.figures(metrics),
        data=_data(model, evidence, (*warnings, *filter(None, [sources.unchecked])), audit=audit),
        confusion=labels.confusion(evidence),
        pairs=labels.pairs(evidence),
        classes=rows,
        reliability=confidence.reliability(evidence),
        calibration=_calibration(model, metrics),
        coverage=confidence.coverage(evidence, seed=seed),
        judged=confidence.judged(_judge(model, evidence), evidence),
        values=_values(evidence, seed=seed),
        map=layout,
        errors=errors,
        suspects=suspects,
        curve=draw_values.learning_curve(sources.curve) if sources.curve else None,
        curve_sentence=sentence(sources.curve.sentence) if sources.curve else "",
        tuning=None if model.report.tuning is None else tuning.section(model.report.tuning),
        candidates=making.candidates(model.report),
        stages=making.stages(model.report),
        reproduction=making.reproduction(model, evidence, directory=sources.directory, seed=seed),
        families=making.families(model.report),
        modality=model.modality,
    )
    progress(STAGE, _STEPS, _STEPS)
    return story


@dataclass(frozen=True)
class _Found:
    kind: str
    severity: str
    count: int
    sentence: str


@dataclass(frozen=True)
class Recorded:
    """What the data gate of the fit found, as far as the model's own report tells it: findings, and no items."""

    n: int
    findings: tuple[_Found, ...]
    understood: tuple[str, ...] = ()
    suspects: tuple[Suspect, ...] = ()
    shift: Mapping[str, float] = field(default_factory=dict)


def recorded(model: Model) -> Recorded | None:
    """The findings that the model's report carries; None where it carries none."""
    found = model.report.findings
    if not found:
        return None
    names = ("kind", "severity", "count", "sentence")
    return Recorded(sum(model.report.n.values()), tuple(_Found(*(each[name] for name in names)) for each in found))


def _title(evidence: Evidence) -> str:
    return Path(evidence.samples.source).name or evidence.samples.source


def _facts(model: Model, evidence: Evidence) -> tuple[tuple[str, str], ...]:
    """What stands under the verdict: a few facts that place it."""
    found = [("backbone", model.report.backbone), ("head", model.report.head.split("(", 1)[0])]
    if model.labels:
        found.append(("labels", f"{len(model.labels):,}"))
    found.append((f"training {ITEMS[model.modality]}", f"{model.report.n['train']:,}"))
    return (*found, (f"evaluated {ITEMS[model.modality]}", f"{len(evidence):,}"))


def _warnings(model: Model, evidence: Evidence) -> tuple[str, ...]:
    """What the fit and this evaluation warn of, each once."""
    return tuple(dict.fromkeys((*model.report.warnings, *evidence.warnings)))


def _data(model: Model, evidence: Evidence, warnings: tuple[str, ...], *, audit: Audit | None) -> DataSection:
    source = evidence.samples.source
    notes = dict.fromkeys((*(audit.understood if audit else ()), *model.report.notes, *evidence.notes))
    understood = [sentence(note.replace(source, Path(source).name or source)) for note in notes]
    findings = None if audit is None else tuple((each.severity, sentence(each.sentence)) for each in audit.findings)
    return DataSection(
        understood=tuple(dict.fromkeys(understood))[:_MOST_SENTENCES],
        parts={part: count for part, count in model.report.n.items() if count},
        warnings=tuple(sentence(each.replace(source, Path(source).name or source)) for each in warnings),
        skipped=tuple((galleries.name_of(each.input), each.reason) for each in evidence.skipped[:_MOST_SKIPPED]),
        skipped_total=len(evidence.skipped),
        findings=findings,
    )


def _calibration(model: Model, metrics: Mapping[str, Estimate]) -> str:
    found = metrics.get("calibration_error")
    if found is None:
        return ""
    return (
        f"Scores are divided by a temperature of {model.temperature:.3g}, which was fitted on out-of-fold scores, before they become"
        f" probabilities. After it the calibration error is {found.value:.3f} (95 % interval: {found.low:.3f} to {found.high:.3f})."
    )


def _judge(model: Model, evidence: Evidence) -> Judgement | None:
    """What the model's judge says of the evidence; None for a model without one."""
    if model.judge is None:
        return None
    return model.judge.verdict(evidence.x, evidence.predicted, labels=model.labels)


def _values(evidence: Evidence, *, seed: int) -> tuple[Plot, ...]:
    if evidence.targets.task != "regression":
        return ()
    true, predicted = evidence.targets.values, evidence.predicted[:, 0]
    return draw_values.against_truth(true, predicted, seed=seed), draw_values.residuals(true, predicted)
