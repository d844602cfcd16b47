"""`extract()`: the rows of samples, from the store where they are and from the backbone where they are not."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from headstart.backbones.backbone import Backbone
from headstart.backbones.first_use import note_speed
from headstart.core.errors import CacheError, Skipped, UsageError
from headstart.core.features import Features
from headstart.core.files import cache_root
from headstart.core.progress import Progress, silent
from headstart.data.preparation import Fact, Prepared
from headstart.data.samples import Samples
from headstart.features.choosing import AUTO
from headstart.features.contents import content_of
from headstart.features.filling import Filled, Wanted, Way, fill
from headstart.features.hashing import digest_samples
from headstart.features.pipeline import Content, Done, embedded, run
from headstart.features.rounding import as_stored
from headstart.features.running import Runner
from headstart.features.store import Shelf


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
        engine: what ran the backbone, such as `eager`, or `channels_last+openvino` where one took over from the other; `none` where
            every row was stored.
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
    engine: str = "none"


def extract(
    samples: Samples,
    backbone: Backbone,
    *,
    engine: str = AUTO,
    rehash: bool = False,
    on: str = "",
    progress: Progress = silent,
) -> Extraction:
    """Rows of all samples that can be read. Samples of equal content are extracted once; rows in the store are not extracted again.

    Rows are returned as the store holds them (rounded), also those that were just computed.

    Interrupted by Ctrl-C or by an error, it keeps every row that the backbone has given. Killed without notice (kill -9, a power cut), it
    loses the batch in flight and the rows given since the last commit. Rows are committed as soon as 50 times the time that a commit
    takes has passed since the last one (1 ms makes it 50 ms: every few batches of photos), and after each batch once a second has passed.

    Args:
        samples: n samples of the backbone's modality.
        backbone: what makes the rows.
        engine: how it is run, such as `openvino`; no part of a row's identity. `auto` chooses by the hardware and by the number of
            rows that are missing.
        on: empty for this process, or `ray`: the same backbone and engine over a Ray Data pipeline on a cluster's workers, whose rows
            come back to this process, the one writer of the store (docs/howto/many-machines.md).
        rehash: read every file again instead of trusting its size and modification time.
        progress: stages `read` and `extract`, in samples.

    Raises:
        CacheError: the folder of the feature store cannot be used, or another process keeps emptying it.
        UsageError: there is no such engine, it cannot run the backbone here, or `on` is neither.
        ClusterError: the cluster was lost; the rows that had come are kept.
    """
    if on not in {"", "ray"}:
        raise UsageError(f"extract runs on this machine or on='ray', and got {on!r}")
    began = time.perf_counter()
    digested = digest_samples(samples, rehash=rehash, progress=progress)
    readable = np.flatnonzero([reason is None for reason in digested.reasons])
    distinct, inverse = np.unique(digested.digests[readable], axis=0, return_inverse=True)
    first = np.zeros(len(distinct), np.int64)
    first[inverse[::-1]] = readable[::-1]
    hashing = time.perf_counter() - began
    wanted = Wanted(samples, digested, distinct, first)
    filled, kept, (features, facts), (extracting, loading) = _filled_and_loaded(
        wanted, Way(backbone, engine, on), readable, inverse, progress=progress
    )
    ids = samples.ids
    unread = [reason for reason in digested.reasons if reason is not None]
    if filled.failed:
        said = ((ids[i], filled.failed.get(int(k))) for i, k in zip(readable, inverse, strict=True))
        unread += [Skipped(name, reason) for name, reason in said if reason is not None]
    made, stored = int(filled.made.sum()), int((~filled.missing).sum())
    seconds = {"digest": hashing, "extract": extracting, "load": loading}
    if not on:
        note_speed(backbone, items=made, seconds=extracting, engine=filled.engine)
    notes = tuple(filled.notes)
    return Extraction(features, kept, tuple(unread), made, stored, facts, seconds, notes, engine=filled.engine)


def embed(
    backbone: Backbone,
    samples: Samples,
    *,
    content: Content | None = None,
    engine: str = AUTO,
    progress: Progress = silent,
) -> Extraction:
    """Rows of samples without the store: nothing is looked up and nothing is kept, but rows are rounded as the store would.

    Args:
        backbone: what makes the rows.
        samples: n samples of the backbone's modality.
        content: gives the content of the sample at a position, where it is not what `samples` names; called from several threads.
        engine: how it is run; `auto` chooses.
        progress: stage `extract`, in samples.
    """
    began = time.perf_counter()
    runner = Runner(backbone, engine, rows=len(samples))
    parts = run(backbone, range(len(samples)), content=content or content_of(samples), runner=runner)
    gained = _gathered(parts, backbone, len(samples), progress)
    ids = samples.ids
    digests = np.zeros((len(gained.kept), 16), np.uint8)
    features = tuple(
        Features(rows, tuple(ids[i] for i in gained.kept), digests.copy(), spec)
        for rows, spec in zip(gained.rows, backbone.specs, strict=True)
    )
    skipped = tuple(Skipped(ids[i], reason) for i, reason in sorted(gained.failed.items()))
    seconds = {"extract": time.perf_counter() - began}
    notes, cut = tuple(runner.events), frozenset(gained.cut)
    return Extraction(
        features, gained.kept, skipped, len(gained.kept), 0, gained.facts, seconds, notes, cut, runner.engine
    )


@dataclass(frozen=True)
class Gained:
    """Rows that came straight from a backbone.

    Attributes:
        rows: one (n, d) array per spec, rounded as the store would.
        kept: (n,) their positions among the samples.
        failed: by position, why there is no row.
        facts: sums over the samples of what was met while decoding them.
        cut: positions of texts that were cut at the backbone's limit.
    """

    rows: tuple[np.ndarray, ...]
    kept: np.ndarray
    failed: Mapping[int, str]
    facts: Mapping[str, float]
    cut: tuple[int, ...]


def embed_prepared(backbone: Backbone, prepared: Sequence[Prepared], *, engine: str, most: int) -> Gained:
    """Rows of samples that are prepared already, without the store.

    Args:
        backbone: what makes the rows.
        prepared: n samples, as its preparation made them.
        engine: how it is run.
        most: views of a batch.
    """
    runner = Runner(backbone, engine, rows=len(prepared))
    return _gathered(embedded(backbone, enumerate(prepared), runner=runner, most=most), backbone, len(prepared), silent)


def _gathered(parts: Iterable[Done], backbone: Backbone, n: int, progress: Progress) -> Gained:
    """The rows of all n samples, from parts of them in any order."""
    rows: list[np.ndarray] = [np.empty((n, spec.dim), np.float32) for spec in backbone.specs]
    has_row, done = np.zeros(n, bool), 0
    failed: dict[int, str] = {}
    totals: dict[str, float] = {}
    cut: list[int] = []
    for part in parts:
        has_row[list(part.positions)] = True
        for whole, array in zip(rows, part.rows, strict=False):
            whole[list(part.positions)] = as_stored(array)
        failed.update(part.failed)
        _add_facts(totals, part.facts)
        cut += [position for position, facts in zip(part.positions, part.facts, strict=True) if facts.get("truncated")]
        done += len(part.positions) + len(part.failed)
        progress("extract", done, n)
    kept = np.flatnonzero(has_row)
    return Gained(tuple(whole[kept] for whole in rows), kept, failed, totals, tuple(cut))


def facts_of(features: Features) -> list[Mapping[str, Fact]]:
    """What was met while each row's sample was decoded, as the store remembers it; empty for one that it has forgotten."""
    with Shelf(features.spec) as shelf:
        known = dict(shelf.facts(np.unique(features.digests, axis=0) if len(features) else features.digests))
    return [known.get(digest.tobytes(), {}) for digest in features.digests]


