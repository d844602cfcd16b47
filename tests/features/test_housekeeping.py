"""The store is kept in order: what is there is told, what is harmed is found, and what goes is what was asked for."""

import os
import sqlite3
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headstart.core.digests import of_text
from headstart.core.errors import UsageError
from headstart.core.spec import BackboneSpec
from headstart.features.checking import check
from headstart.features.housekeeping import artefacts, remove, stored, sweep
from headstart.features.store import Shelf
from headstart.verbs.cache import PruneOptions, list_cache, prune_cache, verify_cache

DIM = 24
SPEC = BackboneSpec("toy", "rows", "", "0" * 32, "", "mean", "text()", "text", DIM, "float32")
OTHER = replace(SPEC, name="others", layer="-2")
DAY = 86_400


def digests_of(names: list[str]) -> np.ndarray:
    return np.frombuffer(b"".join(map(of_text, names)), np.uint8).reshape(-1, 16)


def rows_of(n: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, DIM)).astype(np.float32)


def put(spec: BackboneSpec = SPEC, *, blocks: int = 3, days: float = 0.0) -> Path:
    """Three blocks of ten rows, last used so many days ago."""
    with Shelf(spec) as shelf:
        for block in range(blocks):
            names = [f"{block} {i}" for i in range(10)]
            shelf.append(list(map(of_text, names)), rows_of(10), facts=[{"tokens": 1}] * 10)
        folder = shelf.folder
    then = time.time() - days * DAY
    for path in folder.iterdir():
        os.utime(path, (then, then))
    return folder


def missing(spec: BackboneSpec = SPEC, *, blocks: int = 3) -> int:
    with Shelf(spec) as shelf:
        return int(shelf.find(digests_of([f"{block} {i}" for block in range(blocks) for i in range(10)])).missing.sum())


def segment_of(folder: Path) -> Path:
    [segment] = folder.glob("*.npy")
    return segment


def flip(path: Path, *, from_end: int) -> None:
    content = bytearray(path.read_bytes())
    content[-from_end] ^= 0x01
    path.write_bytes(content)


def test_what_is_stored_is_told(own_cache: Path) -> None:
    folder = put()
    put(OTHER, blocks=1, days=3)
    first, second = stored()
    assert (first.title, first.rows, first.segments, first.damaged, first.orphans) == ("toy:rows", 30, 1, "", 0)
    assert (second.title, second.rows) == ("toy:others at -2", 10)
    assert first.bytes == sum(path.stat().st_size for path in folder.iterdir())
    assert time.time() - first.used < 60
    assert time.time() - second.used == pytest.approx(3 * DAY, abs=60)
    assert first.readable


def test_an_empty_cache_is_no_error(own_cache: Path) -> None:
    assert list_cache().stored == ()
    assert verify_cache().whole
    assert prune_cache(PruneOptions(to=0)).removed == ()


def test_what_is_whole_is_told_as_whole(own_cache: Path) -> None:
    put()
    found = verify_cache()
    assert (found.whole, found.rows, found.damaged) == (True, 30, 0)
    assert found.checked[0].rows == 30


def test_a_flipped_bit_is_found_and_only_its_block_is_extracted_again(own_cache: Path) -> None:
    folder = put()
    flip(segment_of(folder), from_end=DIM * 2 * 15)  # in the second block of ten
    found = verify_cache()
    assert not found.whole
    [harm] = found.checked[0].harms
    assert (harm.first, harm.rows, harm.reason) == (10, 10, "the bytes are not those that were written")
    assert missing() == 0, "checking alone changes nothing"
    mended = verify_cache(mend=True)
    assert mended.whole
    assert mended.checked[0].dropped == missing() == 10
    again = verify_cache()
    assert (again.whole, again.rows, again.damaged) == (True, 20, 0)
    put()
    assert verify_cache().rows == 30


def test_a_shortened_file_and_a_missing_one_are_found(own_cache: Path) -> None:
    segment = segment_of(put())
    segment.write_bytes(segment.read_bytes()[:-1])
    assert "1 of 1 files" in stored()[0].damaged
    assert [harm.reason for harm in verify_cache().checked[0].harms] == ["the file is missing or too short"]
    segment.unlink()
    assert verify_cache(mend=True).checked[0].dropped == 30
    assert stored()[0].damaged == ""
    assert missing() == 30


