"""What tuning lowers: the task's proper loss, with label smoothing, class weights and weights of samples where they are wanted."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch.nn import functional

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""From (n, k) scores, targets and (n,) weights to one number."""


@dataclass(frozen=True)
class LossOptions:
    """How samples count.

    Attributes:
        smoothing: the share of a label's probability that goes to all labels alike; for single labels.
        adjust: tau of the logit-adjusted loss (Menon et al., 2021), which adds tau log(prior) to the scores while training; 0: none.
    """

    smoothing: float = 0.0
    adjust: float = 0.0


def loss_of(link: str, options: LossOptions, *, prior: Float[np.ndarray, "k"] | None = None) -> Loss:
    """The loss for a link: cross-entropy, one for each label, or the squared error.

    Args:
        link: of the head.
        options: how samples count.
        prior: (k,) shares of the labels among the training samples, where the loss is adjusted by them.
    """
    shift = torch.zeros(1)
    if options.adjust and prior is not None:
        shift = torch.from_numpy(options.adjust * np.log(np.maximum(prior, 1e-12))).float()

    def softmax(scores: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        scores = scores + shift.to(scores.device)
        each = functional.cross_entropy(scores, targets, reduction="none", label_smoothing=options.smoothing)
        return (each * weights).sum() / weights.sum().clamp(min=1e-9)

    def sigmoid(scores: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        each = functional.binary_cross_entropy_with_logits(scores, targets, reduction="none").mean(dim=1)
        return (each * weights).sum() / weights.sum().clamp(min=1e-9)

    def identity(scores: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return ((scores[:, 0] - targets) ** 2 * weights).sum() / weights.sum().clamp(min=1e-9)

    return {"softmax": softmax, "sigmoid": sigmoid, "identity": identity}[link]
