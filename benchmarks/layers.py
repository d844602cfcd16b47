"""Which layers to read, and how: `weighted`, learned weights over the blocks of a speech encoder beside the last block, their mean and all side by side.

The heads are logistic regression on each of these rows and `layer_weights` on the blocks side by side, every penalty chosen within the rows
that a head is fitted on. They are scored on the data's own test part, and on each speaker by heads that were fitted, and their penalties and
temperatures chosen, on the other speakers, since known voices leave hardly an error to tell layers by. The bound: learned weights are no
worse than the last block alone by more than two paired standard errors.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

import headstart as hs
from figures import DATA, Figure, arguments, present, show
from headstart.backbones.backbone import BackboneRequest
from headstart.backbones.layers import open_every_layer
from headstart.data.splits import folds
from headstart.evaluation.calibration import log_losses, paired_standard_error
from headstart.heads.selection import parse, select
from headstart.tasks import TASKS
from headstart.tasks.task import Targets

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


SECTIONS: dict[str, Callable[..., Iterator[Figure]]] = {"weighted": weighted}


def main() -> int:
    """Measure and print."""
    given = arguments(__doc__ or "")
    wanted = given.only.split(",") if given.only else list(SECTIONS)
    measured = (figure for name in wanted for figure in SECTIONS[name](quick=given.quick))
    return show("layers", measured, keep=given.keep, merge=bool(given.only))


if __name__ == "__main__":
    sys.exit(main())
