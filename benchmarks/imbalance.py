"""Classes at 100 to 1: balanced decisions beside scikit-learn's class weights, and probabilities that the decisions leave alone.

`train` of `blood_cells` is thinned, with several seeds: the largest class stays, and each other one keeps a hundredth of its number.
The peer is scikit-learn's LogisticRegression with class_weight="balanced" on the same rows, its C chosen from the same penalties and
on the same folds by balanced accuracy. The calibration error is of test rows drawn to the shares of the training part, with those of the largest class all kept.
"""

import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

import headstart as hs
from figures import DATA, Figure, arguments, present, show
from headstart.core.features import Features
from headstart.data.splits import folds
from headstart.evaluation.metrics import calibration_error
from headstart.heads.logistic import PENALTIES

NAME = "blood_cells"
RATIO = 100
SEEDS = tuple(range(10))
QUICK = (0, 1)


@dataclass(frozen=True)
class Rows:
    """Rows of one backbone with their class indices."""

    x: np.ndarray
    y: np.ndarray
    features: tuple[Features, ...]


@dataclass(frozen=True)
class Outcome:
    """What one seed gave: balanced accuracies and calibration errors."""

    ours: float
    plain: float
    peer: float
    error: float
    plain_error: float
    peer_error: float
    kept: int
    fitted: int


def targets(samples: hs.Samples) -> np.ndarray:
    """The labels of samples, as class indices in the order of their names."""
    return np.unique(np.asarray(samples.table.column("target").to_pylist(), dtype=str), return_inverse=True)[1]


def thinned(samples: hs.Samples, *, seed: int) -> hs.Samples:
    """The training samples with all of the largest class, and of each other one a hundredth of that number."""
    y, rng = targets(samples), np.random.default_rng(seed)
    counts = np.bincount(y)
    largest, fewest = int(counts.argmax()), round(counts.max() / RATIO)
    chosen = [
        np.flatnonzero(y == label)
        if label == largest
        else rng.choice(np.flatnonzero(y == label), fewest, replace=False)
        for label in range(len(counts))
    ]
    return samples.take(np.sort(np.concatenate(chosen)))


def rows(model: hs.Model, samples: hs.Samples) -> Rows:
    """The stored rows of samples."""
    extraction = hs.extract(samples, backbone=model.backbone)
    x = np.concatenate([np.asarray(one.values) for one in extraction.features], axis=1)
    return Rows(x, targets(samples.take(extraction.kept)), tuple(extraction.features))


def to_prior(y: np.ndarray, prior: np.ndarray, *, seed: int) -> np.ndarray:
    """Positions of test rows at the shares of the prior: all of its largest class, and of the others as many as belong to it."""
    rng, largest = np.random.default_rng(seed), int(prior.argmax())
    total = (y == largest).sum() / prior[largest]
    chosen = []
    for label, share in enumerate(prior):
        own = np.flatnonzero(y == label)
        chosen.append(own if label == largest else rng.choice(own, round(total * share), replace=False))
    return np.concatenate(chosen)


def error(probabilities: np.ndarray, y: np.ndarray) -> float:
    """The calibration error of the most probable label."""
    best = probabilities.argmax(axis=1)
    confidence = probabilities[np.arange(len(y)), best]
    return calibration_error(confidence, (best == y).astype(np.float64))[0]


def scikit_learn(train: Rows, new: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Decisions and probabilities of class-weighted logistic regression, C chosen by balanced accuracy on the folds of a fit."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, PredefinedSplit

    fold = folds(train.y, task="single_label", groups=None, seed=0)
    weighted = LogisticRegression(class_weight="balanced", max_iter=1000)
    # A penalty is beside the mean loss, and of rows of mean squared length 1.
    length = float(((train.x - train.x.mean(axis=0)) ** 2).sum(axis=1).mean())
    grid = [1.0 / (penalty * len(train.x) * length) for penalty in PENALTIES]
    search = GridSearchCV(weighted, {"C": grid}, scoring="balanced_accuracy", cv=PredefinedSplit(fold))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged after so many steps is part of what it reaches
        search.fit(train.x, train.y)
    return search.predict(new.x), search.predict_proba(new.x)


def measure(samples: hs.Samples, *, seed: int) -> Outcome:
    """One seed."""
    from sklearn.metrics import balanced_accuracy_score

    train = thinned(samples.part("train"), seed=seed)
    plain = hs.fit(train)
    ours = hs.fit(train, options=hs.FitOptions(optimise="balanced"))
    own, new = rows(ours, train), rows(ours, samples.part("test"))
    printed, unchanged = ours.probabilities(new.features), plain.probabilities(new.features)
    chosen, weighted = scikit_learn(own, new)
    alike = to_prior(new.y, np.bincount(own.y) / len(own.y), seed=seed)
    return Outcome(
        ours=float(balanced_accuracy_score(new.y, ours.rule.choose(printed))),
        plain=float(balanced_accuracy_score(new.y, plain.rule.choose(unchanged))),
        peer=float(balanced_accuracy_score(new.y, chosen)),
        error=error(printed[alike], new.y[alike]),
        plain_error=error(unchanged[alike], new.y[alike]),
        peer_error=error(weighted[alike], new.y[alike]),
        kept=int(np.bincount(own.y).min()),
        fitted=len(own.y),
    )


def figures(seeds: tuple[int, ...]) -> Iterator[Figure]:
    """The means over the seeds, and each seed's balanced accuracy."""
    samples = hs.read(str(DATA / NAME))
    found = []
    for seed in seeds:
        one = measure(samples, seed=seed)
        found.append(one)
        yield Figure(f"{NAME}/balanced_accuracy_{seed}", one.ours, "share", peer=one.peer)

    def mean(name: str) -> float:
        return float(np.mean([getattr(one, name) for one in found]))

    yield Figure(f"{NAME}/balanced_accuracy", mean("ours"), "share", at_least=mean("peer"), peer=mean("peer"))
    yield Figure(f"{NAME}/balanced_accuracy_without", mean("plain"), "share")
    bound = mean("plain_error")
    yield Figure(f"{NAME}/calibration_error", mean("error"), "share", at_most=bound, peer=mean("peer_error"))
    yield Figure(f"{NAME}/rarest", mean("kept"), "items of train")
    yield Figure(f"{NAME}/n", mean("fitted"), "items of train")
    yield Figure(f"{NAME}/seeds", len(found), "fits")


def main() -> int:
    """Measure and print."""
    called = arguments(__doc__ or "")
    seeds = QUICK if called.quick else SEEDS
    return show("imbalance", (figure for _ in present((NAME,)) for figure in figures(seeds)), keep=called.keep)


if __name__ == "__main__":
    sys.exit(main())
