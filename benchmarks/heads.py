"""The choice of a head beside scikit-learn's LogisticRegressionCV, RidgeClassifierCV and a cross-validated LDA, on the same rows.

Each runs in a process of its own, with two threads, so that its peak memory is its own. All are given rows that are centred and have
mean squared length 1, logistic regression and ridge our grids of penalties, LDA our six shrinkages, and five folds. Sections: `sets`
(quality on real data, rows of the default backbone), `wide` (50,000 x 512 rows of 100 classes, beside the peers; `--quick` has
5,000 x 256 of 20) and `million` (1,000,000 x 768 rows of 100 classes mapped from disk, float32).
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from figures import DATA, Figure, arguments, present, show

SETS = ("ants_bees", "blood_cells", "cifar10", "sst2", "trec", "thucnews", "spoken_digits")
QUICK = ("ants_bees", "spoken_digits")
PEERS = ("lda", "ridge", "logistic")
LOGISTIC = "logistic"

PATIENCE = 5.5
"""The peers together are stopped after so many times our own seconds, and counted as having taken no longer."""

PLENTY = 3000.0
"""Seconds for any one of them on the real sets, where they are not stopped."""


@dataclass(frozen=True)
class Result:
    """What one of them reached on new rows.

    Attributes:
        right: (m,) whether each new row's label was told; empty where it was stopped.
        log_loss: in nats, or None where it gives no probabilities or was stopped.
        seconds: of fitting alone.
        memory: the peak of its process in gigabytes, rows mapped from disk included.
        stopped: whether it had not ended in time.
        chosen: what it settled on.
    """

    right: np.ndarray
    log_loss: float | None
    seconds: float
    memory: float
    stopped: bool = False
    chosen: str = ""

    @property
    def accuracy(self) -> float:
        """The share of new rows whose label was told."""
        return float(self.right.mean()) if len(self.right) else float("nan")


def run(which: str, folder: Path, limit: float = PLENTY) -> Result:
    """Fit `ours` or a peer to the rows in a folder, in a process of its own with two threads, for at most `limit` seconds."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "2")
    command = [sys.executable, __file__, "alone", which, str(folder)]
    began = time.perf_counter()
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", check=True, env={**os.environ, **threads}, timeout=limit
        )
    except subprocess.TimeoutExpired:
        return Result(np.zeros(0, bool), None, min(limit, time.perf_counter() - began), float("nan"), stopped=True)
    except subprocess.CalledProcessError as error:
        sys.stderr.write(error.stderr)
        raise
    told = json.loads(done.stdout.splitlines()[-1])
    return Result(np.load(folder / f"{which}.right.npy"), **told)


def alone(which: str, folder: Path) -> int:
    """What such a process does: fit, score the new rows, print what `run` reads."""
    from sklearn.metrics import log_loss

    x, y, new, truth = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("x", "y", "new", "truth"))
    groups = np.load(folder / "groups.npy") if (folder / "groups.npy").exists() else None
    fit: Callable[[], tuple[Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]], str]]
    fit = (lambda: ours(x, y, groups)) if which == "ours" else PEER[which](np.asarray(x), np.asarray(y))
    began = time.perf_counter()
    predict, chosen = fit()
    seconds, memory = time.perf_counter() - began, peak()
    decided, probabilities = predict(np.asarray(new))
    np.save(folder / f"{which}.right.npy", decided == truth)
    loss = None if probabilities is None else float(log_loss(truth, probabilities, labels=np.arange(int(y.max()) + 1)))
    print(json.dumps({"log_loss": loss, "seconds": seconds, "memory": memory, "chosen": chosen}))
    return 0


