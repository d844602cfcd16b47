"""A head on frozen rows that learns from a teacher: seconds, as no network runs.

The loss is that of a taught network (`teaching`), lowered by L-BFGS on standardised rows for a linear head, and by AdamW for one with a
hidden layer; penalties and lengths are chosen by the samples that choose.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from headstart.heads.fitted import Linear
from headstart.tuning.losses import Loss

PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
_STEPS = 100


@dataclass(frozen=True)
class SoftHead:
    """What was fitted.

    Attributes:
        head: of raw rows.
        penalty: that was chosen.
        loss: on the samples that choose.
    """

    head: Linear
    penalty: float
    loss: float


def fit_soft_head(
    x: Float[np.ndarray, "n d"],
    targets: torch.Tensor,
    *,
    loss: Loss,
    k: int,
    link: str,
    judge: Callable[[Linear], float],
) -> SoftHead:
    """A linear head by a taught loss, from strong to weak penalties, each starting where the one before ended.

    Args:
        x: (n, d) rows of the frozen student.
        targets: of the taught samples.
        loss: of scores, targets and weights.
        k: scores of a sample.
        link: of the task.
        judge: the loss of a head on the samples that choose.
    """
    mean, spread = x.mean(axis=0), x.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    rows = torch.from_numpy(((x - mean) / spread).astype(np.float32))
    weights = torch.ones(len(rows))
    linear = nn.Linear(rows.shape[1], k)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    found = []
    for penalty in reversed(PENALTIES):
        _lower(linear, lambda: loss(linear(rows), targets, weights), penalty)
        head = _raw(linear, mean, spread, link)
        found.append(SoftHead(head, penalty, judge(head)))
    return min(found, key=lambda one: one.loss)


def _lower(linear: nn.Linear, objective: Callable[[], torch.Tensor], penalty: float) -> None:
    optimizer: Any = torch.optim.LBFGS(linear.parameters(), max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> Any:
        optimizer.zero_grad()
        value: Any = objective() + penalty * (linear.weight**2).sum()
        value.backward()
        return value

    optimizer.step(closure)


def _raw(linear: nn.Linear, mean: np.ndarray, spread: np.ndarray, link: str) -> Linear:
    """The head of rows as they are."""
    weight = linear.weight.detach().double().numpy().T / spread[:, None]
    bias = linear.bias.detach().double().numpy() - mean @ weight
    return Linear(weight.astype(np.float32), bias, link)
