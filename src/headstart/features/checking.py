"""Whether the feature store is whole: every row against its checksum, and the files against the index."""

import contextlib
import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.features.housekeeping import NO_INDEX, Stored, open_to_read, remove
from headstart.features.segments import open_segment
from headstart.features.store import DESCRIPTION, INDEX, SCHEMA, as_cache_error, connect, transaction

# Rows without a checksum that are looked at together.
_STEP = 4096


@dataclass(frozen=True)
class Harm:
    """Rows that are not what was written.

    Attributes:
        file: the segment's name, or the index's.
        first: number of the first row.
        rows: how many rows of the segment are harmed; all of them where the file is missing or the index is broken.
        reason: what was found.
    """

    file: str
    first: int
    rows: int
    reason: str


@dataclass(frozen=True)
class Checked:
    """What checking one backbone's rows came to.

    Attributes:
        stored: what was checked.
        rows: rows that were compared with their checksum.
        unknown: rows without a checksum, which an older version wrote: only their size and that they are finite was checked.
        harms: what was found.
        dropped: rows that were taken out of the index, so that they are extracted again.
        mended: whether that was done for all that was found.
    """

    stored: Stored
    rows: int
    unknown: int
    harms: tuple[Harm, ...]
    dropped: int = 0
    mended: bool = False


