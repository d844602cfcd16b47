"""Content digests of samples, without reading a file twice: (path, size, modification time) is remembered."""

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from headstart.core.digests import SAMPLE_DIGEST_BYTES, of_bytes, of_text
from headstart.core.errors import Skipped
from headstart.core.files import cache_root
from headstart.core.progress import Progress, silent
from headstart.data.places import file_of, read_place
from headstart.data.samples import Samples
from headstart.features.store import as_cache_error, connect

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, size INTEGER NOT NULL, modified INTEGER NOT NULL, digest BLOB NOT NULL)"
    " WITHOUT ROWID"
)
# A file changed less than this long ago may change again within the same tick of a coarse clock: it is not remembered.
_RACY_NS = 2_000_000_000
_ASK = 900
_BLOCK = 64


Stat = tuple[int, int]


@dataclass(frozen=True)
class Digested:
    """What samples hold.

    Attributes:
        digests: (n, 16) content digests; all zeros where a file cannot be read.
        reasons: for each sample None, or why its file cannot be read.
        stats: for each file its size and modification time from before it was hashed, None where it changed too recently for these to
            tell whether it changes once more, or where they are not to be trusted; empty for texts.
    """

    digests: UInt8[np.ndarray, "n 16"]
    reasons: tuple[Skipped | None, ...]
    stats: tuple[Stat | None, ...] = ()


def digest_samples(samples: Samples, *, rehash: bool = False, progress: Progress = silent) -> Digested:
    """The content digest of every sample.

    Args:
        samples: n samples.
        rehash: read every file again instead of trusting its size and modification time.
        progress: stage `read`.

    Raises:
        CacheError: the folder of the cache cannot be used.
    """
    if samples.inline:
        content = b"".join(of_text(text) for text in samples.inputs)
        return Digested(_as_array(content, len(samples)), (None,) * len(samples))
    paths = samples.inputs
    settled_before = time.time_ns() - _RACY_NS
    stats = [stat_of(path) for path in paths]
    known = {} if rehash else _recall(paths)
    digests: list[bytes] = [b""] * len(paths)
    reasons: list[Skipped | None] = [None] * len(paths)
    unread = []
    for i, (path, stat) in enumerate(zip(paths, stats, strict=True)):
        entry = known.get(path)
        if stat is not None and entry is not None and entry[:2] == stat:
            digests[i] = entry[2]
        else:
            unread.append(i)
    _read(paths, unread, digests, reasons, samples.ids if unread else [], progress)
    fresh = [(path, *stat, digests[i]) for i, path, stat in _readable(unread, paths, stats) if reasons[i] is None]
    _remember([entry for entry in fresh if entry[2] < settled_before])
    blank = bytes(SAMPLE_DIGEST_BYTES)
    settled = (None if rehash or stat is None or stat[1] >= settled_before else stat for stat in stats)
    return Digested(
        _as_array(b"".join(digest or blank for digest in digests), len(paths)), tuple(reasons), tuple(settled)
    )


def _read(
    paths: Sequence[str],
    unread: list[int],
    digests: list[bytes],
    reasons: list[Skipped | None],
    ids: Sequence[str],
    progress: Progress,
) -> None:
    def block(rows: list[int]) -> list[tuple[int, bytes | str]]:
        return [(i, _digest_file(paths[i])) for i in rows]

    blocks = [unread[start : start + _BLOCK] for start in range(0, len(unread), _BLOCK)]
    done = 0
    with ThreadPoolExecutor(max_workers=min(8, 2 * (os.cpu_count() or 1))) as pool:
        for found in pool.map(block, blocks):
            for i, result in found:
                if isinstance(result, bytes):
                    digests[i] = result
                else:
                    reasons[i] = Skipped(ids[i], result)
            done += len(found)
            progress("read", done, len(unread))


def _digest_file(path: str) -> bytes | str:
    try:
        content = read_place(path)
    except OSError as error:
        return f"cannot be read ({error.strerror or error}): check that it exists and that you may read it"
    return of_bytes(content) if content else "is an empty file (0 bytes): replace it or take it out"


def stat_of(path: str) -> Stat | None:
    """Size in bytes and modification time in ns of the file that an input lies in; None where there is no such file."""
    try:
        found = os.stat(file_of(path))  # noqa: PTH116  (a Path per item is what `Samples` avoids)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _recall(paths: Sequence[str]) -> dict[str, tuple[int, int, bytes]]:
    table = cache_root() / "files.sqlite"
    with as_cache_error(cache_root()):
        if not table.exists():
            return {}
    found: dict[str, tuple[int, int, bytes]] = {}
    absolute = _absolute(paths)
    with as_cache_error(cache_root()), contextlib.closing(connect(table, _SCHEMA)) as db:
        for start in range(0, len(absolute), _ASK):
            block = absolute[start : start + _ASK]
            query = f"SELECT path, size, modified, digest FROM files WHERE path IN ({','.join('?' * len(block))})"  # noqa: S608
            found |= {path: (size, modified, digest) for path, size, modified, digest in db.execute(query, block)}
    return {path: found[name] for path, name in zip(paths, absolute, strict=True) if name in found}


def _absolute(paths: Sequence[str]) -> list[str]:
    """The names under which files are remembered. `..` stays: what it leads to hangs on links."""
    folder = Path.cwd()
    return [path if os.path.isabs(path) else str(folder / path) for path in paths]  # noqa: PTH117


def _readable(
    unread: Sequence[int], paths: Sequence[str], stats: Sequence[Stat | None]
) -> Iterator[tuple[int, str, tuple[int, int]]]:
    for i in unread:
        if (stat := stats[i]) is not None:
            yield i, paths[i], stat


def _remember(entries: Sequence[tuple[str, int, int, bytes]]) -> None:
    if not entries:
        return
    names = _absolute([path for path, *_ in entries])
    with as_cache_error(cache_root()):
        cache_root().mkdir(parents=True, exist_ok=True)
        with contextlib.closing(connect(cache_root() / "files.sqlite", _SCHEMA)) as db:
            db.execute("BEGIN IMMEDIATE")
            db.executemany(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)",
                [(name, *rest) for name, (_, *rest) in zip(names, entries, strict=True)],
            )
            db.execute("COMMIT")


def _as_array(content: bytes, n: int) -> UInt8[np.ndarray, "n 16"]:
    return np.frombuffer(bytearray(content), dtype=np.uint8).reshape(n, SAMPLE_DIGEST_BYTES)
