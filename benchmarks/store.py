"""The feature store at scale: 1,000,000 x 768 float16 rows (`--quick`: 100,000), beside a plain memory-mapped `.npy` of the same rows.

Opening is measured in fresh processes, from the store's files to the first lookup. Digests are looked up in random order on a fresh
connection. Reading is compared as a head fit does it: all rows, 4,096 at a time, each chunk widened to float32, once in the order in
which they were stored and once shuffled, ours and the plain file's interleaved; the places are looked up before. Both files are in the
system's file cache as far as they fit. Then four processes write at once, and every row is looked up and compared afterwards.
"""

import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from figures import Figure, arguments, show
from headstart.core.spec import BackboneSpec
from headstart.features.store import Places, Shelf

DIM, CHUNK, REPEATS, WRITERS = 768, 4096, 3, 4
SPEC = BackboneSpec("toy", "rows", "", "0" * 32, "", "mean", "text()", "text", DIM, "float32")
OPENING = """
import sys, time
from pathlib import Path
import numpy as np
from headstart.core.spec import BackboneSpec
from headstart.features.store import Shelf
spec, asked = BackboneSpec(**eval(sys.argv[2])), np.frombuffer(bytes.fromhex(sys.argv[3]), np.uint8).reshape(1, 16)
began = time.perf_counter()
with Shelf(spec, Path(sys.argv[1])) as shelf:
    opened = time.perf_counter() - began
    assert not shelf.find(asked).missing.any()
print(opened)
"""


def digests_of(numbers: np.ndarray) -> np.ndarray:
    """(n, 16) digests, in no order: the numbers, mixed by an odd factor, twice."""
    with np.errstate(over="ignore"):
        mixed = (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    return np.stack([mixed, numbers.astype(np.uint64)], axis=1).view(np.uint8).reshape(-1, 16)


def rows_of(numbers: np.ndarray) -> np.ndarray:
    """(n, d) rows that hang on the number alone, of values that float16 holds exactly."""
    return ((numbers[:, None] * 31 + np.arange(DIM) * 17) % 2039 - 1019).astype(np.float32)


def write(root: Path, begin: int, end: int) -> None:
    """Append the rows of these numbers."""
    with Shelf(SPEC, root) as shelf:
        for start in range(begin, end, CHUNK):
            numbers = np.arange(start, min(end, start + CHUNK))
            digests = [digest.tobytes() for digest in digests_of(numbers)]
            shelf.append(digests, rows_of(numbers), facts=[{}] * len(numbers))


def write_plain(path: Path, n: int) -> None:
    """The same rows as one `.npy`."""
    whole = np.lib.format.open_memmap(path, mode="w+", dtype="<f2", shape=(n, DIM))
    for start in range(0, n, CHUNK):
        whole[start : start + CHUNK] = rows_of(np.arange(start, min(n, start + CHUNK)))
    whole.flush()


def opening(root: Path) -> float:
    """Seconds that a fresh process takes to open the shelf."""
    command = [
        sys.executable,
        "-c",
        OPENING,
        str(root),
        repr(SPEC.to_json()),
        digests_of(np.array([7])).tobytes().hex(),
    ]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def looking_up(root: Path, order: np.ndarray) -> tuple[float, Places]:
    """Seconds for one lookup of all digests in this order on a fresh connection, and where the rows lie."""
    digests = digests_of(order)
    with Shelf(SPEC, root) as shelf:
        began = time.perf_counter()
        places = shelf.find(digests)
        seconds = time.perf_counter() - began
    assert not places.missing.any()
    return seconds, places


def reading(root: Path, places: Places) -> tuple[float, float]:
    """Seconds to read all rows in chunks of float32, and a sum over them that shows that they were."""
    total, began = 0.0, time.perf_counter()
    with Shelf(SPEC, root) as shelf:
        for chunk in shelf.chunks(places, rows=CHUNK):
            total += float(chunk[:, 5].sum(dtype=np.float64))
    return time.perf_counter() - began, total


def reading_plain(path: Path, order: np.ndarray | None) -> tuple[float, float]:
    """The same of the plain file, by slices, or by these numbers."""
    total, began = 0.0, time.perf_counter()
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    for start in range(0, len(mapped), CHUNK):
        part = mapped[start : start + CHUNK] if order is None else mapped[order[start : start + CHUNK]]
        total += float(part.astype(np.float32)[:, 5].sum(dtype=np.float64))
    return time.perf_counter() - began, total


def read_figures(root: Path, plain: Path, n: int) -> Iterator[Figure]:
    """Ours and the plain file's, interleaved."""
    for name, order in (("stored_order", None), ("shuffled", np.random.default_rng(0).permutation(n))):
        _, places = looking_up(root, np.arange(n) if order is None else order)
        ours, theirs = [], []
        for _ in range(REPEATS):
            seconds, total = reading(root, places)
            ours.append(seconds)
            seconds, expected = reading_plain(plain, order)
            theirs.append(seconds)
            assert abs(total - expected) <= 1e-6 * max(1.0, abs(expected))
        ratio = statistics.median(theirs) / statistics.median(ours)
        yield Figure(f"{name}/times_plain_npy", ratio, "times the speed", at_least=0.5)
        yield Figure(f"{name}/read", n / statistics.median(ours), "rows/s", peer=n / statistics.median(theirs))


def writing(root: Path, n: int) -> Iterator[Figure]:
    """Several processes at once, each a share of the rows; then every row is read and compared."""
    context = multiprocessing.get_context("spawn")
    share = n // WRITERS
    workers = [context.Process(target=write, args=(root, i * share, (i + 1) * share)) for i in range(WRITERS)]
    began = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seconds = time.perf_counter() - began
    numbers = np.arange(WRITERS * share)
    with Shelf(SPEC, root) as shelf:
        places = shelf.find(digests_of(numbers))
        wrong = int(places.missing.sum())
        if not wrong:
            for i, chunk in enumerate(shelf.chunks(places, rows=CHUNK)):
                wrong += int((chunk != rows_of(numbers[i * CHUNK : (i + 1) * CHUNK])).any(axis=1).sum())
    yield Figure("several_writers/missing_or_wrong", wrong, "rows", at_most=0)
    yield Figure("several_writers/rate", len(numbers) / seconds, "rows/s")


def measure(n: int) -> Iterator[Figure]:
    """All figures for n rows; everything lies in a temporary folder, which is removed."""
    with tempfile.TemporaryDirectory() as folder:
        root, plain, several = Path(folder) / "cache", Path(folder) / "plain.npy", Path(folder) / "several"
        began = time.perf_counter()
        write(root, 0, n)
        yield Figure("one_writer/rate", n / (time.perf_counter() - began), "rows/s")
        write_plain(plain, n)
        yield Figure("open/seconds", statistics.median(opening(root) for _ in range(5)), "s", at_most=0.2)
        order = np.random.default_rng(1).permutation(n)
        seconds = statistics.median(looking_up(root, order)[0] for _ in range(REPEATS))
        yield Figure("lookup/rate", n / seconds, "digests/s", at_least=100_000)
        yield from read_figures(root, plain, n)
        yield from writing(several, n // 4)


def main() -> int:
    """Measure and print."""
    called = arguments(__doc__ or "")
    return show("store", measure(100_000 if called.quick else 1_000_000), keep=called.keep)


if __name__ == "__main__":
    sys.exit(main())
