"""The network that is tuned: a backbone's own readout, then the fitted head as a linear layer."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import nn

from headstart.backbones.network import NetworkBackbone
from headstart.backbones.readout import Readout
from headstart.core import digests
from headstart.core.errors import UsageError
from headstart.heads.fitted import Linear
from headstart.heads.modules import linear
from headstart.tuning.strategies.strategy import Strategy


class Classifier(nn.Module):
    """From a prepared batch to scores.

    It begins as the frozen model: the same readout with the same weights, and the fitted head, so that no step changes nothing.
    """

    def __init__(self, readout: Readout, head: Linear, *, match: Float[np.ndarray, "d1 e"] | None = None) -> None:
        super().__init__()
        self.readout = readout
        self.head = linear(head.weight, head.bias)
        self.match = None if match is None else linear(match[:-1], match[-1])

    def forward(self, values: torch.Tensor, lengths: Int[torch.Tensor, " n"]) -> Float[torch.Tensor, "n ke"]:
        """Scores in float32, whatever precision the network runs in, and after them the rows' map where there is one."""
        rows = torch.cat([row.float() for row in self.readout(values, lengths)], dim=1)
        with torch.autocast(values.device.type, enabled=False):
            scores: torch.Tensor = self.head(rows)
            return scores if self.match is None else torch.cat([scores, self.match(rows)], dim=1)

    @property
    def net(self) -> nn.Module:
        """The backbone's network."""
        return self.readout.feed.net


@dataclass(frozen=True)
class State:
    """The weights of a classifier, as arrays of the network's own names and the head.

    Attributes:
        net: by name in the network's state dict.
        weight: (d, k) of the head.
        bias: (k,) of the head.
    """

    net: Mapping[str, torch.Tensor]
    weight: torch.Tensor
    bias: torch.Tensor

    @classmethod
    def of(cls, classifier: Classifier) -> "State":
        """A copy of what it holds now, on the CPU."""
        net = {name: each.detach().cpu().clone() for name, each in classifier.net.state_dict().items()}
        weight, bias = classifier.head.weight.detach().cpu().T.clone(), classifier.head.bias.detach().cpu().clone()
        return cls(net, weight, bias)

    def towards(self, other: "State", share: float) -> "State":
        """The point on the straight line between two sets of weights: 0 is this one, 1 the other (Wortsman et al., 2022)."""

        def between(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return torch.lerp(a, b, share) if a.is_floating_point() else b

        net = {name: between(each, other.net[name]) for name, each in self.net.items()}
        return State(net, between(self.weight, other.weight), between(self.bias, other.bias))

    def linear(self, link: str) -> Linear:
        """The head."""
        return Linear(self.weight.numpy().astype(np.float32), self.bias.numpy().astype(np.float64), link)

    def backbone(self, frozen: NetworkBackbone) -> NetworkBackbone:
        """The backbone with these weights in its network: a backbone of its own, with specs that say so."""
        module = copy.deepcopy(frozen.module)
        module.feed.net.load_state_dict(dict(self.net), strict=True)
        identity = digests.of_tensors({name: each.numpy() for name, each in self.net.items()})
        specs = tuple(replace(spec, weights=identity) for spec in frozen.specs)
        return replace(frozen, module=module, specs=specs)


_DROPS = {"drop_prob", "layerdrop"}


@dataclass(frozen=True)
class Trainable:
    """What a strategy made of a classifier.

    Attributes:
        classifier: changed in place.
        shares: by the names of the trained parameters of the network, the share of the base rate.
        frozen: the parameters of the frozen network that it is a copy of, by name; nothing changes them.
    """

    classifier: Classifier
    shares: Mapping[str, float]
    frozen: Mapping[str, torch.Tensor] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        frozen: NetworkBackbone,
        head: Linear,
        *,
        strategy: Strategy,
        options: Any,
        match: Float[np.ndarray, "d1 e"] | None = None,
    ) -> "Trainable":
        """A copy of a frozen backbone with its head, and with the map of its rows where they are matched, opened for training.

        Raises:
            UsageError: the strategy finds nothing to train.
        """
        classifier = Classifier(copy.deepcopy(frozen.module), head, match=match)
        classifier.readout.requires_grad_(requires_grad=False)
        shares = strategy.begin(classifier.net, options)
        named = dict(classifier.net.named_parameters())
        shares = {name: share for name, share in shares.items() if named[name].is_floating_point()}
        if not shares:
            raise UsageError("the strategy trains no parameter of this network: use full")
        for name, each in named.items():
            each.requires_grad_(name in shares)
        return cls(classifier, shares, dict(frozen.module.feed.net.named_parameters()))

    def train_mode(self) -> None:
        """As in training, but that batch normalisations keep their statistics, which few samples would spoil, and nothing is dropped out.

        Drawing so many random numbers takes a CPU a quarter of each step, and the way between the frozen weights and the tuned ones
        holds what dropout would.
        """
        self.classifier.train()
        for module in self.classifier.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001  (their common base has no other name)
                module.eval()
            if isinstance(module, nn.modules.dropout._DropoutNd):  # noqa: SLF001  (as above)
                module.p = 0.0
            if isinstance(module, nn.MultiheadAttention):
                module.dropout = 0.0
            for name in _DROPS & vars(module).keys():  # whole blocks or paths, as timm and transformers name that
                setattr(module, name, 0.0)

    def start(self) -> dict[str, torch.Tensor]:
        """What it begins with, by name: the frozen network's own tensors where it still is that, and copies where it is not."""

        def begun(name: str, now: torch.Tensor) -> torch.Tensor:
            known, here = self.frozen.get(name.removeprefix("net.")), now.detach().cpu()
            same = known is not None and known.device == here.device and torch.equal(known, here)
            return known.detach() if known is not None and same else here.clone()

        return {name: begun(name, each) for name, each in self.parameters().items()}

    def parameters(self) -> dict[str, nn.Parameter]:
        """What is trained, by name: `net.` and the network's own names, `head.`, and `match.`."""
        named = dict(self.classifier.net.named_parameters())
        found = {f"net.{name}": named[name] for name in self.shares}
        beside = {"head": self.classifier.head} | (
            {} if self.classifier.match is None else {"match": self.classifier.match}
        )
        for title, module in beside.items():
            found |= {f"{title}.{name}": each for name, each in module.named_parameters()}
        return found
