"""The feature store: rows by content digest, kept for every later run.

`<cache>/features/<fingerprint>/` holds append-only segments of rows (`.npy`), and a SQLite index from sample digest to segment and row.
A row counts when its segment is on disk and the index transaction has committed, in that order; whatever a killed process left behind
is ignored, and reclaimed once its lock is free. Several processes of one machine may write at once. The index keeps a checksum of every
block of rows as it was appended; reading does not pay for it, `headstart.features.housekeeping` checks it.
"""

import contextlib
import functools
import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar, cast

import numpy as np
from jaxtyping import Float, UInt8

from headstart.core.errors import CacheError
from headstart.core.files import cache_root, write_whole
from headstart.core.spec import BackboneSpec
from headstart.data.preparation import Fact
from headstart.features.rounding import fits_half
from headstart.features.segments import SegmentWriter, open_segment, reclaim

SCHEMA = """
CREATE TABLE IF NOT EXISTS segments (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, dtype TEXT NOT NULL, rows INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS rows (digest BLOB PRIMARY KEY, segment INTEGER NOT NULL, row INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (digest BLOB PRIMARY KEY, facts TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blocks (segment INTEGER NOT NULL, first INTEGER NOT NULL, rows INTEGER NOT NULL, crc INTEGER NOT NULL,
    PRIMARY KEY (segment, first)) WITHOUT ROWID;
"""
INDEX, DESCRIPTION, USED = "index.sqlite", "spec.json", "used"
ASK = 900  # digests a query: under SQLite's oldest limit of 999 variables
_MISSING = -1
# Bytes of a segment that are widened to float32 at a time: they stay in a core's cache from the one step to the next.
_STEP_BYTES = 1 << 20
# Seconds after which another use of a shelf is noted.
_USE_SECONDS = 60.0
# Times that a shelf is opened again where another process removes it meanwhile.
_TRIES = 6
_PAUSE = 0.05  # seconds, doubled each time

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


@contextlib.contextmanager
def as_cache_error(folder: Path) -> Iterator[None]:
    """Say what is wrong with the cache's folder, and the way out, in the place of what SQLite or the system says.

    Raises:
        CacheError: the block met an error of SQLite or of the system.
    """
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise CacheError(
            f"the feature cache needs a folder that can be written to and has room, and {folder} is none ({reason}): mend it, delete"
            " it, or set the environment variable HEADSTART_CACHE to another folder"
        ) from error


