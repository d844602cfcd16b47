"""How well `rank` orders pretrained models, beside their true order by held-out accuracy.

The zoo of a modality: the packaged networks with their shallower layers, and candidates that were made weak on purpose: random weights, a
network cut after a third of its depth, a wrong preparation. The true accuracy is that of the head that `auto` ships, fitted on all
training rows and measured on the test part; extracting all rows for it is timed, layers of one network in one pass on both sides, each
side with an empty feature store of its own. Beside it stands the order out of fold on all training rows, by the head that ships: where
that one misses too, the training part does not tell what the test part rewards. Pairs count whose true accuracies differ by more than one paired standard error, each by
1 / rank + 1 / rank of its two (the additive hyperbolic weights of Vigna's weighted tau). Nothing is tuned on a test part.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

import headstart as hs
from figures import DATA, Figure, arguments, present, show
from headstart.backbones.backbone import Backbone, BackboneRequest
from headstart.backbones.choice import open_backbone
from headstart.backbones.layers import open_every_layer
from headstart.backbones.network import need
from headstart.data.splits import folds, join_groups
from headstart.features.extraction import extract
from headstart.features.hashing import digest_samples
from headstart.heads.selection import select
from headstart.selection.field import Field
from headstart.selection.ranking import Entrant, Standing, rank_backbones
from headstart.tasks import TASKS

SETS = {
    "ants_bees": "image",
    "blood_cells": "image",
    "cifar10": "image",
    "sst2": "text",
    "trec": "text",
    "thucnews": "text",
    "spoken_digits": "audio",
}
QUICK = ("trec",)
LARGE = 2000
HALF_A_POINT = 0.005

Key = tuple[str, str]


@dataclass(frozen=True)
class Truth:
    """What a candidate really reaches: whether each test item is told right, and the seconds that finding this out took.

    Attributes:
        hits: 1 or 0 for each test item.
        seconds: extraction and fit; of the extraction, its share among the layers that one pass reads.
        out_of_fold: the accuracy of the same head out of fold on all training rows: as much as they can tell.
    """

    hits: np.ndarray
    seconds: float
    out_of_fold: float

    @property
    def accuracy(self) -> float:
        """The share of test items that are told right."""
        return float(self.hits.mean())


def random_network(request: BackboneRequest) -> Backbone:
    """The same network and preparation with random weights."""
    import torch

    backbone = open_backbone(request)
    torch.manual_seed(0)
    net = backbone.module.feed.net  # type: ignore[attr-defined]
    with torch.no_grad():
        for each in net.modules():
            if hasattr(each, "reset_parameters"):
                each.reset_parameters()
    from headstart.backbones import weights

    digest = weights.digest(net)
    specs = tuple(replace(spec, weights=digest) for spec in backbone.specs)
    return replace(backbone, specs=specs)  # type: ignore[type-var]


def zoo(modality: str) -> tuple[list[Entrant], set[Key]]:
    """The entrants, and which of their candidates were made weak on purpose."""
    need("torch", "this benchmark")
    entrants: list[Entrant] = []
    weak: set[Key] = set()

    def add(title: str, request: BackboneRequest, *, made_weak: bool, scan: bool = False, random: bool = False) -> None:
        def opened() -> Backbone:
            if random:
                return random_network(request)
            return open_every_layer(request) if scan else open_backbone(request)

        entrants.append(Entrant(title, opened, scan))
        if made_weak:
            weak.add((title, ""))

    if modality == "image":
        for number in range(3):
            name = f"efficientnet-lite{number}"
            request = BackboneRequest("embedded", name)
            add(name, request, made_weak=False, scan=True)
            weak |= {(name, f"blocks.{block}") for block in range(2)}
        lite = BackboneRequest("embedded", "efficientnet-lite0")
        add("random", lite, made_weak=True, random=True)
        add("dark", replace(lite, prepare={"std": (5.0,) * 3}), made_weak=True)
        add("tiny", replace(lite, prepare={"size": 32}), made_weak=True)
    elif modality == "text":
        bert = BackboneRequest("embedded", "minilm-l6")
        add("minilm", bert, made_weak=False, scan=True)
        weak |= {("minilm", f"encoder.layer.{block}") for block in range(2)}
        add("random", bert, made_weak=True, random=True)
        for most in (3, 4, 6):
            add(f"cut at {most}", replace(bert, prepare={"max_tokens": most}), made_weak=True)
    else:
        whisper = BackboneRequest("embedded", "whisper-tiny.en")
        add("whisper", whisper, made_weak=False, scan=True)
        weak |= {("whisper", "layers.0")}
        add("random", whisper, made_weak=True, random=True)
        for window in (0.05, 0.1, 0.15, 0.2):
            add(f"{window} s", replace(whisper, prepare={"window": window, "buckets": ()}), made_weak=True)
    return entrants, weak


@contextmanager
def empty_store() -> Iterator[None]:
    """A feature store that holds nothing yet."""
    before = os.environ.get("HEADSTART_CACHE")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["HEADSTART_CACHE"] = folder
        try:
            yield
        finally:
            if before is None:
                os.environ.pop("HEADSTART_CACHE")
            else:
                os.environ["HEADSTART_CACHE"] = before


def truths(entrants: list[Entrant], samples: hs.Samples) -> dict[Key, Truth]:
    """Every candidate fitted on all training rows and measured on the test part."""
    train, test = samples.part("train"), samples.part(samples.evaluated_part)
    task = TASKS.get("single_label")
    y = task.encode(train.table.column("target"), None)
    held = task.encode(test.table.column("target"), y.labels)
    found: dict[Key, Truth] = {}
    for entrant in entrants:
        began = time.perf_counter()
        backbone = entrant.open()
        first, second = extract(train, backbone), extract(test, backbone)
        groups = join_groups(None, first.features[0].digests)
        fold = folds(y.values[first.kept], task=y.task, groups=groups)
        opened = time.perf_counter() - began
        for own, other in zip(first.features, second.features, strict=True):
            began = time.perf_counter()
            target = y.take(first.kept)
            chosen = select(own.values, target, fold=fold, groups=groups)
            told = float((chosen.oof_scores.argmax(axis=1) == target.values).mean())
            hits = chosen.head.scores(other.values).argmax(axis=1) == held.values[second.kept]
            layer = own.spec.layer if entrant.each_layer else ""
            seconds = time.perf_counter() - began + opened / len(first.features)
            found[entrant.title, layer] = Truth(hits.astype(float), seconds, told)
    return found


def standard_error(one: Truth, other: Truth) -> float:
    """The paired standard error of the difference of two accuracies."""
    return float((one.hits - other.hits).std(ddof=1) / np.sqrt(len(one.hits)))


def tau(order: list[Key], true: Mapping[Key, Truth]) -> tuple[float, int]:
    """Weighted Kendall tau over the pairs that can be told apart, and how many these are; NaN where there are none."""
    rank = {key: place for place, key in enumerate(sorted(true, key=lambda key: -true[key].accuracy))}
    good = total = 0.0
    pairs = 0
    for place, above in enumerate(order):
        for below in order[place + 1 :]:
            gap = true[above].accuracy - true[below].accuracy
            if abs(gap) <= standard_error(true[above], true[below]):
                continue
            weight = 1 / (rank[above] + 1) + 1 / (rank[below] + 1)
            total, good, pairs = total + weight, good + weight * np.sign(gap), pairs + 1
    return (good / total if total else float("nan")), pairs


def figures(name: str) -> Iterator[Figure]:
    """One set."""
    samples = hs.read(str(DATA / name))
    train = samples.part("train")
    entrants, weak = zoo(SETS[name])
    y = TASKS.get("single_label").encode(train.table.column("target"), None)
    with empty_store():
        # What a process does once, such as importing libraries, is neither side's.
        extract(train.take(np.arange(2)), entrants[0].open())
    with empty_store():
        began = time.perf_counter()
        ground = Field.of(train, y, digests=digest_samples(train).digests, seed=0)
        found = rank_backbones(entrants, ground)
        ours = time.perf_counter() - began
    with empty_store():
        true = truths(entrants, samples)
    full = sum(one.seconds for one in true.values())
    order = [_key(each) for each in found]
    best = max(true, key=lambda key: true[key].accuracy)
    for place, key in enumerate(order):
        title = f"{name}/{' '.join(part for part in key if part)}"
        yield Figure(f"{title}/accuracy", true[key].accuracy, "held out", peer=found[place].figure)
    regret = true[best].accuracy - true[order[0]].accuracy
    bound = max(HALF_A_POINT, standard_error(true[best], true[order[0]]))
    yield Figure(f"{name}/regret_at_1", regret, f"accuracy, of {' '.join(order[0])}", at_most=bound)
    every, pairs = tau(order, true)
    yield Figure(f"{name}/tau", every, f"over {pairs} pairs")
    known = {k: t for k, t in true.items() if k not in weak}
    honest, fewer = tau([key for key in order if key not in weak], known)
    yield Figure(f"{name}/tau_not_weak", honest, f"over {fewer} pairs")
    whole = sorted(true, key=lambda key: -true[key].out_of_fold)
    missed = true[best].accuracy - true[whole[0]].accuracy
    yield Figure(f"{name}/regret_at_1_of_all_rows", missed, f"accuracy, of {' '.join(whole[0])}, first out of fold")
    yield Figure(f"{name}/tau_of_all_rows", tau(whole, true)[0], "of the order out of fold on all training rows")
    most = tau([key for key in whole if key not in weak], known)[0]
    yield Figure(f"{name}/tau_not_weak_of_all_rows", most, "of that order")
    large = len(train) >= LARGE
    yield Figure(f"{name}/seconds", ours, "s", peer=full)
    yield Figure(f"{name}/share_of_full", ours / full, "of the time", at_most=0.2 if large else None)


def _key(each: Standing) -> Key:
    return each.title, each.layer


def measure(names: list[str]) -> Iterator[Figure]:
    """All sets, and the means over them."""
    found: dict[str, list[float]] = {"tau": [], "tau_not_weak": []}
    for name in names:
        for figure in figures(name):
            last = figure.name.rpartition("/")[2]
            if last in found and not np.isnan(figure.value):
                found[last].append(figure.value)
            yield figure
    if set(names) != set(SETS):
        return
    for which, least in (("tau", 0.8), ("tau_not_weak", 0.6)):
        if found[which]:
            yield Figure(
                f"all/{which}", float(np.mean(found[which])), f"mean of {len(found[which])} sets", at_least=least
            )


def main() -> int:
    """Measure and print."""
    called = arguments(__doc__ or "")
    wanted = [name for name in SETS if name in called.only.split(",")] if called.only else list(SETS)
    return show("rank", measure(present(QUICK if called.quick else wanted)), keep=called.keep, merge=bool(called.only))


if __name__ == "__main__":
    sys.exit(main())