def test_digests_that_lead_to_a_wrong_place_are_found(own_cache: Path) -> None:
    folder = put()
    db = sqlite3.connect(folder / "index.sqlite")
    db.execute("UPDATE rows SET row = 0 WHERE row = 1")
    db.execute("UPDATE rows SET row = 99 WHERE row = 2")
    db.commit()
    db.close()
    harms = verify_cache().checked[0].harms
    assert {(harm.rows, harm.reason) for harm in harms} == {
        (1, "digests lead to rows that no segment has"),
        (1, "two digests lead to one row"),
    }
    assert verify_cache(mend=True).checked[0].dropped == 3
    assert verify_cache().whole
    assert missing() == 3


def test_an_index_that_is_none_is_told_and_mended(own_cache: Path) -> None:
    folder = put()
    for path in folder.glob("index.sqlite*"):
        path.write_bytes(b"this is no database " * 500)
    assert "index cannot be read" in stored()[0].damaged
    assert not verify_cache().whole
    assert verify_cache(mend=True).whole
    assert missing() == 30


def test_rows_of_an_older_index_have_no_checksum_and_are_looked_at_all_the_same(own_cache: Path) -> None:
    folder = put()
    db = sqlite3.connect(folder / "index.sqlite")
    db.execute("DROP TABLE blocks")
    db.commit()
    db.close()
    [found] = verify_cache().checked
    assert (found.rows, found.unknown, found.harms) == (0, 30, ())
    content = bytearray(segment_of(folder).read_bytes())
    content[-2 * DIM : -2 * DIM + 2] = b"\xff\x7f"  # a NaN
    segment_of(folder).write_bytes(content)
    [found] = verify_cache(mend=True).checked
    assert [(harm.first, harm.rows, harm.reason) for harm in found.harms] == [(29, 1, "the row is not finite")]
    assert missing() == 1
    assert verify_cache().whole


def test_prune_by_age_by_size_and_by_name(own_cache: Path) -> None:
    old, young = put(OTHER, days=40), put(days=2)
    told = prune_cache(PruneOptions(older_than=30 * DAY, dry_run=True))
    assert [(each.what, each.rows) for each in told.removed] == [("toy:others at -2", 30)]
    assert old.exists()
    assert told.left == list_cache().bytes - told.bytes
    pruned = prune_cache(PruneOptions(older_than=30 * DAY))
    assert (pruned.removed, pruned.left) == (told.removed, told.left)
    assert (old.exists(), young.exists()) == (False, True)
    old = put(OTHER, days=40)
    assert [each.what for each in prune_cache(PruneOptions(to=list_cache().bytes - 1)).removed] == ["toy:others at -2"]
    put(OTHER)
    assert [each.what for each in prune_cache(PruneOptions(backbone="toy:rows")).removed] == ["toy:rows"]
    assert [each.title for each in stored()] == ["toy:others at -2"]
    assert prune_cache(PruneOptions(to=0)).left == 0


def test_what_was_pruned_is_extracted_again(own_cache: Path) -> None:
    assert remove(put())
    assert missing() == 30
    put()
    assert missing() == 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (PruneOptions(), "--older-than 30d"),
        (PruneOptions(dry_run=True), "--older-than 30d"),
        (PruneOptions(backbone="toy:row"), "Did you mean 'toy:rows'"),
    ],
)
def test_prune_says_what_it_needs_to_know(own_cache: Path, options: PruneOptions, sentence: str) -> None:
    put()
    with pytest.raises(UsageError, match=sentence):
        prune_cache(options)
    assert missing() == 0


WRITER = """
    import sys
    import numpy as np
    from headstart.core.spec import BackboneSpec
    from headstart.features.store import Shelf
    with Shelf(BackboneSpec(**{spec!r})) as shelf:
        print("open", flush=True)
        sys.stdin.readline()
        shelf.append([bytes(16)], np.ones((1, {dim}), np.float32), facts=[{{}}])
        print("written", flush=True)
        sys.stdin.readline()
"""


