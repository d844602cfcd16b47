"""A head on frozen rows that learns from a teacher: seconds, as no network runs.

The loss is that of a taught network (`teaching`), lowered by L-BFGS on standardised rows for a linear head, and by AdamW for one with a
hidden layer; penalties and lengths are chosen by the samples that choose.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from headstart.heads.fitted import Head, Layer, Linear, Mlp
from headstart.tuning.losses import Loss

PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
_STEPS = 100
_HIDDEN, _DROPOUT, _RATE, _DECAY, _BATCH = 512, 0.2, 1e-3, 0.01, 128
_EPOCHS, _PATIENCE = 100, 8


@dataclass(frozen=True)
class Rows:
    """Frozen rows that a head is taught on.

    Attributes:
        x: (n, d) of the student.
        targets: of the taught samples.
        loss: of scores, targets and weights.
        k: scores of a sample.
        link: of the task.
        judge: the loss of a head on the samples that choose.
    """

    x: Float[np.ndarray, "n d"]
    targets: torch.Tensor
    loss: Loss
    k: int
    link: str
    judge: Callable[[Head], float]

    @cached_property
    def scale(self) -> tuple[Float[np.ndarray, "d"], Float[np.ndarray, "d"]]:
        """Mean and spread of each column."""
        spread = self.x.std(axis=0)
        return self.x.mean(axis=0), np.where(spread > 0, spread, 1.0)

    @cached_property
    def standard(self) -> torch.Tensor:
        """The rows in these units."""
        mean, spread = self.scale
        return torch.from_numpy(((self.x - mean) / spread).astype(np.float32))

    def raw(self, layer: nn.Linear) -> Layer:
        """A layer on standardised rows, as one on raw rows."""
        mean, spread = self.scale
        weight = layer.weight.detach().double().numpy().T / spread[:, None]
        bias = layer.bias.detach().double().numpy() - mean @ weight
        return Layer(weight.astype(np.float32), bias)


@dataclass(frozen=True)
class SoftHead:
    """What was fitted.

    Attributes:
        head: of raw rows.
        told: its settings.
        loss: on the samples that choose.
    """

    head: Head
    told: str
    loss: float


def fit_linear(rows: Rows) -> SoftHead:
    """A linear head by a taught loss, from strong to weak penalties, each starting where the one before ended."""
    weights = torch.ones(len(rows.x))
    linear = nn.Linear(rows.x.shape[1], rows.k)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    found = []
    for penalty in reversed(PENALTIES):
        _lower(linear, lambda: rows.loss(linear(rows.standard), rows.targets, weights), penalty)
        layer = rows.raw(linear)
        head = Linear(layer.weight, layer.bias, rows.link)
        found.append(SoftHead(head, f"linear, penalty {penalty:g}", rows.judge(head)))
    return min(found, key=lambda one: one.loss)


def fit_mlp(rows: Rows, *, seed: int) -> SoftHead:
    """A head with one hidden layer by a taught loss, stopped where the samples that choose say so."""
    generator = torch.Generator().manual_seed(seed)
    hidden, output = nn.Linear(rows.x.shape[1], _HIDDEN), nn.Linear(_HIDDEN, rows.k)
    with torch.no_grad():
        hidden.weight.normal_(0, rows.x.shape[1] ** -0.5, generator=generator)
        output.weight.normal_(0, 0.1 * _HIDDEN**-0.5, generator=generator)
        hidden.bias.zero_()
        output.bias.zero_()
    optimizer = torch.optim.AdamW([*hidden.parameters(), *output.parameters()], lr=_RATE, weight_decay=_DECAY)
    best, since = SoftHead(_bent(rows, hidden, output), "untrained", float("inf")), 0
    for epoch in range(1, _EPOCHS + 1):
        for at in torch.split(torch.randperm(len(rows.x), generator=generator), _BATCH):
            inner = nn.functional.gelu(hidden(rows.standard[at]), approximate="tanh")
            kept = torch.rand(inner.shape, generator=generator) >= _DROPOUT
            value: Any = rows.loss(output(inner * kept / (1 - _DROPOUT)), rows.targets[at], torch.ones(len(at)))
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
        head = _bent(rows, hidden, output)
        loss = rows.judge(head)
        best, since = (SoftHead(head, f"{epoch} epochs", loss), 0) if loss < best.loss else (best, since + 1)
        if since >= _PATIENCE:
            break
    return SoftHead(best.head, f"{_HIDDEN} hidden units, {best.told}", best.loss)


def _bent(rows: Rows, hidden: nn.Linear, output: nn.Linear) -> Mlp:
    weight, bias = output.weight.detach().numpy().T.copy(), output.bias.detach().double().numpy().copy()
    return Mlp((rows.raw(hidden),), weight, bias, "gelu_tanh", rows.link)


def _lower(linear: nn.Linear, objective: Callable[[], torch.Tensor], penalty: float) -> None:
    optimizer: Any = torch.optim.LBFGS(linear.parameters(), max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> Any:
        optimizer.zero_grad()
        value: Any = objective() + penalty * (linear.weight**2).sum()
        value.backward()
        return value

    optimizer.step(closure)
