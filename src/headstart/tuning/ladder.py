"""The ladder: how long a step takes, which rate learns best in a short try, the long training, and the best point on the way to it.

Everything here is chosen on the first half of the samples that were set aside. What is shipped is decided elsewhere, on the other half.
"""

import dataclasses
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from headstart.backbones.network import NetworkBackbone
from headstart.backbones.precision import device
from headstart.core.errors import FitError
from headstart.core.progress import Progress, silent
from headstart.data.samples import Samples
from headstart.features.engines import ENGINES
from headstart.features.extraction import embed
from headstart.heads.fitted import Linear
from headstart.model.model import join
from headstart.tasks.task import Targets, Task
from headstart.tuning import choice, runs
from headstart.tuning.augmentation import Augmentation
from headstart.tuning.choice import Chosen
from headstart.tuning.classifier import Classifier, State, Trainable, widen_grouped
from headstart.tuning.interpolation import Point, best_point, judged
from headstart.tuning.loop import Material, Trained, train
from headstart.tuning.losses import LossOptions, loss_of
from headstart.tuning.runs import Run
from headstart.tuning.schedule import Leg
from headstart.tuning.views import Views

_WARM, _TIMED = 3, 12
# Of the budget, what is left for what was not timed.
_RESERVED = 0.1
# Looks at the samples that choose: the start, three tries, and up to two ends at four points; and about as many again for the gate.
_LOOKS = 14


@dataclass(frozen=True)
class Ground:
    """The samples of a tuning, all of them labelled and none evaluated.

    Attributes:
        train: what is trained on.
        targets: theirs.
        choosing: what chooses rates and points.
        chosen_by: their targets.
        weights: (n,) of the training samples in the loss.
        far: whether the network hardly knows such data.
    """

    train: Samples
    targets: Targets
    choosing: Samples
    chosen_by: Targets
    weights: Float[np.ndarray, "n"]
    far: bool = False


@dataclass(frozen=True)
class Plan:
    """What a person may say about a tuning.

    Attributes:
        strategy: `auto`, or a recipe.
        budget: seconds for all of it.
        steps: of the long training, instead of a budget; None: as many as fit.
        seed: decides order and augmentation.
        smoothing: of the labels.
        flip: whether pictures may be mirrored.
        began: when the budget began, as `time.perf_counter` tells.
        narrow: train in bfloat16 where the device has the units.
    """

    strategy: str = choice.AUTO
    budget: float = 600.0
    steps: int | None = None
    seed: int = 0
    smoothing: float = 0.0
    adjust: float = 0.0
    flip: bool = False
    began: float = 0.0
    narrow: bool = True


@dataclass(frozen=True)
class Climbed:
    """Where the ladder ended.

    Attributes:
        state: the best weights.
        point: where they lie.
        points: all that were looked at; the first one is the start.
        rate: the base rate of the long training.
        tries: the loss of each rate that was tried.
        run: what was settled.
        trained: the long training.
    """

    state: State
    point: Point
    points: tuple[Point, ...]
    rate: float
    tries: dict[float, float]
    run: Run
    trained: Trained


def climb(
    frozen: NetworkBackbone,
    head: Linear,
    *,
    ground: Ground,
    task: Task,
    plan: Plan,
    folder: Path,
    identity: str,
    progress: Progress = silent,
) -> Climbed:
    """Tune from a frozen backbone and its fitted head.

    Args:
        frozen: the backbone.
        head: fitted on the training samples, calibrated.
        ground: the samples.
        task: what their targets are.
        plan: how.
        folder: of the run: what was settled, checkpoints, what ended.
        identity: of this tuning.
        progress: stages `prepare`, in samples, and `tuning`, in steps.

    Raises:
        UsageError: the folder holds another run, or the budget is too short for a step.
        FitError: it diverges at every rate.
    """
    views = Views.of(ground.train, frozen.preparation, progress=progress)
    material = _material(views, ground, plan, task)
    accelerator = _accelerator(narrow=plan.narrow)
    run = runs.opened(folder, identity)
    if run is None:
        run = _settled(frozen, head, material, plan, ground, accelerator=accelerator, identity=identity)
        runs.settle(folder, run)
    ladder = _Ladder(frozen, head, ground, task, plan, material, accelerator, run, folder, progress)
    base = choice.base_rate(ladder.chosen, frozen.module.feed.net)
    tries: dict[float, float] = {}
    for number, rate in enumerate(choice.rates(base) if run.tries else ()):
        try:
            short = ladder.leg(f"try-{number}", rate, run.tries)
        except FitError:  # it ran away: not this rate
            continue
        tries[rate] = judged(ladder.scores(short.raw), ground.chosen_by, task=task)[0]
    rate = min(tries, key=lambda one: tries[one], default=base)
    trained = ladder.leg("long", rate, run.steps)
    start = State.of(Classifier(frozen.module, head))
    state, point, points = best_point(start, trained, targets=ground.chosen_by, task=task, scores=ladder.scores)
    loss, figure = judged(ladder.scores(start), ground.chosen_by, task=task)
    return Climbed(state, point, (Point("start", 0.0, loss, figure), *points), rate, tries, run, trained)