def _guarded(
    method: Callable[Concatenate["Shelf", _Arguments], _Result],
) -> Callable[Concatenate["Shelf", _Arguments], _Result]:
    @functools.wraps(method)
    def guarded(self: "Shelf", /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        with as_cache_error(self.folder):
            return method(self, *args, **kwargs)

    return cast("Callable[Concatenate[Shelf, _Arguments], _Result]", guarded)


@dataclass(frozen=True)
class Places:
    """Where n rows lie: segment ids and row numbers, -1 where the store does not have the row."""

    segment: np.ndarray
    row: np.ndarray

    @property
    def missing(self) -> np.ndarray:
        """(n,) bool: which rows the store does not have."""
        return np.asarray(self.segment == _MISSING)


class Shelf:
    """The rows of one backbone spec. Open it with `with`; one thread at a time. Its methods raise CacheError where the folder fails."""

    def __init__(self, spec: BackboneSpec, root: Path | None = None) -> None:
        self.spec = spec
        self.folder = (root or cache_root()) / "features" / spec.fingerprint
        self._writers: dict[str, SegmentWriter] = {}

    @_guarded
    def __enter__(self) -> Self:
        self._db = open_index(self.folder, SCHEMA)
        try:
            described = self.folder / DESCRIPTION
            if not described.exists():
                write_whole(described, json.dumps(self.spec.to_json(), indent=1, ensure_ascii=False).encode())
            note_use(self.folder / USED)
        except BaseException:
            self._db.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every file, also where closing one fails; such a failure is not told over the error that ended the block."""
        with contextlib.ExitStack() as stack:
            if error is not None:
                stack.enter_context(contextlib.suppress(CacheError))
            stack.enter_context(as_cache_error(self.folder))
            stack.callback(self._db.close)
            for writer in self._writers.values():
                stack.callback(writer.close)
            self._writers.clear()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """What is found and read in this block belongs together, whatever other processes put into the index or drop meanwhile."""
        with as_cache_error(self.folder):
            self._db.execute("BEGIN")
        try:
            yield
        finally:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")

    @_guarded
    def reclaim(self) -> int:
        """Delete what killed writers left behind; returns the number of files."""

        def known(name: str) -> bool:
            return self._db.execute("SELECT 1 FROM segments WHERE name = ?", (name,)).fetchone() is not None

        return reclaim(self.folder, known)

    @_guarded
    def find(self, digests: UInt8[np.ndarray, "n 16"]) -> Places:
        """Where the rows of these samples lie. Asked in the order of the index, so that each of its pages is read once."""
        n = len(digests)
        segments, rows = np.full(n, _MISSING, np.int64), np.full(n, _MISSING, np.int64)
        order = _sorted(digests)
        keys = keys_of(digests[order])
        for start in range(0, n, ASK):
            block = keys[start : start + ASK]
            found = {digest: (segment, row) for digest, segment, row in self._ask("segment, row", "rows", block)}
            if found:
                here = np.array([found.get(key, (_MISSING, _MISSING)) for key in block], np.int64)
                segments[order[start : start + ASK]], rows[order[start : start + ASK]] = here.T
        return Places(segments, rows)

    def facts(self, digests: UInt8[np.ndarray, "n 16"]) -> Iterator[tuple[bytes, Mapping[str, Fact]]]:
        """What was met while the samples were decoded, with its digest, for those of `digests` that are here."""
        keys = keys_of(digests)
        for start in range(0, len(keys), ASK):
            with as_cache_error(self.folder):
                found = list(self._ask("facts", "facts", keys[start : start + ASK]))
            yield from ((digest, json.loads(text)) for digest, text in found)

    @_guarded
    def append(
        self, digests: Sequence[bytes], rows: Float[np.ndarray, "n d"], *, facts: Sequence[Mapping[str, Fact]]
    ) -> None:
        """Put rows on disk, then into the index. A digest that another process has stored meanwhile keeps the row that came first."""
        half = fits_half(rows)
        for dtype, chosen in (("<f2", np.flatnonzero(half)), ("<f4", np.flatnonzero(~half))):
            if not len(chosen):
                continue
            writer = self._writer(dtype)
            first, checksum = writer.append(rows[chosen])
            with transaction(self._db):
                self._db.execute(
                    "INSERT INTO segments (name, dtype, rows) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET rows = excluded.rows",
                    (writer.name, dtype, writer.rows),
                )
                (segment,) = self._db.execute("SELECT id FROM segments WHERE name = ?", (writer.name,)).fetchone()
                self._db.execute(
                    "INSERT OR REPLACE INTO blocks VALUES (?, ?, ?, ?)", (segment, first, len(chosen), checksum)
                )
                self._db.executemany(
                    "INSERT OR IGNORE INTO rows VALUES (?, ?, ?)",
                    [(digests[i], segment, first + offset) for offset, i in enumerate(chosen.tolist())],
                )
                self._db.executemany(
                    "INSERT OR IGNORE INTO facts VALUES (?, ?)",
                    [(digests[i], json.dumps(dict(facts[i]))) for i in chosen.tolist() if facts[i]],
                )

    @_guarded
    def read(self, places: Places, *, out: Float[np.ndarray, "n d"] | None = None) -> Float[np.ndarray, "n d"]:
        """The rows at these places, float32. Beside the result it takes a few megabytes, however many rows there are.

        Args:
            places: n places.
            out: where to put the rows, such as a mapped file; a new array where it is None.

        Raises:
            KeyError: a place is missing, or its segment is damaged or was dropped; ask `find` and `drop_damaged` first.
            ValueError: `out` is not (n, d) float32.
        """
        values = np.empty((len(places.segment), self.spec.dim), dtype=np.float32) if out is None else out
        if values.shape != (len(places.segment), self.spec.dim) or values.dtype != np.float32:
            raise ValueError(f"rows are ({len(places.segment)}, {self.spec.dim}) float32, not {out}")
        with self._reading() as segments:
            self._fill(values, places, segments)
        return values

    def chunks(self, places: Places, *, rows: int = 4096) -> Iterator[Float[np.ndarray, "m d"]]:
        """The rows at these places, float32, `rows` at a time in the order of `places`: no more than one chunk is in memory.

        Each chunk is an array of its own. Segments stay mapped until the end, so that what another process drops meanwhile is still
        read as it was.

        Raises:
            KeyError: as for `read`.
            CacheError: the folder fails.
        """
        with as_cache_error(self.folder), self._reading() as segments:
            for start in range(0, len(places.segment), rows):
                part = Places(places.segment[start : start + rows], places.row[start : start + rows])
                values = np.empty((len(part.segment), self.spec.dim), dtype=np.float32)
                self._fill(values, part, segments)
                yield values

    @contextlib.contextmanager
    def _reading(self) -> Iterator["_Mapped"]:
        """The segments as the index has them now, each mapped when it is first asked for and let go of at the end."""
        known = {segment: (name, dtype, rows) for segment, name, dtype, rows in self._segments()}
        mapped = _Mapped(self.folder, self.spec.dim, known)
        try:
            yield mapped
        finally:
            mapped.open.clear()

    def _fill(self, values: np.ndarray, places: Places, segments: "_Mapped") -> None:
        """Put the rows at these places into `values`, segment by segment and in the order in which they lie there."""
        if places.missing.any():
            raise KeyError("rows that the store does not have cannot be read")
        order = np.lexsort((places.row, places.segment))
        wanted, begins = np.unique(places.segment[order], return_index=True)
        for segment, chosen in zip(wanted.tolist(), np.split(order, begins[1:]), strict=False):
            rows = places.row[chosen]
            mapped = segments.rows(segment, most=int(rows[-1]))
            step = max(1, _STEP_BYTES // (mapped.itemsize * max(1, self.spec.dim)))
            for start in range(0, len(chosen), step):
                values[_run(chosen[start : start + step])] = mapped[_run(rows[start : start + step])]

    @_guarded
    def drop_damaged(self) -> int:
        """Forget the rows of segments that are missing or too short, so that they are extracted again; returns how many rows."""
        dropped = 0
        for segment, name, dtype, rows in self._segments():
            if open_segment(self.folder / name, dtype, rows=rows, dim=self.spec.dim) is None:
                with transaction(self._db):
                    dropped += self._db.execute("DELETE FROM rows WHERE segment = ?", (segment,)).rowcount
                    self._db.execute("DELETE FROM blocks WHERE segment = ?", (segment,))
                    self._db.execute("DELETE FROM segments WHERE id = ?", (segment,))
        return dropped

    def _segments(self) -> list[tuple[int, str, str, int]]:
        return self._db.execute("SELECT id, name, dtype, rows FROM segments").fetchall()

    def _ask(self, columns: str, table: str, keys: list[bytes]) -> Iterator[tuple[bytes, ...]]:
        marks = ",".join("?" * len(keys))
        yield from self._db.execute(f"SELECT digest, {columns} FROM {table} WHERE digest IN ({marks})", keys)  # noqa: S608

    def _writer(self, dtype: str) -> SegmentWriter:
        writer = self._writers.get(dtype)
        if writer is None or writer.full:
            if writer is not None:
                writer.close()
            writer = self._writers[dtype] = SegmentWriter(self.folder, np.dtype(dtype), dim=self.spec.dim)
        return writer


@dataclass(frozen=True)
class _Mapped:
    """Segments that are being read: mapped once, when they are first asked for."""

    folder: Path
    dim: int
    known: Mapping[int, tuple[str, str, int]]
    open: dict[int, np.ndarray] = field(default_factory=dict)

    def rows(self, segment: int, *, most: int) -> np.ndarray:
        """The rows of a segment, at least up to number `most`.

        Raises:
            KeyError: it does not have them.
        """
        if segment not in self.open:
            name, dtype, rows = self.known.get(segment, ("", "<f2", 0))
            mapped = open_segment(self.folder / name, dtype, rows=rows, dim=self.dim) if name else None
            self.open[segment] = np.empty((0, self.dim), np.float16) if mapped is None else mapped
        if most >= len(self.open[segment]):
            name = self.known.get(segment, ("dropped",))[0]
            raise KeyError(f"segment {segment} ({name}) does not have the rows any more")
        return self.open[segment]


def _run(numbers: np.ndarray) -> slice | np.ndarray:
    """Ascending numbers as a slice where they have no gap: what it selects is copied in one piece."""
    first, last = int(numbers[0]), int(numbers[-1])
    whole = last - first + 1 == len(numbers) and bool((numbers[1:] - numbers[:-1] == 1).all())
    return slice(first, last + 1) if whole else numbers


def _sorted(digests: UInt8[np.ndarray, "n 16"]) -> np.ndarray:
    """The order in which the index keeps these digests, to their first eight bytes."""
    leading = np.ascontiguousarray(digests[:, :8]).view(">u8")[:, 0]
    return np.argsort(leading.astype(np.uint64), kind="stable")


def keys_of(digests: UInt8[np.ndarray, "n 16"]) -> list[bytes]:
    """Digests as the keys of an index."""
    content = np.ascontiguousarray(digests).tobytes()
    width = digests.shape[1]
    return [content[start : start + width] for start in range(0, len(content), width)]


def note_use(path: Path) -> None:
    """Note that a shelf is used now, for whoever prunes the least recently used first."""
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime < _USE_SECONDS:
            return
    path.touch()


def open_index(folder: Path, schema: str) -> sqlite3.Connection:
    """The index in a folder, made where there is none; opened anew where another process pruned the folder in between.

    Whoever removes an index holds it alone. So one that lies at its path before and after it was opened is the one that was opened,
    and stays as long as it is open.
    """
    path = folder / INDEX
    for tried in range(1, _TRIES + 1):
        folder.mkdir(parents=True, exist_ok=True)
        before = _inode(path)
        try:
            db = connect(path, schema)
        except sqlite3.OperationalError as error:
            # Read-only it also is where it was removed under our hands, whether or not another process has put a new one there since.
            passing = error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_READONLY}
            if tried == _TRIES or (path.exists() and not passing):
                raise
            time.sleep(_PAUSE * 2**tried)
            continue
        if before is not None and before == _inode(path):
            return db
        db.close()
    raise sqlite3.OperationalError("another process removes the index again and again")


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def connect(path: Path, schema: str) -> sqlite3.Connection:
    """A SQLite database that several processes may use at once, with its tables there."""
    db = sqlite3.connect(path, timeout=60, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.executescript(schema)
    except BaseException:
        db.close()
        raise
    return db


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """A block of changes to an index: all of it, or nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # SQLite rolls back by itself where the disk is full
            db.execute("ROLLBACK")
        raise
