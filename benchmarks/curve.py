"""Whether a learning curve foretells: fitted on half of the training rows, its forecast for all of them beside what they really bring.

The truth is the same head on all training rows, scored on the same test rows. `DATA/forecast_error` is the distance between the two in
points; `DATA/gain_foretold` and its peer are the gain that was foretold and the one that came.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

import headstart as hs
from figures import DATA, Figure, arguments, present, show
from headstart.verbs.curve import CurveOptions, curve

# The largest error of a forecast, in points of accuracy.
BOUNDS = {"cifar10": 1.5, "thucnews": 1.5, "sst2": 1.5, "trec": 2.0}
QUICK = ("trec",)


def half(samples: hs.Samples, seed: int) -> hs.Samples:
    """The samples with every second one of `train`, chosen at random within each label, and all others."""
    target = np.asarray(samples.table.column("target").to_pylist(), dtype=object)
    train = np.asarray(samples.table.column("split").to_pylist(), dtype=object) == "train"
    order = np.random.default_rng(seed).permutation(len(samples))
    kept = ~train
    for label in sorted(set(target)):
        mine = order[(target == label)[order] & train[order]]
        kept[mine[: len(mine) // 2]] = True
    return replace(samples, table=samples.table.filter(pa.array(kept)))


def measure(name: str, *, seeds: int) -> Iterator[Figure]:
    """Forecasts from several halves of one data set, and what came."""
    samples = hs.read(str(DATA / name))
    wanted = samples.evaluated_part
    parts = np.isin(samples.table.column("split").to_pylist(), ["train", wanted])
    samples = replace(samples, table=samples.table.filter(pa.array(parts)))
    whole = curve(samples, options=CurveOptions(points=1))
    truth = whole.points[-1].value
    foretold, now, inside = [], [], []
    for seed in range(seeds):
        found = curve(half(samples, seed), options=CurveOptions(seed=seed))
        forecast = found.forecast[0]
        foretold.append(forecast.value)
        now.append(found.points[-1].value)
        inside.append(forecast.low <= truth <= forecast.high)
    error = 100 * float(np.mean(np.abs(np.array(foretold) - truth)))
    yield Figure(f"{name}/truth", truth, f"accuracy at {whole.n} labels")
    yield Figure(f"{name}/forecast", float(np.mean(foretold)), f"accuracy, mean of {seeds} halves", peer=truth)
    yield Figure(f"{name}/forecast_error", error, "points, mean", at_most=BOUNDS[name])
    gains = 100 * (np.array([foretold, [truth] * seeds]) - now).mean(axis=1)
    yield Figure(
        f"{name}/gain_foretold", float(gains[0]), "points over what half of the labels bring", peer=float(gains[1])
    )
    yield Figure(
        f"{name}/truth_inside", float(np.mean(inside)), "share of the 95 % intervals of forecasts", at_least=0.6
    )


def main() -> int:
    """Measure and print."""
    called = arguments(__doc__ or "")
    names = present(QUICK if called.quick else BOUNDS)
    seeds = 2 if called.quick else 3
    return show("curve", (figure for name in names for figure in measure(name, seeds=seeds)), keep=called.keep)


if __name__ == "__main__":
    sys.exit(main())