def _filled_and_loaded(
    wanted: Wanted, way: Way, readable: np.ndarray, inverse: np.ndarray, *, progress: Progress
) -> tuple[Filled, np.ndarray, tuple[tuple[Features, ...], dict[str, float]], tuple[float, float]]:
    """Fill the store and load from it; once more where another process drops rows in between.

    Returns:
        What was filled, the positions that have a row, their features and facts, and the seconds of both steps.

    Raises:
        CacheError: rows vanish again and again.
    """
    n = len(wanted.distinct)
    filled = Filled({}, np.zeros(n, bool), np.zeros(n, bool), [])
    extracting = 0.0
    for last in (False, True):
        began = time.perf_counter()
        fill(filled, wanted, way=way, progress=progress)
        extracting += time.perf_counter() - began
        began = time.perf_counter()
        has_row = ~np.isin(inverse, np.fromiter(filled.failed, np.int64, len(filled.failed)))
        kept = readable[has_row]
        try:
            loaded = _load(wanted, way.backbone, kept)
        except KeyError as error:
            if not last:
                continue
            raise CacheError(
                f"rows vanished twice from the feature cache {cache_root()} between being stored and being read: end what else changes"
                " that folder, or set the environment variable HEADSTART_CACHE to another folder"
            ) from error
        return filled, kept, loaded, (extracting, time.perf_counter() - began)
    raise AssertionError("the second round returns or raises")


def _load(wanted: Wanted, backbone: Backbone, kept: np.ndarray) -> tuple[tuple[Features, ...], dict[str, float]]:
    """The rows of the samples at the positions `kept`, and the sums of their facts.

    Raises:
        KeyError: a row is no longer there.
    """
    ids = wanted.samples.ids
    names = tuple(ids[i] for i in kept)
    digests = wanted.digested.digests[kept]
    totals: dict[str, float] = {}
    features = []
    for number, spec in enumerate(backbone.specs):
        with Shelf(spec) as shelf, shelf.snapshot():
            values = shelf.read(shelf.find(digests))
            if number == 0:
                found = shelf.facts(np.unique(digests, axis=0) if len(kept) else digests)
                _add_facts(totals, (facts for _, facts in found))
        features.append(Features(values, names, digests.copy(), spec))
    return tuple(features), totals


def _add_facts(totals: dict[str, float], facts: Iterable[Mapping[str, Fact]]) -> None:
    for each in facts:
        for name, value in each.items():
            if isinstance(value, int | float):
                totals[name] = totals.get(name, 0.0) + value
