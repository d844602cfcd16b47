"""`check`: what is wrong with a collection, before anything is believed that is measured on it."""

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Int

from headstart.audit.copies import Copies, find_copies, joined_with
from headstart.audit.findings import Audit
from headstart.audit.gate import Subject, examine
from headstart.audit.neighbours import MOST_ROWS
from headstart.core.errors import FitError, HeadstartError, UsageError
from headstart.core.progress import Progress, silent
from headstart.data.samples import Samples
from headstart.data.splits import folds
from headstart.features.extraction import facts_of
from headstart.heads.selection import parse as parse_recipe
from headstart.heads.selection import select
from headstart.tasks import TASKS, guess_task
from headstart.tasks.task import Targets
from headstart.verbs.rows import Data, RowOptions, Rows, labelled_if_it_can, opened, rows_of

HEAD = "lda"
"""What gives the out-of-fold probabilities: closed form, and well calibrated by its temperature."""


@dataclass(frozen=True)
class CheckOptions(RowOptions):
    """What may be chosen of a check, beside how data becomes rows.

    Attributes:
        most: of more items than this, a random part of so many is compared with each other.
        seed: decides folds and what is sampled.
    """

    most: int = MOST_ROWS
    seed: int = 0


@dataclass(frozen=True)
class Labels:
    """Single labels of some of n samples.

    Attributes:
        targets: (n,) class indices, -1 where there is none.
        names: the k labels.
    """

    targets: Int[np.ndarray, "n"]
    names: tuple[str, ...]


def check(
    data: Data,
    *,
    backbone: Any = None,
    options: CheckOptions = CheckOptions(),
    progress: Progress = silent,
) -> Audit:
    """Look for copies, leaks between parts, wrong labels, groups on both sides, outliers, odd files and parts that differ.

    Nothing is removed, changed or written into the data. Labels are checked where each sample has one; copies, outliers and the rest
    need none.

    Args:
        data: a folder, a table or `Samples`, with or without labels.
        backbone: shorthand for `options.backbone`.
        options: everything else that can be chosen.
        progress: stages `read` and `extract`, in samples, and `checking`, in steps.

    Returns:
        What was found, the worst first.

    Raises:
        DataError: the data cannot be used, or nothing in it can be read.
        UsageError: an option has a value that it cannot have.
    """
    began = time.perf_counter()
    options = options if backbone is None else replace(options, backbone=backbone)
    if options.most < 2:
        raise UsageError(f"a check compares at least two items, and got {options.most}")
    samples = labelled_if_it_can(data, options.reading)
    chosen = opened(samples.modality, options)
    rows = rows_of(samples, chosen, engine=options.engine, progress=progress)
    extracted = time.perf_counter()
    progress("checking", 0, 3)
    copies = find_copies(rows.samples, rows.x, digests=rows.digests, most=options.most, seed=options.seed)
    compared = time.perf_counter()
    progress("checking", 1, 3)
    labels, notes = labels_of(rows.samples, options.reading.task)
    probabilities, doubt = out_of_fold(rows, labels, copies=copies, seed=options.seed)
    progress("checking", 2, 3)
    subject = Subject(
        samples=rows.samples,
        x=rows.x,
        facts=facts_of(rows.extraction.features[0]),
        copies=copies,
        targets=None if labels is None else labels.targets,
        names=() if labels is None else labels.names,
        probabilities=probabilities,
        skipped=samples.skipped + rows.extraction.skipped,
        notes=samples.notes + rows.extraction.notes + notes + doubt,
    )
    found = examine(subject, most=options.most, seed=options.seed)
    progress("checking", 3, 3)
    ended = time.perf_counter()
    seconds = {"rows": extracted - began, "copies": compared - extracted, **found.seconds, "total": ended - began}
    return replace(found, seconds=seconds)


def labels_of(samples: Samples, task: str | None) -> tuple[Labels | None, tuple[str, ...]]:
    """The single labels that samples carry, or None, with why."""
    if not samples.has_target:
        return None, ("there are no labels, so none are checked",)
    column = samples.table.column("target")
    valid = np.asarray(pc.is_valid(column))
    known = column.filter(pa.array(valid))
    try:
        name = task or guess_task(known)
        if name != "single_label":
            return None, (f"the targets are of the task {name}; labels are checked where each sample has one",)
        encoded = TASKS.get(name).encode(known, None)
    except HeadstartError as error:
        return None, (f"labels are not checked: {error}",)
    targets = np.full(len(samples), -1, np.int64)
    targets[valid] = encoded.values
    return Labels(targets, encoded.labels), ()


def out_of_fold(
    rows: Rows, labels: Labels | None, *, copies: Copies, seed: int
) -> tuple[Float[np.ndarray, "n k"] | None, tuple[str, ...]]:
    """Calibrated probabilities of all labelled rows, each by a head that has seen neither it nor a copy of it.

    Returns:
        (n, k) with NaN where there is no label; None where nothing can be fitted, with the reason.
    """
    if labels is None or len(labels.names) < 2:
        return None, () if labels is None else (
            f"all samples are {', '.join(labels.names)}: there is nothing to tell apart",
        )
    at = np.flatnonzero(labels.targets >= 0)
    y = Targets(labels.targets[at], labels.names, "single_label")
    together = joined_with(rows.samples.groups, copies)
    own = None if together is None else together[at]
    try:
        fold = folds(y.values, task=y.task, groups=own, seed=seed)
        found = select(rows.x[at], y, fold=fold, recipe=parse_recipe(HEAD), groups=own, seed=seed)
    except FitError as error:
        return None, (f"labels are not checked: {error}",)
    probabilities = np.full((len(rows), len(labels.names)), np.nan)
    probabilities[at] = TASKS.get(y.task).predict(found.oof_scores, found.temperature)
    return probabilities, ()
