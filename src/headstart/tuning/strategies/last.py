"""The last blocks and what follows them; everything before stays as it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headstart.core.errors import UsageError
from headstart.tuning.strategies.strategy import Strategy, depths

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class LastRecipe:
    """Options of `last`.

    Attributes:
        blocks: how many blocks are trained, counted from the output.
        decay: what the rate is multiplied by for each block further from the output.
    """

    blocks: int = 1
    decay: float = 0.8


class Last(Strategy):
    """The blocks nearest to the output."""

    recipe = LastRecipe

    def begin(self, net: "nn.Module", options: Any) -> Mapping[str, float]:
        """The parameters of the last blocks, and those after them."""
        from headstart.backbones.readout import block_paths

        blocks = block_paths(net)
        if not blocks:
            raise UsageError(f"{type(net).__name__} has no list of blocks, of which last could train some: use full")
        if not 0 < options.blocks <= len(blocks):
            raise UsageError(f"last takes 1 to {len(blocks)} blocks of this network, and got {options.blocks}")
        if not 0 < options.decay <= 1:
            raise UsageError(f"last takes a decay above 0 and up to 1, and got {options.decay:g}")
        least = len(blocks) - options.blocks
        return {
            name: options.decay ** (len(blocks) - depth) for name, depth in depths(net, blocks).items() if depth > least
        }


PLUGIN = Last()
