"""The loop: AdamW with warm-up and cosine over accelerate, a moving average of the weights, and nothing that looks at a clock.

Every random number of a step comes from the seed and the step's number, and all that a step changes is in the checkpoint. So a training that
was killed and goes on ends with the very weights of one that was not, on the same machine with as many threads.
"""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from headstart.core.errors import FitError, is_out_of_memory
from headstart.core.progress import Progress, silent, tell
from headstart.tuning.augmentation import Augmentation
from headstart.tuning.batches import Batches
from headstart.tuning.checkpoint import Checkpoint, load, save
from headstart.tuning.classifier import State, Trainable
from headstart.tuning.devices import agreed, attention_for, check_together, memory, shared, without_denormals
from headstart.tuning.losses import Loss
from headstart.tuning.optimiser import adamw, clip, inner
from headstart.tuning.scaling import Scale
from headstart.tuning.schedule import SLOWER, Leg, rate_at
from headstart.tuning.views import Views
from headstart.tuning.vocabulary import restore

if TYPE_CHECKING:
    from headstart.tuning.activations import Kept

STAGE = "tuning"
_DIVERGED, _SMOOTH, _LEAST_FOR_AVERAGE = 2.0, 0.9, 100
# The average is of every fourth set of weights: neighbours hardly differ, and reading all of them takes time.
_EVERY = 4


@dataclass(frozen=True)
class Material:
    """What is trained on.

    Attributes:
        views: of the training samples.
        targets: (n, ...) by sample.
        weights: (n,) of the samples in the loss.
        loss: what is lowered.
        augmentation: what varies the views.
        match: where a linear map from a sample's row begins whose result follows the scores; its last row is the bias. None: scores alone.
        kept: what the frozen blocks give for each view, where it was computed once.
        scale: the unit that targets of values are in.
        chance: the loss of who knows nothing.
        metric: what people watch besides the loss, by name, from scores and targets; it decides nothing.
    """

    views: Views
    targets: torch.Tensor
    weights: torch.Tensor
    loss: Loss
    augmentation: Augmentation
    match: np.ndarray | None = None
    kept: "Kept | None" = None
    scale: Scale = field(default_factory=Scale)
    chance: float = math.log(2)
    metric: tuple[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] | None = None


@dataclass(frozen=True)
class Trained:
    """What a leg ended with.

    Attributes:
        raw: the last weights.
        average: their moving average; None where the steps were too few for one.
        curve: (step, loss, rate), smoothed, at some of the steps.
        notes: what happened on the way, one sentence each.
    """

    raw: State
    average: State | None
    curve: tuple[tuple[int, float, float], ...]
    notes: tuple[str, ...]


