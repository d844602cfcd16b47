"""The feature store: rows by content digest, kept for every later run.

`<cache>/features/<fingerprint>/` holds append-only segments of rows (`.npy`), and a SQLite index from sample digest to segment and row.
A row counts when its segment is on disk and the index transaction has committed, in that order; whatever a killed process left behind
is ignored, and reclaimed once its lock is free. Several processes of one machine may write at once.
"""

import contextlib
import functools
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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

_SCHEMA = """
CREATE TABLE IF NOT EXISTS segments (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, dtype TEXT NOT NULL, rows INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS rows (digest BLOB PRIMARY KEY, segment INTEGER NOT NULL, row INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (digest BLOB PRIMARY KEY, facts TEXT NOT NULL) WITHOUT ROWID;
"""
_ASK = 900  # digests a query: under SQLite's oldest limit of 999 variables
_MISSING = -1

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
        self.folder.mkdir(parents=True, exist_ok=True)
        described = self.folder / "spec.json"
        if not described.exists():
            write_whole(described, json.dumps(self.spec.to_json(), indent=1, ensure_ascii=False).encode())
        self._db = connect(self.folder / "index.sqlite", _SCHEMA)
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
        """Where the rows of these samples lie."""
        places = Places(np.full(len(digests), _MISSING, np.int64), np.full(len(digests), _MISSING, np.int64))
        keys = [digest.tobytes() for digest in digests]
        for start in range(0, len(keys), _ASK):
            block = keys[start : start + _ASK]
            found = {digest: (segment, row) for digest, segment, row in self._ask("segment, row", "rows", block)}
            for offset, key in enumerate(block):
                if key in found:
                    places.segment[start + offset], places.row[start + offset] = found[key]
        return places

    def facts(self, digests: UInt8[np.ndarray, "n 16"]) -> Iterator[Mapping[str, Fact]]:
        """What was met while the samples were decoded, for those of `digests` that are here."""
        keys = [digest.tobytes() for digest in digests]
        for start in range(0, len(keys), _ASK):
            with as_cache_error(self.folder):
                found = list(self._ask("facts", "facts", keys[start : start + _ASK]))
            yield from (json.loads(text) for _, text in found)

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
            first = writer.append(rows[chosen])
            with _transaction(self._db):
                self._db.execute(
                    "INSERT INTO segments (name, dtype, rows) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET rows = excluded.rows",
                    (writer.name, dtype, writer.rows),
                )
                (segment,) = self._db.execute("SELECT id FROM segments WHERE name = ?", (writer.name,)).fetchone()
                self._db.executemany(
                    "INSERT OR IGNORE INTO rows VALUES (?, ?, ?)",
                    [(digests[i], segment, first + offset) for offset, i in enumerate(chosen.tolist())],
                )
                self._db.executemany(
                    "INSERT OR IGNORE INTO facts VALUES (?, ?)",
                    [(digests[i], json.dumps(dict(facts[i]))) for i in chosen.tolist() if facts[i]],
                )

    @_guarded
    def read(self, places: Places) -> Float[np.ndarray, "n d"]:
        """The rows at these places, float32.

        Raises:
            KeyError: a place is missing, or its segment is damaged or was dropped; ask `find` and `drop_damaged` first.
        """
        if places.missing.any():
            raise KeyError("rows that the store does not have cannot be read")
        values = np.empty((len(places.segment), self.spec.dim), dtype=np.float32)
        order = np.argsort(places.segment, kind="stable")
        wanted, begins = np.unique(places.segment[order], return_index=True)
        known = {segment: (name, dtype, rows) for segment, name, dtype, rows in self._segments()}
        for segment, chosen in zip(wanted.tolist(), np.split(order, begins[1:]), strict=False):
            name, dtype, rows = known.get(segment, ("", "<f2", 0))
            mapped = open_segment(self.folder / name, dtype, rows=rows, dim=self.spec.dim) if name else None
            if mapped is None or places.row[chosen].max() >= rows:
                raise KeyError(f"segment {segment} ({name or 'dropped'}) does not have the rows any more")
            values[chosen] = mapped[places.row[chosen]]
            del mapped
        return values

    @_guarded
    def drop_damaged(self) -> int:
        """Forget the rows of segments that are missing or too short, so that they are extracted again; returns how many rows."""
        dropped = 0
        for segment, name, dtype, rows in self._segments():
            if open_segment(self.folder / name, dtype, rows=rows, dim=self.spec.dim) is None:
                with _transaction(self._db):
                    dropped += self._db.execute("DELETE FROM rows WHERE segment = ?", (segment,)).rowcount
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
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # SQLite rolls back by itself where the disk is full
            db.execute("ROLLBACK")
        raise
