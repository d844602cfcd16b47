"""What moves the weights: AdamW, and the bound on its gradient."""

from typing import Any

import torch
from torch import nn

from headstart.tuning.classifier import Trainable
from headstart.tuning.schedule import Leg


def adamw(trainable: Trainable, leg: Leg) -> torch.optim.Optimizer:
    """AdamW; one group for each rate and decay."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, each in trainable.parameters().items():
        share = trainable.shares.get(name.removeprefix("net."))
        rate = leg.head_rate if share is None else leg.rate * share
        decay = leg.weight_decay if each.dim() > 1 and ".lora_" not in name else 0.0
        groups.setdefault((rate, decay), []).append(each)
    return torch.optim.AdamW(
        [
            {"params": parameters, "lr": rate, "base": rate, "weight_decay": decay}
            for (rate, decay), parameters in groups.items()
        ],
        fused=True,
    )


def clip(classifier: nn.Module, most: float) -> float:
    """Cut the gradient down to a norm, and tell what it was; where it is below, that takes no second pass over it."""
    gradients = [each.grad for each in classifier.parameters() if each.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    found = float(norm)
    if found > most:
        nn.utils.clip_grads_with_norm_(classifier.parameters(), most, norm)
    return found


def inner(optimizer: Any) -> torch.optim.Optimizer:
    """The optimiser of torch within accelerate's."""
    found: torch.optim.Optimizer = getattr(optimizer, "optimizer", optimizer)
    return found