def peak() -> float:
    """The most memory that this process has had since it was started, in gigabytes; getrusage's begins at its parent's."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return float(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024 / 1e9


Predict = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]]
"""From new rows to the labels decided and, where there are any, probabilities."""


def ours(x: np.ndarray, y: np.ndarray, groups: np.ndarray | None) -> tuple[Predict, str]:
    """`auto`, as `fit` calls it."""
    from headstart.data.splits import folds
    from headstart.evaluation.calibration import probabilities
    from headstart.heads.selection import select
    from headstart.tasks.task import Targets

    labels = tuple(f"{number:04d}" for number in range(int(y.max()) + 1))
    fold = folds(y, task="single_label", groups=groups, seed=0)
    chosen = select(x, Targets(np.asarray(y), labels, "single_label"), fold=fold, groups=groups)

    def predict(new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p = probabilities(chosen.head.scores(new), temperature=chosen.temperature, link=chosen.head.link)
        return p.argmax(axis=1), p

    return predict, chosen.recipe


def peer(x: np.ndarray, y: np.ndarray, model: Any) -> Callable[[], tuple[Predict, str]]:
    """A function that fits a model of scikit-learn to rows made ready before the clock starts."""
    mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)
    scale = np.float32(np.sqrt(((x - mean) ** 2).sum(axis=1).mean()))
    ready = (x - mean) / scale

    def predict(new: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        z = (new - mean) / scale
        return model.predict(z), model.predict_proba(z) if hasattr(model, "predict_proba") else None

    def fit() -> tuple[Predict, str]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged after so many steps is part of what it reaches
            model.fit(ready, y)
        found = {name: getattr(model, name) for name in ("C_", "alpha_", "best_params_") if hasattr(model, name)}
        return predict, " ".join(f"{name}={np.ravel(value)[0]}" for name, value in found.items())

    return fit


def logistic(x: np.ndarray, y: np.ndarray) -> Callable[[], tuple[Predict, str]]:
    """LogisticRegressionCV over our penalties, chosen by log-loss; its own number of steps, or 1,000 where there are few rows."""
    from sklearn.linear_model import LogisticRegressionCV

    from headstart.heads.logistic import PENALTIES

    model = LogisticRegressionCV(
        Cs=[1 / (penalty * len(x)) for penalty in PENALTIES],
        cv=5,
        scoring="neg_log_loss",
        max_iter=1000 if len(x) <= 10_000 else 100,
        l1_ratios=(0.0,),
        use_legacy_attributes=False,
    )
    return peer(x, y, model)


def ridge(x: np.ndarray, y: np.ndarray) -> Callable[[], tuple[Predict, str]]:
    """RidgeClassifierCV over our penalties, chosen by leave-one-out."""
    from sklearn.linear_model import RidgeClassifierCV

    from headstart.heads.ridge import PENALTIES

    return peer(x, y, RidgeClassifierCV(alphas=[penalty * len(x) / x.shape[1] for penalty in PENALTIES]))


def lda(x: np.ndarray, y: np.ndarray) -> Callable[[], tuple[Predict, str]]:
    """LinearDiscriminantAnalysis(solver="eigen") over our six shrinkages, chosen by the accuracy of five folds."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.model_selection import GridSearchCV

    from headstart.heads.lda import SHRINKAGES

    return peer(x, y, GridSearchCV(LinearDiscriminantAnalysis(solver="eigen"), {"shrinkage": SHRINKAGES}, cv=5))


PEER: Mapping[str, Callable[[np.ndarray, np.ndarray], Callable[[], tuple[Predict, str]]]] = {
    "lda": lda,
    "ridge": ridge,
    LOGISTIC: logistic,
}


def write_set(name: str, folder: Path) -> None:
    """The stored rows of a set's train part and of the part that `fit` evaluates, with what may not be on two sides of a fold."""
    import headstart as hs
    from headstart.data.splits import join_groups
    from headstart.model.model import join

    samples = hs.read(str(DATA / name))
    part = "test" if "test" in samples.parts else "val"
    labels: dict[str, int] = {}
    for each, names in (("train", ("x", "y")), (part, ("new", "truth"))):
        extraction = hs.extract(samples.part(each))
        kept = samples.part(each).take(extraction.kept)
        words = kept.table.column("target").to_pylist()
        labels = labels or {label: number for number, label in enumerate(sorted(set(words)))}
        np.save(folder / f"{names[0]}.npy", join(extraction.features))
        np.save(folder / f"{names[1]}.npy", np.array([labels[word] for word in words]))
        if each == "train" and (groups := join_groups(kept.groups, extraction.features[0].digests)) is not None:
            np.save(folder / "groups.npy", groups)


def write_rows(folder: Path, n: int, d: int, k: int) -> None:
    """Rows as features of a network are: class means within the few directions in which rows of one class differ most, and noise."""
    rng, rank = np.random.default_rng(0), d // 8
    basis = np.linalg.qr(rng.standard_normal((d, rank)))[0].astype(np.float32)
    spread = np.geomspace(1.0, 0.1, rank).astype(np.float32)
    means = (3.5 / np.sqrt(rank) * rng.standard_normal((k, rank))).astype(np.float32)
    for rows, (x_name, y_name) in ((n, ("x", "y")), (10_000, ("new", "truth"))):
        x = np.lib.format.open_memmap(folder / f"{x_name}.npy", "w+", np.float32, (rows, d))
        y = rng.integers(0, k, rows)
        for start in range(0, rows, 10_000):
            own = y[start : start + 10_000]
            inner = (means[own] + rng.standard_normal((len(own), rank), np.float32)) * spread
            x[start : start + len(own)] = inner @ basis.T + 0.05 * rng.standard_normal((len(own), d), np.float32) + 0.5
        x.flush()
        np.save(folder / f"{y_name}.npy", y)


