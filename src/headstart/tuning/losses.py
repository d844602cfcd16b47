"""What tuning lowers: the task's proper loss, with label smoothing and weights of samples where they are wanted; or one of those for uneven classes.

There is no logit-adjusted loss (Menon et al., 2021): with a bias that starts at its own optimum, and on which no decay lies, each of its steps
is that of plain cross-entropy, and only the bias ends tau log(prior) lower. Such offsets belong to the decision rule, and leave the
probabilities honest.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch.nn import functional

from headstart.core.errors import UsageError
from headstart.heads.losses import check_loss, objective

CROSS_ENTROPY, BALANCED = "cross_entropy", "balanced_softmax"

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""From (n, k) scores, targets and (n,) weights to one number."""


@dataclass(frozen=True)
class LossOptions:
    """How samples count.

    Attributes:
        smoothing: the share of a label's probability that goes to all labels alike; for single labels.
        name: `cross_entropy`, `class_weights`, `effective_number` or `focal`, as heads have them; for single labels.
    """

    smoothing: float = 0.0
    name: str = CROSS_ENTROPY

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            UsageError: there is no such loss, it takes no smoothed targets, or tuning has no use for it.
        """
        check_loss(self.name, smoothing=self.smoothing)
        if self.name == BALANCED:
            raise UsageError(
                "tuning begins with a bias at its optimum, and balanced softmax would only lower it by the prior: say --optimise balanced instead"
            )


def loss_of(link: str, options: LossOptions, *, counts: Int[np.ndarray, "k"] | None = None) -> Loss:
    """The loss for a link: cross-entropy or what takes its place, one for each label, or the squared error.

    Args:
        link: of the head.
        options: how samples count.
        counts: training samples of each class, where a loss goes by them.
    """
    other = None
    if link == "softmax" and options.name != CROSS_ENTROPY:
        assert counts is not None, "a loss for uneven classes goes by their sizes"
        other = objective(options.name, counts, smoothing=options.smoothing)

    def softmax(scores: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        if other is not None:
            return other.losses(scores, targets, weights=weights).sum() / weights.sum().clamp(min=1e-9)
        each = functional.cross_entropy(scores, targets, reduction="none", label_smoothing=options.smoothing)
        return (each * weights).sum() / weights.sum().clamp(min=1e-9)

    def sigmoid(scores: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        each = functional.binary_cross_entropy_with_logits(scores, targets, reduction="none").mean(dim=1)
        return (each * weights).sum() / weights.sum().clamp(min=1e-9)

    def identity(scores: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return ((scores[:, 0] - targets) ** 2 * weights).sum() / weights.sum().clamp(min=1e-9)

    return {"softmax": softmax, "sigmoid": sigmoid, "identity": identity}[link]
