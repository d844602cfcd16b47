"""`extract()`: the rows of samples, from the store where they are and from the backbone where they are not."""

import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

from headstart.backbones.backbone import Backbone
from headstart.core.digests import of_bytes
from headstart.core.errors import CacheError, SampleError, Skipped
from headstart.core.features import Features
from headstart.core.files import cache_root
from headstart.core.progress import Progress, silent
from headstart.data.preparation import Fact
from headstart.data.samples import Samples
from headstart.features.engines import ENGINES
from headstart.features.hashing import digest_samples
from headstart.features.pipeline import Content, run
from headstart.features.rounding import as_stored
from headstart.features.store import Shelf

# Rows are committed when computing them took this many times what the last commit took, and after so many seconds at most.
_TIMES_COST = 20.0
_MOST_SECONDS = 1.0


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
        cut: from `embed` alone, the positions of texts that were cut at the backbone's limit.
    """

    features: tuple[Features, ...]
    kept: np.ndarray
    skipped: tuple[Skipped, ...]
    extracted: int
    cached: int
    facts: Mapping[str, float]
    seconds: Mapping[str, float]
    notes: tuple[str, ...] = ()
    cut: frozenset[int] = frozenset()


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

    Interrupted by Ctrl-C or by an error, it keeps every row that the backbone has given. Killed without notice (kill -9, a power cut), it
    loses the batch in flight and the rows given since the last commit. Rows are committed as soon as 20 times the time that a commit
    takes has passed since the last one (0.4 ms makes it 8 ms: every batch of photos), and after each batch once a second has passed.

    Args:
        samples: n samples of the backbone's modality.
        backbone: what makes the rows.
        engine: how it is run; no part of a row's identity.
        rehash: read every file again instead of trusting its size and modification time.
        progress: stages `read` and `extract`, in samples.

    Raises:
        CacheError: the folder of the feature store cannot be used, or another process keeps emptying it.
    """
    began = time.perf_counter()
    digests, reasons = digest_samples(samples, rehash=rehash, progress=progress)
    readable = np.flatnonzero([reason is None for reason in reasons])
    distinct, inverse = np.unique(digests[readable], axis=0, return_inverse=True)
    first = np.zeros(len(distinct), np.int64)
    first[inverse[::-1]] = readable[::-1]
    hashing = time.perf_counter() - began
    wanted = _Wanted(samples, digests, distinct, first)
    filled, kept, (features, facts), (extracting, loading) = _filled_and_loaded(
        wanted, backbone, readable, inverse, engine=engine, progress=progress
    )
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
        int(filled.made.sum()),
        int((~filled.missing).sum()),
        facts,
        {"digest": hashing, "extract": extracting, "load": loading},
        tuple(filled.notes),
    )


def embed(backbone: Backbone, samples: Samples, *, progress: Progress = silent) -> Extraction:
    """Rows of samples without the store: nothing is looked up and nothing is kept, but rows are rounded as the store would."""
    began = time.perf_counter()
    rows: list[np.ndarray] = [np.empty((len(samples), spec.dim), np.float32) for spec in backbone.specs]
    has_row, done = np.zeros(len(samples), bool), 0
    failed: dict[int, str] = {}
    totals: dict[str, float] = {}
    cut: list[int] = []
    for part in run(backbone, range(len(samples)), content=content_of(samples), engine=ENGINES.get("eager")):
        has_row[list(part.positions)] = True
        for whole, array in zip(rows, part.rows, strict=False):
            whole[list(part.positions)] = as_stored(array)
        failed.update(part.failed)
        _add_facts(totals, part.facts)
        cut += [position for position, facts in zip(part.positions, part.facts, strict=True) if facts.get("truncated")]
        done += len(part.positions) + len(part.failed)
        progress("extract", done, len(samples))
    kept, ids = np.flatnonzero(has_row), samples.ids
    digests = np.zeros((len(kept), 16), np.uint8)
    features = tuple(
        Features(whole[kept], tuple(ids[i] for i in kept), digests.copy(), spec)
        for whole, spec in zip(rows, backbone.specs, strict=True)
    )
    skipped = tuple(Skipped(ids[i], reason) for i, reason in sorted(failed.items()))
    seconds = {"extract": time.perf_counter() - began}
    return Extraction(features, kept, skipped, len(kept), 0, totals, seconds, cut=frozenset(cut))


def content_of(samples: Samples) -> Content:
    """A function from a position to the sample's content: the text itself, or the file's bytes."""
    inputs = samples.inputs
    if samples.inline:
        return lambda position: inputs[position]

    def read(position: int) -> bytes:
        with open(inputs[position], "rb") as file:  # noqa: PTH123  (a Path per item is what `Samples` avoids)
            return file.read()

    return read


def _unchanged(content: Content, digests: np.ndarray) -> Content:
    """The content of files, refused where it is no longer what was hashed: its row would be stored as that of the old content."""

    def read(position: int) -> bytes | str:
        found = content(position)
        if isinstance(found, bytes) and of_bytes(found) != digests[position].tobytes():
            raise SampleError("changed while it was read: run again")
        return found

    return read


@dataclass
class _Filled:
    """What filling the store came to: failed reasons by distinct number, and which of the distinct ones were missing and were made."""

    failed: dict[int, str]
    missing: np.ndarray
    made: np.ndarray
    notes: list[str]


@dataclass(frozen=True)
class _Wanted:
    """What is to be filled in: the samples, their digests, the distinct ones among these, and the first position of each."""

    samples: Samples
    digests: np.ndarray
    distinct: np.ndarray
    first: np.ndarray


