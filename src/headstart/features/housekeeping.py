"""Keeping the feature store in order: what is there, how long ago it was used, and removing it while nobody uses it."""

import contextlib
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from headstart.core.errors import ModelError
from headstart.core.files import cache_root
from headstart.core.spec import BackboneSpec
from headstart.features.segments import open_segment, reclaim
from headstart.features.store import DESCRIPTION, INDEX, USED, as_cache_error

# Seconds after which a file that was being written is taken for one that a killed process left behind.
ABANDONED = 86_400.0
NO_INDEX = "its index cannot be read"


@dataclass(frozen=True)
class Stored:
    """The rows of one backbone spec, as they lie in the cache.

    Attributes:
        folder: where they lie.
        spec: what made them; None where its description is missing or cannot be read.
        rows: rows that the store hands out.
        bytes: of all files in the folder.
        segments: files of rows that the index names.
        written: when rows were written last, seconds since 1970; None where there are none.
        used: when the folder was opened last by an extraction, seconds since 1970.
        orphans: files that no index names and whose writer is gone, and descriptions that no version reads any more.
        damaged: what is wrong with the index or with the sizes of files, one sentence; empty where nothing is.
    """

    folder: Path
    spec: BackboneSpec | None
    rows: int
    bytes: int
    segments: int
    written: float | None
    used: float
    orphans: int
    damaged: str

    @property
    def title(self) -> str:
        """What a person calls the backbone, or the folder's name where nobody knows."""
        return self.spec.title if self.spec is not None else self.folder.name

    @property
    def readable(self) -> bool:
        """Whether this version of headstart would ever look into the folder."""
        return self.spec is not None and self.spec.fingerprint == self.folder.name


def stored(root: Path | None = None) -> list[Stored]:
    """What lies in the feature store, most recently used first. Reads no row.

    Raises:
        CacheError: the folder cannot be read.
    """
    features = (root or cache_root()) / "features"
    with as_cache_error(features):
        folders = [path for path in features.iterdir() if path.is_dir()] if features.is_dir() else []
        return sorted((_look(folder) for folder in folders), key=lambda each: (-each.used, each.folder.name))


def _look(folder: Path) -> Stored:
    files = dict(files_in(folder))
    spec = _spec(folder)
    rows, known, damaged = 0, {}, ""
    if folder / INDEX in files:
        try:
            with open_to_read(folder) as db:
                (rows,) = db.execute("SELECT count(*) FROM rows").fetchone()
                known = {
                    name: (dtype, count) for name, dtype, count in db.execute("SELECT name, dtype, rows FROM segments")
                }
        except sqlite3.Error as error:
            damaged = f"{NO_INDEX} ({error})"
    if spec is not None and not damaged:
        short = [name for name, (dtype, count) in known.items() if _too_short(folder / name, dtype, count, spec.dim)]
        damaged = f"{len(short)} of {len(known)} files of rows are missing or too short" if short else ""
    written = [status.st_mtime for path, status in files.items() if path.suffix == ".npy"]
    used = [
        status.st_mtime for path, status in files.items() if path.name in {USED, DESCRIPTION} or path.suffix == ".npy"
    ]
    return Stored(
        folder=folder,
        spec=spec,
        rows=rows,
        bytes=sum(status.st_size for status in files.values()),
        segments=len(known),
        written=max(written, default=None),
        used=max(used, default=0.0),
        orphans=0 if damaged.startswith(NO_INDEX) else len(_orphans(folder, known.__contains__)),
        damaged=damaged,
    )


def remove(folder: Path) -> bool:
    """Remove the rows of one backbone, unless another process has them open; returns whether they are gone.

    SQLite gives the index up only to whoever holds it alone, and as long as it is held nobody opens it. First the index is emptied, then
    the rows go: killed in between, this leaves files that nobody knows, which the next extraction removes.

    Raises:
        CacheError: the folder fails.
    """
    with as_cache_error(folder):
        with contextlib.closing(sqlite3.connect(folder / INDEX, timeout=0, isolation_level=None)) as db:
            if not _take(db):
                return False
            _remove_files(folder)
        if os.name == "nt":  # there an index that is open, here or elsewhere, cannot be removed
            _remove_files(folder)
        with contextlib.suppress(OSError):  # another process has begun anew
            folder.rmdir()
    return True


def _take(db: sqlite3.Connection) -> bool:
    """Take an index for this process alone, and empty it; False where another has it open."""
    try:
        db.execute("PRAGMA locking_mode=EXCLUSIVE")
        (mode,) = db.execute("PRAGMA journal_mode=DELETE").fetchone()
        if mode != "delete":
            return False
        db.execute("BEGIN EXCLUSIVE")
        for table in ("rows", "blocks", "facts", "segments", "sketches"):
            db.execute(f"DROP TABLE IF EXISTS {table}")
        db.execute("COMMIT")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            return False
        raise
    except sqlite3.DatabaseError:  # it is no index any more: no process can use it as one
        return True
    return True