def quality(name: str, ours_: Result, peers: Mapping[str, Result]) -> Iterator[Figure]:
    """Accuracy and log-loss beside the best of the peers that ended."""
    from headstart.evaluation.calibration import paired_standard_error

    ended = {which: one for which, one in peers.items() if not one.stopped}
    if ended:
        best = max(ended.values(), key=lambda one: one.accuracy)
        allowed = max(0.005, paired_standard_error(best.right, ours_.right))
        yield Figure(f"{name}/accuracy", ours_.accuracy, "share", at_least=best.accuracy - allowed, peer=best.accuracy)
        least = min((one.log_loss for one in ended.values() if one.log_loss is not None), default=float("nan"))
        yield Figure(f"{name}/log_loss", ours_.log_loss or 0.0, "nats", at_most=1.02 * least, peer=least)
    for which, one in ended.items():
        print(f"{name}: {which} {one.accuracy:.4f} {one.log_loss} {one.seconds:.1f} s {one.chosen}", file=sys.stderr)
        yield Figure(f"{name}/memory_beside_{which}", ours_.memory, "GB", peer=one.memory)
    print(f"{name}: ours {ours_.accuracy:.4f} {ours_.log_loss} {ours_.seconds:.1f} s {ours_.chosen}", file=sys.stderr)


def sets(*, quick: bool) -> Iterator[Figure]:
    """Quality on real data."""
    for name in present(QUICK if quick else SETS):
        with tempfile.TemporaryDirectory() as place:
            write_set(name, Path(place))
            mine = run("ours", Path(place))
            peers = {which: run(which, Path(place)) for which in PEERS}
            yield from quality(name, mine, peers)
            yield Figure(f"{name}/seconds", mine.seconds, "s", peer=sum(one.seconds for one in peers.values()))


def wide(*, quick: bool) -> Iterator[Figure]:
    """The share of the peers' time, which are stopped past `PATIENCE` times ours: then the share is at most this."""
    n, d, k = (5_000, 256, 20) if quick else (50_000, 512, 100)
    name = f"{n}x{d}x{k}"
    with tempfile.TemporaryDirectory() as place:
        write_rows(Path(place), n, d, k)
        mine, peers, left = run("ours", Path(place)), {}, 0.0
        left = PATIENCE * mine.seconds
        for which in PEERS:
            peers[which] = run(which, Path(place), max(left, 0.1))
            left -= peers[which].seconds
        yield from quality(name, mine, peers)
        together = sum(one.seconds for one in peers.values())
        yield Figure(f"{name}/seconds", mine.seconds, "s", peer=together)
        stopped = any(one.stopped for one in peers.values())
        unit = f"of their seconds{f', at most: they were stopped at {PATIENCE} times ours' * stopped}"
        yield Figure(f"{name}/share_of_the_peers_time", mine.seconds / together, unit, at_most=0.2)
        for which, one in peers.items():
            yield Figure(f"{name}/seconds_of_{which}{'_stopped' * one.stopped}", one.seconds, "s")


def million(*, quick: bool) -> Iterator[Figure]:
    """A million rows mapped from disk."""
    if quick:
        return
    with tempfile.TemporaryDirectory() as place:
        write_rows(Path(place), 1_000_000, 768, 100)
        mine = run("ours", Path(place))
        print(f"million: {mine.accuracy:.4f} {mine.log_loss} {mine.chosen}", file=sys.stderr)
        yield Figure("1000000x768x100/seconds", mine.seconds, "s", at_most=180.0)
        yield Figure("1000000x768x100/memory", mine.memory, "GB, mapped rows counted", at_most=8.0)
        yield Figure("1000000x768x100/accuracy", mine.accuracy, "share")


SECTIONS: Mapping[str, Callable[..., Iterator[Figure]]] = {"sets": sets, "wide": wide, "million": million}


def main() -> int:
    """Measure and print; `alone WHICH FOLDER` is one process of it."""
    if sys.argv[1:2] == ["alone"]:
        return alone(sys.argv[2], Path(sys.argv[3]))
    called = arguments(__doc__ or "")
    names = called.only.split(",") if called.only else list(SECTIONS)
    found = (figure for name in names for figure in SECTIONS[name](quick=called.quick))
    return show("heads", found, keep=called.keep, merge=bool(called.only))


if __name__ == "__main__":
    sys.exit(main())
