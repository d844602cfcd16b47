"""`search`: the nearest items of a collection to a file or a text."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from headstart.core.errors import DataError, Skipped, UsageError
from headstart.core.progress import Progress, silent
from headstart.data.reading import ReadOptions
from headstart.data.samples import Samples
from headstart.evaluation.intervals import Estimate
from headstart.model.items import Items, to_predict
from headstart.model.model import truncation
from headstart.model.reports import metrics_json, skipped_json
from headstart.retrieval.evaluation import leave_one_out
from headstart.retrieval.index import DIMENSIONS, Index, Nearest, Whitening, build
from headstart.verbs.rows import Data, RowOptions, Rows, labelled_if_it_can, opened, rows_of

# Items up to which the figures are measured unasked: some seconds.
_CHEAP = 20_000


@dataclass(frozen=True)
class SearchOptions(RowOptions):
    """What a person may choose of a search.

    Attributes:
        k: how many items to find for each query.
        whiten: whiten the rows; False: plain cosine.
        dimensions: whitened components to keep at most; fewer where the collection is small.
        evaluate: measure how well labels are found again. None: where there are labels and at most 20,000 items.
    """

    k: int = 10
    whiten: bool = True
    dimensions: int = DIMENSIONS
    evaluate: bool | None = None


@dataclass(frozen=True)
class Hit:
    """An item that was found.

    Attributes:
        rank: 1 for the nearest.
        id: the item's id in the collection.
        input: its text, or the path of its file.
        label: its label or value as text; None where it has none.
        score: cosine of the whitened rows, at most 1.
    """

    rank: int
    id: str
    input: str
    label: str | None
    score: float

    def to_json(self) -> dict[str, Any]:
        """The hit as programs read it."""
        return {"rank": self.rank, "id": self.id, "input": self.input, "label": self.label, "score": self.score}


@dataclass(frozen=True)
class Found:
    """What one query found.

    Attributes:
        query: its id: a path, `text:1`, or an id of the folder or table that it came from.
        input: its text, or the path of its file.
        hits: the nearest items, best first.
        copies: items that have the query's own content, and are left out.
    """

    query: str
    input: str
    hits: tuple[Hit, ...]
    copies: int

    def to_json(self) -> dict[str, Any]:
        """What was found, as programs read it."""
        return {
            "query": self.query,
            "input": self.input,
            "nearest": [hit.to_json() for hit in self.hits],
            "copies": self.copies,
        }


@dataclass(frozen=True)
class Search:
    """What a search found.

    Attributes:
        found: for each query that could be read, in order.
        n: items that were searched.
        whitened: whether their rows were whitened.
        dimensions: width of the rows that were compared.
        figures: recall at 1, 5 and 10 and mean average precision over queries from the collection itself, `whitened` and `cosine`; empty
            where they were not measured.
        asked: how many items asked for these figures.
        skipped: items and queries that could not be read, each with its reason.
        notes: how the data was understood, one sentence each.
        seconds: what took how long.
    """

    found: tuple[Found, ...]
    n: int
    whitened: bool
    dimensions: int
    figures: Mapping[str, Mapping[str, Estimate]]
    asked: int
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The object that `headstart search --json` prints (docs/json.md)."""
        return {
            "found": [each.to_json() for each in self.found],
            "n": self.n,
            "whitened": self.whitened,
            "dimensions": self.dimensions,
            "figures": {way: metrics_json(figures) for way, figures in self.figures.items()},
            "asked": self.asked,
            "skipped": skipped_json(self.skipped),
            "notes": list(self.notes),
            "seconds": dict(self.seconds),
        }


def search(
    data: Data,
    queries: Items = (),
    *,
    backbone: Any = None,
    options: SearchOptions = SearchOptions(),
    progress: Progress = silent,
) -> Search:
    """Find the nearest items of a collection by exact inner product of whitened rows.

    Args:
        data: the collection: a folder, a table, a list of files, or `Samples`; labels are shown where it has any.
        queries: files, a folder or a table; in a collection of texts a `str` is the text itself. None at all: only the figures.
        backbone: shorthand for `options.backbone`.
        options: everything else that can be chosen.
        progress: stages `read` and `extract`, in samples.

    Raises:
        DataError: the collection or every query cannot be read. UsageError: k is no positive number.
    """
    began = time.perf_counter()
    options = options if backbone is None else replace(options, backbone=backbone)
    if options.k < 1:
        raise UsageError(f"at least one item is to be found, and k is {options.k}")
    collection = labelled_if_it_can(data, options.reading)
    chosen = opened(collection.modality, options)
    rows = rows_of(collection, chosen, engine=options.engine, progress=progress)
    asking = _asking(queries, collection, options, progress=progress, backbone=chosen)
    extracted = time.perf_counter()
    index = build(rows.x, whiten=options.whiten, dimensions=options.dimensions)
    found, notes = _found(index, rows, asking, k=options.k) if asking is not None else ((), ())
    searched = time.perf_counter()
    figures, asked = _figures(index, rows, options)
    skipped = collection.skipped + rows.extraction.skipped
    if asking is not None:
        skipped += asking.samples.skipped + asking.extraction.skipped
        notes += truncation(asking.extraction)
    return Search(
        found=found,
        n=len(rows),
        whitened=options.whiten,
        dimensions=index.way.matrix.shape[1] if isinstance(index.way, Whitening) else rows.x.shape[1],
        figures=figures,
        asked=asked,
        skipped=skipped,
        notes=collection.notes + rows.extraction.notes + notes,
        seconds={
            "features": extracted - began,
            "search": searched - extracted,
            "figures": time.perf_counter() - searched,
            "total": time.perf_counter() - began,
        },
    )