def test_what_another_process_has_open_is_never_removed(own_cache: Path) -> None:
    folder = put(days=40)
    program = textwrap.dedent(WRITER.format(spec=SPEC.to_json(), dim=DIM))
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        try:
            for said in ("open", "written"):
                assert process.stdout.readline().strip() == said
                pruned = prune_cache(PruneOptions(to=0))
                assert ([each.what for each in pruned.kept], pruned.removed) == (["toy:rows"], ())
                assert (sweep(stored()[0]), missing()) == ((0, 0), 0)
                process.stdin.write("go\n")
                process.stdin.flush()
            assert process.wait(timeout=20) == 0
        finally:
            process.kill()
            process.wait(timeout=20)
    with Shelf(SPEC) as shelf:
        assert not shelf.find(np.zeros((1, 16), np.uint8)).missing.any()
    assert [each.rows for each in prune_cache(PruneOptions(to=0)).removed] == [31]
    assert not folder.exists()


def _open_and_write(number: int) -> int:
    """Rows that are found again right after they were written, however often the shelf is removed in between."""
    found = 0
    for i in range(60):
        name = f"{number} {i}"
        with Shelf(SPEC) as shelf:
            shelf.append([of_text(name)], rows_of(1), facts=[{}])
            places = shelf.find(digests_of([name]))
            found += int(np.array_equal(shelf.read(places).shape, (1, DIM)) and not places.missing.any())
    return found


def test_pruning_again_and_again_never_takes_a_row_from_under_a_writer(own_cache: Path) -> None:
    """Writers in processes of their own open and close the shelf while it is pruned as fast as it can be."""
    source = Path(__file__).read_text(encoding="utf-8")
    program = f"{source}\nprint(_open_and_write(int(sys.argv[1])))\n"
    command = [sys.executable, "-c", program]
    writers = [subprocess.Popen([*command, str(i)], stdout=subprocess.PIPE, text=True) for i in range(2)]
    removed = 0
    while any(writer.poll() is None for writer in writers):
        for each in stored():
            removed += remove(each.folder)
    told = [writer.communicate()[0].strip() for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]
    assert told == ["60", "60"]
    assert removed > 0
    for each in stored():
        assert check(each).harms == ()


def test_orphans_go_and_rows_stay(own_cache: Path) -> None:
    folder = put()
    (folder / "0123.npy").write_bytes(b"half a segment")
    (folder / ".spec.json.x.part").write_bytes(b"half")
    os.utime(folder / ".spec.json.x.part", (1, 1))
    foreign = own_cache / "features" / ("a" * 32)
    foreign.mkdir()
    (foreign / "spec.json").write_text('{"from": "another version"}', encoding="utf-8")
    assert [each.orphans for each in stored() if each.readable] == [2]
    told = prune_cache(PruneOptions(orphans=True, dry_run=True))
    assert foreign.exists()
    pruned = prune_cache(PruneOptions(orphans=True))
    assert pruned.removed == told.removed
    assert {each.path for each in pruned.removed} == {folder, foreign}
    assert not foreign.exists()
    assert missing() == 0
    assert sorted(path.suffix for path in folder.iterdir() if path.suffix in {".npy", ".part"}) == [".npy"]


def test_what_engines_compiled_is_listed_and_pruned_by_the_same_rules(own_cache: Path) -> None:
    for name, days in (("old", 50), ("young", 1)):
        folder = own_cache / "engines" / "openvino" / name
        folder.mkdir(parents=True)
        (folder / "model.bin").write_bytes(bytes(1000))
        os.utime(folder / "model.bin", (time.time() - days * DAY,) * 2)
    put(days=3)
    assert [each.path.name for each in artefacts()] == ["young", "old"]
    listing = list_cache()
    assert listing.to_json()["engines"] == {"entries": 2, "bytes": 2000}
    pruned = prune_cache(PruneOptions(older_than=30 * DAY))
    assert [(each.what, each.path.name, each.bytes) for each in pruned.removed] == [("engines", "old", 1000)]
    assert [path.name for path in (own_cache / "engines" / "openvino").iterdir()] == ["young"]
    assert prune_cache(PruneOptions(backbone="toy:rows")).removed[0].what == "toy:rows"
    assert len(artefacts()) == 1, "a backbone's name names rows alone"
