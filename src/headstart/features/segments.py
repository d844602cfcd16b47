"""Segments: append-only `.npy` files of rows, each written by one process at a time."""

import contextlib
import io
import os
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from filelock import FileLock, Timeout

# Rows after which a segment is closed and the next one begun.
_MOST_ROWS = 65_536


def _header(dtype: np.dtype, rows: int, dim: int) -> bytes:
    """A version 1.0 `.npy` header. NumPy pads it so that the first axis may grow in place: its length is the same for any `rows`."""
    buffer = io.BytesIO()
    description = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (rows, dim)}
    np.lib.format.write_array_header_1_0(buffer, description)
    return buffer.getvalue()


class SegmentWriter:
    """Appends rows of one type to a segment of its own, under a lock that dies with the process.

    Attributes:
        name: the segment's file name.
        rows: how many rows it holds so far.
    """

    def __init__(self, folder: Path, dtype: np.dtype, *, dim: int) -> None:
        self.rows = 0
        self._dtype, self._dim = dtype, dim
        self.name, self._lock = _locked_name(folder)
        try:
            self._file = (folder / self.name).open("w+b")
        except BaseException:
            _unlock(self._lock)
            raise

    @property
    def full(self) -> bool:
        """Whether the next rows belong into a new segment."""
        return self.rows >= _MOST_ROWS

    def append(self, rows: np.ndarray) -> tuple[int, int]:
        """Append rows, put them on disk, and return the number of the first and the CRC-32 of the bytes of all of them.

        Rows are written where the last whole append ended: what one that failed or was interrupted left behind is written over.
        """
        first, header = self.rows, _header(self._dtype, self.rows + len(rows), self._dim)
        self._file.seek(len(header) + first * self._dim * self._dtype.itemsize)
        content = np.ascontiguousarray(rows, dtype=self._dtype).tobytes()
        self._file.write(content)
        self._file.seek(0)
        self._file.write(header)
        self._file.flush()
        os.fsync(self._file.fileno())
        self.rows = first + len(rows)
        return first, zlib.crc32(content)

    def close(self) -> None:
        """Close the file and let go of the lock."""
        try:
            self._file.close()
        finally:
            _unlock(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _locked_name(folder: Path) -> tuple[str, FileLock]:
    """A new name and its lock, taken; another name where a sweep of orphan locks took the file away in between."""
    while True:
        name = f"{uuid.uuid4().hex}.npy"
        lock = FileLock(folder / f"{name}.lock")
        lock.acquire()
        if Path(lock.lock_file).exists() or os.name == "nt":
            return name, lock
        lock.release()


def _unlock(lock: FileLock) -> None:
    """Remove a lock's file and let go of it. Windows may refuse to remove it while it is open: it is tried again, or a later sweep does it."""
    with contextlib.suppress(OSError):
        Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()
    if os.name == "nt":
        with contextlib.suppress(OSError):
            Path(lock.lock_file).unlink(missing_ok=True)


def open_segment(path: Path, dtype: str, *, rows: int, dim: int) -> np.ndarray | None:
    """The first `rows` rows of a segment, mapped read-only; None where the file is missing or shorter than that."""
    kind = np.dtype(dtype)
    offset = len(_header(kind, rows, dim))
    try:
        size = path.stat().st_size
    except OSError:
        return None
    if size < offset + rows * dim * kind.itemsize:
        return None
    return np.memmap(path, dtype=kind, mode="r", offset=offset, shape=(rows, dim))


def reclaim(folder: Path, known: Callable[[str], bool]) -> int:
    """Delete the segments that no index transaction ever named and whose writer is gone; returns how many.

    `known` is asked while the segment's lock is held here: a writer that is still at work holds the lock, and one that has just let go
    of it has committed what it wrote. Locks whose writer is gone are swept, too.
    """
    orphans = {path.name for path in folder.glob("*.npy") if not known(path.name)}
    left = {path.name.removesuffix(".lock") for path in folder.glob("*.npy.lock")}
    return sum(_reclaim(folder, name, known) for name in sorted(orphans | left))


def _reclaim(folder: Path, name: str, known: Callable[[str], bool]) -> bool:
    """Delete one segment that nobody knows, and its lock, where the lock is free."""
    lock, path = FileLock(folder / f"{name}.lock", timeout=0), folder / name
    try:
        lock.acquire()
    except Timeout:
        return False
    try:
        if known(name) or not path.exists():
            return False
        with contextlib.suppress(OSError):  # Windows refuses while the file is mapped
            path.unlink()
            return True
        return False
    finally:
        _unlock(lock)