@dataclass
class _Running:
    """All that a step changes, besides the weights and the optimiser."""

    step: int = 0
    restarts: int = 0
    parts: int = 1
    smooth: float = math.nan
    metric: float = math.nan
    first: float = math.nan
    curve: list[tuple[int, float, float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class _DivergedError(Exception):
    """The loss ran away."""


def train(
    trainable: Trainable,
    material: Material,
    *,
    leg: Leg,
    accelerator: Any,
    folder: Path | None = None,
    strategy_end: Any = None,
    progress: Progress = silent,
) -> Trained:
    """Train to the end, from the last checkpoint where there is one.

    Args:
        trainable: at its start; changed in place.
        material: what it is trained on.
        leg: how.
        accelerator: of accelerate: device, precision, processes.
        folder: where checkpoints lie; None: none are written.
        strategy_end: called with the network at the end, to fold what the strategy put in.
        progress: stage `tuning`, in steps.

    Raises:
        FitError: it diverges at every rate that was tried, or memory is short.
        CacheError: a checkpoint cannot be written, or not all processes see the same one.
    """
    initial = trainable.start()
    optimizer = adamw(trainable, leg)
    classifier, optimizer = accelerator.prepare(trainable.classifier, optimizer)
    named = trainable.parameters()
    average = {name: each.detach().clone() for name, each in named.items()} if _averages(leg) else {}
    running = _resumed(folder, named, average, optimizer) or _Running()
    check_together(running.step, accelerator)
    batches = Batches(material.views, size=leg.batch, seed=leg.seed)
    trainable.train_mode()
    while running.step < leg.steps:
        try:
            with attention_for(accelerator.device.type), without_denormals(accelerator.device.type):
                _one(classifier, optimizer, material, batches, leg, running, accelerator=accelerator)
        except _DivergedError:
            _restart(running, leg, named, average, initial, optimizer)
            continue
        _follow(average, named, leg=leg, step=running.step)
        running.step += 1
        progress(STAGE, running.step, leg.steps)
        tell(progress, leg.name, step=running.step, values=_figures(running, material, leg, accelerator))
        if (
            folder is not None
            and running.step % leg.every == 0
            and running.step < leg.steps
            and accelerator.is_main_process
        ):
            save(folder, _checkpoint(running, named, average, optimizer))
    accelerator.unwrap_model(classifier, keep_fp32_wrapper=False)
    return _ended(trainable, average, running, strategy_end)


def _one(
    classifier: nn.Module,
    optimizer: Any,
    material: Material,
    batches: Batches,
    leg: Leg,
    running: _Running,
    *,
    accelerator: Any,
) -> None:
    """One step.

    Raises:
        _DivergedError: the loss is no number, or far above where it began.
    """
    factor = rate_at(running.step, leg, restarts=running.restarts)
    for group in optimizer.param_groups:
        group["lr"] = group["base"] * factor
    samples, views = (shared(each, accelerator) for each in batches.at(running.step))
    while True:
        with _seeded(leg.seed, running.step) as generator:
            try:
                loss, metric = _backward(classifier, material, samples, views, running.parts, generator, accelerator)
                break
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                optimizer.zero_grad(set_to_none=True)
                if accelerator.num_processes > 1:  # the others wait for the gradients of a whole step
                    raise FitError(
                        "one of several processes is short of memory: take a smaller backbone or shorter views, or give each its own device"
                    ) from None
                if running.parts >= len(samples):
                    raise FitError(
                        "not even one sample at a time fits into memory: take a smaller backbone, or shorter views"
                    ) from None
                running.parts *= 2
                running.notes.append(
                    f"memory was short: a step's {leg.batch} samples go through in {running.parts} parts"
                )
    loss, metric = agreed((loss, metric), accelerator)
    if not math.isfinite(loss):
        raise _DivergedError
    if not math.isfinite(clip(classifier, leg.clip)):
        raise _DivergedError
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    running.metric = metric if math.isnan(running.metric) else _SMOOTH * running.metric + (1 - _SMOOTH) * metric
    _note(running, leg, loss, factor, chance=material.chance)


def _backward(
    classifier: nn.Module,
    material: Material,
    samples: np.ndarray,
    views: np.ndarray,
    parts: int,
    generator: torch.Generator,
    accelerator: Any,
) -> tuple[float, float]:
    """Gradients of one batch, in parts of it; returns the loss and the metric."""
    total, watched = 0.0, 0.0
    for part in np.array_split(np.arange(len(samples)), min(parts, len(samples))):
        batch = material.views.batch(views[part])
        lengths = torch.from_numpy(np.ascontiguousarray(batch.lengths)).to(accelerator.device)
        values = torch.from_numpy(np.ascontiguousarray(batch.values)).to(accelerator.device)
        values = material.augmentation(values, lengths, generator=generator)
        index = torch.from_numpy(samples[part])
        if material.kept is not None:
            material.kept.recall(views[part], accelerator.device)
        scores = classifier(values, lengths)
        targets, weights = material.targets[index].to(scores.device), material.weights[index].to(scores.device)
        loss = material.loss(scores, targets, weights) * (len(part) / len(samples))
        accelerator.backward(loss)
        total += float(loss.detach())
        if material.metric is not None:
            watched += float(material.metric[1](scores.detach(), targets).mean()) * len(part) / len(samples)
    return total, watched


@contextmanager
def _seeded(seed: int, step: int) -> Iterator[torch.Generator]:
    """The step's own random numbers."""
    number = int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> np.uint64(1))
    torch.manual_seed(number)
    yield torch.Generator().manual_seed(number)


def _note(running: _Running, leg: Leg, loss: float, factor: float, *, chance: float) -> None:
    """The curve, and the guard: past the warm-up a loss twice as large as the first one, and as chance, has run away.

    A fitted head begins far below chance. While the first blocks move, a network in a language that it has to learn first goes back nearly
    there, and ends far below where it began.
    """
    running.smooth = loss if math.isnan(running.smooth) else _SMOOTH * running.smooth + (1 - _SMOOTH) * loss
    if running.step == 0:
        running.first = loss
    if running.step > leg.warm_up * leg.steps and running.smooth > _DIVERGED * max(running.first, chance):
        raise _DivergedError
    if running.step % max(1, leg.steps // 100) == 0 or running.step + 1 == leg.steps:
        running.curve.append((running.step + 1, running.smooth, factor * leg.rate))


def _figures(running: _Running, material: Material, leg: Leg, accelerator: Any) -> dict[str, float]:
    """What people watch: the smoothed loss and metric, the rate, and the memory in bytes."""
    found = {"loss": running.smooth}
    if material.metric is not None:
        found[material.metric[0]] = running.metric
    factor = rate_at(running.step - 1, leg, restarts=running.restarts)
    return found | {"rate": factor * leg.rate, "memory": float(memory(accelerator.device.type))}


def _restart(
    running: _Running,
    leg: Leg,
    named: dict[str, nn.Parameter],
    average: dict[str, torch.Tensor],
    initial: dict[str, torch.Tensor],
    optimizer: Any,
) -> None:
    """Begin again at a third of the rate and twice the warm-up."""
    if running.restarts >= leg.restarts:
        least = leg.rate / SLOWER**running.restarts
        raise FitError(
            f"tuning diverged at rates down to {least:.2g}: stay with the model as it is, or ask for another --strategy"
        )
    running.restarts += 1
    running.notes.append(f"the loss ran away at step {running.step + 1}; it began again at a third of the rate")
    running.step, running.smooth, running.metric, running.first = 0, math.nan, math.nan, math.nan
    running.curve.clear()
    optimizer.zero_grad(set_to_none=True)
    inner(optimizer).state.clear()
    with torch.no_grad():
        for name, each in named.items():
            each.copy_(initial[name])
            if average:
                average[name].copy_(initial[name])


def _follow(average: dict[str, torch.Tensor], named: dict[str, nn.Parameter], *, leg: Leg, step: int) -> None:
    """Every few steps the moving average goes towards the weights; its memory is a tenth of the steps."""
    if not average or ((step + 1) % _EVERY and step + 1 < leg.steps):
        return
    with torch.no_grad():
        torch._foreach_lerp_(list(average.values()), list(named.values()), min(1.0, _EVERY / max(1.0, 0.1 * leg.steps)))


def _checkpoint(
    running: _Running, named: dict[str, nn.Parameter], average: dict[str, torch.Tensor], optimizer: Any
) -> Checkpoint:
    tensors: dict[str, torch.Tensor] = {}
    state = inner(optimizer).state
    for name, each in named.items():
        tensors[f"weight/{name}"] = each.detach()
        if average:
            tensors[f"average/{name}"] = average[name]
        if each in state:
            tensors |= {f"first/{name}": state[each]["exp_avg"], f"second/{name}": state[each]["exp_avg_sq"]}
    facts = {each.name: getattr(running, each.name) for each in fields(running)}
    return Checkpoint(tensors, facts)


def _resumed(
    folder: Path | None, named: dict[str, nn.Parameter], average: dict[str, torch.Tensor], optimizer: Any
) -> _Running | None:
    """Put a checkpoint back; None where there is none."""
    found = None if folder is None else load(folder)
    if found is None or any(f"weight/{name}" not in found.tensors for name in named):
        return None
    step = torch.tensor(float(found.facts["step"]))
    with torch.no_grad():
        for name, each in named.items():
            each.copy_(found.tensors[f"weight/{name}"])
            if average:
                average[name].copy_(found.tensors[f"average/{name}"])
            if f"first/{name}" in found.tensors:
                moments = {"exp_avg": found.tensors[f"first/{name}"], "exp_avg_sq": found.tensors[f"second/{name}"]}
                inner(optimizer).state[each] = {
                    "step": step.clone(),
                    **{
                        # In the weight's own layout: the kernel walks the memory of both side by side.
                        key: torch.empty_like(each).copy_(moment)
                        for key, moment in moments.items()
                    },
                }
    facts = dict(found.facts)
    facts["curve"] = [tuple(point) for point in facts["curve"]]
    return _Running(**facts)


def _averages(leg: Leg) -> bool:
    """Whether the steps are enough for a moving average."""
    return leg.steps >= _LEAST_FOR_AVERAGE


def _ended(trainable: Trainable, average: dict[str, torch.Tensor], running: _Running, strategy_end: Any) -> Trained:
    """The weights with all adapters folded in: the last ones, and the average."""
    trainable.classifier.eval()
    averaged = None
    if average:
        other = copy.deepcopy(trainable.classifier)
        twin = replace(trainable, classifier=other)
        with torch.no_grad():
            for name, each in twin.parameters().items():
                each.copy_(average[name])
        averaged = _folded(twin, strategy_end)
    raw = _folded(trainable, strategy_end)
    return Trained(raw, averaged, tuple(running.curve), tuple(running.notes))


def _folded(trainable: Trainable, strategy_end: Any) -> State:
    restore(trainable.classifier.net)
    if strategy_end is not None:
        strategy_end(trainable.classifier.net)
    return State.of(trainable.classifier)
