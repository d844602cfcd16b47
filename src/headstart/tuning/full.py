"""All weights, those near the input more slowly: the rate falls by a factor a block."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headstart.core.errors import UsageError
from headstart.tuning.strategy import Strategy, depths

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class FullRecipe:
    """Options of `full`.

    Attributes:
        decay: what the rate is multiplied by for each block further from the output (Howard and Ruder, 2018; 1.0: none).
    """

    decay: float = 0.8


class Full(Strategy):
    """Layer-wise learning-rate decay over all weights."""

    recipe = FullRecipe

    def begin(self, net: "nn.Module", options: Any) -> Mapping[str, float]:
        """Everything is trained."""
        from headstart.backbones.readout import block_paths

        if not 0 < options.decay <= 1:
            raise UsageError(f"full takes a decay above 0 and up to 1, and got {options.decay:g}")
        blocks = block_paths(net)
        return {name: options.decay ** (len(blocks) - depth) for name, depth in depths(net, blocks).items()}


PLUGIN = Full()
