"""Fitted heads as modules of torch: what tuning trains further, and what exports write."""

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from headstart.heads.fitted import FLOOR, Head, Linear, Mlp, Neighbours


def scores_of(head: Head) -> nn.Module:
    """A fitted head as a module: rows to scores, in float32."""
    if isinstance(head, Linear):
        return linear(head.weight, head.bias)
    return _MlpScores(head) if isinstance(head, Mlp) else _Votes(head)


def linear(weight: Float[np.ndarray, "d k"], bias: Float[np.ndarray, "k"]) -> nn.Linear:
    """A linear layer of a head's weight and bias, in float32."""
    made = nn.Linear(*weight.shape)
    with torch.no_grad():
        made.weight.copy_(torch.from_numpy(np.array(weight.T)))
        made.bias.copy_(torch.from_numpy(np.array(bias)))
    return made


class _MlpScores(nn.Module):
    def __init__(self, head: Mlp) -> None:
        super().__init__()
        self.hidden = nn.ModuleList(linear(layer.weight, layer.bias) for layer in head.hidden)
        self.output = linear(head.weight, head.bias)
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
        prior = np.clip(head.votes.mean(axis=0, dtype=np.float64), FLOOR, 1 - FLOOR)
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
