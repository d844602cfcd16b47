"""What the loop is fed with: prepared views, targets, weights and the loss of labelled or of taught samples."""

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float

from headstart.tasks.task import Targets, Task
from headstart.tuning.augmentation import Augmentation
from headstart.tuning.loop import Material
from headstart.tuning.losses import LossOptions, loss_of
from headstart.tuning.scaling import Scale
from headstart.tuning.teaching import UNLABELLED, TeachingOptions, taught_loss
from headstart.tuning.views import Views


def _accuracy(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (scores.argmax(dim=1) == targets).float()


def _each_label(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return ((scores > 0) == (targets > 0.5)).float()


def _metric(link: str, scale: Scale) -> tuple[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]:
    def distance(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (scores[:, 0] - targets).abs() * scale.spread

    return {
        "softmax": ("accuracy", _accuracy),
        "sigmoid": ("accuracy of each label", _each_label),
        "identity": ("absolute error", distance),
    }[link]


def labelled(
    views: Views,
    targets: Targets,
    *,
    task: Task,
    options: LossOptions,
    augmentation: Augmentation,
    weights: Float[np.ndarray, "n"],
) -> Material:
    """Samples with their labels.

    Args:
        views: of those of the n samples that can be read.
        targets: n of them.
        task: what they are.
        options: how they count.
        augmentation: what varies the views.
        weights: (n,) of the samples in the loss.
    """
    values, scale = targets.take(views.kept).values, Scale()
    if task.link == "identity":
        scale = Scale.of(values)
        values = scale.inward(values)
    single = task.link == "softmax"
    counts = np.bincount(values, minlength=len(targets.labels)) if single else None
    return Material(
        views=views,
        targets=torch.from_numpy(values.astype(np.int64 if single else np.float32)),
        weights=torch.from_numpy(weights[views.kept].astype(np.float32)),
        loss=loss_of(task.link, options, counts=counts),
        augmentation=augmentation,
        scale=scale,
        metric=_metric(task.link, scale),
        chance=chance_of(task.link, len(targets.labels)),
    )


def chance_of(link: str, k: int) -> float:
    """The loss of who knows nothing: of a draw among k labels, of a coin for each label, of the mean for values in their own unit."""
    return {"softmax": math.log(max(k, 2)), "sigmoid": math.log(2), "identity": 1.0}[link]


def taught(
    views: Views,
    labels: Float[np.ndarray, "n l"],
    *,
    scores: Float[np.ndarray, "n k"],
    task: Task,
    options: TeachingOptions,
    rows: Float[np.ndarray, "n d"] | None = None,
    match: Float[np.ndarray, "s1 d"] | None = None,
    weights: Float[np.ndarray, "n"],
) -> Material:
    """Samples with a teacher's outputs, on views that stay as they are: the teacher has seen the very same.

    Args:
        views: of those of the n samples that can be read.
        labels: (n, 1) class or value, or (n, k) zeros and ones; `unlabelled` says what stands where there is none.
        scores: the teacher's.
        task: what the labels are.
        options: how the student is taught.
        rows: the teacher's, where features are matched.
        match: where the linear map from the student's s numbers to them begins; its last row is the bias.
        weights: of the samples in the loss.
    """
    scale = Scale.of(labels[views.kept]) if task.link == "identity" else Scale()
    if task.link == "identity":
        labels, scores = scale.inward(labels), scale.inward(scores)
    beside = [labels, scores, *([rows] if options.features and rows is not None else [])]
    targets = np.concatenate(beside, axis=1)[views.kept].astype(np.float32)
    k, own = scores.shape[1], labels.shape[1]

    def agreement(outputs: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
        teacher = given[:, own : own + k]
        if k == 1:
            return (outputs[:, 0] - teacher[:, 0]).abs() * scale.spread
        return (outputs[:, :k].argmax(dim=1) == teacher.argmax(dim=1)).float()

    return Material(
        views=views,
        targets=torch.from_numpy(targets),
        weights=torch.from_numpy(weights[views.kept].astype(np.float32)),
        loss=taught_loss(task.link, options, k=scores.shape[1]),
        augmentation=Augmentation("text"),
        match=match if options.features else None,
        scale=scale,
        metric=("agreement", agreement),
        chance=chance_of(task.link, k),
    )


def unlabelled(n: int, *, task: Task, k: int) -> Float[np.ndarray, "n l"]:
    """What stands for the labels of n samples that have none."""
    if task.link == "identity":
        return np.full((n, 1), np.nan)
    return np.full((n, k if task.link == "sigmoid" else 1), UNLABELLED)