def check(found: Stored, *, mend: bool = False) -> Checked:
    """Compare every row of one backbone with its checksum, and the files with the index.

    Rows that another process appends meanwhile are left for the next time.

    Args:
        found: what to check.
        mend: take harmed rows out of the index, so that they are extracted again; an index that cannot be read is removed whole.

    Raises:
        CacheError: the folder fails.
    """
    if found.spec is None:
        harm = Harm(DESCRIPTION, 0, found.rows, "the description of the backbone cannot be read")
        return _removed(found, harm) if mend else Checked(found, 0, 0, (harm,))
    if not (found.folder / INDEX).exists():
        return Checked(found, 0, 0, ())
    try:
        with open_to_read(found.folder) as db, contextlib.closing(db.execute("BEGIN")):
            (answer,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if answer != "ok":
                raise sqlite3.DatabaseError(answer)
            rows, unknown, harms = _check_segments(found.folder, found.spec.dim, db)
    except sqlite3.Error as error:
        harm = Harm(INDEX, 0, found.rows, f"{NO_INDEX} ({error})")
        return _removed(found, harm) if mend else Checked(found, 0, 0, (harm,))
    mending = mend and bool(harms)
    return Checked(found, rows, unknown, harms, _drop(found.folder, harms) if mending else 0, mending)


def _removed(found: Stored, harm: Harm) -> Checked:
    """What is past mending row by row, removed whole unless another process has it open."""
    gone = remove(found.folder)
    return Checked(found, 0, 0, (harm,), found.rows if gone else 0, gone)


def _check_segments(folder: Path, dim: int, db: sqlite3.Connection) -> tuple[int, int, tuple[Harm, ...]]:
    """How many rows of the index have a checksum, how many have none, and which are harmed."""
    harms: list[Harm] = []
    checked = unknown = 0
    blocks, places = _blocks(db), _places(db)
    for segment, name, dtype, rows in db.execute("SELECT id, name, dtype, rows FROM segments").fetchall():
        asked = np.zeros(rows, bool)  # rows that a digest leads to; others nobody reads
        mine = places[places[:, 0] == segment, 1]
        asked[mine[(mine >= 0) & (mine < rows)]] = True
        mapped = open_segment(folder / name, dtype, rows=rows, dim=dim)
        if mapped is None:
            harms.append(Harm(name, 0, rows, "the file is missing or too short"))
            continue
        covered = np.zeros(rows, bool)
        for first, count, _ in blocks.get(segment, ()):
            covered[first : first + count] = True
        checked += int((asked & covered).sum())
        unknown += int((asked & ~covered).sum())
        harms += _check_blocks(name, mapped, blocks.get(segment, []), asked)
        harms += _check_finite(name, mapped, asked & ~covered)
        del mapped
    harms += [Harm(name, 0, count, reason) for name, count, reason in _check_index(db)]
    return checked, unknown, tuple(harms)


def _blocks(db: sqlite3.Connection) -> dict[int, list[tuple[int, int, int]]]:
    """First row, number of rows and checksum of every block, by segment; nothing where an older version made the index."""
    found: dict[int, list[tuple[int, int, int]]] = {}
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'blocks'").fetchone() is not None:
        for segment, *block in db.execute("SELECT segment, first, rows, crc FROM blocks ORDER BY segment, first"):
            found.setdefault(segment, []).append((block[0], block[1], block[2]))
    return found


def _places(db: sqlite3.Connection) -> np.ndarray:
    """(n, 2) segment and row of every digest."""
    (count,) = db.execute("SELECT count(*) FROM rows").fetchone()
    flat = (number for place in db.execute("SELECT segment, row FROM rows") for number in place)
    return np.fromiter(flat, np.int64, 2 * count).reshape(count, 2)


def _check_blocks(
    name: str, mapped: np.ndarray, blocks: list[tuple[int, int, int]], asked: np.ndarray
) -> Iterator[Harm]:
    """The blocks whose bytes are not those that were written, or that hold a row that is not finite."""
    for first, count, crc in blocks:
        if asked[first : first + count].any():
            part = np.ascontiguousarray(mapped[first : first + count])
            if len(part) < count or zlib.crc32(part.data) != crc:
                yield Harm(name, first, count, "the bytes are not those that were written")
            elif not np.isfinite(part).all():
                yield Harm(name, first, count, "a row is not finite")


def _check_finite(name: str, mapped: np.ndarray, asked: np.ndarray) -> Iterator[Harm]:
    """The rows among those asked for that are not finite."""
    for start in range(0, len(mapped), _STEP):
        if (wanted := asked[start : start + _STEP]).any():
            spoilt = wanted & ~np.isfinite(mapped[start : start + _STEP]).all(axis=1)
            yield from (Harm(name, start + int(row), 1, "the row is not finite") for row in np.flatnonzero(spoilt))


def _check_index(db: sqlite3.Connection) -> Iterator[tuple[str, int, str]]:
    """What in the index cannot be: rows past the end of their segment or of none, and two digests for one row."""
    past = "SELECT count(*) FROM rows LEFT JOIN segments ON segments.id = rows.segment WHERE segments.id IS NULL OR row >= segments.rows OR row < 0"
    twice = "SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM rows GROUP BY segment, row HAVING n > 1)"
    for query, reason in (
        (past, "digests lead to rows that no segment has"),
        (twice, "two digests lead to one row"),
    ):
        (count,) = db.execute(query).fetchone()
        if count:
            yield INDEX, count, reason


def _drop(folder: Path, harms: tuple[Harm, ...]) -> int:
    """Take harmed rows out of the index; returns how many."""
    dropped = 0
    with as_cache_error(folder), contextlib.closing(connect(folder / INDEX, SCHEMA)) as db, transaction(db):
        for harm in harms:
            if harm.file == INDEX:
                past = "NOT EXISTS (SELECT 1 FROM segments WHERE id = rows.segment AND rows.row < segments.rows) OR row < 0"
                twice = "(segment, row) IN (SELECT segment, row FROM rows GROUP BY segment, row HAVING count(*) > 1)"
                dropped += db.execute(f"DELETE FROM rows WHERE {past} OR {twice}").rowcount  # noqa: S608  (both are literals)
                continue
            segment = "(SELECT id FROM segments WHERE name = ?)"
            span = (harm.file, harm.first, harm.first + harm.rows)
            dropped += db.execute(f"DELETE FROM rows WHERE segment = {segment} AND row >= ? AND row < ?", span).rowcount  # noqa: S608
            db.execute(f"DELETE FROM blocks WHERE segment = {segment} AND first >= ? AND first < ?", span)  # noqa: S608
            if not (folder / harm.file).exists():
                db.execute("DELETE FROM segments WHERE name = ?", (harm.file,))
    return dropped
