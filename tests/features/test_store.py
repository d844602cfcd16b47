"""The feature store: rows come back as they were rounded, whatever happens to the process that wrote them."""

import errno
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from headstart.core.digests import of_text
from headstart.core.errors import CacheError
from headstart.core.spec import BackboneSpec
from headstart.data.samples import make_samples
from headstart.features.hashing import digest_samples
from headstart.features.rounding import as_stored
from headstart.features.store import Shelf

DIM = 24
SPEC = BackboneSpec("toy", "rows", "", "0" * 32, "", "mean", "text()", "text", DIM, "float32")


def rows_of(names: list[str]) -> np.ndarray:
    """A row that depends on the name alone, so that a wrong one is seen."""
    return np.stack([np.random.default_rng(list(of_text(name))).standard_normal(DIM) for name in names]).astype(
        np.float32
    )


def digests_of(names: list[str]) -> np.ndarray:
    return np.frombuffer(b"".join(of_text(name) for name in names), np.uint8).reshape(-1, 16)


def put(root: Path, names: list[str], rows: np.ndarray | None = None) -> None:
    with Shelf(SPEC, root) as shelf:
        shelf.append(
            [of_text(name) for name in names],
            rows_of(names) if rows is None else rows,
            facts=[{"tokens": 3}] * len(names),
        )


def test_rows_come_back_rounded_and_in_the_order_asked_for(tmp_path: Path) -> None:
    names = [f"sample {i}" for i in range(50)]
    put(tmp_path, names)
    asked = [names[i] for i in (7, 3, 3, 49)]
    with Shelf(SPEC, tmp_path) as shelf:
        places = shelf.find(digests_of(asked))
        np.testing.assert_array_equal(shelf.read(places), as_stored(rows_of(asked)))
        assert [facts for _, facts in shelf.facts(digests_of(names[:2]))] == [{"tokens": 3}] * 2
        assert shelf.find(digests_of(["never seen"])).missing.all()


def test_rows_that_float16_would_spoil_stay_float32(tmp_path: Path) -> None:
    names = ["large", "tiny", "ordinary"]
    rows = rows_of(names)
    rows[0] *= 1e6
    rows[1] *= 1e-7
    put(tmp_path, names, rows)
    with Shelf(SPEC, tmp_path) as shelf:
        read = shelf.read(shelf.find(digests_of(names)))
    np.testing.assert_array_equal(read[:2], rows[:2])
    assert not np.array_equal(read[2], rows[2])
    assert np.abs(read[2] - rows[2]).max() < 5e-4 * np.linalg.norm(rows[2])


def test_the_first_row_of_a_digest_stays(tmp_path: Path) -> None:
    put(tmp_path, ["a"])
    put(tmp_path, ["a"], rows_of(["b"]))
    with Shelf(SPEC, tmp_path) as shelf:
        np.testing.assert_array_equal(shelf.read(shelf.find(digests_of(["a"]))), as_stored(rows_of(["a"])))


def test_segments_are_plain_npy_files(tmp_path: Path) -> None:
    put(tmp_path, ["a", "b", "c"])
    (segment,) = (tmp_path / "features" / SPEC.fingerprint).glob("*.npy")
    loaded = np.load(segment, mmap_mode="r", allow_pickle=False)
    np.testing.assert_array_equal(loaded.astype(np.float32), as_stored(rows_of(["a", "b", "c"])))


def test_a_shortened_segment_is_forgotten_and_never_read(tmp_path: Path) -> None:
    put(tmp_path, ["a", "b"])
    put(tmp_path, ["c"])
    folder = tmp_path / "features" / SPEC.fingerprint
    with Shelf(SPEC, tmp_path) as shelf:
        place = shelf.find(digests_of(["a"]))
        name = shelf._db.execute("SELECT name FROM segments WHERE id = ?", (int(place.segment[0]),)).fetchone()[0]
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-5])
    with Shelf(SPEC, tmp_path) as shelf:
        assert shelf.drop_damaged() == 2
        assert shelf.find(digests_of(["a", "b", "c"])).missing.tolist() == [True, True, False]


