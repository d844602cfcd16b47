"""`rank`: which pretrained model suits this data?"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from headstart.core.progress import Progress, silent
from headstart.selection.ranking import Plan, Standing, rank_backbones
from headstart.verbs.entrants import Named, entrants, ground_of, sentence
from headstart.verbs.fit_data import FitOptions, prepare
from headstart.verbs.rows import Data, RowOptions


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
    prepared = prepare(data, FitOptions(reading=options.reading, seed=options.seed, offline=options.offline))
    ground = ground_of(prepared, seed=options.seed)
    read = time.perf_counter()
    taking_part = entrants(ground.samples.modality, options, named=options.backbones, each_layer=options.each_layer)
    found = rank_backbones(taking_part, ground, plan=plan, progress=progress)
    ended = time.perf_counter()
    return Ranking(
        standings=found,
        metric=options.metric,
        figure=prepared.task.primary,
        sentence=sentence(found),
        n=len(ground),
        notes=prepared.notes,
        seconds={"read": read - began, "rank": ended - read, "total": ended - began},
    )


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
