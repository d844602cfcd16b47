"""The ladder: how long a step takes, which rate learns best in a short try, the long training, and the best point on the way to it.

Everything here is chosen on the first half of the samples that were set aside. What is shipped is decided elsewhere, on the other half.
"""

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from headstart.backbones.network import NetworkBackbone
from headstart.core.errors import CacheError, FitError
from headstart.core.progress import Progress, silent
from headstart.data.samples import Samples
from headstart.features.choosing import seconds_of_auto
from headstart.features.extraction import embed
from headstart.heads.fitted import Linear
from headstart.model.model import join
from headstart.tasks.task import Targets, Task
from headstart.tuning import choice, runs, vocabulary
from headstart.tuning.activations import keep
from headstart.tuning.choice import Chosen
from headstart.tuning.classifier import Classifier, State, Trainable
from headstart.tuning.devices import agreed, at_once, open_accelerator, to_layout
from headstart.tuning.interpolation import Point, best_point, judged
from headstart.tuning.loop import Material, Trained, train
from headstart.tuning.runs import Place, Run
from headstart.tuning.schedule import SLOWER, Leg

_WARM, _TIMED, _MOST_TIMED = 3, 12, 100
# Of the budget, what timing more than twelve steps may take: on a machine that does something else meanwhile, twelve tell little.
_TIMING = 0.02
# Of the budget, what is left for what was not timed.
_RESERVED = 0.04
# Samples of a first look, which tells what a look costs apart from its samples.
_A_FEW = 32
# Looks at the samples that choose: after three tries, at two ends and three points on the way to one of them.
_LOOKS = 8


@dataclass(frozen=True)
class Choosing:
    """The labelled samples that choose rates and points; nothing is trained on them, and they are not evaluated.

    Attributes:
        samples: m of them.
        targets: theirs.
        at_start: their scores under the weights that tuning begins with.
        far: whether the network hardly knows such data.
    """

    samples: Samples
    targets: Targets
    at_start: Float[np.ndarray, "m k"]
    far: bool = False


@dataclass(frozen=True)
class Plan:
    """What a person may say about a tuning.

    Attributes:
        strategy: `auto`, or a recipe.
        budget: seconds for all of it.
        steps: of the long training, instead of a budget; None: as many as fit.
        seed: decides order and augmentation.
        after: samples that are looked at when the ladder has ended, within the budget.
        n: distinct samples, where views of one are counted apart; None: as many as are trained on.
        began: when the budget began, as `time.perf_counter` tells.
        narrow: train in bfloat16 where the device has the units.
    """

    strategy: str = choice.AUTO
    budget: float = 600.0
    steps: int | None = None
    seed: int = 0
    began: float = 0.0
    after: int = 0
    n: int | None = None
    narrow: bool = True


@dataclass(frozen=True)
class Climbed:
    """Where the ladder ended.

    Attributes:
        state: the best weights; those of the head are in the unit of the material.
        head: the head, in the unit of the targets.
        point: where they lie.
        points: all that were looked at; the first one is the start.
        rate: the base rate of the long training.
        tries: the loss of each rate that was tried.
        run: what was settled.
        trained: the long training.
        plan: whether what the frozen blocks give was computed once, in a sentence.
    """

    state: State
    head: Linear
    point: Point
    points: tuple[Point, ...]
    rate: float
    tries: dict[float, float]
    run: Run
    trained: Trained
    plan: str

    @property
    def told(self) -> str:
        """How the weights were made."""
        return (
            f"{self.run.strategy} for {self.run.steps:,} steps of {self.run.batch} from the fitted head, rate {self.rate:.3g}; "
            f"the {self.point.title} weights at {self.point.share:g} of the way"
        )