def _asking(
    queries: Items, collection: Samples, options: SearchOptions, *, progress: Progress, backbone: Any
) -> Rows | None:
    """The rows of the queries; None where there are none.

    Raises:
        DataError: none of them can be read.
    """
    if isinstance(queries, list | tuple) and not queries:
        return None
    samples = to_predict(queries, modality=collection.modality, reading=ReadOptions())
    if samples.modality != collection.modality:
        raise DataError(
            f"{collection.source} holds {collection.modality}, and the queries of {samples.source} are {samples.modality}:"
            " a collection is searched with its own kind"
        )
    try:
        return rows_of(samples, backbone, engine=options.engine, progress=progress)
    except DataError as error:
        raise DataError(
            f"{collection.source} holds {collection.modality}, and no query could be read as that: {error}"
        ) from error


def _found(index: Index, rows: Rows, asking: Rows, *, k: int) -> tuple[tuple[Found, ...], tuple[str, ...]]:
    """What each query found, and what to say of it."""
    both = np.concatenate([asking.digests, rows.digests])
    content = np.unique(both, axis=0, return_inverse=True)[1].reshape(-1)
    own, theirs = content[: len(asking)], content[len(asking) :]
    nearest = index.nearest(asking.x, k=min(k, len(rows)), same=(own, theirs))
    copies = np.array([int((theirs == one).sum()) for one in own])
    ids, inputs = asking.samples.ids, asking.samples.inputs
    found = tuple(Found(ids[i], inputs[i], _hits(rows.samples, nearest, i), int(copies[i])) for i in range(len(asking)))
    notes = (f"{k} items were asked for, and the collection has {len(rows)}",) if k > len(rows) else ()
    return found, notes


def _hits(samples: Samples, nearest: Nearest, query: int) -> tuple[Hit, ...]:
    there = nearest.positions[query] >= 0
    places, scores = nearest.positions[query][there], nearest.scores[query][there]
    table = samples.table.take(pa.array(places))
    labels = table.column("target").to_pylist() if "target" in table.column_names else [None] * len(places)
    return tuple(
        Hit(rank, name, text, _text(label), float(score))
        for rank, (name, text, label, score) in enumerate(
            zip(table.column("id").to_pylist(), table.column("input").to_pylist(), labels, scores, strict=True), 1
        )
    )


def _text(label: object) -> str | None:
    return None if label is None else ", ".join(map(str, label)) if isinstance(label, list) else str(label)


def _figures(index: Index, rows: Rows, options: SearchOptions) -> tuple[dict[str, dict[str, Estimate]], int]:
    """How well labels are found again, by the way that is used and by plain cosine beside it.

    Raises:
        DataError: figures were asked for, and the collection has no labels.
    """
    samples = rows.samples
    named = samples.has_target and pa.types.is_string(samples.table.column("target").type)
    if options.evaluate and not named:
        raise DataError(
            f"{samples.source} has no labels to find again: figures need one label for each item, in class folders or a column (--target NAME)"
        )
    if not named or options.evaluate is False or (options.evaluate is None and len(rows) > _CHEAP):
        return {}, 0
    column = samples.table.column("target").combine_chunks().dictionary_encode()
    labels = np.asarray(column.indices.fill_null(-1), dtype=np.int64)
    content = np.unique(rows.digests, axis=0, return_inverse=True)[1].reshape(-1)
    ways = {"whitened": index} if options.whiten else {}
    ways["cosine"] = build(rows.x, whiten=False) if options.whiten else index
    found = {way: leave_one_out(one, labels, content=content) for way, one in ways.items()}
    return {way: figures for way, (figures, _) in found.items() if figures}, max(asked for _, asked in found.values())
