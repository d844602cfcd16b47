"""`pick`: which items to label next."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headstart.backbones.backbone import Backbone
from headstart.core.errors import DataError, Skipped, UsageError
from headstart.core.progress import Progress, silent
from headstart.data.opening import open_samples
from headstart.data.reading import ReadOptions
from headstart.data.samples import Samples
from headstart.heads.fitted import Head
from headstart.heads.selection import fit_alone, parse
from headstart.model.model import Model
from headstart.model.reports import skipped_json
from headstart.selection.labelling import TIMES, centres, changes, uncertain
from headstart.tasks import TASKS, guess_task
from headstart.verbs.rows import Data, RowOptions, Rows, labelled_if_it_can, opened, rows_of

COLD = "k-means"
WARM = "DropQuery"
# Closed form, with the one option chosen within the rows.
_HEAD = "lda"


@dataclass(frozen=True)
class PickOptions(RowOptions):
    """What a person may choose of a pick.

    Attributes:
        n: how many items to pick.
        seed: decides where k-means starts and which features are dropped.
    """

    n: int = 100
    seed: int = 0


@dataclass(frozen=True)
class Pick:
    """An item to label.

    Attributes:
        rank: 1 for the one to begin with.
        id: the item's id in the data.
        input: its text, or the path of its file.
        reason: why this one.
        guess: the label that the head would give it; None where there is no head yet.
    """

    rank: int
    id: str
    input: str
    reason: str
    guess: str | None

    def to_json(self) -> dict[str, Any]:
        """The pick as programs read it."""
        return {"rank": self.rank, "id": self.id, "input": self.input, "reason": self.reason, "guess": self.guess}


@dataclass(frozen=True)
class Picks:
    """What to label next.

    Attributes:
        picks: the items, the one that stands for most others first.
        strategy: `k-means` without labels, `DropQuery` with some.
        pool: unlabelled items of different content that were chosen from.
        labelled: items that have a label already.
        uncertain: items of the pool whose label changes; None without labels.
        inline: whether `input` is the text itself rather than a file's path.
        skipped: inputs left out, each with its reason.
        notes: how the data was understood, one sentence each.
        seconds: what took how long.
    """

    picks: tuple[Pick, ...]
    strategy: str
    pool: int
    labelled: int
    uncertain: int | None
    inline: bool
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The object that `headstart pick --json` prints (docs/json.md)."""
        return {
            "picks": [pick.to_json() for pick in self.picks],
            "strategy": self.strategy,
            "pool": self.pool,
            "labelled": self.labelled,
            "uncertain": self.uncertain,
            "inline": self.inline,
            "skipped": skipped_json(self.skipped),
            "notes": list(self.notes),
            "seconds": dict(self.seconds),
        }


@dataclass(frozen=True)
class _Known:
    """What is labelled already: its rows, where there are any, and a head that decides between the labels."""

    rows: Rows | None
    head: Head
    labels: tuple[str, ...]


def pick(
    data: Data,
    *,
    labelled: Data | Model | None = None,
    backbone: Any = None,
    options: PickOptions = PickOptions(),
    progress: Progress = silent,
) -> Picks:
    """Pick the items whose labels would help most.

    Without labels: k-means with n clusters, and the item nearest to the middle of each. With some: the same among the items whose
    label changes when features are dropped. No item is picked whose content, or a near copy of it, is labelled or picked already.

    Args:
        data: unlabelled items, or a table in which some have a label and the others none.
        labelled: labelled items besides, whose target column `options.reading` then names, or a model that was fitted on them.
        backbone: shorthand for `options.backbone`; a model brings its own.
        options: everything else that can be chosen.
        progress: stages `read` and `extract`, in samples.

    Raises:
        DataError: the data cannot be used, or every item has a label already.
        UsageError: more items are asked for than there are, or another backbone than the model's.
    """
    began = time.perf_counter()
    options = options if backbone is None else replace(options, backbone=backbone)
    reading = options.reading if labelled is None else replace(options.reading, target=None)
    samples = _partly_labelled(data, reading)
    if options.n < 1:
        raise UsageError(f"at least one item is to be picked, and n is {options.n}")
    chosen = _backbone(samples, labelled, options)
    everything = rows_of(samples, chosen, engine=options.engine, progress=progress)
    pool, own = _parted(everything)
    more = _besides(labelled, samples, chosen, options, progress=progress)
    skipped = samples.skipped + everything.extraction.skipped + (() if more is None else more.extraction.skipped)
    known = _known(labelled, [each for each in (own, more) if each is not None], options)
    x, kept = _distinct(pool, known, labelled)
    if options.n > len(x):
        raise UsageError(
            f"{options.n:,} items to label were asked for, and {samples.source} has {len(x):,} unlabelled ones of different content: ask for fewer"
        )
    extracted = time.perf_counter()
    picks, unsure = _picked(pool.samples.take(kept), x, known, options)
    notes = samples.notes + everything.extraction.notes
    if len(picks) < options.n:
        notes += (
            f"{options.n} items were asked for, and only {len(picks)} are no near copies of each other or of labelled ones",
        )
    return Picks(
        picks=picks,
        strategy=COLD if known is None else WARM,
        pool=len(x),
        labelled=0 if known is None or known.rows is None else len(known.rows),
        uncertain=unsure,
        inline=samples.inline,
        skipped=skipped,
        notes=notes,
        seconds={"features": extracted - began, "total": time.perf_counter() - began},
    )