def climb(
    frozen: NetworkBackbone,
    head: Linear,
    *,
    material: Material,
    choosing: Choosing,
    task: Task,
    plan: Plan,
    place: Place,
    progress: Progress = silent,
) -> Climbed:
    """Tune from a frozen backbone and its fitted head.

    Args:
        frozen: the backbone.
        head: fitted on the training samples, calibrated.
        material: what is trained on.
        choosing: what chooses.
        task: what their targets are.
        plan: how.
        place: what was settled, checkpoints, what ended.
        progress: stage `tuning`, in steps.

    Raises:
        UsageError: the folder holds another run, or the budget is too short for a step.
        FitError: it diverges at every rate.
    """
    run = runs.opened(place)
    net, n = frozen.module.feed.net, plan.n or len(material.views)
    chosen = choice.parse(plan.strategy if run is None else run.strategy, net, n=n, far=choosing.far)
    bench = _Bench(
        frozen, material.scale.head_inward(head), material, chosen, open_accelerator(narrow=plan.narrow), plan.seed
    )
    bench, kept = bench.with_kept(run, progress=progress)
    if run is None:
        run = _settled(bench, plan, choosing, identity=place.identity)
        runs.settle(place.folder, run)
    ladder = _Ladder(bench, choosing, plan, run, place.folder, progress)
    base = choice.base_rate(chosen, net, batch=run.batch)
    tries: dict[float, np.ndarray] = {}
    for number, rate in enumerate(choice.rates(base) if run.tries else ()):
        try:
            short = ladder.leg(f"try-{number}", rate, run.tries, restarts=0)
        except FitError:  # it ran away: not this rate
            continue
        tries[rate] = judged(ladder.scores(short.raw), choosing.targets, task=task)[0]
    # Where none was stable, one below all of them.
    rate = choice.best_rate(tries) if tries else base if not run.tries else min(choice.rates(base)) / SLOWER
    trained = ladder.leg("long", rate, run.steps)
    start = bench.start
    state, point, points = best_point(start, trained, targets=choosing.targets, task=task, scores=ladder.scores)
    losses, figure = judged(choosing.at_start, choosing.targets, task=task)
    first = Point("start", 0.0, float(losses.mean()), figure)
    told = {rate: float(each.mean()) for rate, each in tries.items()}
    best = material.scale.head_outward(state.linear(head.link))
    return Climbed(state, best, point, (first, *points), rate, told, run, trained, kept)


@dataclass(frozen=True)
class _Bench:
    """What every training begins with."""

    frozen: NetworkBackbone
    head: Linear
    material: Material
    chosen: Chosen
    accelerator: Any
    seed: int

    @property
    def start(self) -> State:
        """The weights of the frozen model and its head."""
        return State.of(Classifier(self.frozen.module, self.head))

    def opened(self, name: str) -> Trainable:
        """The network and its head at their start, on the device.

        Args:
            name: of the training, which with the seed decides what a strategy draws.
        """
        torch.manual_seed(int(np.random.SeedSequence([self.seed, *name.encode()]).generate_state(1)[0]))
        strategy, options = self.chosen.strategy, self.chosen.options
        opened = Trainable.of(self.frozen, self.head, strategy=strategy, options=options, match=self.material.match)
        vocabulary.narrow(opened, self.material.views)
        to_layout(opened, self.accelerator)
        if self.material.kept is not None:
            self.material.kept.install(opened.classifier)
        return opened

    def with_kept(self, run: Run | None, *, progress: Progress) -> "tuple[_Bench, str]":
        """The same with what the frozen blocks give, where it pays to compute that once; and a sentence that says so.

        Raises:
            CacheError: it had been when the run began, and there is no room for it now.
        """
        fixed = self.material.augmentation.modality == "text"  # of which nothing is varied
        if run is not None and not run.kept:
            return self, "every step runs the whole network, as it did when the run began"
        opened = self.opened("kept")
        kept, told = keep(opened, self.material.views, fixed=fixed, accelerator=self.accelerator, progress=progress)
        if run is not None and kept is None:
            raise CacheError(
                f"the run cannot go on as it began: {told}; make room for temporary files, and type the same again"
            )
        told += vocabulary.told(opened.classifier.net)
        return dataclasses.replace(self, material=dataclasses.replace(self.material, kept=kept)), told


