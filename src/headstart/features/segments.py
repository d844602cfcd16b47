"""Segments: append-only `.npy` files of rows, each written by one process at a time."""

import io
import os
import uuid
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
        self.name = f"{uuid.uuid4().hex}.npy"
        self.rows = 0
        self._dtype, self._dim = dtype, dim
        self._lock = FileLock(folder / f"{self.name}.lock")
        self._lock.acquire()
        self._file = (folder / self.name).open("w+b")
        self._file.write(_header(dtype, 0, dim))

    @property
    def full(self) -> bool:
        """Whether the next rows belong into a new segment."""
        return self.rows >= _MOST_ROWS

    def append(self, rows: np.ndarray) -> int:
        """Append rows, put them on disk, and return the number of the first."""
        first = self.rows
        self._file.seek(0, os.SEEK_END)
        self._file.write(np.ascontiguousarray(rows, dtype=self._dtype).tobytes())
        self.rows += len(rows)
        self._file.seek(0)
        self._file.write(_header(self._dtype, self.rows, self._dim))
        self._file.flush()
        os.fsync(self._file.fileno())
        return first

    def close(self) -> None:
        """Close the file and let go of the lock."""
        self._file.close()
        self._lock.release()
        Path(self._lock.lock_file).unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


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
    of it has committed what it wrote.
    """
    reclaimed = 0
    for path in folder.glob("*.npy"):
        if known(path.name):
            continue
        lock = FileLock(folder / f"{path.name}.lock", timeout=0)
        try:
            with lock:
                if known(path.name):
                    continue
                path.unlink(missing_ok=True)
                reclaimed += 1
        except Timeout:
            continue
        Path(lock.lock_file).unlink(missing_ok=True)
    return reclaimed
