"""Tuning: what it is worth beside the frozen head, the tutorials' recipe, fastai's `fine_tune` and `transformers.Trainer`, and what a step costs.

`sets`: on each set a head is fitted on frozen features, and tuned within the set's budget: three seeds, their mean and deviation. The peers
start from the same weights, one seed each, in an environment of their own (see `_tune_peers.py`; HEADSTART_PEERS names its Python). They are
stopped when our wall-clock time is over, or the budget where we needed less, looking at the test part is no time of theirs, and they are taken at their best epoch *on the test
part*, which none of their users could. Bounds: at least as accurate as the frozen head of all training rows less one paired standard error;
above the accuracy of the tutorial, and on the sets with bounds of their own of a plain loop in bfloat16; and, given only as long as the tutorial took to its best epoch, still no worse (`in_its_time`: a tuning with
that budget, or the frozen head where it suffices). cifar10, sst2 and thucnews have bounds of their own, in points above the frozen head;
thucnews is tuned for 15 minutes as well, by one seed, beside a plain loop with as much time.

`steps`: a step's time and the process's memory beside a bare loop of forward, backward and optimiser on the same tensors.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

import headstart as hs
from figures import DATA, ROOT, Figure, arguments, present, show
from headstart.backbones.backbone import BackboneRequest
from headstart.evaluation.calibration import paired_standard_error
from headstart.tasks import TASKS

IMAGES, TEXTS, SPEECH = "embedded:efficientnet-lite0", "embedded:minilm-l6", "embedded:whisper-tiny.en"
SEEDS = 3
# The smallest budget that a second tuning is worth asking for.
LEAST_BUDGET = 20.0


@dataclass(frozen=True)
class Set:
    """What a set is tuned with.

    Attributes:
        backbone: what is tuned.
        budget: seconds.
        size: of pictures.
        gain: points above the frozen head, as a bound.
        aim: what a plain loop in bfloat16 came to once, on another such machine on another day, in as many seconds as the budget.
        folder: where its data is, if not under its own name.
        seeds: at most so many.
    """

    backbone: str
    budget: float
    size: int = 0
    gain: float | None = None
    aim: float | None = None
    folder: str = ""
    seeds: int = SEEDS

    @property
    def request(self) -> BackboneRequest:
        """The backbone, with the pictures' size."""
        return replace(BackboneRequest.parse(self.backbone), prepare={"size": self.size} if self.size else {})

    @property
    def peers(self) -> tuple[str, ...]:
        """The recipes that it is compared with: with more time than its budget, what does best with time."""
        if self.folder:
            return ("plain",)
        return {IMAGES: ("plain", "tutorial", "fastai"), TEXTS: ("plain", "tutorial", "trainer")}.get(self.backbone, ())


SETS = {
    "ants_bees": Set(IMAGES, 240, 224),
    "sst2": Set(TEXTS, 200, gain=0.07, aim=0.897),
    "cifar10": Set(IMAGES, 450, 128, gain=0.08, aim=0.847),
    "thucnews": Set(TEXTS, 334, gain=0.06, aim=0.693),
    "thucnews_900": Set(TEXTS, 900, gain=0.06, folder="thucnews", seeds=1),
    "trec": Set(TEXTS, 180),
    "blood_cells": Set(IMAGES, 300, 128),
    "spoken_digits": Set(SPEECH, 240),
}


def folder_of(name: str) -> str:
    """Where a set's data is."""
    return str(DATA / (SETS[name].folder or name))


QUICK = ("ants_bees", "sst2")


@dataclass(frozen=True)
class Ours:
    """One seed."""

    seconds: float
    fitting: float
    tuned: float
    frozen: float
    shipped: bool
    error: float


def ours(name: str, how: Set, *, seed: int, budget: float) -> Ours:
    """Fit, tune, and measure both on the test part; the seconds are those of both."""
    with (
        tempfile.TemporaryDirectory() as cache
    ):  # rows that an earlier run had left would make the fit quicker than it is
        os.environ["HEADSTART_CACHE"] = cache
        return _ours(name, how, seed=seed, budget=budget)


