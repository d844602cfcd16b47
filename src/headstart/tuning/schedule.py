"""One training's plan, and how its rate goes."""

import math
from dataclasses import dataclass

SLOWER = 3.0
"""A training that ran away begins again at its rate divided by this."""


@dataclass(frozen=True)
class Leg:
    """One training from the start to the end.

    Attributes:
        name: also of its folder.
        rate: the base rate of the body; the head's is `head_rate`.
        head_rate: of the head.
        steps: how many there are.
        batch: samples of a step.
        seed: decides order and augmentation.
        warm_up: the share of the steps in which the rate rises.
        weight_decay: of matrices; vectors, which are biases and norms, and adapters have none.
        clip: the gradient's norm is cut down to it.
        every: steps between two checkpoints.
        restarts: how often it may begin again at a third of the rate, where the loss runs away.
    """

    name: str
    rate: float
    head_rate: float
    steps: int
    batch: int
    seed: int
    warm_up: float = 0.1
    weight_decay: float = 0.01
    clip: float = 1.0
    every: int = 50
    restarts: int = 2


def rate_at(step: int, leg: Leg, *, restarts: int = 0) -> float:
    """The factor of the base rate at a step: a linear rise, then half a cosine down to 0; a third of it after each restart."""
    rise = max(1, round(min(0.5, leg.warm_up * 2**restarts) * leg.steps))
    if step < rise:
        share = (step + 1) / rise
    else:
        share = 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, leg.steps - rise)))
    return float(share / SLOWER**restarts)
