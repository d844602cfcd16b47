"""The feature store: rows by content digest, kept for every later run.

`<cache>/features/<fingerprint>/` holds append-only segments of rows (`.npy`), and a SQLite index from sample digest to segment and row.
A row counts when its segment is on disk and the index transaction has committed, in that order; whatever a killed process left behind
is ignored, and reclaimed once its lock is free. Several processes of one machine may write at once.
"""

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from jaxtyping import Float, UInt8

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
    """The rows of one backbone spec. Open it with `with`; one thread at a time."""

    def __init__(self, spec: BackboneSpec, root: Path | None = None) -> None:
        self.spec = spec
        self.folder = (root or cache_root()) / "features" / spec.fingerprint
        self._writers: dict[str, SegmentWriter] = {}

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
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()
        self._db.close()

    def reclaim(self) -> int:
        """Delete what killed writers left behind; returns the number of files."""

        def known(name: str) -> bool:
            return self._db.execute("SELECT 1 FROM segments WHERE name = ?", (name,)).fetchone() is not None

        return reclaim(self.folder, known)

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
            for _, text in self._ask("facts", "facts", keys[start : start + _ASK]):
                yield json.loads(text)

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

    def read(self, places: Places) -> Float[np.ndarray, "n d"]:
        """The rows at these places, float32.

        Raises:
            KeyError: a place is missing; ask `find` and `drop_damaged` first.
        """
        if places.missing.any():
            raise KeyError("rows that the store does not have cannot be read")
        values = np.empty((len(places.segment), self.spec.dim), dtype=np.float32)
        for segment, name, dtype, rows in self._segments():
            wanted = np.flatnonzero(places.segment == segment)
            if len(wanted):
                mapped = open_segment(self.folder / name, dtype, rows=rows, dim=self.spec.dim)
                if mapped is None:
                    raise KeyError(f"segment {name} is damaged")
                values[wanted] = mapped[places.row[wanted]]
                del mapped
        return values

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
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=NORMAL")
    db.executescript(schema)
    return db


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
