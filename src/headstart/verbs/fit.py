"""`fit`: from a person's own labelled data to a model."""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from headstart.backbones.backbone import Backbone, BackboneRequest
from headstart.backbones.choice import tokenizer_warning
from headstart.backbones.precision import settle
from headstart.core.errors import FitError, UsageError
from headstart.core.progress import Progress, silent
from headstart.core.spec import title_of
from headstart.data.samples import Samples
from headstart.data.splits import folds
from headstart.evaluation.decision import shift_prior
from headstart.evaluation.intervals import Estimate
from headstart.features.extraction import Extraction, extract
from headstart.heads.extrapolation import shipped_temperature
from headstart.heads.recipe import HeadRecipe
from headstart.heads.selection import Candidate, Selection, select
from headstart.heads.selection import check as check_recipe
from headstart.heads.selection import parse as parse_recipe
from headstart.model import aim as aims
from headstart.model.aim import Aim, Decided
from headstart.model.deployment import AT_OWN_SHARES, read_prior
from headstart.model.examples import examples_for
from headstart.model.judge import fit_judge
from headstart.model.model import Model, check_engine_name, first_reasons, join, truncation
from headstart.model.precision import measure
from headstart.model.reports import OUT_OF_FOLD, FitReport
from headstart.model.rule import Rule
from headstart.model.split_record import SplitRecord
from headstart.tasks.task import Targets, Task
from headstart.verbs.fit_backbone import Chosen, check_layers, choose_backbone
from headstart.verbs.fit_data import FitData, FitOptions, prepare, without_place
from headstart.verbs.fit_gate import Gate, findings, open_gate

# What a fit goes through, as its report times it.
_STAGES = ("open", "features", "check", "head", "measure", "judge", "precision", "findings")


def fit(
    data: str | Path | Sequence[str | Path] | Samples,
    *,
    backbone: str | BackboneRequest | Backbone | None = None,
    target: str | None = None,
    options: FitOptions = FitOptions(),
    progress: Progress = silent,
) -> Model:
    """Fit a model: extract features once, choose a head out of fold, calibrate it, and measure it on samples it has not seen.

    Args:
        data: a folder of class folders (with or without `train/`, `val/`, `test/`), a table (CSV, TSV, JSON lines, Parquet) or a folder
            of tables, or `Samples`.
        backbone: shorthand for `options.backbone`.
        target: shorthand for `options.reading.target`, the column with the labels.
        options: everything else that can be chosen.
        progress: stages `open`, one backbone, `read` and `extract`, in samples, `choosing a head`, in recipes, and
            `comparing precisions`, in samples.

    Returns:
        The model; `model.report` says what was understood, chosen and measured. Recipes, the temperature and every choice come from
        out-of-fold scores on `train`, and the head is fitted on all of `train`. `test`, or `val` where there is no `test`, is only
        evaluated.

    Raises:
        DataError: the data cannot be used; FitError: no head can be fitted; WeightsMissing: no backbone is on this machine.
    """
    options = _settled(options, backbone, target)
    recipe, aim = parse_recipe(options.head), aims.parse(options.optimise)
    began = time.perf_counter()
    prepared = prepare(data, options)
    check_recipe(recipe, prepared.task.name)
    labels = _labels(prepared)
    aims.check(aim, task=prepared.task.name, labels=labels)
    read_prior(options.deployment_prior, task=prepared.task.name, labels=labels)
    picked, prepared = _choose(prepared, options, progress)
    chosen = picked.backbone
    opened = time.perf_counter()
    extraction = extract(prepared.samples, chosen, engine=options.engine, progress=progress)
    extracted = time.perf_counter()
    gate, prepared = open_gate(prepared, extraction, options=options)
    rows = _rows(prepared, extraction, gate=gate, seed=options.seed)
    checked = time.perf_counter()
    selection = _select(rows, recipe, seed=options.seed, progress=progress)
    scored = _score(rows, selection, aim=aim, options=options)
    selected = time.perf_counter()
    report = _report(prepared, rows, extraction, scored=scored, backbone=chosen)
    measured = time.perf_counter()
    model = _model(prepared, rows, scored=scored, backbone=chosen, report=report)
    model = _judged(model, prepared, rows=rows, selection=selection, options=options)
    judged = time.perf_counter()
    change, notes = measure(model, prepared.samples.take(rows.in_train), rows=rows.x_train, progress=progress)
    notes = report.notes + without_place(notes, prepared.samples.source)
    compared = time.perf_counter()
    found = _findings(gate, prepared, rows=rows, model=model, selection=selection, options=options)
    ends = [opened, extracted, checked, selected, measured, judged, compared, time.perf_counter()]
    report = replace(
        report, above=picked.above, seconds=_seconds(began, ends), precision=change, notes=notes, findings=found
    )
    return replace(model, report=report)


