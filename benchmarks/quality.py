"""Accuracy on real data with the backbones that install as wheels and no option but the data, beside plain scikit-learn.

The peer is scikit-learn's LogisticRegression on the very same stored features, in the same run. The bounds are floors.
"""

import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import headstart as hs
from figures import DATA, Figure, arguments, present, show


@dataclass(frozen=True)
class Floor:
    """What is asked of one data set."""

    metric: str
    at_least: float


FLOORS = {
    "ants_bees": Floor("accuracy", 0.94),
    "trec": Floor("accuracy", 0.89),
    "sst2": Floor("accuracy", 0.805),
    "thucnews": Floor("accuracy", 0.61),
    "blood_cells": Floor("balanced_accuracy", 0.985),
    "cifar10": Floor("accuracy", 0.75),
    "spoken_digits": Floor("accuracy", 0.99),
}
QUICK = ("ants_bees", "trec")


def features(model: hs.Model, samples: hs.Samples) -> tuple[np.ndarray, np.ndarray]:
    """The stored rows of samples and their targets."""
    extraction = hs.extract(samples, backbone=model.backbone)
    rows = np.concatenate([np.asarray(one.values) for one in extraction.features], axis=1)
    return rows, np.asarray(samples.take(extraction.kept).table.column("target").to_pylist(), dtype=str)


def scikit_learn(model: hs.Model, source: Path, part: str) -> dict[str, float]:
    """Accuracy, balanced accuracy, log-loss and seconds of plain logistic regression on the same features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss

    samples = hs.read(str(source))
    (x, y), (new, truth) = features(model, samples.part("train")), features(model, samples.part(part))
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged after so many steps is part of what it reaches
        fitted = LogisticRegression(max_iter=1000).fit(x, y)
    seconds = time.perf_counter() - began
    chosen = fitted.predict(new)
    return {
        "accuracy": float(accuracy_score(truth, chosen)),
        "balanced_accuracy": float(balanced_accuracy_score(truth, chosen)),
        "log_loss": float(log_loss(truth, fitted.predict_proba(new), labels=fitted.classes_)),
        "seconds": seconds,
    }


def difference(model: hs.Model, source: Path) -> float:
    """The largest difference between the figures of the fit and of the saved model on the evaluated part's own folder or file."""
    part = model.report.evaluated_on
    separate = next(path for path in (source / part, source / f"{part}.csv") if path.exists())
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model")
        again = hs.evaluate(Path(folder) / "model", str(separate)).metrics
    fitted = model.report.metrics
    ends = ("value", "low", "high")
    return max(abs(float(getattr(again[name], end) - getattr(fitted[name], end))) for name in fitted for end in ends)


def measure(name: str) -> Iterator[Figure]:
    """The figures of one data set."""
    source, floor = DATA / name, FLOORS[name]
    model = hs.fit(str(source))
    report = model.report
    peer = scikit_learn(model, source, report.evaluated_on)
    for metric in ("accuracy", "balanced_accuracy"):
        bound = floor.at_least if metric == floor.metric else None
        estimate = report.metrics[metric]
        yield Figure(f"{name}/{metric}", estimate.value, "share", at_least=bound, peer=peer[metric])
        yield Figure(f"{name}/{metric}_low", estimate.low, "share")
        yield Figure(f"{name}/{metric}_high", estimate.high, "share")
    yield Figure(f"{name}/log_loss", report.metrics["log_loss"].value, "nats", peer=peer["log_loss"])
    yield Figure(f"{name}/calibration_error", report.metrics["calibration_error"].value, "share")
    yield Figure(f"{name}/n", report.n[report.evaluated_on], f"items of {report.evaluated_on}")
    yield Figure(f"{name}/extracted", report.extracted, "items")
    yield Figure(f"{name}/seconds_features", report.seconds["features"], "s")
    yield Figure(f"{name}/seconds_head", report.seconds["head"], "s", peer=peer["seconds"])
    yield Figure(f"{name}/evaluate_differs", difference(model, source), "largest difference", at_most=1e-6)


def main() -> int:
    """Measure and print."""
    called = arguments(__doc__ or "")
    names = present(QUICK if called.quick else FLOORS)
    return show("quality", (figure for name in names for figure in measure(name)), keep=called.keep)


if __name__ == "__main__":
    sys.exit(main())
