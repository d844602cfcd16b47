"""Which pretrained model, and which layer of it, suits these labels: cross-validated on growing subsets, the weak ones left behind.

Every candidate is scored by what will be shipped, a head fitted out of fold on its rows. All begin with the same few samples; those that
are clearly behind the best (two paired standard errors) stay there, and the others go on with twice as many, at most the better half of
them (successive halving; Jamieson and Talwalkar, 2016), until one is left, all samples are used or the extraction that is worth it is spent.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headstart.backbones.backbone import Backbone
from headstart.core.errors import BackboneError, DataError, ExtraMissing, UsageError, WeightsMissing, suggest
from headstart.core.progress import Progress, silent
from headstart.features.choosing import AUTO
from headstart.features.extraction import Extraction, extract
from headstart.selection.field import Field
from headstart.selection.scoring import METRICS, Subset, Values, gap, mean, score, summary

STAGE = "ranking"
SMALL = 2000
"""Up to so many samples every candidate sees all of them."""

SHARE = 0.1
"""Of more, so much of what extracting all samples by all candidates would take is spent."""

_FIRST, _A_CLASS, _GROWTH, _BEHIND, _WORTH = 400, 20, 2.0, 2.0, 1.3
_TRIAL = 16


@dataclass(frozen=True)
class Entrant:
    """One backbone that takes part.

    Attributes:
        title: what a person calls it.
        open: opens it; called once, when its turn comes.
        each_layer: whether every layer that it reads is a candidate of its own, from the same pass; else all of them together are one.
        optional: whether it is left out with a note, rather than an error, where it cannot be opened: nobody named it.
    """

    title: str
    open: Callable[[], Backbone]
    each_layer: bool = False
    optional: bool = False


@dataclass(frozen=True)
class Plan:
    """How candidates are compared.

    Attributes:
        metric: one of `METRICS`.
        budget: seconds after which no more is extracted; None: no such limit. The answer is valid whenever that is.
        seed: decides subsets and folds.
        engine: what runs the backbones.
    """

    metric: str = "linear"
    budget: float | None = None
    seed: int = 0
    engine: str = AUTO

    def check(self) -> None:
        """Refuse a metric that there is not, and a budget that is none.

        Raises:
            UsageError: says which.
        """
        if self.metric not in METRICS:
            raise UsageError(
                f"candidates are ranked by {', '.join(METRICS)}, and got {self.metric!r}.{suggest(self.metric, METRICS)}"
            )
        if self.budget is not None and not self.budget > 0:
            raise UsageError(f"a budget is a time longer than nothing, and got {self.budget:g} s")


@dataclass(frozen=True)
class Standing:
    """What is known of one candidate.

    Attributes:
        title: of the backbone.
        layer: the layer that is read, where each is a candidate of its own; else empty.
        n: samples that it was scored on.
        score: the figure that it is ordered by.
        error: its standard error; NaN where the metric has none.
        figure: the task's first figure, out of fold, of the head; NaN where no head could be fitted.
        figure_error: its standard error.
        neighbours: the share that neighbours tell right, each sample left out itself; NaN for tasks without classes.
        behind: by how much it is behind the best of those that were scored on as many samples, at best 0.
        tied: whether it cannot be told apart from the best: less than one paired standard error behind it.
        seconds: to extract 1,000 samples here; NaN where all rows were stored.
        parameters: of its network; -1 where they are not known.
        width: of its rows.
        note: why it was not looked at further; empty for the last ones.
    """

    title: str
    layer: str
    n: int
    score: float
    error: float
    figure: float
    figure_error: float
    neighbours: float
    behind: float = 0.0
    tied: bool = False
    seconds: float = float("nan")
    parameters: int = -1
    width: int = 0
    note: str = ""


@dataclass
class _Runner:
    """One entrant while the ranking goes on."""

    entrant: Entrant
    order: int
    backbone: Backbone | None = None
    seconds: float = 0.0
    extracted: int = 0
    values: list[Values] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)
    n: int = 0
    note: str = ""

    @property
    def pace(self) -> float:
        """Seconds a sample, as far as that was measured."""
        return self.seconds / self.extracted if self.extracted else 0.0


def rank_backbones(
    entrants: Sequence[Entrant], ground: Field, *, plan: Plan = Plan(), progress: Progress = silent
) -> tuple[Standing, ...]:
    """The candidates, the best first. Rows go through the feature store, so that a fit extracts none of them again.

    Args:
        entrants: the backbones.
        ground: what they are compared on.
        plan: how.
        progress: stage `ranking`, in candidates of a round.

    Raises:
        UsageError: no entrants, or a plan that cannot be.
        DataError: no candidate could be scored.
    """
    plan.check()
    if not entrants:
        raise UsageError("there is no backbone to rank: name some with --backbones SOURCE:NAME ...")
    clock = _Clock(plan.budget)
    runners = [_Runner(entrant, place) for place, entrant in enumerate(entrants)]
    alive = list(runners)
    fallen: list[_Runner] = []
    size = _trials(alive, ground, _first(ground), plan=plan, clock=clock)
    spent, limit = 0, SHARE * len(entrants) * len(ground)
    while size:
        going: list[_Runner] = []
        stopped: list[_Runner] = []
        for done, runner in enumerate(alive):
            progress(STAGE, done, len(alive))
            spent += size - runner.n
            # Whatever the budget, one is scored: the answer is valid.
            own = clock if any(one.n for one in runners) else _Clock(None)
            (going if _run(runner, ground, size, plan=plan, clock=own) else stopped).append(runner)
        alive, behind = _halve(going, plan.metric)
        fallen = [*behind, *stopped, *fallen]
        settled = clock.over or not _undecided(alive, plan.metric)
        # What is left of one backbone is its layers: no other falls behind on the way to as many samples as are affordable.
        growth = np.inf if len(alive) == 1 and plan.budget is None else _GROWTH
        size = 0 if settled else _wider(size, len(alive), growth=growth, room=limit - spent, n=len(ground))
    progress(STAGE, len(runners), len(runners))
    scored = [runner for runner in (*alive, *fallen) if runner.values]
    if not scored:
        raise DataError("no backbone could be ranked: " + "; ".join(one.note for one in runners if one.note))
    return tuple(_standings(scored, [one for one in runners if not one.values], plan.metric))


@dataclass
class _Clock:
    budget: float | None
    began: float = field(default_factory=time.perf_counter)

    @property
    def left(self) -> float:
        return np.inf if self.budget is None else self.budget - (time.perf_counter() - self.began)

    @property
    def over(self) -> bool:
        return self.left <= 0


def _first(ground: Field) -> int:
    """How many samples all candidates begin with."""
    if len(ground) <= SMALL:
        return len(ground)
    return ground.fair(max(_FIRST, _A_CLASS * len(ground.y.labels)))


def _wider(size: int, alive: int, *, growth: float, room: float, n: int) -> int:
    """The size of the next subset; 0 where all samples are used, or too little may still be spent."""
    wider = int(min(n, size * growth, size + room / max(alive, 1)))
    return wider if wider > size and (wider == n or wider >= _WORTH * size) else 0


def _undecided(alive: list[_Runner], metric: str) -> bool:
    """Whether more samples could change which candidate comes first."""
    values = [each for runner in alive for each in runner.values]
    if len(values) < 2:
        return False
    top = max(values, key=lambda each: mean(each, metric))[metric]
    gaps = [gap(top, each[metric]) for each in values]
    return sum(not np.isfinite(error) or behind <= _BEHIND * error for behind, error in gaps) > 1


def _trials(runners: list[_Runner], ground: Field, n: int, *, plan: Plan, clock: _Clock) -> int:
    """How many samples all can be looked at on within the budget, from a first few each."""
    if plan.budget is None:
        return n
    for runner in runners:
        if clock.over and any(one.extracted for one in runners):
            break
        _extract(runner, ground, min(n, _TRIAL), plan)
    pace = sum(runner.pace for runner in runners)
    affordable = int(max(clock.left, 0.0) * 0.8 / pace) if pace else n
    fewest = min(n, max(_TRIAL, 5 * len(ground.y.labels)))
    return int(np.clip(affordable, fewest, n))


def _run(runner: _Runner, ground: Field, n: int, *, plan: Plan, clock: _Clock) -> bool:
    """Score a runner on the first n samples; whether it was, and if not, its note says why."""
    if clock.over or (runner.n and runner.pace * (n - runner.n) > clock.left):
        runner.note = (
            f"the budget ended at {runner.n:,} samples" if runner.n else "not looked at: the budget ended before"
        )
        return False
    extraction = _extract(runner, ground, n, plan)
    if extraction is None:
        return False
    at = ground.order[:n][extraction.kept]
    subset = Subset(at, ground.y.take(at), None if ground.groups is None else ground.groups[at], len(ground))
    rows = [np.asarray(one.values, np.float32) for one in extraction.features]
    candidates = rows if runner.entrant.each_layer else [np.concatenate(rows, axis=1)]
    runner.values = [score(x, subset, metric=plan.metric, seed=plan.seed) for x in candidates]
    runner.widths = [x.shape[1] for x in candidates]
    runner.n = n
    return True


def _extract(runner: _Runner, ground: Field, n: int, plan: Plan) -> Extraction | None:
    if runner.backbone is None:
        try:
            runner.backbone = runner.entrant.open()
        except (BackboneError, WeightsMissing, ExtraMissing) as error:
            if not runner.entrant.optional:
                raise
            runner.note = f"cannot be opened: {error}"
            return None
    began = time.perf_counter()
    found = extract(ground.samples.take(ground.order[:n]), runner.backbone, engine=plan.engine)
    if found.extracted:
        runner.seconds += time.perf_counter() - began
        runner.extracted += found.extracted
    if not len(found.kept):
        runner.note = "none of the samples could be read"
        return None
    return found


def _best(runner: _Runner, metric: str) -> int:
    """Which of a runner's candidates is the best."""
    return int(np.argmax([mean(values, metric) for values in runner.values]))


