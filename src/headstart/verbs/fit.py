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
import pyarrow.compute as pc

from headstart.backbones.backbone import Backbone, BackboneRequest
from headstart.backbones.choice import default_backbone, open_backbone, tokenizer_warning
from headstart.backbones.precision import settle
from headstart.core.errors import DataError, FitError, UsageError
from headstart.core.files import cache_root
from headstart.core.progress import Progress, silent
from headstart.data.opening import open_samples
from headstart.data.reading import ReadOptions
from headstart.data.samples import Samples
from headstart.data.splits import check_group_labels, check_groups, check_label_sets, folds, hold_out, join_groups
from headstart.evaluation.intervals import Estimate
from headstart.features.choosing import AUTO
from headstart.features.extraction import Extraction, extract
from headstart.features.hashing import digest_samples
from headstart.heads.recipe import HeadRecipe
from headstart.heads.selection import Candidate, Selection, select
from headstart.heads.selection import check as check_recipe
from headstart.heads.selection import parse as parse_recipe
from headstart.model.model import Model, check_engine, check_engine_name, first_reasons, join, truncation
from headstart.model.precision import measure, run_at
from headstart.model.reports import OUT_OF_FOLD, FitReport
from headstart.model.split_record import SplitRecord
from headstart.tasks import TASKS, guess_task
from headstart.tasks.task import Targets, Task

# What a fit goes through, as its report times it.
_STAGES = ("open", "features", "head", "measure", "precision")
# Labels past which names that are all numbers look like quantities.
_MANY_LABELS = 20


@dataclass(frozen=True)
class FitOptions:
    """What a person may choose of a fit; the defaults are what `headstart fit DATA` does.

    Attributes:
        backbone: `SOURCE:NAME`, a request with layer, pooling and so on, or an opened backbone. None: the first of the documented list
            for the modality whose weights are on this machine.
        head: a head recipe such as `auto`, `logistic` or `ridge(penalty=0.1)`.
        reading: how the data is read: target column, group, task, and so on.
        hold_out: share of `train` to set aside as `test`, stratified and group-disjoint, where the data has no split of its own.
        seed: decides the folds and what is held out.
        offline: open no socket.
        precision: `float32`, `bfloat16` or `float16`; empty for the backbone's own on this device.
        engine: what runs the backbone, such as `openvino`; `auto` chooses by the hardware and the number of rows that are missing.
    """

    backbone: str | BackboneRequest | Backbone | None = None
    head: str = "auto"
    reading: ReadOptions = ReadOptions()
    hold_out: float = 0.0
    seed: int = 0
    offline: bool = False
    precision: str = ""
    engine: str = AUTO


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
    recipe = parse_recipe(options.head)
    began = time.perf_counter()
    prepared = _prepare(data, options)
    check_recipe(recipe, prepared.task.name)
    progress("open", 0, 1)
    chosen, above = _choose(prepared.samples.modality, options)
    check_engine(chosen, options.engine)
    progress("open", 1, 1)
    opened = time.perf_counter()
    extraction = extract(prepared.samples, chosen, engine=options.engine, progress=progress)
    rows = _rows(prepared, extraction)
    extracted = time.perf_counter()
    selection = _select(rows, recipe, seed=options.seed, progress=progress)
    selected = time.perf_counter()
    report = _report(prepared, rows, extraction, selection, chosen)
    measured = time.perf_counter()
    model = Model(
        backbone=chosen,
        head=selection.head,
        labels=rows.train.labels,
        temperature=selection.temperature,
        prior=_prior(rows),
        reading=prepared.reading,
        split=rows.split,
        report=report,
        fitted_precision=chosen.specs[0].precision,
    )
    change, notes = measure(model, prepared.samples.take(rows.in_train), rows=rows.x_train, progress=progress)
    notes = report.notes + _without_place(notes, prepared.samples.source)
    seconds = _seconds(began, [opened, extracted, selected, measured, time.perf_counter()])
    return replace(model, report=replace(report, above=above, seconds=seconds, precision=change, notes=notes))


def _seconds(began: float, ends: Sequence[float]) -> dict[str, float]:
    """What each stage took, and all of them together."""
    stages = zip(_STAGES, pairwise([began, *ends]), strict=True)
    return {name: end - start for name, (start, end) in stages} | {"total": ends[-1] - began}


