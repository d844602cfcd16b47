"""Items that lie inside a larger file: where one is, written as one string, and its content, read by offset when it is asked for.

A place is `FILE#at=OFFSET+LENGTH`, with `;gzip` where the offset is one in the unpacked file, `;zip=MEMBER` where it is one in a member, and with `;rows=HxWxC` (pixel by pixel) or
`;planes=HxWxC` (colour by colour) where the bytes are bare pixels: these become an uncompressed BMP image, equal for equal pixels.
Every other input is the path of a file.
"""

import contextlib
import gzip
import mmap
import os
import re
import shutil
import struct
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Iterator
from functools import lru_cache
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headstart.core.errors import DataError

_PLACE = re.compile(r"(?s)(.+)#at=(\d+)\+(\d+)(;gzip|;zip=[^;]+)?(?:;(rows|planes)=(\d+)x(\d+)x([13]))?")
_UNPACKING = threading.Lock()


def places(
    file: str,
    offsets: np.ndarray,
    *,
    length: int | np.ndarray,
    gzipped: bool = False,
    member: str = "",
    pixels: str = "",
) -> pa.Array:
    """The places of n items in a file, as strings of Arrow: no Python object an item.

    Args:
        file: the absolute path of the file.
        offsets: (n,) where each begins, in bytes of the unpacked file.
        length: of all, or (n,) of each, in bytes.
        gzipped: whether the file is packed.
        member: the compressed member of a ZIP archive that the items lie in.
        pixels: `rows=HxWxC` or `planes=HxWxC` for bare pixels.
    """
    tail = f"{';gzip' if gzipped else ''}{f';zip={member}' if member else ''}{f';{pixels}' if pixels else ''}"
    begins = pa.array(np.asarray(offsets, dtype=np.int64)).cast(pa.string())
    lengths = pa.array(np.broadcast_to(np.asarray(length, dtype=np.int64), len(begins))).cast(pa.string())
    return pc.binary_join_element_wise(pa.scalar(f"{file}#at="), begins, pa.scalar("+"), lengths, pa.scalar(tail), "")


def _parsed(written: str) -> re.Match[str] | None:
    """The parts of a place; None for a path, of which there may be a million."""
    return _PLACE.fullmatch(written) if "#at=" in written else None


def file_of(written: str) -> str:
    """The file that an input lies in: itself, where it is a path."""
    found = _parsed(written)
    return found[1] if found else written


def size_of(written: str) -> int | None:
    """How many bytes a place names, None for the path of a file."""
    found = _parsed(written)
    return int(found[3]) if found else None


def read_place(written: str, *, most: int | None = None) -> bytes:
    """The content of an input: of the part of a file that a place names, or of the whole file.

    Args:
        written: a place or a path.
        most: bytes that are enough of a place, but for bare pixels.

    Raises:
        OSError: the file cannot be read, or ends before the place does.
    """
    found = _parsed(written)
    if found is None:
        with open(written, "rb") as file:  # noqa: PTH123  (a Path per item is what `Samples` avoids)
            return file.read()
    path, offset, length = found[1], int(found[2]), int(found[3])
    if most is not None and not found[5]:
        length = min(length, most)
    if found[5] and length != int(found[6]) * int(found[7]) * int(found[8]):
        raise OSError(f"{written} names {length} bytes, and its pixels are another number")
    if found[4]:
        content = unpacked(path, member=found[4].partition("=")[2])[offset : offset + length]
    else:
        with open(path, "rb") as file:  # noqa: PTH123
            file.seek(offset)
            content = file.read(length)
    if len(content) != length:
        raise OSError(f"{path} ends {length - len(content)} bytes before the item does")
    return _encoded(content, found[5], (int(found[6]), int(found[7]), int(found[8]))) if found[5] else content


def unpacked(path: str, *, member: str = "") -> mmap.mmap | bytes:
    """What a gzip file, or a member of a ZIP archive, holds, mapped from a temporary file of this process; unpacked once as long as the file stays as it is.

    Raises:
        OSError: the file cannot be read, or is damaged; the sentence names it.
    """
    status = os.stat(path)  # noqa: PTH116
    with _UNPACKING:
        return _unpacked(path, member, status.st_size, status.st_mtime_ns)


def _encoded(content: bytes, order: str, shape: tuple[int, int, int]) -> bytes:
    height, width, channels = shape
    values = np.frombuffer(content, np.uint8)
    if order == "planes":
        pixels = values.reshape(channels, height, width).transpose(1, 2, 0)
    else:
        pixels = values.reshape(height, width, channels)
    stride = (3 * width + 3) // 4 * 4
    rows = np.zeros((height, stride), np.uint8)
    rows[:, : 3 * width] = np.broadcast_to(pixels[::-1, :, ::-1], (height, width, 3)).reshape(height, 3 * width)
    head = struct.pack(
        "<2sIIIIiiHHIIiiII", b"BM", 54 + rows.size, 0, 54, 40, width, height, 1, 24, 0, rows.size, 0, 0, 0, 0
    )
    return head + rows.tobytes()


@lru_cache(maxsize=512)
def _unpacked(path: str, member: str, size: int, modified: int) -> mmap.mmap | bytes:  # noqa: ARG001  (the size and the time are the key)
    with tempfile.TemporaryFile() as target:
        try:
            with _packed(path, member) as packed:
                shutil.copyfileobj(packed, target, 1 << 20)
        except (EOFError, KeyError, gzip.BadGzipFile, zipfile.BadZipFile, zlib.error) as error:
            raise OSError(
                f"{path} is a damaged {f'archive, in {member},' if member else 'gzip file'} after {target.tell()} unpacked bytes ({error}): download it again"
            ) from error
        target.flush()
        return mmap.mmap(target.fileno(), 0, access=mmap.ACCESS_READ) if target.tell() else b""


@contextlib.contextmanager
def _packed(path: str, member: str) -> Iterator[IO[bytes] | gzip.GzipFile]:
    if not member:
        with gzip.open(path, "rb") as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive, archive.open(member) as inside:
        yield inside


def open_or_unpack(path: str, *, gzipped: bool) -> mmap.mmap | bytes:
    """The bytes of a container, mapped; unpacked first where it is packed.

    Raises:
        DataError: it cannot be read, or is damaged.
    """
    try:
        if gzipped:
            return unpacked(path)
        with open(path, "rb") as file:  # noqa: PTH123
            size = os.fstat(file.fileno()).st_size
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
    except OSError as error:
        text = str(error)
        raise DataError(text if path in text else f"{path} cannot be read ({text})") from error
