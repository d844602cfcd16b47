"""Sketches: what is small to keep of a sample and costly to make again, such as the small image that the data gate compares.

`<cache>/sketches/<maker>/` holds one SQLite table from sample digest to the sketch, with its CRC-32. Whoever makes sketches names the
maker, with a number that goes up whenever the same content would give another sketch. What a killed process wrote is there or it is not;
a sketch whose bytes are no longer those that were written is handed out as missing, and made again.
"""

import contextlib
import sqlite3
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from headstart.core.files import cache_root
from headstart.features.housekeeping import Artefact, files_in, open_to_read, remove
from headstart.features.store import ASK, INDEX, USED, as_cache_error, keys_of, note_use, open_index, transaction

FOLDER = "sketches"
_SCHEMA = "CREATE TABLE IF NOT EXISTS sketches (digest BLOB PRIMARY KEY, sketch BLOB NOT NULL, crc INTEGER NOT NULL);"


def recall(maker: str, digests: UInt8[np.ndarray, "n 16"]) -> dict[bytes, bytes]:
    """The sketches that are there, by digest.

    Args:
        maker: what made them, such as `small-image-1`.
        digests: of the samples.

    Raises:
        CacheError: the folder fails.
    """
    folder = cache_root() / FOLDER / maker
    keys, found = keys_of(digests), {}
    with as_cache_error(folder), contextlib.closing(open_index(folder, _SCHEMA)) as db:
        note_use(folder / USED)
        for start in range(0, len(keys), ASK):
            block = keys[start : start + ASK]
            query = f"SELECT digest, sketch, crc FROM sketches WHERE digest IN ({','.join('?' * len(block))})"  # noqa: S608
            found.update({digest: sketch for digest, sketch, crc in db.execute(query, block) if _sum(sketch) == crc})
    return found


def keep(maker: str, sketches: Mapping[bytes, bytes]) -> None:
    """Keep sketches for every later run.

    Args:
        maker: what made them.
        sketches: by the digest of the content that they were made of.

    Raises:
        CacheError: the folder fails.
    """
    if not sketches:
        return
    folder = cache_root() / FOLDER / maker
    entries = [(digest, sketch, _sum(sketch)) for digest, sketch in sketches.items()]
    with as_cache_error(folder), contextlib.closing(open_index(folder, _SCHEMA)) as db, transaction(db):
        db.executemany("INSERT OR REPLACE INTO sketches VALUES (?, ?, ?)", entries)


def list_sketches(root: Path | None = None) -> list[Artefact]:
    """The sketches of each maker, most recently used first.

    Raises:
        CacheError: the folder cannot be read.
    """
    base, found = (root or cache_root()) / FOLDER, []
    with as_cache_error(base):
        for folder in sorted(path for path in base.glob("*") if path.is_dir()):
            files = list(files_in(folder))
            used = max((status.st_mtime for path, status in files if path.name in {USED, INDEX}), default=0.0)
            found.append(Artefact(folder, sum(status.st_size for _, status in files), used, kind=FOLDER))
    return sorted(found, key=lambda each: (-each.used, each.path.name))


@dataclass(frozen=True)
class CheckedSketches:
    """What checking the sketches of one maker came to.

    Attributes:
        maker: what made them.
        sketches: how many were compared with their checksum.
        damaged: how many are not what was written; 1 where the index itself cannot be read.
        mended: whether those were dropped.
    """

    maker: str
    sketches: int
    damaged: int
    mended: bool = False


def check_sketches(folder: Path, *, mend: bool = False) -> CheckedSketches:
    """Compare every sketch of one maker with its checksum.

    Args:
        folder: of the maker.
        mend: drop the damaged ones, so that they are made again; an index that cannot be read is removed whole.

    Raises:
        CacheError: the folder fails.
    """
    if not (folder / INDEX).exists():
        return CheckedSketches(folder.name, 0, 0)
    count, damaged = 0, []
    try:
        with open_to_read(folder) as db:
            for digest, sketch, crc in db.execute("SELECT digest, sketch, crc FROM sketches"):
                count += 1
                if _sum(sketch) != crc:
                    damaged.append((digest,))
            if mend and damaged:
                with transaction(db):
                    db.executemany("DELETE FROM sketches WHERE digest = ?", damaged)
    except sqlite3.DatabaseError:
        return CheckedSketches(folder.name, count, 1, mended=mend and remove(folder))
    return CheckedSketches(folder.name, count, len(damaged), mended=mend and bool(damaged))


def _sum(sketch: bytes) -> int:
    return zlib.crc32(sketch)
