"""Killed at fifty random points, the feature store never returns a wrong row and loses none that was committed."""

import random
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from headstart.core.spec import BackboneSpec
from headstart.features.checking import check
from headstart.features.housekeeping import stored
from headstart.features.store import Shelf

DIM = 40
SPEC = BackboneSpec("toy", "rows", "", "0" * 32, "", "mean", "text()", "text", DIM, "float32")
SEEDS = tuple(range(1000, 1025))  # of each, two writers at once are killed: 50 kills
LONGEST = 0.06  # seconds that a writer lives at most

# Both ends make rows and digests from this text, so that they cannot disagree.
MAKING = textwrap.dedent("""
    import hashlib
    import numpy as np

    def digests_of(writer, block):
        # Every second block is the same for both writers of a seed: the row that comes first stays.
        name = f"{writer if block % 2 else writer // 2} {block % 2} {block}"
        made = [hashlib.blake2b(f"{name} {i}".encode(), digest_size=16).digest() for i in range(1 + block * 7 % 60)]
        return np.frombuffer(b"".join(made), np.uint8).reshape(-1, 16)

    def rows_of(digests, dim):
        # Numbers that float16 holds exactly; every fourth row is so small that it is kept as float32.
        mixed = digests.astype(np.int64) @ (np.arange(16 * dim).reshape(16, dim) * 7919 % 1009)
        rows = (mixed % 1999 + 1).astype(np.float32)
        rows[digests[:, 0] % 4 == 0] *= np.float32(2.0**-40)
        return rows
""")
WRITER = MAKING + textwrap.dedent("""
    import sys
    from pathlib import Path
    from headstart.core.spec import BackboneSpec
    from headstart.features.store import Shelf

    root, dim, writer = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    spec = BackboneSpec("toy", "rows", "", "0" * 32, "", "mean", "text()", "text", dim, "float32")
    print("ready", flush=True)
    sys.stdin.readline()
    with Shelf(spec, root) as shelf:
        shelf.reclaim()
        for block in range(100_000):
            digests = digests_of(writer, block)
            shelf.append([each.tobytes() for each in digests], rows_of(digests, dim), facts=[{}] * len(digests))
            print(block, flush=True)
""")
_made: dict[str, object] = {}
exec(compile(MAKING, "making", "exec"), _made)
digests_of, rows_of = _made["digests_of"], _made["rows_of"]


def start(root: Path, writer: int) -> "subprocess.Popen[str]":
    """A writer that has imported everything and waits for a line."""
    command = [sys.executable, "-c", WRITER, str(root), str(DIM), str(writer)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def kill_after(process: "subprocess.Popen[str]", delay: float) -> list[int]:
    """Let a writer go, kill it, and return the blocks that it said were committed."""
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        process.stdin.write("go\n")
        process.stdin.flush()
        time.sleep(delay)
        process.kill()
        told = process.stdout.read()
    assert process.wait(timeout=20) != 0, "it was killed and did not end by itself"
    return [int(line) for line in told.split("\n")[:-1]]


def wrong_rows(root: Path) -> tuple[int, int]:
    """How many rows the store hands out, and how many of them are not what their digest makes them."""
    with Shelf(SPEC, root) as shelf:
        shelf.reclaim()
        assert shelf.drop_damaged() == 0, "a row counts only once its segment is on disk"
        listed = b"".join(digest for (digest,) in shelf._db.execute("SELECT digest FROM rows"))
        digests = np.frombuffer(listed, np.uint8).reshape(-1, 16)
        read = shelf.read(shelf.find(digests))
    return len(digests), int((read != rows_of(digests, DIM)).any(axis=1).sum())  # type: ignore[operator]


def test_killed_fifty_times_it_never_returns_a_wrong_row_and_loses_none(tmp_path: Path) -> None:
    kills = before = 0
    died_early = 0
    with ThreadPoolExecutor(4) as pool, ExitStack() as stack:
        ahead = [pool.submit(start, tmp_path, writer) for writer in range(2)]
        for number, seed in enumerate(SEEDS):
            writers = [each.result() for each in ahead]
            for process in writers:
                stack.callback(process.kill)
            if number + 1 < len(SEEDS):
                ahead = [pool.submit(start, tmp_path, 2 * (number + 1) + i) for i in range(2)]
            generator = random.Random(seed)
            delays = [generator.uniform(0.0, LONGEST) for _ in writers]
            told = list(pool.map(kill_after, writers, delays))
            kills += len(writers)
            died_early += sum(not blocks for blocks in told)
            found, wrong = wrong_rows(tmp_path)
            assert wrong == 0, f"seed {seed}"
            assert found >= before, f"seed {seed}: rows of earlier writers are gone"
            before = found
            with Shelf(SPEC, tmp_path) as shelf:
                for i, blocks in enumerate(told):
                    for block in blocks:
                        asked = digests_of(2 * number + i, block)  # type: ignore[operator]
                        assert not shelf.find(asked).missing.any(), f"seed {seed}: a committed block is gone"
    assert kills == 50
    assert died_early < 45, "nearly all writers died before their first commit: the delays are too short"
    [left] = stored(tmp_path)
    assert left.rows == before > 0
    assert check(left).harms == ()


@pytest.mark.parametrize("dtype", ["<f2", "<f4"])
def test_a_wrong_row_would_be_found(tmp_path: Path, dtype: str) -> None:
    with Shelf(SPEC, tmp_path) as shelf:
        for block in range(40):
            digests = digests_of(1, block)  # type: ignore[operator]
            rows = rows_of(digests, DIM)  # type: ignore[operator]
            shelf.append([each.tobytes() for each in digests], rows, facts=[{}] * len(digests))
        [(segment, name)] = shelf._db.execute("SELECT id, name FROM segments WHERE dtype = ?", (dtype,))
        [(row,)] = shelf._db.execute("SELECT max(row) FROM rows WHERE segment = ?", (segment,))
        [(first, count)] = shelf._db.execute(
            "SELECT first, rows FROM blocks WHERE segment = ? AND first <= ? AND first + rows > ?", (segment, row, row)
        )
    total, wrong = wrong_rows(tmp_path)
    assert wrong == 0
    path = tmp_path / "features" / SPEC.fingerprint / name
    content = bytearray(path.read_bytes())
    width = DIM * np.dtype(dtype).itemsize
    header = len(content) - (row + 1) * width
    content[header + row * width + 3] ^= 0x10
    path.write_bytes(content)
    assert wrong_rows(tmp_path) == (total, 1)
    [left] = stored(tmp_path)
    [harm] = check(left).harms
    assert (harm.file, harm.first, harm.rows) == (name, first, count)
    assert check(left, mend=True).dropped == count
    assert wrong_rows(tmp_path) == (total - count, 0)
