"""`extract()`: the rows of samples, from the store where they are and from the backbone where they are not."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from headstart.backbones.backbone import Backbone
from headstart.core.errors import Skipped
from headstart.core.features import Features
from headstart.core.progress import Progress, silent
from headstart.data.preparation import Fact
from headstart.data.samples import Samples
from headstart.features.engines import ENGINES
from headstart.features.hashing import digest_samples
from headstart.features.pipeline import Content, run
from headstart.features.rounding import as_stored
from headstart.features.store import Shelf

# Rows that are put into the store at once: what an interruption can lose, besides the batches in flight.
_COMMIT_ROWS = 32


@dataclass(frozen=True)
class Extraction:
    """What an extraction gave.

    Attributes:
        features: one `Features` per spec of the backbone, over the samples that have a row.
        kept: (n,) the rows' positions among the samples.
        skipped: samples without a row, each with its reason.
        extracted: distinct samples that the backbone was run on.
        cached: distinct samples whose rows were in the store already.
        facts: sums over the distinct samples of what was met while decoding them, such as `tokens` and `unknown`.
        seconds: of the stages `digest`, `extract` and `load`.
        notes: events that a person should know of, one sentence each.
    """

    features: tuple[Features, ...]
    kept: np.ndarray
    skipped: tuple[Skipped, ...]
    extracted: int
    cached: int
    facts: Mapping[str, float]
    seconds: Mapping[str, float]
    notes: tuple[str, ...] = ()


def extract(
    samples: Samples,
    backbone: Backbone,
    *,
    engine: str = "eager",
    rehash: bool = False,
    progress: Progress = silent,
) -> Extraction:
    """Rows of all samples that can be read. Samples of equal content are extracted once; rows in the store are not extracted again.

    Rows are returned as the store holds them (rounded), also those that were just computed.

    Args:
        samples: n samples of the backbone's modality.
        backbone: what makes the rows.
        engine: how it is run; no part of a row's identity.
        rehash: read every file again instead of trusting its size and modification time.
        progress: stages `read` and `extract`, in samples.
    """
    began = time.perf_counter()
    digests, reasons = digest_samples(samples, rehash=rehash, progress=progress)
    readable = np.flatnonzero([reason is None for reason in reasons])
    distinct, inverse = np.unique(digests[readable], axis=0, return_inverse=True)
    first = np.zeros(len(distinct), np.int64)
    first[inverse[::-1]] = readable[::-1]
    seconds = {"digest": time.perf_counter() - began}
    began = time.perf_counter()
    filled = _fill(samples, backbone, distinct, first, engine=engine, progress=progress)
    seconds["extract"] = time.perf_counter() - began
    began = time.perf_counter()
    has_row = ~np.isin(inverse, np.fromiter(filled.failed, np.int64, len(filled.failed)))
    kept = readable[has_row]
    features, facts = _load(samples, backbone, digests, kept)
    seconds["load"] = time.perf_counter() - began
    ids = samples.ids
    unread = [reason for reason in reasons if reason is not None]
    unread += [
        Skipped(ids[i], filled.failed[int(k)])
        for i, k in zip(readable, inverse, strict=True)
        if int(k) in filled.failed
    ]
    return Extraction(
        features,
        kept,
        tuple(unread),
        filled.extracted,
        len(distinct) - filled.missing,
        facts,
        seconds,
        tuple(filled.notes),
    )


def embed(backbone: Backbone, samples: Samples, *, progress: Progress = silent) -> Extraction:
    """Rows of samples without the store: nothing is looked up and nothing is kept, but rows are rounded as the store would."""
    began = time.perf_counter()
    rows: list[np.ndarray] = [np.empty((len(samples), spec.dim), np.float32) for spec in backbone.specs]
    has_row, done = np.zeros(len(samples), bool), 0
    failed: dict[int, str] = {}
    totals: dict[str, float] = {}
    for part in run(backbone, range(len(samples)), content=content_of(samples), engine=ENGINES.get("eager")):
        has_row[list(part.positions)] = True
        for whole, array in zip(rows, part.rows, strict=False):
            whole[list(part.positions)] = as_stored(array)
        failed.update(part.failed)
        _add_facts(totals, part.facts)
        done += len(part.positions) + len(part.failed)
        progress("extract", done, len(samples))
    kept, ids = np.flatnonzero(has_row), samples.ids
    digests = np.zeros((len(kept), 16), np.uint8)
    features = tuple(
        Features(whole[kept], tuple(ids[i] for i in kept), digests.copy(), spec)
        for whole, spec in zip(rows, backbone.specs, strict=True)
    )
    skipped = tuple(Skipped(ids[i], reason) for i, reason in sorted(failed.items()))
    return Extraction(features, kept, skipped, len(kept), 0, totals, {"extract": time.perf_counter() - began})


def content_of(samples: Samples) -> Content:
    """A function from a position to the sample's content: the text itself, or the file's bytes."""
    inputs = samples.inputs
    if samples.inline:
        return lambda position: inputs[position]

    def read(position: int) -> bytes:
        with open(inputs[position], "rb") as file:  # noqa: PTH123  (a Path per item is what `Samples` avoids)
            return file.read()

    return read


@dataclass
class _Filled:
    """What filling the store came to: failed reasons by distinct number, and counts."""

    failed: dict[int, str]
    notes: list[str]
    missing: int = 0
    extracted: int = 0


def _fill(
    samples: Samples, backbone: Backbone, distinct: np.ndarray, first: np.ndarray, *, engine: str, progress: Progress
) -> _Filled:
    """Extract what the store lacks; `distinct` are digests and `first` the position of a sample that has each."""
    filled = _Filled({}, [])
    shelves = [Shelf(spec) for spec in backbone.specs]
    try:
        for shelf in shelves:
            shelf.__enter__()
            shelf.reclaim()
            if dropped := shelf.drop_damaged():
                filled.notes.append(f"{dropped} stored rows lay in a damaged file and were extracted again")
        missing = np.flatnonzero(np.any([shelf.find(distinct).missing for shelf in shelves], axis=0))
        filled.missing = len(missing)
        by_position = {int(first[k]): int(k) for k in missing}
        pending = _Pending(shelves, distinct)
        for part in run(backbone, list(by_position), content=content_of(samples), engine=ENGINES.get(engine)):
            filled.failed.update({by_position[position]: reason for position, reason in part.failed})
            pending.add([by_position[position] for position in part.positions], part.rows, part.facts)
            filled.extracted += len(part.positions)
            progress("extract", filled.extracted + len(filled.failed), len(missing))
        pending.commit()
    finally:
        for shelf in shelves:
            shelf.__exit__(None, None, None)
    return filled


class _Pending:
    """Rows on their way into the shelves: committed as soon as there are a few."""

    def __init__(self, shelves: list[Shelf], distinct: np.ndarray) -> None:
        self._shelves, self._distinct = shelves, distinct
        self._digests: list[bytes] = []
        self._facts: list[Mapping[str, Fact]] = []
        self._rows: list[list[np.ndarray]] = [[] for _ in shelves]

    def add(self, numbers: list[int], rows: tuple[np.ndarray, ...], facts: tuple[Mapping[str, Fact], ...]) -> None:
        self._digests += [self._distinct[number].tobytes() for number in numbers]
        self._facts += facts
        for waiting, array in zip(self._rows, rows, strict=False):
            waiting.append(array)
        if len(self._digests) >= _COMMIT_ROWS:
            self.commit()

    def commit(self) -> None:
        if self._digests:
            for shelf, waiting in zip(self._shelves, self._rows, strict=True):
                shelf.append(self._digests, np.concatenate(waiting), facts=self._facts)
                waiting.clear()
        self._digests, self._facts = [], []


def _load(
    samples: Samples, backbone: Backbone, digests: np.ndarray, kept: np.ndarray
) -> tuple[tuple[Features, ...], dict[str, float]]:
    ids = samples.ids
    names = tuple(ids[i] for i in kept)
    totals: dict[str, float] = {}
    features = []
    for number, spec in enumerate(backbone.specs):
        with Shelf(spec) as shelf:
            values = shelf.read(shelf.find(digests[kept]))
            if number == 0:
                _add_facts(totals, shelf.facts(np.unique(digests[kept], axis=0) if len(kept) else digests[kept]))
        features.append(Features(values, names, digests[kept].copy(), spec))
    return tuple(features), totals


def _add_facts(totals: dict[str, float], facts: Iterable[Mapping[str, Fact]]) -> None:
    for each in facts:
        for name, value in each.items():
            if isinstance(value, int | float):
                totals[name] = totals.get(name, 0.0) + value
