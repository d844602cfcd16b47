"""The data of a fit: read, split where that is asked for, and its task settled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headstart.backbones.backbone import Backbone, BackboneRequest
from headstart.core.errors import DataError, FitError
from headstart.core.files import cache_root
from headstart.data.opening import open_samples
from headstart.data.reading import ReadOptions
from headstart.data.samples import Samples
from headstart.data.splits import check_group_labels, check_groups, check_label_sets, hold_out, join_groups
from headstart.evaluation.conformal import COVERAGE
from headstart.features.choosing import AUTO
from headstart.features.hashing import digest_samples
from headstart.tasks import TASKS, guess_task
from headstart.tasks.task import Targets, Task

# Labels past which names that are all numbers look like quantities.
_MANY_LABELS = 20


@dataclass(frozen=True)
class FitOptions:
    """What a person may choose of a fit; the defaults are what `headstart fit DATA` does.

    Attributes:
        backbone: `SOURCE:NAME`, a request with layer, pooling and so on, or an opened backbone. None: the first of the documented list
            for the modality whose weights are on this machine. `auto`: the one that suits the training samples best, as `rank` finds it,
            of all whose weights are on this machine.
        head: a head recipe such as `auto`, `logistic` or `ridge(penalty=0.1)`.
        reading: how the data is read: target column, group, task, and so on.
        hold_out: share of `train` to set aside as `test`, stratified and group-disjoint, where the data has no split of its own.
        seed: decides the folds and what is held out.
        offline: open no socket.
        precision: `float32`, `bfloat16` or `float16`; empty for the backbone's own on this device.
        engine: what runs the backbone, such as `openvino`; `auto` chooses by the hardware and the number of rows that are missing.
        check: whether the data gate looks at the data; its near copies then share a side of every split and fold, and its findings are
            part of the report. It adds about a quarter to the fit's own time, and past that looks at a part of the items only.
        coverage: the share of truths that the sets of labels, or the intervals of values, are to hold.
        optimise: what decisions are to be good at: `accuracy`, `balanced`, `macro_f1`, `recall>=0.95:LABEL` or `cost=FILE.csv`; empty
            for the most probable label. No probability changes with it.
        deployment_prior: the class shares where the model will be used, as `a=0.3,b=0.7`, the path of a CSV file, or by label;
            probabilities are then those under these shares. Empty for the shares of the training samples.
        layers: `scan`: read the block, or the blocks together, that suit the training samples best; empty: the usual layer, or the one
            that the backbone's request names.
        with_examples: whether the model carries small copies of training samples, to be shown beside its answers.
    """

    backbone: str | BackboneRequest | Backbone | None = None
    head: str = "auto"
    reading: ReadOptions = ReadOptions()
    hold_out: float = 0.0
    seed: int = 0
    offline: bool = False
    precision: str = ""
    engine: str = AUTO
    coverage: float = COVERAGE
    check: bool = True
    optimise: str = ""
    deployment_prior: str | Mapping[str, float] = ""
    layers: str = ""
    with_examples: bool = False


@dataclass(frozen=True)
class FitData:
    """What a fit works on.

    Attributes:
        samples: those of `train` and of the evaluated part, labelled.
        evaluated: `test`, `val`, or empty.
        task: what the targets are.
        reading: how other data is read alike.
        notes: how the data was understood, one sentence each.
        doubts: what about the split a person should read before trusting the figures.
        ignored: samples of each part that this fit does not use.
    """

    samples: Samples
    evaluated: str
    task: Task
    reading: ReadOptions
    notes: tuple[str, ...]
    doubts: tuple[str, ...]
    ignored: dict[str, int]


def prepare(data: Any, options: FitOptions, *, kept: str = "") -> FitData:
    """Read the data, split it where asked, and settle the task.

    Args:
        data: what is read.
        options: the fit's.
        kept: a part that is kept besides `train` and the evaluated one.

    Raises:
        DataError: the data cannot be used, has no labels or no training part; FitError: it has fewer than two labels.
    """
    offline = options.offline or options.reading.offline
    samples = open_samples(data, options=replace(options.reading, offline=offline))
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
    parts = {"train", evaluated, kept} & set(samples.parts)
    wanted = pc.is_in(split, pa.array(sorted(parts), split.type))
    labelled = pc.and_(wanted, pc.is_valid(samples.table.column("target")))
    counts = {part: int(pc.sum(pc.equal(split, part)).as_py() or 0) for part in samples.parts if part not in parts}
    used = replace(samples, table=samples.table.filter(labelled))
    classes = task.encode(used.part("train").table.column("target"), None)
    if classes.labels and len(classes.labels) < 2:
        raise FitError(
            f"at least two labels are needed to tell apart, and {samples.source} has {classes.labels[0]!r} only"
        )
    doubts = check_groups(used) + check_group_labels(used.part("train")) + _numbers(classes)
    notes = tuple(note for note in notes if note not in doubts)
    return FitData(used, evaluated, task, replace(options.reading, task=task.name), notes, doubts, counts)


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


def split_again(data: FitData, options: FitOptions, *, together: Sequence[str]) -> FitData:
    """The same data with a part `test` that keeps near copies on one side, which `prepare` could not know of.

    Args:
        data: what `prepare` made of data without parts.
        options: the fit's.
        together: for each sample the name of what must stay on one side.
    """
    whole = data.samples.with_column("split", pa.array(["train"] * len(data.samples), pa.string()))
    grouped = replace(whole, notes=()).with_column("group", pa.array(list(together), pa.string()))
    split = hold_out(grouped, fraction=options.hold_out, part="test", seed=options.seed, task=data.task.name)
    used = data.samples.with_column("split", split.table.column("split"))
    notes = tuple(split.notes[0] if "are set aside as the part" in note else note for note in data.notes)
    return replace(data, samples=used, notes=notes)


def _held_out(samples: Samples, task: Task, options: FitOptions) -> Samples:
    """The samples with a part `test`; samples of equal content, or of one group, are on one side."""
    if samples.parts and samples.parts != ("train",):
        raise DataError(f"{samples.source} is split already ({', '.join(samples.parts)}); leave --hold-out away")
    joined = join_groups(samples.groups, digest_samples(samples).digests)
    grouped = samples if joined is None else samples.with_column("group", pa.array(joined.astype(str)))
    split = hold_out(grouped, fraction=options.hold_out, part="test", seed=options.seed, task=task.name)
    return replace(samples.with_column("split", split.table.column("split")), notes=split.notes)


def without_place(sentences: tuple[str, ...], source: str) -> tuple[str, ...]:
    """Sentences that name the data by its last name alone: the model's card leaves the machine, its folders do not."""
    return tuple(sentence.replace(source, Path(source).name or source) for sentence in sentences)
