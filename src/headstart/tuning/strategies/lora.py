"""Low-rank adapters on every linear layer of the blocks, by peft, folded into the weights at the end (Hu et al., 2022)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from headstart.core.errors import UsageError
from headstart.tuning.strategies.strategy import Strategy, depth_of

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class LoraRecipe:
    """Options of `lora`.

    Attributes:
        rank: of the adapters.
        scale: alpha in units of the rank: 2.0 stands for alpha = 2 rank.
    """

    rank: int = 16
    scale: float = 2.0


class Lora(Strategy):
    """Adapters that begin at zero, so that nothing changes before the first step."""

    recipe = LoraRecipe
    rate_factor: ClassVar[float] = 10.0

    def begin(self, net: "nn.Module", options: Any) -> Mapping[str, float]:
        """Put adapters on the linear layers of the blocks; they alone are trained."""
        from peft import LoraConfig, inject_adapter_in_model
        from torch import nn

        from headstart.backbones.readout import block_paths

        if options.rank < 1:
            raise UsageError(f"lora takes a rank of at least 1, and got {options.rank}")
        blocks = block_paths(net)
        names = [
            name
            for name, module in net.named_modules()
            if isinstance(module, nn.Linear) and depth_of(f"{name}.", blocks) > 0
        ]
        if not names:
            raise UsageError(f"{type(net).__name__} has no linear layers in blocks, which lora adapts: use full")
        config = LoraConfig(r=options.rank, lora_alpha=options.rank * options.scale, target_modules=names, bias="none")
        inject_adapter_in_model(config, net)
        return {name: 1.0 for name, _ in net.named_parameters() if ".lora_" in name}

    def end(self, net: "nn.Module") -> None:
        """Add the product of each pair of adapters to its weight, in float32, and take the adapters out."""
        from peft.tuners.lora import LoraLayer

        for name, module in list(net.named_modules()):
            if isinstance(module, LoraLayer):
                module.merge(safe_merge=True)
                parent, _, child = name.rpartition(".")
                setattr(net.get_submodule(parent), child, module.get_base_layer())


PLUGIN = Lora()