def _filled_and_loaded(
    wanted: _Wanted, backbone: Backbone, readable: np.ndarray, inverse: np.ndarray, *, engine: str, progress: Progress
) -> tuple[_Filled, np.ndarray, tuple[tuple[Features, ...], dict[str, float]], tuple[float, float]]:
    """Fill the store and load from it; once more where another process drops rows in between.

    Returns:
        What was filled, the positions that have a row, their features and facts, and the seconds of both steps.

    Raises:
        CacheError: rows vanish again and again.
    """
    n = len(wanted.distinct)
    filled = _Filled({}, np.zeros(n, bool), np.zeros(n, bool), [])
    extracting = 0.0
    for last in (False, True):
        began = time.perf_counter()
        _fill(filled, wanted, backbone, engine=engine, progress=progress)
        extracting += time.perf_counter() - began
        began = time.perf_counter()
        has_row = ~np.isin(inverse, np.fromiter(filled.failed, np.int64, len(filled.failed)))
        kept = readable[has_row]
        try:
            loaded = _load(wanted, backbone, kept)
        except KeyError as error:
            if not last:
                continue
            raise CacheError(
                f"rows vanished twice from the feature cache {cache_root()} between being stored and being read: end what else changes"
                " that folder, or set the environment variable HEADSTART_CACHE to another folder"
            ) from error
        return filled, kept, loaded, (extracting, time.perf_counter() - began)
    raise AssertionError("the second round returns or raises")


def _fill(filled: _Filled, wanted: _Wanted, backbone: Backbone, *, engine: str, progress: Progress) -> None:
    """Extract what the store lacks."""
    filled.failed.clear()
    with ExitStack() as stack:
        shelves = [stack.enter_context(Shelf(spec)) for spec in backbone.specs]
        for shelf in shelves:
            shelf.reclaim()
            if dropped := shelf.drop_damaged():
                filled.notes.append(f"{dropped} stored rows lay in a damaged file and were extracted again")
        missing = np.flatnonzero(np.any([shelf.find(wanted.distinct).missing for shelf in shelves], axis=0))
        filled.missing[missing] = True
        by_position = {int(wanted.first[k]): int(k) for k in missing}
        content = _unchanged(content_of(wanted.samples), wanted.digests)
        pending = stack.enter_context(_Pending(shelves, wanted.distinct))
        parts = run(backbone, list(by_position), content=content, engine=ENGINES.get(engine))
        done = 0
        for part in stack.enter_context(closing(parts)):
            numbers = [by_position[position] for position in part.positions]
            filled.failed.update({by_position[position]: reason for position, reason in part.failed})
            pending.add(numbers, part.rows, part.facts)
            filled.made[numbers] = True
            done += len(part.positions) + len(part.failed)
            progress("extract", done, len(missing))


class _Pending:
    """Rows on their way into the shelves.

    They are committed when what has been computed since the last commit took 20 times as long as a commit does, and after a second at
    most, so that committing costs no more than 5 %; and at the end of the block, however it ends.
    """

    def __init__(self, shelves: list[Shelf], distinct: np.ndarray) -> None:
        self._shelves, self._distinct = shelves, distinct
        self._digests: list[bytes] = []
        self._facts: list[Mapping[str, Fact]] = []
        self._rows: list[list[np.ndarray]] = [[] for _ in shelves]
        self._cost, self._since = 0.0, time.perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, CacheError):
            self.commit()

    def add(self, numbers: list[int], rows: tuple[np.ndarray, ...], facts: tuple[Mapping[str, Fact], ...]) -> None:
        if numbers:
            for waiting, array in zip(self._rows, rows, strict=True):
                waiting.append(array)
        self._facts += facts
        self._digests += [self._distinct[number].tobytes() for number in numbers]
        if time.perf_counter() - self._since >= min(_MOST_SECONDS, _TIMES_COST * self._cost):
            self.commit()

    def commit(self) -> None:
        began = time.perf_counter()
        if n := len(self._digests):
            for shelf, waiting in zip(self._shelves, self._rows, strict=True):
                shelf.append(self._digests, np.concatenate(waiting)[:n], facts=self._facts)
            self._digests, self._facts, self._rows = [], [], [[] for _ in self._shelves]
            self._cost = time.perf_counter() - began
        self._since = time.perf_counter()


def _load(wanted: _Wanted, backbone: Backbone, kept: np.ndarray) -> tuple[tuple[Features, ...], dict[str, float]]:
    """The rows of the samples at the positions `kept`, and the sums of their facts.

    Raises:
        KeyError: a row is no longer there.
    """
    ids = wanted.samples.ids
    names = tuple(ids[i] for i in kept)
    digests = wanted.digests[kept]
    totals: dict[str, float] = {}
    features = []
    for number, spec in enumerate(backbone.specs):
        with Shelf(spec) as shelf, shelf.snapshot():
            values = shelf.read(shelf.find(digests))
            if number == 0:
                _add_facts(totals, shelf.facts(np.unique(digests, axis=0) if len(kept) else digests))
        features.append(Features(values, names, digests.copy(), spec))
    return tuple(features), totals


def _add_facts(totals: dict[str, float], facts: Iterable[Mapping[str, Fact]]) -> None:
    for each in facts:
        for name, value in each.items():
            if isinstance(value, int | float):
                totals[name] = totals.get(name, 0.0) + value