def _remove_files(folder: Path) -> None:
    """Remove the files of a shelf: rows first, the index last."""
    last = {DESCRIPTION: 1, INDEX: 2}
    for path in sorted(folder.iterdir(), key=lambda each: last.get(each.name, 0)):
        with contextlib.suppress(PermissionError, IsADirectoryError, FileNotFoundError):
            path.unlink()


def sweep(found: Stored, *, dry_run: bool = False) -> tuple[int, int]:
    """Remove what killed processes left behind beside the rows of one backbone; returns the number of files and of bytes.

    Raises:
        CacheError: the folder fails.
    """
    if found.damaged.startswith(NO_INDEX) or not (found.folder / INDEX).exists():
        return 0, 0
    with as_cache_error(found.folder), open_to_read(found.folder) as db:

        def known(name: str) -> bool:
            return db.execute("SELECT 1 FROM segments WHERE name = ?", (name,)).fetchone() is not None

        sizes = {path: path.stat().st_size for path in _orphans(found.folder, known)}
        if not dry_run:
            reclaim(found.folder, known)
            for path in sizes:
                if path.suffix == ".part":
                    path.unlink(missing_ok=True)
    gone = [size for path, size in sizes.items() if dry_run or not path.exists()]
    return len(gone), sum(gone)


def _orphans(folder: Path, known: Callable[[str], bool]) -> list[Path]:
    """Segments and half-written files that nobody knows and nobody writes."""
    old = time.time() - ABANDONED
    segments = [path for path in folder.glob("*.npy") if not known(path.name) and not _is_held(_lock_of(path))]
    return segments + [path for path in folder.glob(".*.part") if path.stat().st_mtime < old]


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _is_held(lock: Path) -> bool:
    """Whether a living process holds this lock. Asking leaves no file behind."""
    if not lock.exists():
        return False
    asked = FileLock(lock, timeout=0)
    try:
        asked.acquire()
    except Timeout:
        return True
    asked.release()
    return False


@contextlib.contextmanager
def open_to_read(folder: Path) -> Iterator[sqlite3.Connection]:
    """The index, to be read; it is never made here. SQLite itself may write: a log that a killed writer left behind."""
    address = f"{(folder / INDEX).absolute().as_uri()}?mode=rw"
    with contextlib.closing(sqlite3.connect(address, uri=True, timeout=60, isolation_level=None)) as db:
        yield db


def _too_short(path: Path, dtype: str, rows: int, dim: int) -> bool:
    return open_segment(path, dtype, rows=rows, dim=dim) is None


def _spec(folder: Path) -> BackboneSpec | None:
    try:
        return BackboneSpec.from_json(json.loads((folder / DESCRIPTION).read_text(encoding="utf-8")))
    except (OSError, ValueError, ModelError):
        return None


def files_in(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every file under a folder, without those that go meanwhile."""
    for base, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # gone meanwhile
                yield Path(base) / name, (Path(base) / name).stat()


@dataclass(frozen=True)
class Artefact:
    """What is kept beside rows: one entry of `<cache>/engines/ENGINE/`, which an engine compiled, or of `<cache>/sketches/`.

    Attributes:
        path: a file or a folder.
        bytes: of all its files.
        used: when one of its files was last read or written, seconds since 1970, as far as the file system tells.
        kind: `engines` or `sketches`.
    """

    path: Path
    bytes: int
    used: float
    kind: str = "engines"


def artefacts(root: Path | None = None) -> list[Artefact]:
    """What engines compiled, most recently used first; what one is being written now is left out.

    Raises:
        CacheError: the folder cannot be read.
    """
    engines = (root or cache_root()) / "engines"
    found: list[Artefact] = []
    with as_cache_error(engines):
        for path in sorted(engines.glob("*/*")):
            files = [path.stat()] if path.is_file() else [status for _, status in files_in(path)]
            used = max((max(each.st_mtime, each.st_atime) for each in files), default=path.stat().st_mtime)
            if not path.name.endswith((".part", ".lock")) or used < time.time() - ABANDONED:
                found.append(Artefact(path, sum(each.st_size for each in files), used))
    return sorted(found, key=lambda each: (-each.used, str(each.path)))


def remove_artefact(found: Artefact) -> bool:
    """Remove what an engine compiled; it is compiled again when it is needed. Returns whether it is gone.

    A folder is renamed first, so that no engine finds half of it.
    """
    with contextlib.suppress(OSError):
        aside = found.path.with_name(f".{found.path.name[:40]}.{os.getpid()}.part")
        found.path.rename(aside)
        if aside.is_dir():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.unlink()
    return not found.path.exists()
