"""Sketches come back as they were kept; damaged ones count as missing; they are listed, verified and pruned with the rest."""

import contextlib
import os
import sqlite3
import time
from pathlib import Path

import numpy as np

from headstart.core.digests import of_text
from headstart.features.sketches import keep, list_sketches, recall
from headstart.features.store import INDEX
from headstart.verbs.cache import PruneOptions, list_cache, prune_cache, verify_cache

MAKER = "letters-1"
NAMES = [f"{number} ü" for number in range(2000)]  # more than one query asks for
SKETCHES = {of_text(name): name.encode() for name in NAMES}


def digests(names: list[str]) -> np.ndarray:
    return np.frombuffer(b"".join(map(of_text, names)), np.uint8).reshape(-1, 16)


def harm(cache: Path, name: str) -> None:
    with contextlib.closing(sqlite3.connect(cache / "sketches" / MAKER / INDEX)) as db, db:
        db.execute("UPDATE sketches SET sketch = ? WHERE digest = ?", (b"other", of_text(name)))


def test_what_was_kept_comes_back(own_cache: Path) -> None:
    assert recall(MAKER, digests(NAMES)) == {}
    keep(MAKER, SKETCHES)
    assert recall(MAKER, digests(NAMES)) == SKETCHES
    assert recall(MAKER, digests(["another"])) == {}
    assert recall("letters-2", digests(NAMES)) == {}, "another maker makes other sketches"


def test_a_damaged_one_is_missing_and_may_be_kept_again(own_cache: Path) -> None:
    keep(MAKER, SKETCHES)
    harm(own_cache, "7 ü")
    assert SKETCHES.keys() - recall(MAKER, digests(NAMES)).keys() == {of_text("7 ü")}
    keep(MAKER, {of_text("7 ü"): SKETCHES[of_text("7 ü")]})
    assert recall(MAKER, digests(NAMES)) == SKETCHES


def test_damage_is_told_and_mended(own_cache: Path) -> None:
    keep(MAKER, SKETCHES)
    assert verify_cache().whole
    harm(own_cache, "7 ü")
    told = verify_cache()
    assert not told.whole
    assert told.harmed == "1 sketches"
    assert told.to_json()["sketches"] == [{"maker": MAKER, "sketches": 2000, "damaged": 1, "mended": False}]
    assert verify_cache(mend=True).whole
    assert verify_cache().whole
    assert len(recall(MAKER, digests(NAMES))) == 1999


def test_an_index_that_is_none_is_told_and_mended(own_cache: Path) -> None:
    keep(MAKER, SKETCHES)
    (own_cache / "sketches" / MAKER / INDEX).write_bytes(b"no index at all" * 100)
    assert not verify_cache().whole
    assert verify_cache(mend=True).whole
    assert recall(MAKER, digests(NAMES)) == {}


def test_they_are_listed_and_pruned(own_cache: Path) -> None:
    keep(MAKER, SKETCHES)
    keep("letters-0", SKETCHES)
    for path in (own_cache / "sketches" / "letters-0").iterdir():
        os.utime(path, (time.time() - 50 * 86_400,) * 2)
    assert [each.path.name for each in list_sketches()] == [MAKER, "letters-0"]
    listing = list_cache()
    assert listing.to_json()["sketches"] == {"entries": 2, "bytes": listing.bytes}
    assert listing.bytes > len(b"".join(SKETCHES.values()))
    pruned = prune_cache(PruneOptions(older_than=30 * 86_400))
    assert [(each.what, each.path.name) for each in pruned.removed] == [("sketches", "letters-0")]
    assert [each.path.name for each in list_sketches()] == [MAKER]
    assert prune_cache(PruneOptions(to=0)).left == 0
    assert recall(MAKER, digests(NAMES)) == {}