def _ours(name: str, how: Set, *, seed: int, budget: float) -> Ours:
    began = time.perf_counter()
    data = folder_of(name)
    model = hs.fit(data, options=hs.FitOptions(backbone=how.request, seed=seed, check=False))
    fitting = time.perf_counter() - began
    found = hs.tune(model, data, options=hs.TuneOptions(budget=budget - fitting, seed=seed))
    seconds = time.perf_counter() - began
    samples = hs.read(data)
    part = samples.part(samples.evaluated_part)
    tuned, frozen = (hits(each, part) for each in (found.model, model))
    error = paired_standard_error(tuned, frozen)
    print(f"{name}, seed {seed}: {found.sentence}; {found.strategy}, {found.steps} steps", file=sys.stderr)
    return Ours(seconds, fitting, float(tuned.mean()), float(frozen.mean()), found.shipped, error)


def hits(model: hs.Model, samples: hs.Samples) -> np.ndarray:
    """Which samples of the test part a model is right about."""
    truths = samples.table.column("target").to_pylist()
    answers = model.predict(samples)
    return np.array([answer["label"] == truth for answer, truth in zip(answers, truths, strict=True)], float)


@dataclass(frozen=True)
class Epoch:
    """A peer's."""

    seconds: float
    accuracy: float


def peer(recipe: str, name: str, how: Set, *, seconds: float, python: Path) -> list[Epoch]:
    """A peer's epochs, in its own environment."""
    samples = hs.read(folder_of(name))
    labels = TASKS.get("single_label").encode(samples.part("train").table.column("target"), None).labels
    asked: dict[str, Any] = {
        "modality": samples.modality,
        "size": how.size,
        "classes": len(labels),
        "seconds": seconds,
        "seed": 0,
    }
    for title, part in (("train", samples.part("train")), ("test", samples.part(samples.evaluated_part))):
        inputs = (
            part.table.column("input").to_pylist() if part.inline else [str(part.path(at)) for at in range(len(part))]
        )
        targets = part.table.column("target").to_pylist()
        asked[title] = [[one, labels.index(str(target))] for one, target in zip(inputs, targets, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "asked.json"
        place.write_text(json.dumps(asked), encoding="utf-8")
        command = [str(python), str(ROOT / "benchmarks" / "_tune_peers.py"), recipe, str(place)]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise RuntimeError(f"{recipe} failed on {name}: {done.stderr[-2000:]}")
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"')]
    return [Epoch(each["seconds"], each["accuracy"]) for each in lines]


def compared(name: str, how: Set, *, seeds: int, python: Path | None) -> Iterator[Figure]:
    """One set."""
    seeds = min(seeds, how.seeds)
    runs = [ours(name, how, seed=seed, budget=how.budget) for seed in range(seeds)]
    tuned, frozen = (np.array([getattr(each, which) for each in runs]) for which in ("tuned", "frozen"))
    error = float(np.mean([each.error for each in runs]))
    gain = float((tuned - frozen).mean())
    yield Figure(f"{name}/accuracy", float(tuned.mean()), "share", at_least=float(frozen.mean()) - error)
    if seeds > 1:
        yield Figure(f"{name}/accuracy_deviation", float(tuned.std(ddof=1)), f"of {seeds} seeds")
    yield Figure(f"{name}/accuracy_frozen", float(frozen.mean()), "share, head on all training rows")
    yield Figure(f"{name}/gain", gain, "accuracy above the frozen head", at_least=how.gain)
    yield Figure(f"{name}/gain_error", error, "paired standard error")
    yield Figure(f"{name}/shipped", float(np.mean([each.shipped for each in runs])), "share of seeds")
    seconds = float(np.mean([each.seconds for each in runs]))
    yield Figure(f"{name}/seconds", seconds, "s, fit and tune", at_most=1.1 * how.budget)
    if how.aim is not None:
        yield Figure(
            f"{name}/against_the_aim",
            float(tuned.mean()),
            f"share in {how.budget:g} s",
            at_least=how.aim,
            peer=how.aim,
        )
    if python is None:
        return
    for recipe in how.peers:
        epochs = peer(recipe, name, how, seconds=max(seconds, how.budget), python=python)
        best = max(epochs, key=lambda each: each.accuracy, default=Epoch(seconds, 0.0))
        bounded = recipe == "tutorial" or (recipe == "plain" and how.gain is not None)
        bound = best.accuracy if bounded else None
        yield Figure(
            f"{name}/against_{recipe}", float(tuned.mean()), "share, its best epoch", at_least=bound, peer=best.accuracy
        )
        yield Figure(f"{name}/seconds_of_{recipe}", best.seconds, f"s to its best of {len(epochs)} epochs")
        if recipe == "tutorial":
            yield from in_its_time(name, how, best, frozen=runs[0])


def in_its_time(name: str, how: Set, best: Epoch, *, frozen: Ours) -> Iterator[Figure]:
    """What we reach in no more time than the tutorial took to its best epoch."""
    accuracy, seconds = frozen.frozen, frozen.fitting
    if accuracy < best.accuracy and best.seconds >= LEAST_BUDGET:
        again = ours(name, how, seed=0, budget=best.seconds)
        accuracy, seconds = again.tuned, again.seconds
    yield Figure(f"{name}/in_its_time", accuracy, "share", at_least=best.accuracy, peer=best.accuracy)
    yield Figure(f"{name}/in_its_time_seconds", seconds, "s", at_most=1.1 * best.seconds, peer=best.seconds)


def sets(*, quick: bool, only: tuple[str, ...] = (), seeds: int = SEEDS) -> Iterator[Figure]:
    """All sets."""
    python = Path(os.environ.get("HEADSTART_PEERS", ROOT / ".peers" / "bin" / "python"))
    if not python.exists():
        print(f"{python} is not there, so there are no peers: see benchmarks/_tune_peers.py", file=sys.stderr)
    for name in QUICK if quick else only or tuple(SETS):
        if not present((SETS[name].folder or name,)):
            continue
        yield from compared(name, SETS[name], seeds=1 if quick else seeds, python=python if python.exists() else None)


STEPS, WARM = 100, 5  # enough for a moving average of the weights


def steps(*, quick: bool) -> Iterator[Figure]:
    """A step beside a bare one, each in a process of its own, twice and interleaved; the median of the steps."""
    for name in present(("sst2",) if quick else ("sst2", "cifar10")):
        found: dict[str, list[tuple[float, float]]] = {"loop": [], "bare": []}
        for _ in range(2):
            for which, runs in found.items():
                command = [sys.executable, str(ROOT / "benchmarks" / "_tune_step.py"), which, name, SETS[name].backbone]
                command += [str(SETS[name].size), str(WARM), str(STEPS)]
                done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
                told = json.loads(done.stdout.splitlines()[-1])
                runs.append((float(np.median(told["seconds"])), told["bytes"] / 1e6))
        (ours_s, ours_mb), (bare_s, bare_mb) = (np.median(found[which], axis=0) for which in ("loop", "bare"))
        yield Figure(f"steps/{name}", float(ours_s / bare_s), "times a bare step", at_most=1.1)
        yield Figure(f"steps/{name}_seconds", float(ours_s), "s", peer=float(bare_s))
        yield Figure(f"steps/{name}_memory", float(ours_mb / bare_mb), "times a bare loop's", at_most=1.1)
        yield Figure(
            f"steps/{name}_memory_mb", float(ours_mb), "MB that training adds at its peak", peer=float(bare_mb)
        )


SECTIONS: dict[str, Callable[..., Iterator[Figure]]] = {"sets": sets, "steps": steps}


def timed(measured: Iterator[Figure], given: argparse.Namespace) -> Iterator[Figure]:
    """The same, and how long all of it took, where it was all of it."""
    began = time.perf_counter()
    yield from measured
    if not given.only:
        most = 1800.0 if given.quick else 18_000.0
        yield Figure(f"all/seconds{'_quick' if given.quick else ''}", time.perf_counter() - began, "s", at_most=most)


def main() -> int:
    """Measure and print."""
    given = arguments(__doc__ or "")
    wanted = given.only.split(",") if given.only else list(SECTIONS)
    named = tuple(name for name in wanted if name in SETS)
    parts = [SECTIONS[name](quick=given.quick) for name in wanted if name in SECTIONS]
    seeds = int(os.environ.get("HEADSTART_SEEDS", SEEDS))
    measured = timed(chain(*parts, sets(quick=False, only=named, seeds=seeds) if named else ()), given)
    return show("tune", measured, keep=given.keep, merge=bool(given.only), anew=(*named, *({"steps"} & {*wanted})))


if __name__ == "__main__":
    sys.exit(main())