def _backbone(samples: Samples, labelled: Data | Model | None, options: PickOptions) -> Backbone:
    """The model's backbone, or the one of the options.

    Raises:
        UsageError: a model is given and a backbone besides, or its head decides between no labels.
        DataError: the model takes another modality.
    """
    if not isinstance(labelled, Model):
        return opened(samples.modality, options)
    if options.backbone is not None:
        raise UsageError("a model brings its own backbone: leave the backbone away")
    if labelled.task != "single_label":
        raise UsageError(f"pick takes a model of one label a sample, and this one's task is {labelled.task}")
    return opened(samples.modality, replace(options, backbone=labelled.backbone))


def _partly_labelled(data: Data, reading: ReadOptions) -> Samples:
    """All samples, with a label where the data has one: a reader of labelled data leaves out what has none.

    Raises:
        DataError: the data cannot be used, or has no column that was asked for.
    """
    if isinstance(data, Samples):
        return data
    whole = open_samples(data, options=replace(reading, labelled=False, target=None))
    try:
        known = open_samples(data, options=replace(reading, labelled=True)).table
    except DataError:
        if reading.target is not None:
            raise
        return whole
    at = pc.index_in(whole.table.column("id"), value_set=known.column("id").combine_chunks())
    return whole.with_column("target", known.column("target").combine_chunks().take(at.combine_chunks()))


def _besides(
    labelled: Data | Model | None, samples: Samples, backbone: Backbone, options: PickOptions, *, progress: Progress
) -> Rows | None:
    """The rows of labelled data that is given besides; None where there is none.

    Raises:
        DataError: no item of it has a label.
    """
    if labelled is None or isinstance(labelled, Model):
        return None
    other = labelled_if_it_can(labelled, replace(options.reading, modality=samples.modality))
    if not other.has_target:
        raise DataError(f"{other.source} was given as labelled, and no item of it has a label")
    valid = replace(other, table=other.table.filter(pc.is_valid(other.table.column("target"))))
    return rows_of(valid, backbone, engine=options.engine, progress=progress)


def _parted(rows: Rows) -> tuple[Rows, Rows | None]:
    """The rows without a label, and those with one.

    Raises:
        DataError: all have one.
    """
    if not rows.samples.has_target:
        return rows, None
    there = np.asarray(pc.is_valid(rows.samples.table.column("target")))
    if there.all():
        raise DataError(
            f"every item of {rows.samples.source} has a label already: give unlabelled items, and the labelled ones with --labelled"
        )
    return _taken(rows, np.flatnonzero(~there)), _taken(rows, np.flatnonzero(there))


def _taken(rows: Rows, positions: np.ndarray) -> Rows:
    features = tuple(
        replace(
            each,
            values=each.values[positions],
            ids=tuple(each.ids[i] for i in positions),
            digests=each.digests[positions],
        )
        for each in rows.extraction.features
    )
    return Rows(rows.samples.take(positions), rows.x[positions], replace(rows.extraction, features=features))