def _choose(data: FitData, options: FitOptions, progress: Progress) -> tuple[Chosen, FitData]:
    """The backbone, and the data with notes that say how it was chosen."""
    progress("open", 0, 1)
    picked = choose_backbone(data, options, progress=progress)
    progress("open", 1, 1)
    return picked, replace(data, notes=data.notes + picked.notes)


def _seconds(began: float, ends: Sequence[float]) -> dict[str, float]:
    """What each stage took, and all of them together."""
    stages = zip(_STAGES, pairwise([began, *ends]), strict=True)
    seconds = {name: end - start for name, (start, end) in stages} | {"total": ends[-1] - began}
    return seconds | {"check": seconds["check"] + seconds.pop("findings")}


def _settled(options: FitOptions, backbone: str | BackboneRequest | Backbone | None, target: str | None) -> FitOptions:
    """The options with the shorthands put in.

    Raises:
        UsageError: the seed is none that a generator takes, the coverage is no share, or there is no such precision or engine.
    """
    if options.precision:
        settle(options.precision, {})
    check_engine_name(options.engine)
    check_layers(options.layers)
    if not 0 <= options.seed < 2**32:
        raise UsageError(f"a seed is a whole number from 0 to 2**32 - 1, and got {options.seed}")
    if not 0.0 < options.coverage < 1.0:
        raise UsageError(f"coverage is a share between 0 and 1, such as 0.9, and got {options.coverage}")
    reading = options.reading if target is None else replace(options.reading, target=target)
    return replace(options, backbone=options.backbone if backbone is None else backbone, reading=reading)


@dataclass(frozen=True)
class _Rows:
    x_train: np.ndarray
    in_train: np.ndarray  # the positions of the training rows among the samples
    train: Targets
    groups: np.ndarray | None
    fold: np.ndarray
    x_held: np.ndarray | None
    held: Targets | None
    split: SplitRecord
    task: Task
    shared: int  # evaluated samples whose content is also in train


def _rows(data: FitData, extraction: Extraction, *, gate: Gate, seed: int) -> _Rows:
    """Rows, targets, groups and folds by part."""
    samples = data.samples.take(extraction.kept)
    x, digests = join(extraction.features), extraction.features[0].digests
    parts = np.asarray(samples.table.column("split").to_pylist(), dtype=object)
    in_train, in_held = parts == "train", parts == data.evaluated
    if not in_train.any():
        raise FitError(
            f"no training sample of {samples.source} could be read; see the skipped ones: {first_reasons(extraction)}"
        )
    column = samples.table.column("target")
    train = data.task.encode(column.filter(pa.array(in_train)), None)
    held = data.task.encode(column.filter(pa.array(in_held)), train.labels or None) if in_held.any() else None
    split = {"train": digests[in_train], **({data.evaluated: digests[in_held]} if held is not None else {})}
    record = SplitRecord.of(split)
    joined = gate.together(in_train)
    return _Rows(
        x_train=x[in_train],
        in_train=extraction.kept[in_train],
        train=train,
        groups=joined,
        fold=folds(train.values, task=data.task.name, groups=joined, seed=seed),
        x_held=x[in_held] if held is not None else None,
        held=held,
        split=record,
        task=data.task,
        shared=int(record.in_train(digests[in_held]).sum()) if held is not None else 0,
    )


