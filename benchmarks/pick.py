"""Whether picking what to label pays: a head fitted on the picked items beside heads fitted on as many random ones.

`DATA/picked_N`: test accuracy with N picked labels; its peer is the mean over random picks. The first N are picked without any label
(k-means); the next N by DropQuery from a head fitted on the first. Means of several seeds.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

import headstart as hs
from figures import DATA, Figure, arguments, present, show
from headstart.heads.selection import fit_alone, parse
from headstart.tasks import TASKS
from headstart.tasks.task import Targets
from headstart.verbs.pick import PickOptions, pick

SETS = ("cifar10", "trec", "spoken_digits")
QUICK = ("spoken_digits",)
N = 100


def accuracy(x: np.ndarray, y: Targets, rows: np.ndarray, test: tuple[np.ndarray, Targets]) -> float:
    """Of a cross-validated LDA on some rows; classes that none of them has are never chosen."""
    present_ones, index = np.unique(y.values[rows], return_inverse=True)
    own = Targets(index.reshape(-1).astype(np.int64), tuple(y.labels[i] for i in present_ones), y.task)
    head = fit_alone(x[rows], own, recipe=parse("lda"), groups=None, seed=0)
    return float((present_ones[head.scores(test[0]).argmax(axis=1)] == test[1].values).mean())


def measure(name: str, *, seeds: int) -> Iterator[Figure]:
    """The figures of one data set."""
    samples = hs.read(str(DATA / name))
    train, held = samples.part("train"), samples.part(samples.evaluated_part)
    task = TASKS.get("single_label")
    rows = hs.extract(train).features[0]
    y = task.encode(train.table.column("target"), None)
    test = (hs.extract(held).features[0].values, task.encode(held.table.column("target"), y.labels))
    place = {each: i for i, each in enumerate(rows.ids)}
    names = np.asarray(y.labels, dtype=object)[y.values]
    found: dict[str, list[float]] = {}
    for seed in range(seeds):
        bare = replace(train, table=train.table.drop_columns(["target"]))
        first = [place[each.id] for each in pick(bare, options=PickOptions(n=N, seed=seed)).picks]
        labels = np.full(len(names), None, dtype=object)
        labels[first] = names[first]
        partly = bare.with_column("target", pa.array(labels.tolist(), pa.string()))
        more = [place[each.id] for each in pick(partly, options=PickOptions(n=N, seed=seed)).picks]
        order = np.random.default_rng(seed).permutation(len(rows))
        for count, chosen in ((N, first), (2 * N, [*first, *more])):
            found.setdefault(f"picked_{count}", []).append(accuracy(rows.values, y, np.array(chosen), test))
            found.setdefault(f"random_{count}", []).append(accuracy(rows.values, y, order[:count], test))
        cold = [place[each.id] for each in pick(bare, options=PickOptions(n=2 * N, seed=seed)).picks]
        found.setdefault("cold_only", []).append(accuracy(rows.values, y, np.array(cold), test))
    for count in (N, 2 * N):
        picked, random = (float(np.mean(found[f"{way}_{count}"])) for way in ("picked", "random"))
        yield Figure(f"{name}/picked_{count}", picked, f"accuracy, mean of {seeds} seeds", at_least=random, peer=random)
    yield Figure(
        f"{name}/k_means_alone_{2 * N}", float(np.mean(found["cold_only"])), f"accuracy, mean of {seeds} seeds"
    )


def main() -> int:
    """Measure and print."""
    called = arguments(__doc__ or "")
    names = present(QUICK if called.quick else SETS)
    return show("pick", (figure for name in names for figure in measure(name, seeds=5)), keep=called.keep)


if __name__ == "__main__":
    sys.exit(main())