@dataclass(frozen=True)
class _Ladder:
    """What every training of a run shares."""

    frozen: NetworkBackbone
    head: Linear
    ground: Ground
    task: Task
    plan: Plan
    material: Material
    accelerator: Any
    run: Run
    folder: Path
    progress: Progress

    @property
    def chosen(self) -> Chosen:
        return choice.parse(self.run.strategy, self.frozen.module.feed.net, n=len(self.material.views))

    def scores(self, state: State) -> Float[np.ndarray, "n k"]:
        """Of the samples that choose."""
        return scores_of(state, self.frozen, samples=self.ground.choosing, link=self.head.link)

    def leg(self, name: str, rate: float, steps: int) -> Trained:
        """One training, or what it ended with where it has."""
        known = runs.finished(self.folder / name)
        if known is not None:
            return known
        chosen = self.chosen
        opened = Trainable.of(self.frozen, self.head, strategy=chosen.strategy, options=chosen.options)
        _to_layout(opened, self.accelerator)
        found = train(
            opened,
            self.material,
            leg=_leg(name, rate, steps, self.run, self.plan),
            accelerator=self.accelerator,
            folder=self.folder / name,
            strategy_end=chosen.strategy.end,
            progress=self.progress,
        )
        runs.finish(self.folder / name, found, steps=steps)
        return found


def scores_of(state: State, frozen: NetworkBackbone, *, samples: Samples, link: str) -> Float[np.ndarray, "n k"]:
    """The scores of samples under some weights, as the shipped model would give them."""
    return state.linear(link).scores(rows_of(state, frozen, samples=samples))


def rows_of(state: State, frozen: NetworkBackbone, *, samples: Samples) -> Float[np.ndarray, "n d"]:
    """The rows of samples under some weights; they are not stored."""
    backbone = state.backbone(frozen)
    return join(embed(backbone, samples, engine=_engine(backbone)).features)


def _engine(backbone: NetworkBackbone) -> str:
    """An engine that needs no conversion, as these weights are looked at once."""
    wanted = "cuda" if device().kind == "cuda" else "channels_last"
    return "eager" if ENGINES.get(wanted).refusal(backbone) else wanted


def _material(views: Views, ground: Ground, plan: Plan, task: Task) -> Material:
    targets = ground.targets.take(views.kept).values
    weights = torch.from_numpy(ground.weights[views.kept].astype(np.float32))
    prior = None
    if task.link == "softmax":
        prior = np.bincount(targets, minlength=len(ground.targets.labels)) / len(targets)
    kind = np.int64 if task.link == "softmax" else np.float32
    options = LossOptions(plan.smoothing, plan.adjust)
    return Material(
        views=views,
        targets=torch.from_numpy(targets.astype(kind)),
        weights=weights,
        loss=loss_of(task.link, options, prior=prior),
        augmentation=Augmentation(ground.train.modality, flip=plan.flip),
    )


def _accelerator(*, narrow: bool) -> Any:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    here = device()
    # The first precision of a process would be that of every later tuning in it.
    AcceleratorState._reset_state()  # noqa: SLF001
    mixed = "bf16" if narrow and "bfloat16" in here.units else "no"
    return Accelerator(mixed_precision=mixed, cpu=here.kind == "cpu")


def _leg(name: str, rate: float, steps: int, run: Run, plan: Plan) -> Leg:
    return Leg(name, rate, rate, steps, run.batch, plan.seed, every=max(10, steps // 20))


def _to_layout(trainable: Trainable, accelerator: Any) -> None:
    """Convolutions run with their channels innermost, and on a CPU those in groups in float32."""
    trainable.classifier.to(accelerator.device)
    if accelerator.device.type == "cpu" and accelerator.mixed_precision != "no":
        widen_grouped(trainable.classifier)
    if any(each.dim() == 4 for each in trainable.classifier.parameters()):
        trainable.classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _settled(
    frozen: NetworkBackbone,
    head: Linear,
    material: Material,
    plan: Plan,
    ground: Ground,
    *,
    accelerator: Any,
    identity: str,
) -> Run:
    """Measure a few steps, which leave no trace, and make the budget a number of steps."""
    n = len(material.views)
    net = frozen.module.feed.net
    chosen = choice.parse(plan.strategy, net, n=n, far=ground.far)
    batch = choice.batch_size(n)
    draft = Run(identity, plan.steps or 0, 0, batch, chosen.text, plan.flip, 0.0)
    if plan.steps is not None:
        return dataclasses.replace(draft, tries=choice.try_steps(plan.steps))
    per_step = _timed(frozen, head, material, chosen, draft, plan, accelerator)
    looking = time.perf_counter()
    scores_of(State.of(Classifier(frozen.module, head)), frozen, samples=ground.choosing, link=head.link)
    now = time.perf_counter()
    left = (1 - _RESERVED) * plan.budget - (now - plan.began) - _LOOKS * (now - looking)
    steps, tries = choice.steps_within(left, per_step=per_step, n=n, batch=batch)
    return dataclasses.replace(draft, steps=steps, tries=tries, seconds_per_step=per_step)


def _timed(
    frozen: NetworkBackbone, head: Linear, material: Material, chosen: Chosen, run: Run, plan: Plan, accelerator: Any
) -> float:
    """Seconds of a step: the mean of a few after the first ones, as their lengths differ."""
    opened = Trainable.of(frozen, head, strategy=chosen.strategy, options=chosen.options)
    _to_layout(opened, accelerator)
    ends: list[float] = []

    def note(stage: str, done: int, total: int) -> None:
        del stage, done, total
        ends.append(time.perf_counter())

    leg = _leg("timing", 0.0, _WARM + _TIMED, run, plan)
    train(opened, material, leg=leg, accelerator=accelerator, progress=note)
    took = [end - begin for begin, end in zip(ends[_WARM - 1 :], ends[_WARM:], strict=False)]
    return statistics.mean(took)