def _select(rows: _Rows, recipe: HeadRecipe, *, seed: int, progress: Progress) -> Selection:
    x, y, groups = rows.x_train, rows.train, rows.groups
    return select(x, y, fold=rows.fold, recipe=recipe, groups=groups, seed=seed, progress=progress)


@dataclass(frozen=True)
class _Scored:
    selection: Selection
    temperature: float
    decided: Decided | None  # None where the task decides by no rule
    deployed: tuple[float, ...] | None  # the class shares where the model is used

    @property
    def rule(self) -> Rule:
        return Rule() if self.decided is None else self.decided.rule


def _labels(data: FitData) -> tuple[str, ...]:
    return data.task.encode(data.samples.part("train").table.column("target"), None).labels


def _out_of_fold(rows: _Rows, selection: Selection, deployed: tuple[float, ...] | None) -> np.ndarray:
    """What the model answers on the training rows out of fold."""
    return _shifted(rows, rows.task.predict(selection.oof_scores, selection.temperature), deployed)


def _shifted(rows: _Rows, predicted: np.ndarray, deployed: tuple[float, ...] | None) -> np.ndarray:
    prior = _prior(rows)
    if prior is None or deployed is None:
        return predicted
    return shift_prior(predicted, prior=np.array(prior), deployed=np.array(deployed))


def _score(rows: _Rows, selection: Selection, *, aim: Aim, options: FitOptions) -> _Scored:
    """The chosen head with its temperature, its decision rule and the prior where it will be used."""
    temperature = _temperature(rows, selection, seed=options.seed)
    deployed = read_prior(options.deployment_prior, task=rows.task.name, labels=rows.train.labels)
    return _Scored(selection, temperature, _decide(aim, rows, selection, deployed=deployed), deployed)


def _decide(aim: Aim, rows: _Rows, selection: Selection, *, deployed: tuple[float, ...] | None) -> Decided | None:
    """The decision rule; None where the task has none."""
    if rows.task.link != "softmax":
        return None
    aims.check_shares(aim, deployed)
    return aims.decide(
        aim,
        _out_of_fold(rows, selection, deployed),
        targets=rows.train.values,
        fold=rows.fold,
        labels=rows.train.labels,
        prior=None if deployed is None else np.array(deployed),
    )


def _model(data: FitData, rows: _Rows, *, scored: _Scored, backbone: Backbone, report: FitReport) -> Model:
    return Model(
        backbone=backbone,
        head=scored.selection.head,
        labels=rows.train.labels,
        temperature=scored.temperature,
        rule=scored.rule,
        deployment_prior=scored.deployed,
        prior=_prior(rows),
        reading=data.reading,
        split=rows.split,
        report=report,
        fitted_precision=backbone.specs[0].precision,
    )


def _judged(model: Model, data: FitData, *, rows: _Rows, selection: Selection, options: FitOptions) -> Model:
    """The model with its judge, and with examples where they are asked for."""
    judge = fit_judge(
        rows.x_train,
        rows.train.values,
        predicted=_out_of_fold(rows, selection, model.deployment_prior),
        fold=rows.fold,
        ids=data.samples.take(rows.in_train).ids,
        bond=model.bond,
        coverage=options.coverage,
        seed=options.seed,
    )
    return replace(model, judge=judge, examples=examples_for(judge, data.samples) if options.with_examples else None)


def _findings(
    gate: Gate,
    data: FitData,
    *,
    rows: _Rows,
    model: Model,
    selection: Selection,
    options: FitOptions,
) -> tuple[dict[str, Any], ...]:
    """What the data gate finds, with probabilities of heads that have not seen the sample that they judge."""
    if gate.copies is None:
        return ()
    probabilities = None
    if model.labels:
        inside = np.isin(gate.extraction.kept, rows.in_train)
        probabilities = np.empty((len(inside), len(model.labels)))
        probabilities[inside] = rows.task.predict(selection.oof_scores, selection.temperature)
        if rows.x_held is not None:
            probabilities[~inside] = rows.task.predict(model.head.scores(rows.x_held), model.temperature)
    told = findings(gate, data, probabilities=probabilities, labels=model.labels, options=options)
    source = data.samples.source
    return tuple({**each, "sentence": without_place((each["sentence"],), source)[0]} for each in told)


