"""The graph that is exported: a prepared batch to calibrated probabilities, and the rows that they are of."""

import copy

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from headstart.backbones.network import NetworkBackbone
from headstart.core.errors import UsageError
from headstart.exporting.spectra import by_products
from headstart.heads.fitted import Head, Linear, Mlp, Neighbours
from headstart.model.model import Model

_FLOOR = 1e-6


class Scorer(nn.Module):
    """A model as one network, in float32: its backbone, head, temperature, link and deployment prior.

    It takes `values` as preparation makes them; `lengths` where the modality has any; and, where a sample may be cut into several views,
    `shares`: for each sample the part that each view has in its row.
    """

    shift: torch.Tensor

    def __init__(self, model: Model) -> None:
        """Copy a model's network.

        Raises:
            UsageError: the backbone is no network of torch.
        """
        super().__init__()
        if not isinstance(model.backbone, NetworkBackbone):
            raise UsageError(
                f"{model.report.backbone} is no network of torch, and only those are exported: it can be used where it is from"
            )
        self.readout = copy.deepcopy(model.backbone.at("float32").module)
        by_products(self.readout)
        self.head = scores_of(model.head)
        self.link = model.head.link
        self.temperature = float(model.temperature)
        self.shifted = model.prior is not None and model.deployment_prior is not None
        shift = np.array(model.deployment_prior) / np.array(model.prior) if self.shifted else np.ones(1)
        self.register_buffer("shift", torch.tensor(shift, dtype=torch.float32))

    def forward(
        self, values: torch.Tensor, *others: torch.Tensor
    ) -> tuple[Float[torch.Tensor, "n k"], Float[torch.Tensor, "n d"]]:
        """Calibrated probabilities, or values for regression, and rows.

        Args:
            values: (v, ...) prepared views.
            others: (v,) lengths, where the modality has any, and (n, v) shares of the views.
        """
        lengths = others[0] if others else torch.ones(values.shape[0], dtype=torch.int64, device=values.device)
        # Not `front`, which turns autocast off: a traced program would keep that.
        begun = self.readout.feed.front(values, lengths)
        rows = torch.cat([each.float() for each in self.readout.body(begun, lengths)], dim=1)
        if len(others) > 1:
            rows = others[1] @ rows
        scores = self.head(rows)
        if self.link == "identity":
            return scores, rows
        if self.link == "sigmoid":
            return torch.sigmoid(scores / self.temperature), rows
        found = torch.softmax(scores / self.temperature, dim=1)
        if self.shifted:
            found = found * self.shift
            found = found / found.sum(dim=1, keepdim=True)
        return found, rows


def scores_of(head: Head) -> nn.Module:
    """A fitted head as a module: rows to scores, in float32."""
    if isinstance(head, Linear):
        return _linear(head.weight, head.bias)
    return _MlpScores(head) if isinstance(head, Mlp) else _Votes(head)


def _linear(weight: np.ndarray, bias: np.ndarray) -> nn.Linear:
    made = nn.Linear(*weight.shape)
    with torch.no_grad():
        made.weight.copy_(torch.from_numpy(np.array(weight.T)))
        made.bias.copy_(torch.from_numpy(np.array(bias)))
    return made


class _MlpScores(nn.Module):
    def __init__(self, head: Mlp) -> None:
        super().__init__()
        self.hidden = nn.ModuleList(_linear(layer.weight, layer.bias) for layer in head.hidden)
        self.output = _linear(head.weight, head.bias)
        self.activation = nn.ReLU() if head.activation == "relu" else nn.GELU(approximate="tanh")

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        for layer in self.hidden:
            rows = self.activation(layer(rows))
        scores: torch.Tensor = self.output(rows)
        return scores


class _Votes(nn.Module):
    """The vote of the nearest stored rows, as `heads.fitted.Neighbours` computes it."""

    rows: torch.Tensor
    votes: torch.Tensor
    mean: torch.Tensor
    prior: torch.Tensor

    def __init__(self, head: Neighbours) -> None:
        super().__init__()
        prior = np.clip(head.votes.mean(axis=0, dtype=np.float64), _FLOOR, 1 - _FLOOR)
        stored = {"rows": head.rows, "votes": head.votes, "mean": head.mean, "prior": prior}
        for name, each in stored.items():
            self.register_buffer(name, torch.from_numpy(np.array(each, dtype=np.float32)))
        self.k, self.sharpness, self.link = min(head.k, len(head.rows)), head.sharpness, head.link

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        centred = rows - self.mean
        length = torch.sqrt((centred * centred).sum(dim=1, keepdim=True))
        cosines = (centred / torch.where(length > 0, length, 1.0)) @ self.rows.T
        nearest, places = torch.topk(cosines, self.k, dim=1)
        weights = torch.softmax(self.sharpness * nearest, dim=1)
        shares = (weights[..., None] * self.votes[places]).sum(dim=1)
        if self.link == "identity":
            return shares
        smoothed = (self.k * shares + self.prior) / (self.k + 1)
        return torch.log(smoothed) if self.link == "softmax" else torch.log(smoothed) - torch.log1p(-smoothed)
