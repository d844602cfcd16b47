"""What tuning lowers: the task's proper loss, with label smoothing and weights of samples where they are wanted.

There is no logit-adjusted loss (Menon et al., 2021): with a bias that starts at its own optimum, and on which no decay lies, each of its steps
is that of plain cross-entropy, and only the bias ends tau log(prior) lower. Such offsets belong to the decision rule, and leave the
probabilities honest.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""From (n, k) scores, targets and (n,) weights to one number."""


@dataclass(frozen=True)
class LossOptions:
    """How samples count.

    Attributes:
        smoothing: the share of a label's probability that goes to all labels alike; for single labels.
    """

    smoothing: float = 0.0


def loss_of(link: str, options: LossOptions) -> Loss:
    """The loss for a link: cross-entropy, one for each label, or the squared error.

    Args:
        link: of the head.
        options: how samples count.
    """

    def softmax(scores: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        each = functional.cross_entropy(scores, targets, reduction="none", label_smoothing=options.smoothing)
        return (each * weights).sum() / weights.sum().clamp(min=1e-9)

    def sigmoid(scores: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        each = functional.binary_cross_entropy_with_logits(scores, targets, reduction="none").mean(dim=1)
        return (each * weights).sum() / weights.sum().clamp(min=1e-9)

    def identity(scores: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return ((scores[:, 0] - targets) ** 2 * weights).sum() / weights.sum().clamp(min=1e-9)

    return {"softmax": softmax, "sigmoid": sigmoid, "identity": identity}[link]