def _temperature(rows: _Rows, selection: Selection, *, seed: int) -> float:
    """What the scores of the shipped head are divided by; those out of fold have the selection's own."""
    x, y = rows.x_train, rows.train
    return shipped_temperature(x, y, selection=selection, fold=rows.fold, groups=rows.groups, seed=seed)


def _prior(rows: _Rows) -> tuple[float, ...] | None:
    """The share of the training rows that each label has; None where there are no labels."""
    counts = rows.task.summary(rows.train)
    return tuple(counts[label] / len(rows.train) for label in rows.train.labels) if rows.train.labels else None


def _report(
    data: FitData,
    rows: _Rows,
    extraction: Extraction,
    *,
    scored: _Scored,
    backbone: Backbone,
) -> FitReport:
    task, selection, decided = rows.task, scored.selection, scored.decided
    predicted = _out_of_fold(rows, selection, scored.deployed)
    chosen, classes = None if decided is None else decided.chosen, task.summary(rows.train)
    out_of_fold = task.metrics(rows.train, predicted, chosen=chosen, classes=classes)
    metrics: dict[str, Estimate] = out_of_fold
    if rows.held is not None and rows.x_held is not None:
        predicted = _shifted(
            rows, task.predict(selection.head.scores(rows.x_held), scored.temperature), scored.deployed
        )
        chosen = None if decided is None else decided.rule.choose(predicted)
        metrics = task.metrics(rows.held, predicted, chosen=chosen, classes=classes)
    counts = {"train": len(rows.train), "val": 0, "test": 0}
    if rows.held is not None:
        counts[data.evaluated] = len(rows.held)
    notes = data.notes + extraction.notes + selection.notes + (() if decided is None else decided.notes)
    if scored.deployed is not None:
        notes += (AT_OWN_SHARES,)
    notes += tuple(
        f"{count:,} samples of {part} are left for tune and compress; the figures are of {data.evaluated or 'train'}"
        for part, count in data.ignored.items()
    )
    return FitReport(
        task=task.name,
        backbone=title_of(backbone.specs),
        above=(),
        engine=extraction.engine,
        head=selection.recipe,
        n=counts,
        classes=classes,
        extracted=extraction.extracted,
        cached=extraction.cached,
        skipped=data.samples.skipped + extraction.skipped,
        seconds={},
        evaluated_on=data.evaluated if rows.held is not None else OUT_OF_FOLD,
        metrics=metrics,
        out_of_fold=out_of_fold,
        candidates=tuple(map(_candidate, selection.candidates)),
        notes=without_place(notes, data.samples.source),
        warnings=without_place(_warnings(data, rows, extraction, backbone), data.samples.source),
    )


def _candidate(candidate: Candidate) -> dict[str, Any]:
    """A candidate as JSON, in which a loss or error that is not finite is null."""
    values = dataclasses.asdict(candidate)
    return {
        key: None if isinstance(value, float) and not np.isfinite(value) else value for key, value in values.items()
    }


def _warnings(data: FitData, rows: _Rows, extraction: Extraction, backbone: Backbone) -> tuple[str, ...]:
    found = [*backbone.warnings, *data.doubts]
    tokens, unknown, single = (int(extraction.facts.get(name, 0)) for name in ("tokens", "unknown", "single"))
    name = backbone.specs[0].title
    if tokens and (sentence := tokenizer_warning(tokens=tokens, unknown=unknown, single=single, backbone=name)):
        found.append(sentence)
    found += truncation(extraction)
    if rows.shared:
        found.append(
            f"{rows.shared:,} samples of {data.evaluated} have the very content of a training sample; "
            "the figures are better than on new data: take the copies out"
        )
    lonely = [label for label, count in rows.task.summary(rows.train).items() if count == 1]
    if lonely:
        names = ", ".join(lonely[:5]) + (" and more" if len(lonely) > 5 else "")
        found.append(
            f"{len(lonely)} labels have one training sample each ({names}); nothing can be measured for them: add samples"
        )
    return tuple(found)
