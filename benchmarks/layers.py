"""Which layers to read, and how: what a scan of all blocks reads, and learned weights over the blocks of a speech encoder.

`scan`: the layers that a scan of the training rows chooses, beside the usual one, on each set's test part; both heads are those that
`auto` ships. The bound is that of cifar10, at 128 pixels: 2 points.

`weighted`: beside the last block, the mean of the blocks and all side by side. The heads are logistic regression on each of these rows and
`layer_weights` on the blocks side by side, every penalty chosen within the rows that a head is fitted on. They are scored on the data's own
test part, and on each speaker by heads that were fitted, and their penalties and temperatures chosen, on the other speakers, since known
voices leave hardly an error to tell layers by. The bound: learned weights are no worse than the last block alone by more than two paired
standard errors.
"""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

import headstart as hs
from figures import DATA, Figure, arguments, present, show
from headstart.backbones.backbone import BackboneRequest
from headstart.backbones.layers import open_every_layer
from headstart.data.splits import folds, join_groups
from headstart.evaluation.calibration import log_losses, paired_standard_error
from headstart.evaluation.learning_curve import nested_order
from headstart.heads.selection import parse, select
from headstart.selection.layers import MOST_ROWS, scan_layers
from headstart.tasks import TASKS
from headstart.tasks.task import Targets

SCANNED = {
    "cifar10": ("embedded:efficientnet-lite0", {"size": 128}),
    "ants_bees": ("embedded:efficientnet-lite0", {}),
    "blood_cells": ("embedded:efficientnet-lite0", {}),
    "sst2": ("embedded:minilm-l6", {}),
    "trec": ("embedded:minilm-l6", {}),
    "thucnews": ("embedded:minilm-l6", {}),
    "spoken_digits": ("embedded:whisper-tiny.en", {}),
}
QUICK = ("trec",)
BOUNDS = {"cifar10": 0.02}
SPEECH, ENCODER = "spoken_digits", "embedded:whisper-tiny.en"


@dataclass(frozen=True)
class Blocks:
    """The rows of every block, one array each, with what is known of the samples."""

    names: tuple[str, ...]
    rows: tuple[np.ndarray, ...]
    y: Targets
    part: np.ndarray
    speaker: np.ndarray


@dataclass(frozen=True)
class Outcome:
    """What a head was worth on rows that it had not seen: each row's loss and whether it was told right, and the recipes that were chosen."""

    losses: np.ndarray
    right: np.ndarray
    recipes: tuple[str, ...]


def blocks() -> Blocks:
    """Every block of the encoder in one pass."""
    samples = hs.read(str(DATA / SPEECH))
    backbone = open_every_layer(BackboneRequest.parse(ENCODER))
    extraction = hs.extract(samples, backbone=backbone)
    own = samples.take(extraction.kept)
    # The encoder's usual readout is the mean of all blocks, and no block of its own.
    kept = [place for place, spec in enumerate(backbone.specs) if spec.layer != "all"]
    ids = own.table.column("id").to_pylist()
    return Blocks(
        tuple(backbone.specs[place].layer for place in kept),
        tuple(np.asarray(extraction.features[place].values) for place in kept),
        TASKS.get("single_label").encode(own.table.column("target"), None),
        np.asarray(own.table.column("split").to_pylist(), dtype=str),
        np.asarray([each.rsplit("/", 1)[-1].partition("_")[0] for each in ids], dtype=str),
    )


def views(found: Blocks) -> dict[str, tuple[np.ndarray, str]]:
    """By name, rows and the head on them."""
    beside = np.concatenate(found.rows, axis=1)
    return {
        "last": (found.rows[-1], "logistic"),
        "mean": (np.mean(found.rows, axis=0), "logistic"),
        "beside": (beside, "logistic"),
        "weighted": (beside, f"layer_weights(layers={len(found.rows)})"),
    }


def judge(x: np.ndarray, y: Targets, head: str, *, new: list[np.ndarray], groups: np.ndarray | None) -> Outcome:
    """Fit on the rows outside each set of new ones, and score these; groups share a fold where the penalty is chosen."""
    losses, right, recipes = [], [], []
    for own in new:
        train = np.setdiff1d(np.arange(len(x)), own)
        inside = None if groups is None else groups[train]
        fold = folds(y.values[train], task=y.task, groups=inside, seed=0)
        chosen = select(x[train], y.take(train), fold=fold, recipe=parse(head), groups=inside)
        scores = chosen.head.scores(x[own])
        losses.append(log_losses(scores, y.values[own], temperature=chosen.temperature, link="softmax"))
        right.append(scores.argmax(axis=1) == y.values[own])
        recipes.append(chosen.recipe)
    return Outcome(np.concatenate(losses), np.concatenate(right), tuple(recipes))