def _halve(runners: list[_Runner], metric: str) -> tuple[list[_Runner], list[_Runner]]:
    """Those that go on, and those that stay behind, each the best first."""
    ranked = sorted(runners, key=lambda one: (-mean(one.values[_best(one, metric)], metric), one.order))
    if not ranked:
        return [], []
    top = ranked[0].values[_best(ranked[0], metric)][metric]
    near = []
    for runner in ranked:
        behind, error = gap(top, runner.values[_best(runner, metric)][metric])
        if not np.isfinite(error) or behind <= _BEHIND * error:
            near.append(runner)
    kept = near[: max(1, (len(runners) + 1) // 2)]
    return kept, [runner for runner in ranked if runner not in kept]


def _standings(scored: list[_Runner], missed: list[_Runner], metric: str) -> Iterator[Standing]:
    """All candidates in order: those that went furthest first, and among these by their score."""
    every = [(runner, place, values) for runner in scored for place, values in enumerate(runner.values)]
    every.sort(key=lambda one: (-one[0].n, -mean(one[2], metric), one[0].order, one[1]))
    best: dict[int, Any] = {}
    for runner, _, values in every:
        best.setdefault(runner.n, values[metric])
    furthest = every[0][0].n
    for runner, place, values in every:
        short, error = gap(best[runner.n], values[metric])
        first = values is every[0][2]
        tied = runner.n == furthest and (first or (np.isfinite(error) and (short <= 0 or short < error)))
        yield _standing(runner, place, values, metric=metric, behind=max(short, 0.0), tied=tied and len(every) > 1)
    for runner in missed:
        blank = float("nan")
        yield Standing(
            runner.entrant.title,
            "",
            0,
            blank,
            blank,
            blank,
            blank,
            blank,
            behind=blank,
            note=runner.note or "not looked at",
        )


def _standing(runner: _Runner, place: int, values: Values, *, metric: str, behind: float, tied: bool) -> Standing:
    backbone = runner.backbone
    assert backbone is not None
    value, error = summary(values[metric])
    figure, figure_error = summary(values["linear"])
    near = summary(values["knn"])[0] if "knn" in values else float("nan")
    return Standing(
        title=runner.entrant.title,
        layer=backbone.specs[place].layer if runner.entrant.each_layer else "",
        n=runner.n,
        score=value,
        error=error,
        figure=figure,
        figure_error=figure_error,
        neighbours=near,
        behind=behind,
        tied=tied,
        seconds=1000 * runner.pace if runner.extracted else float("nan"),
        parameters=_parameters(backbone),
        width=runner.widths[place],
        note=runner.note,
    )


def _parameters(backbone: Backbone) -> int:
    """Numbers in its weights; -1 where they cannot be counted without copying them."""
    module = getattr(backbone, "module", None)
    return -1 if module is None else int(sum(each.numel() for each in module.parameters()))
