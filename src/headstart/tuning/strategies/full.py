"""All weights, those near the input more slowly: the rate falls by a factor a block."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headstart.core.errors import UsageError
from headstart.tuning.strategies.strategy import Strategy, depths

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class FullRecipe:
    """Options of `full`.

    Attributes:
        decay: what the rate is multiplied by for each block further from the output (Howard and Ruder, 2018; 1.0: none).
        embeddings: whether tables of embeddings are trained as well. Few texts move the words that they hold and no others, and half the
            weights of a small encoder are words: it saves a sixth of each step to leave them, at the same accuracy on sst2.
    """

    decay: float = 0.8
    embeddings: bool = True


class Full(Strategy):
    """Layer-wise learning-rate decay over all weights."""

    recipe = FullRecipe

    def begin(self, net: "nn.Module", options: Any) -> Mapping[str, float]:
        """Everything is trained, embeddings where they are to be."""
        from torch import nn

        from headstart.backbones.readout import block_paths

        if not 0 < options.decay <= 1:
            raise UsageError(f"full takes a decay above 0 and up to 1, and got {options.decay:g}")
        blocks = block_paths(net)
        tables = {f"{name}.weight" for name, module in net.named_modules() if isinstance(module, nn.Embedding)}
        left = set() if options.embeddings else tables
        return {
            name: options.decay ** (len(blocks) - depth)
            for name, depth in depths(net, blocks).items()
            if name not in left
        }


PLUGIN = Full()