def test_what_a_killed_writer_left_is_ignored_and_reclaimed(tmp_path: Path) -> None:
    program = textwrap.dedent(f"""
        import os, signal, sys
        sys.path[:0] = {sys.path!r}
        from pathlib import Path
        import numpy as np
        from headstart.features.segments import SegmentWriter
        from headstart.features.store import Shelf
        from headstart.core.spec import BackboneSpec
        spec = BackboneSpec(**{SPEC.to_json()!r})
        with Shelf(spec, Path({str(tmp_path)!r})) as shelf:
            writer = SegmentWriter(shelf.folder, np.dtype("<f2"), dim={DIM})
            writer.append(np.ones((3, {DIM})))
            print("written", flush=True)
            sys.stdin.read()
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        folder = tmp_path / "features" / SPEC.fingerprint
        with Shelf(SPEC, tmp_path) as shelf:
            assert shelf.reclaim() == 0, "the writer is alive and holds its lock"
        assert len(list(folder.glob("*.npy"))) == 1
        process.kill()
        process.wait(timeout=20)
        with Shelf(SPEC, tmp_path) as shelf:
            assert shelf.reclaim() == 1
        assert not list(folder.glob("*.npy"))
        assert not list(folder.glob("*.lock"))
    finally:
        process.kill()
        process.wait(timeout=20)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def _write_many(root: Path, worker: int) -> None:
    for block in range(10):
        put(root, [f"shared {block} {i}" for i in range(20)])
        put(root, [f"own {worker} {block} {i}" for i in range(20)])


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_write_many, args=(tmp_path, worker)) for worker in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
        assert worker.exitcode == 0
    names = [f"shared {block} {i}" for block in range(10) for i in range(20)]
    names += [f"own {worker} {block} {i}" for worker in range(3) for block in range(10) for i in range(20)]
    with Shelf(SPEC, tmp_path) as shelf:
        np.testing.assert_array_equal(shelf.read(shelf.find(digests_of(names))), as_stored(rows_of(names)))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
@pytest.mark.parametrize("delay", [0.02, 0.05, 0.11, 0.23])
def test_killed_at_any_moment_it_never_returns_a_wrong_row(tmp_path: Path, delay: float) -> None:
    context = multiprocessing.get_context("spawn")
    worker = context.Process(target=_write_many, args=(tmp_path, 0))
    worker.start()
    index = tmp_path / "features" / SPEC.fingerprint / "index.sqlite"
    deadline = time.monotonic() + 60
    while not index.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(delay)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join(timeout=20)
    names = [f"{kind} {block} {i}" for kind in ("shared", "own 0") for block in range(10) for i in range(20)]
    with Shelf(SPEC, tmp_path) as shelf:
        shelf.reclaim()
        assert shelf.drop_damaged() == 0
        places = shelf.find(digests_of(names))
        here = [name for name, missing in zip(names, places.missing, strict=True) if not missing]
        np.testing.assert_array_equal(
            shelf.read(shelf.find(digests_of(here))), as_stored(rows_of(here)) if here else np.empty((0, DIM))
        )
    put(tmp_path, names)
    with Shelf(SPEC, tmp_path) as shelf:
        np.testing.assert_array_equal(shelf.read(shelf.find(digests_of(names))), as_stored(rows_of(names)))


def test_a_wrong_row_would_be_seen(tmp_path: Path) -> None:
    """The checks above compare with rows that depend on the name alone: a swapped index entry makes them fail."""
    put(tmp_path, ["a", "b"])
    db = sqlite3.connect(tmp_path / "features" / SPEC.fingerprint / "index.sqlite")
    db.execute("UPDATE rows SET row = 1 - row")
    db.commit()
    db.close()
    with Shelf(SPEC, tmp_path) as shelf, pytest.raises(AssertionError):
        np.testing.assert_array_equal(shelf.read(shelf.find(digests_of(["a", "b"]))), as_stored(rows_of(["a", "b"])))


def test_orphan_locks_are_swept_and_held_ones_are_not(tmp_path: Path) -> None:
    put(tmp_path, ["a"])
    folder = tmp_path / "features" / SPEC.fingerprint
    (folder / "0123.npy.lock").touch()
    with FileLock(folder / "4567.npy.lock"), Shelf(SPEC, tmp_path) as shelf:
        assert shelf.reclaim() == 0
        assert [path.name for path in folder.glob("*.lock")] == ["4567.npy.lock"]
    with Shelf(SPEC, tmp_path) as shelf:
        assert not shelf.find(digests_of(["a"])).missing.any()


class _FullOnce:
    """A file on a disk that is full for one write: half of it goes through."""

    def __init__(self, file: Any) -> None:
        self._file, self._left = file, 1

    def write(self, content: bytes) -> int:
        if self._left:
            self._left = 0
            self._file.write(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return int(self._file.write(content))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def test_what_a_failed_append_left_behind_is_written_over(tmp_path: Path) -> None:
    with Shelf(SPEC, tmp_path) as shelf:
        shelf.append([of_text("first")], rows_of(["first"]), facts=[{}])
        writer = shelf._writers["<f2"]
        writer._file = _FullOnce(writer._file)
        with pytest.raises(CacheError, match=r"No space left.*HEADSTART_CACHE"):
            shelf.append([of_text("lost")], rows_of(["lost"]), facts=[{}])
        shelf.append([of_text("kept")], rows_of(["kept"]), facts=[{}])
    with Shelf(SPEC, tmp_path) as shelf:
        read = shelf.read(shelf.find(digests_of(["first", "kept"])))
    np.testing.assert_array_equal(read, as_stored(rows_of(["first", "kept"])))


def test_a_segment_that_was_dropped_after_it_was_found_is_never_read(tmp_path: Path) -> None:
    put(tmp_path, ["a"])
    with Shelf(SPEC, tmp_path) as shelf:
        places = shelf.find(digests_of(["a"]))
        for segment in shelf.folder.glob("*.npy"):
            segment.unlink()
        shelf.drop_damaged()
        with pytest.raises(KeyError, match="any more"):
            shelf.read(places)


def test_two_spellings_of_one_file_are_both_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a text", encoding="utf-8")
    os.utime(path, (1_600_000_000, 1_600_000_000))
    monkeypatch.chdir(tmp_path)
    samples = make_samples(["1", "2"], [str(path), "a.txt"], modality="text", inline=False, source="test")
    digest_samples(samples)
    read: list[str] = []
    monkeypatch.setattr("headstart.features.hashing._digest_file", lambda name: read.append(name) or of_text("a text"))
    digests = digest_samples(samples).digests
    assert read == []
    np.testing.assert_array_equal(digests, digests_of(["a text", "a text"]))