def _settled(options: FitOptions, backbone: str | BackboneRequest | Backbone | None, target: str | None) -> FitOptions:
    """The options with the shorthands put in.

    Raises:
        UsageError: the seed is none that a generator takes, or there is no such precision or engine.
    """
    if options.precision:
        settle(options.precision, {})
    check_engine_name(options.engine)
    if not 0 <= options.seed < 2**32:
        raise UsageError(f"a seed is a whole number from 0 to 2**32 - 1, and got {options.seed}")
    reading = options.reading if target is None else replace(options.reading, target=target)
    return replace(options, backbone=options.backbone if backbone is None else backbone, reading=reading)


@dataclass(frozen=True)
class _Data:
    samples: Samples  # of train and of the evaluated part, labelled
    evaluated: str  # "test", "val" or ""
    task: Task
    reading: ReadOptions
    notes: tuple[str, ...]
    doubts: tuple[str, ...]  # what about the split a person should read before trusting the figures
    ignored: dict[str, int]  # samples of parts that this fit does not use


@dataclass(frozen=True)
class _Rows:
    x_train: np.ndarray
    in_train: np.ndarray  # the positions of the training rows among the samples
    train: Targets
    groups: np.ndarray | None
    x_held: np.ndarray | None
    held: Targets | None
    split: SplitRecord
    task: Task
    shared: int  # evaluated samples whose content is also in train


def _prepare(data: Any, options: FitOptions) -> _Data:
    """Read the data, split it where asked, and settle the task."""
    samples = open_samples(data, options=options.reading)
    _check_source(samples, options)
    if not samples.has_target:
        raise DataError(
            f"{samples.source} has no labels: fit needs a folder of class folders, or a table with a column of labels (--target NAME)"
        )
    if "train" in samples.parts or not samples.parts:
        task = TASKS.get(options.reading.task or guess_task(samples.table.column("target")))
    else:
        raise DataError(
            f"{samples.source} has {', '.join(samples.parts)} but no part called train, which is what fit learns from"
        )
    notes = samples.notes
    if options.hold_out:
        samples = _held_out(samples, task, options)
        notes = samples.notes
    if not samples.parts:
        samples = samples.with_column("split", pa.array(["train"] * len(samples), pa.string()))
    if task.name != "regression":
        notes += tuple(note for note in check_label_sets(samples) if note not in notes)
    evaluated = samples.evaluated_part
    split = samples.table.column("split")
    wanted = pc.or_(pc.equal(split, "train"), pc.equal(split, evaluated)) if evaluated else pc.equal(split, "train")
    labelled = pc.and_(wanted, pc.is_valid(samples.table.column("target")))
    counts = {
        part: int(pc.sum(pc.equal(split, part)).as_py() or 0)
        for part in samples.parts
        if part not in {"train", evaluated}
    }
    used = replace(samples, table=samples.table.filter(labelled))
    classes = task.encode(used.part("train").table.column("target"), None)
    if classes.labels and len(classes.labels) < 2:
        raise FitError(
            f"at least two labels are needed to tell apart, and {samples.source} has {classes.labels[0]!r} only"
        )
    doubts = check_groups(used) + check_group_labels(used.part("train")) + _numbers(classes)
    notes = tuple(note for note in notes if note not in doubts)
    return _Data(used, evaluated, task, replace(options.reading, task=task.name), notes, doubts, counts)


def _check_source(samples: Samples, options: FitOptions) -> None:
    """Refuse data of another modality than asked for, and a feature store that would be written into the data."""
    asked = options.reading.modality
    if asked is not None and samples.modality != asked:
        raise DataError(f"{samples.source} holds {samples.modality}, and {asked} was asked for: leave --modality away")
    folder, cache = Path(samples.source).absolute(), cache_root().absolute()
    if folder.is_dir() and folder in [cache, *cache.parents]:
        raise DataError(
            f"the feature store {cache} lies inside the data {folder}, which is never written to: set HEADSTART_CACHE elsewhere"
        )


def _numbers(targets: Targets) -> tuple[str, ...]:
    """A doubt about many labels that are all numbers: they may be quantities."""
    if len(targets.labels) <= _MANY_LABELS or not all(_is_number(label) for label in targets.labels):
        return ()
    return (
        f"all {len(targets.labels)} labels are numbers and were taken as names; if they are quantities, say --task regression",
    )


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _held_out(samples: Samples, task: Task, options: FitOptions) -> Samples:
    """The samples with a part `test`; samples of equal content, or of one group, are on one side."""
    if samples.parts and samples.parts != ("train",):
        raise DataError(f"{samples.source} is split already ({', '.join(samples.parts)}); leave --hold-out away")
    joined = join_groups(samples.groups, digest_samples(samples).digests)
    grouped = samples if joined is None else samples.with_column("group", pa.array(joined.astype(str)))
    split = hold_out(grouped, fraction=options.hold_out, part="test", seed=options.seed, task=task.name)
    return replace(samples.with_column("split", split.table.column("split")), notes=split.notes)


