"""Which strategy, which rates and how many steps suit a network and data of some size."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headstart.core import recipes
from headstart.core.errors import UsageError
from headstart.tuning import STRATEGIES
from headstart.tuning.strategy import Strategy, depth_of

if TYPE_CHECKING:
    from torch import nn

AUTO = "auto"
"""The strategy that suits the network and the size of the data."""

FEW, SOME = 500, 2000
"""Below so many training samples only what shifts and scales is trained; below so many, adapters."""

# The base rate of full tuning: of networks made of attention, and of convolutions.
_ATTENTION, _CONVOLUTION = 1e-4, 1e-3
_TRY = 0.15
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
    name, given = recipes.split(text)
    if name == AUTO:
        if given:
            raise UsageError(f"auto takes no options, and got {text}")
        name, given = _suiting(net, n=n, far=far)
    strategy = STRATEGIES.get(name)
    options = recipes.build(strategy.recipe, name, options=given)
    return Chosen(strategy, options, recipes.to_string(name, options))


def _suiting(net: "nn.Module", *, n: int, far: bool) -> tuple[str, dict[str, Any]]:
    if far or n >= SOME:
        return "full", {}
    if n < FEW:
        return "bitfit", {}
    return ("lora", {"rank": 8}) if _attends(net) else ("full", {})


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


def base_rate(chosen: Chosen, net: "nn.Module") -> float:
    """The rate in the middle of those that are tried."""
    return (_ATTENTION if _attends(net) else _CONVOLUTION) * chosen.strategy.rate_factor


def rates(base: float) -> tuple[float, ...]:
    """The rates that are tried."""
    return (base / 3, base, base * 3)


def batch_size(n: int) -> int:
    """Samples of a step."""
    return 16 if n < 1000 else 32


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
    steps = min(most, int(affordable / (1 + _TRIES * _TRY)))
    tries = try_steps(steps)
    return (steps, tries) if tries else (max(1, min(most, affordable)), 0)


def try_steps(steps: int) -> int:
    """Steps of a try beside a long training of so many; 0 where they would be too few to tell."""
    tries = int(_TRY * steps)
    return tries if tries >= _LEAST_TRY else 0