def _known(labelled: Data | Model | None, parts: list[Rows], options: PickOptions) -> _Known | None:
    """The head that tells what is uncertain; None where there is no label at all.

    Raises:
        DataError: the labels are numbers or several a sample; FitError: there is one label only.
    """
    if isinstance(labelled, Model):
        return _Known(parts[0] if parts else None, labelled.head, labelled.labels)
    if not parts:
        return None
    column = pa.chunked_array([chunk for each in parts for chunk in each.samples.table.column("target").chunks])
    task = TASKS.get(options.reading.task or guess_task(column))
    if task.name != "single_label":
        raise DataError(f"pick asks for one label a sample, and the labels are of the task {task.name}")
    y = task.encode(column, None)
    x = np.concatenate([each.x for each in parts])
    rows = parts[0] if len(parts) == 1 else _joined(parts, x)
    return _Known(rows, fit_alone(x, y, recipe=parse(_HEAD), groups=None, seed=options.seed), y.labels)


def _joined(parts: list[Rows], x: np.ndarray) -> Rows:
    first = parts[0]
    features = tuple(
        replace(
            several[0],
            values=np.concatenate([each.values for each in several]),
            ids=tuple(name for each in several for name in each.ids),
            digests=np.concatenate([each.digests for each in several]),
        )
        for several in zip(*(each.extraction.features for each in parts), strict=True)
    )
    return Rows(first.samples, x, replace(first.extraction, features=features))


def _distinct(pool: Rows, known: _Known | None, labelled: Data | Model | None) -> tuple[np.ndarray, np.ndarray]:
    """Rows and positions of the pool's items of different content that are not labelled already."""
    _, first = np.unique(pool.digests, axis=0, return_index=True)
    kept = np.sort(first)
    if known is not None and known.rows is not None:
        theirs = {row.tobytes() for row in known.rows.digests}
        kept = np.array([i for i in kept if pool.digests[i].tobytes() not in theirs], dtype=np.int64)
    if isinstance(labelled, Model):
        kept = kept[~labelled.split.fitted_on(pool.digests[kept])]
    return pool.x[kept], kept


def _picked(
    samples: Samples, x: np.ndarray, known: _Known | None, options: PickOptions
) -> tuple[tuple[Pick, ...], int | None]:
    """The picks, and how many items of the pool are uncertain."""
    theirs = None if known is None or known.rows is None else known.rows.x
    if known is None:
        found = centres(x, n=options.n, known=theirs, seed=options.seed)
        reasons = [f"in the middle of {size:,} similar items" for size in found.sizes]
        return _as_picks(samples, found.positions, reasons, [None] * len(reasons)), None
    head = known.head
    counts = changes(x, lambda rows: head.scores(rows).argmax(axis=1), mean=x.mean(axis=0), seed=options.seed)
    unsure = np.flatnonzero(uncertain(counts, least=options.n))
    found = centres(x[unsure], n=options.n, known=theirs, seed=options.seed)
    positions = unsure[found.positions]
    guesses = [known.labels[i] for i in head.scores(x[positions]).argmax(axis=1)]
    reasons = [
        f"its label changes in {count} of {TIMES} answers on parts of its features; in the middle of {size:,} such items"
        if count
        else f"in the middle of {size:,} items of which the head is surer than of others"
        for count, size in zip(counts[positions], found.sizes, strict=True)
    ]
    return _as_picks(samples, positions, reasons, guesses), int((counts > 0).sum())


def _as_picks(samples: Samples, positions: np.ndarray, reasons: list[str], guesses: list[Any]) -> tuple[Pick, ...]:
    chosen = samples.take(positions)
    every = zip(chosen.ids, chosen.inputs, reasons, guesses, strict=True)
    return tuple(Pick(rank, *each) for rank, each in enumerate(every, 1))


def write_csv(picks: Picks, path: str | Path) -> None:
    """A table to fill in: `path` or `text`, an empty `label`, then `id`, `rank`, `guess` and `reason`; `fit` and `--labelled` read it.

    Raises:
        UsageError: something is at `path` already, which may hold labels that a person typed.
    """
    import csv

    if Path(path).exists():
        raise UsageError(f"{path} is there already and may hold labels: name another file")
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text" if picks.inline else "path", "label", "id", "rank", "guess", "reason"])
        writer.writerows([pick.input, "", pick.id, pick.rank, pick.guess or "", pick.reason] for pick in picks.picks)