def _choose(modality: str, options: FitOptions) -> tuple[Backbone, tuple[str, ...]]:
    """The backbone that was asked for, or the default one with what stands above it."""
    asked = options.backbone
    above: tuple[str, ...] = ()
    if asked is None:
        choice = default_backbone(modality, offline=options.offline)
        asked, above = choice.backbone, choice.above
    if isinstance(asked, str):
        asked = BackboneRequest.parse(asked)
    if isinstance(asked, BackboneRequest):
        precision = options.precision or asked.precision
        asked = open_backbone(replace(asked, offline=asked.offline or options.offline, precision=precision))
    elif options.precision:
        asked = run_at(asked, options.precision)
    if asked.specs[0].modality != modality:
        raise DataError(f"{asked.specs[0].title} takes {asked.specs[0].modality} input, and the data holds {modality}")
    return asked, above


def _rows(data: _Data, extraction: Extraction) -> _Rows:
    """Rows, targets and groups by part."""
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
    groups = samples.groups
    split = {"train": digests[in_train], **({data.evaluated: digests[in_held]} if held is not None else {})}
    record = SplitRecord.of(split)
    return _Rows(
        x_train=x[in_train],
        in_train=extraction.kept[in_train],
        train=train,
        groups=join_groups(None if groups is None else groups[in_train], digests[in_train]),
        x_held=x[in_held] if held is not None else None,
        held=held,
        split=record,
        task=data.task,
        shared=int(record.in_train(digests[in_held]).sum()) if held is not None else 0,
    )


def _select(rows: _Rows, recipe: HeadRecipe, *, seed: int, progress: Progress) -> Selection:
    fold = folds(rows.train.values, task=rows.task.name, groups=rows.groups, seed=seed)
    return select(rows.x_train, rows.train, fold=fold, recipe=recipe, groups=rows.groups, seed=seed, progress=progress)


def _prior(rows: _Rows) -> tuple[float, ...] | None:
    """The share of the training rows that each label has; None where there are no labels."""
    counts = rows.task.summary(rows.train)
    return tuple(counts[label] / len(rows.train) for label in rows.train.labels) if rows.train.labels else None


def _report(data: _Data, rows: _Rows, extraction: Extraction, selection: Selection, backbone: Backbone) -> FitReport:
    task = rows.task
    out_of_fold = task.metrics(rows.train, task.predict(selection.oof_scores, selection.temperature))
    metrics: dict[str, Estimate] = out_of_fold
    if rows.held is not None and rows.x_held is not None:
        metrics = task.metrics(rows.held, task.predict(selection.head.scores(rows.x_held), selection.temperature))
    counts = {"train": len(rows.train), "val": 0, "test": 0}
    if rows.held is not None:
        counts[data.evaluated] = len(rows.held)
    notes = data.notes + extraction.notes + selection.notes
    notes += tuple(
        f"{count:,} samples of {part} are left for tune and compress; the figures are of {data.evaluated or 'train'}"
        for part, count in data.ignored.items()
    )
    return FitReport(
        task=task.name,
        backbone=backbone.specs[0].title,
        above=(),
        engine=extraction.engine,
        head=selection.recipe,
        n=counts,
        classes=task.summary(rows.train),
        extracted=extraction.extracted,
        cached=extraction.cached,
        skipped=data.samples.skipped + extraction.skipped,
        seconds={},
        evaluated_on=data.evaluated if rows.held is not None else OUT_OF_FOLD,
        metrics=metrics,
        out_of_fold=out_of_fold,
        candidates=tuple(map(_candidate, selection.candidates)),
        notes=_without_place(notes, data.samples.source),
        warnings=_without_place(_warnings(data, rows, extraction, backbone), data.samples.source),
    )


def _without_place(sentences: tuple[str, ...], source: str) -> tuple[str, ...]:
    """Sentences that name the data by its last name alone: the model's card leaves the machine, its folders do not."""
    return tuple(sentence.replace(source, Path(source).name or source) for sentence in sentences)


def _candidate(candidate: Candidate) -> dict[str, Any]:
    """A candidate as JSON, in which a loss or error that is not finite is null."""
    values = dataclasses.asdict(candidate)
    return {
        key: None if isinstance(value, float) and not np.isfinite(value) else value for key, value in values.items()
    }


def _warnings(data: _Data, rows: _Rows, extraction: Extraction, backbone: Backbone) -> tuple[str, ...]:
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
