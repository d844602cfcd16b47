"""How well labels are found again in real collections: whitened rows beside plain cosine, and how long an exact search takes.

Each item of the training part asks for the others. `DATA/recall_at_1` and `DATA/map` are those of whitened rows; their peer is plain
cosine on the same rows. `made/search_seconds` is one search in a million made rows, mapped from disk.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import headstart as hs
from figures import DATA, Figure, arguments, present, show
from headstart.retrieval.index import build
from headstart.verbs.search import SearchOptions, search

SETS = ("cifar10", "trec", "spoken_digits", "thucnews", "blood_cells", "ants_bees")
QUICK = ("trec", "spoken_digits")
# How far whitened rows may fall behind plain cosine in recall at 1, in points.
BEHIND = 3.0


def measure(name: str) -> Iterator[Figure]:
    """The figures of one data set."""
    found = search(hs.read(str(DATA / name)).part("train"), options=SearchOptions(evaluate=True))
    ours, peer = found.figures["whitened"], found.figures["cosine"]
    for figure in ("recall_at_1", "recall_at_10", "map"):
        bound = peer[figure].value - BEHIND / 100 if figure == "recall_at_1" else None
        yield Figure(
            f"{name}/{figure}",
            ours[figure].value,
            f"share, {found.asked} queries",
            at_least=bound,
            peer=peer[figure].value,
        )


def million(rows: int) -> Iterator[Figure]:
    """The time of whitening and of one search in many rows that are mapped from disk."""
    with tempfile.TemporaryDirectory() as folder:
        path, width = Path(folder) / "rows.npy", 384
        mapped = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(rows, width))
        rng = np.random.default_rng(0)
        for start in range(0, rows, 50_000):
            mapped[start : start + 50_000] = rng.standard_normal((min(50_000, rows - start), width), dtype=np.float32)
        mapped.flush()
        began = time.perf_counter()
        index = build(np.load(path, mmap_mode="r"))
        built = time.perf_counter()
        index.nearest(np.asarray(mapped[:10], dtype=np.float32), k=10)
        yield Figure("made/build_seconds", built - began, f"s, {rows:,} x {width}", at_most=120.0)
        yield Figure("made/search_seconds", time.perf_counter() - built, "s, 10 queries", at_most=10.0)


def main() -> int:
    """Measure and print."""
    called = arguments(__doc__ or "")
    names = present(QUICK if called.quick else SETS)
    figures = (figure for name in names for figure in measure(name))
    made = million(100_000 if called.quick else 1_000_000)
    return show("search", (figure for each in (figures, made) for figure in each), keep=called.keep)


if __name__ == "__main__":
    sys.exit(main())
