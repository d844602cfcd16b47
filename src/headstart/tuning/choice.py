"""Which strategy, which rates and how many steps suit a network and data of some size."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from headstart.core import recipes
from headstart.core.errors import UsageError
from headstart.tuning.gate import decide
from headstart.tuning.strategies import STRATEGIES
from headstart.tuning.strategies.strategy import Strategy, depth_of

if TYPE_CHECKING:
    from torch import nn

AUTO = "auto"
"""The strategy that suits the network and the size of the data."""

FEW, SOME = 500, 2000
"""Below so many training samples only what shifts and scales is trained; below so many, adapters."""

# The base rate of full tuning: of networks made of attention, at steps of 64 samples, and of convolutions, at 32; it goes with the root of these.
_ATTENTION, _CONVOLUTION = (2e-4, 64), (1e-3, 32)
# Encoders of so few blocks learn all of them at one rate. Of MiniLM's six, 500 steps came to 0.682 on thucnews, and with 0.8 of the rate a block to
# 0.667; 430 steps on sst2 to 0.895 and 0.890, and on its val part to 0.878 and 0.862.
_SHALLOW = 6
_TRY, _MOST_TRY = 0.1, 0.15
_TRIES = 3
_LEAST_TRY = 20
# Epochs past which more have not helped, by training samples.
_EPOCHS = ((5_000, 20), (20_000, 12), (1 << 62, 8))


@dataclass(frozen=True)
class Chosen:
    """A strategy with its options.

    Attributes:
        strategy: the plug-in.
        options: an instance of its recipe.
        text: the one string form.
    """

    strategy: Strategy
    options: Any
    text: str


def parse(text: str, net: "nn.Module", *, n: int, far: bool = False) -> Chosen:
    """The strategy that a person names, or the one that suits.

    Args:
        text: `auto`, or a recipe such as `lora(rank=8)`.
        net: the network.
        n: training samples.
        far: whether the network hardly knows such data, as a tokenizer that does not know the language tells.

    Raises:
        UsageError: there is no such strategy or option.
    """
    named = check_strategy(text)
    if named is not None:
        return named
    return _chosen(*_suiting(net, n=n, far=far))


def check_strategy(text: str) -> Chosen | None:
    """The strategy that a person names; None for the one that suits.

    Raises:
        UsageError: there is no such strategy or option.
    """
    name, given = recipes.split(text)
    if name != AUTO:
        return _chosen(name, given)
    if given:
        raise UsageError(f"auto takes no options, and got {text}")
    return None


def _chosen(name: str, given: Mapping[str, Any]) -> Chosen:
    strategy = STRATEGIES.get(name)
    options = recipes.build(strategy.recipe, name, options=given)
    return Chosen(strategy, options, recipes.to_string(name, options))


def _suiting(net: "nn.Module", *, n: int, far: bool) -> tuple[str, dict[str, Any]]:
    from headstart.backbones.readout import block_paths

    if far:
        return "full", {"decay": 1.0}
    if n < FEW:
        return "bitfit", {}
    if n < SOME and _attends(net):
        return "lora", {"rank": 8}
    if not _has_words(net):
        return "full", {}
    return "full", ({"decay": 1.0} if len(block_paths(net)) <= _SHALLOW else {}) | {"embeddings": False}


def _has_words(net: "nn.Module") -> bool:
    """Whether it begins with a table of embeddings of tokens."""
    from torch import nn

    return any(isinstance(module, nn.Embedding) for module in net.modules())


def _attends(net: "nn.Module") -> bool:
    """Whether most of the blocks' weights are in linear layers."""
    from torch import nn

    from headstart.backbones.readout import block_paths

    blocks = block_paths(net)
    linear = sum(
        module.weight.numel()
        for name, module in net.named_modules()
        if isinstance(module, nn.Linear) and depth_of(f"{name}.", blocks) > 0
    )
    inside = sum(each.numel() for name, each in net.named_parameters() if depth_of(name, blocks) > 0)
    return 2 * linear > inside


def base_rate(chosen: Chosen, net: "nn.Module", *, batch: int) -> float:
    """The rate in the middle of those that are tried, at steps of so many samples."""
    rate, usual = _ATTENTION if _attends(net) else _CONVOLUTION
    return rate * math.sqrt(batch / usual) * chosen.strategy.rate_factor


def rates(base: float) -> tuple[float, ...]:
    """The rates that are tried."""
    return (base / 3, base, base * 3)


def best_rate(losses: Mapping[float, Float[np.ndarray, "n"]]) -> float:
    """The largest of the rates that are no worse than the best one by more than one standard error of the paired difference.

    Short trials favour small rates, which have less to unlearn by their early end. A rate that is too large is worse by far more than an
    error, or runs away.

    Args:
        losses: by rate, the loss of each sample that chooses after a short try.
    """
    best = min(losses, key=lambda rate: float(losses[rate].mean()))
    gate = {rate: decide(-each, -losses[best]) for rate, each in losses.items()}
    return max(rate for rate, seen in gate.items() if rate == best or not seen.passed)


def batch_size(n: int, modality: str) -> int:
    """Samples of a step: texts are short, and twice as many of them take one and a half times as long."""
    if n < 1000:
        return 16
    return 64 if modality == "text" and n >= SOME else 32


def steps_within(seconds: float, *, per_step: float, n: int, batch: int) -> tuple[int, int]:
    """How long the long training and each try are.

    Args:
        seconds: for all steps together.
        per_step: seconds of one.
        n: training samples.
        batch: samples of a step.

    Returns:
        Steps of the long one and of each try, which is 0 where there is no time for tries.

    Raises:
        UsageError: there is no time for a single step.
    """
    affordable = int(seconds / per_step)
    if affordable < 1:
        raise UsageError(
            f"a step takes {per_step:.2g} s and {max(seconds, 0.0):.2g} s of the budget are left for steps: give a longer --budget"
        )
    epochs = next(most for limit, most in _EPOCHS if n < limit)
    most = max(1, epochs * n // batch)
    tries = try_steps(min(most, int(affordable / (1 + _TRIES * _TRY))), n=n, batch=batch)
    return max(1, min(most, affordable - _TRIES * tries)), tries


def try_steps(steps: int, *, n: int, batch: int) -> int:
    """Steps of a try beside a long training of so many: a tenth of them and at least an epoch; 0 where that is too large a share of it.

    A try of less than an epoch tells how much a rate disturbs what is there, not how well it learns. On sst2 tries of a quarter of an epoch
    and of a half both chose the smallest rate, whose long training came to 0.870, and the middle one's to 0.89.
    """
    wanted = max(_LEAST_TRY, int(_TRY * steps), -(-n // batch))
    return wanted if wanted <= _MOST_TRY * steps else 0