def weighted(*, quick: bool) -> Iterator[Figure]:
    """Learned weights over the blocks of a speech encoder; with `quick` on the test part only."""
    if not present((SPEECH,)):
        return
    found = blocks()
    speakers = [np.flatnonzero(found.speaker == name) for name in np.unique(found.speaker)]
    runs = {"test": ([np.flatnonzero(found.part == "test")], None), "speakers": (speakers, found.speaker)}
    for name, (new, groups) in list(runs.items())[: 1 if quick else None]:
        outcomes = {view: judge(x, found.y, head, new=new, groups=groups) for view, (x, head) in views(found).items()}
        ours = outcomes["weighted"]
        for view, each in outcomes.items():
            yield Figure(f"{SPEECH}/{name}_log_loss_{view}", float(each.losses.mean()), "nats")
            yield Figure(f"{SPEECH}/{name}_accuracy_{view}", float(each.right.mean()), "share")
            if each is not ours:
                gain = float(each.losses.mean() - ours.losses.mean())
                error = paired_standard_error(each.losses, ours.losses)
                bound = -2 * error if view == "last" else None
                yield Figure(f"{SPEECH}/{name}_gain_over_{view}", gain, "nats", at_least=bound)
                yield Figure(f"{SPEECH}/{name}_gain_over_{view}_error", error, "nats")
        yield from learned(found, name, ours)


def learned(found: Blocks, name: str, ours: Outcome) -> Iterator[Figure]:
    """The weight of each block, the mean over the fits."""
    weights = np.mean([getattr(parse(recipe), "weights", ()) for recipe in ours.recipes], axis=0)
    for block, weight in zip(found.names, weights, strict=True):
        yield Figure(f"{SPEECH}/{name}_weight_{block}", float(weight), "share")


def scan(*, quick: bool, only: tuple[str, ...] = ()) -> Iterator[Figure]:
    """The layers that a scan chooses, beside the usual one."""
    for name in present(QUICK if quick else only or tuple(SCANNED)):
        yield from scanned(name)


def scanned(name: str) -> Iterator[Figure]:
    """One set."""
    backbone, prepare = SCANNED[name]
    every = open_every_layer(replace(BackboneRequest.parse(backbone), prepare=prepare))
    samples = hs.read(str(DATA / name))
    train, test = (hs.extract(samples.part(part), backbone=every) for part in ("train", samples.evaluated_part))
    task = TASKS.get("single_label")
    y, held = (
        task.encode(samples.part(part).take(one.kept).table.column("target"), None)
        for part, one in (("train", train), (samples.evaluated_part, test))
    )
    groups = join_groups(None, train.features[0].digests)
    order = nested_order(y.values, None, seed=0)[:MOST_ROWS]
    rows = [np.asarray(one.values, np.float32) for one in train.features]
    began = time.perf_counter()
    found = scan_layers([each[order] for each in rows], y.take(order), groups=None if groups is None else groups[order])
    seconds = time.perf_counter() - began
    fold = folds(y.values, task=y.task, groups=groups)
    hits = {}
    for title, places in (("usual", (len(rows) - 1,)), ("scanned", found.chosen)):
        joined = np.concatenate([rows[place] for place in places], axis=1)
        head = select(joined, y, fold=fold, groups=groups).head
        scores = head.scores(np.concatenate([np.asarray(test.features[place].values) for place in places], axis=1))
        hits[title] = (scores.argmax(axis=1) == held.values).astype(float)
        yield Figure(f"{name}/accuracy_{title}", float(hits[title].mean()), "share")
    layers = " and ".join(every.specs[place].layer or "last" for place in found.chosen)
    gain = hits["scanned"] - hits["usual"]
    yield Figure(f"{name}/gain", float(gain.mean()), f"accuracy, by {layers}", at_least=BOUNDS.get(name))
    yield Figure(f"{name}/gain_error", float(gain.std(ddof=1) / np.sqrt(len(gain))), "paired standard error")
    yield Figure(f"{name}/seconds_of_the_scan", seconds, "s")


SECTIONS: dict[str, Callable[..., Iterator[Figure]]] = {"scan": scan, "weighted": weighted}


def main() -> int:
    """Measure and print."""
    given = arguments(__doc__ or "")
    wanted = given.only.split(",") if given.only else list(SECTIONS)
    sets = tuple(name for name in wanted if name in SCANNED)
    parts = [SECTIONS[name](quick=given.quick) for name in wanted if name in SECTIONS]
    measured = chain(*parts, scan(quick=False, only=sets) if sets else ())
    return show("layers", measured, keep=given.keep, merge=bool(given.only))


if __name__ == "__main__":
    sys.exit(main())
