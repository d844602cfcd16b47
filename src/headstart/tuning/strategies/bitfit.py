"""Biases and the weights of normalisations: one number in a thousand (Ben Zaken et al., 2022)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from headstart.core.errors import UsageError
from headstart.tuning.strategies.strategy import Strategy

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class BitfitRecipe:
    """`bitfit` has no options."""


class Bitfit(Strategy):
    """What shifts and scales: few numbers, which can move fast."""

    recipe = BitfitRecipe
    rate_factor: ClassVar[float] = 10.0

    def begin(self, net: "nn.Module", options: Any) -> Mapping[str, float]:
        """Every parameter with one axis."""
        del options
        chosen = {name: 1.0 for name, each in net.named_parameters() if each.dim() <= 1}
        if not chosen:
            raise UsageError(
                f"{type(net).__name__} has neither biases nor normalisations, which bitfit trains: use full"
            )
        return chosen


PLUGIN = Bitfit()