@dataclass(frozen=True)
class _Ladder:
    """What every training of a run shares."""

    bench: _Bench
    choosing: Choosing
    plan: Plan
    run: Run
    folder: Path
    progress: Progress

    def scores(self, state: State) -> Float[np.ndarray, "n k"]:
        """Of the samples that choose, in the unit of the targets."""
        head = self.bench.material.scale.head_outward(state.linear(self.bench.head.link))
        return head.scores(rows_of(state, self.bench.frozen, samples=self.choosing.samples))

    def leg(self, name: str, rate: float, steps: int, *, restarts: int = 2) -> Trained:
        """One training, or what it ended with where it has."""
        known = runs.finished(self.folder / name)
        if known is not None:
            return known
        found = train(
            self.bench.opened(name),
            self.bench.material,
            leg=dataclasses.replace(_leg(name, rate, steps, self.run, self.plan), restarts=restarts),
            accelerator=self.bench.accelerator,
            folder=self.folder / name,
            strategy_end=self.bench.chosen.strategy.end,
            progress=self.progress,
        )
        runs.finish(self.folder / name, found, steps=steps)
        return found


def rows_of(state: State, frozen: NetworkBackbone, *, samples: Samples) -> Float[np.ndarray, "n d"]:
    """The rows of samples under some weights; they are not stored."""
    backbone = state.backbone(frozen)
    return join(embed(backbone, samples, engine=at_once(backbone)).features)


def _leg(name: str, rate: float, steps: int, run: Run, plan: Plan) -> Leg:
    return Leg(name, rate, rate, steps, run.batch, plan.seed, every=max(10, steps // 10))


def _settled(bench: _Bench, plan: Plan, choosing: Choosing, *, identity: str) -> Run:
    """Measure a few steps, which leave no trace, and make the budget a number of steps."""
    n = len(bench.material.views)
    batch = choice.batch_size(plan.n or n, choosing.samples.modality)
    flip = bench.material.augmentation.flip
    draft = Run(identity, plan.steps or 0, 0, batch, bench.chosen.text, flip, 0.0, bench.material.kept is not None)
    if plan.steps is not None:
        return dataclasses.replace(draft, tries=choice.try_steps(plan.steps, n=n, batch=batch))
    per_step = _timed(bench, draft, plan)
    looks = _looking(bench, choosing.samples, after=plan.after)
    left = (1 - _RESERVED) * plan.budget - (time.perf_counter() - plan.began) - looks
    (left,) = agreed((left,), bench.accelerator)
    steps, tries = choice.steps_within(left, per_step=per_step, n=n, batch=batch)
    return dataclasses.replace(draft, steps=steps, tries=tries, seconds_per_step=per_step)


def _looking(bench: _Bench, samples: Samples, *, after: int) -> float:
    """Seconds of all looks that are to come: at the samples that choose, and once at those after the ladder.

    A look has a part that does not grow with its samples; so one at a few of them is taken first. The last one may run on an engine that
    is worth preparing for many samples.
    """
    few = samples.take(np.arange(min(_A_FEW, len(samples))))
    ends = [time.perf_counter()]
    for each in (few, samples):
        rows_of(bench.start, bench.frozen, samples=each)
        ends.append(time.perf_counter())
    small, whole = np.diff(ends)
    more = len(samples) - len(few)
    slope = max(0.0, whole - small) / more if more else whole / len(samples)
    backbone = bench.start.backbone(bench.frozen)
    return float(_LOOKS * whole + small + seconds_of_auto(backbone, now=at_once(backbone), seconds=slope * after))


def _timed(bench: _Bench, run: Run, plan: Plan) -> float:
    """Seconds of a step: the mean of twelve, or of as many as a small part of the budget holds, as all processes agree on it."""
    few = _took(bench, run, plan, _TIMED)
    many = min(_MOST_TIMED, int(_TIMING * plan.budget / few))
    return few if many <= _TIMED else _took(bench, run, plan, many)


def _took(bench: _Bench, run: Run, plan: Plan, steps: int) -> float:
    """The mean time of so many steps after the first ones, as their lengths differ."""
    ends: list[float] = []

    def note(stage: str, done: int, total: int) -> None:
        del stage, done, total
        ends.append(time.perf_counter())

    leg = _leg("timing", 0.0, _WARM + steps, run, plan)
    train(bench.opened("timing"), bench.material, leg=leg, accelerator=bench.accelerator, progress=note)
    (mean,) = agreed(((ends[-1] - ends[_WARM - 1]) / steps,), bench.accelerator)
    return mean
