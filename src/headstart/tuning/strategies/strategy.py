"""What a strategy of tuning decides: which parameters of a network are trained, at which share of the rate, and what is folded at the end."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from torch import nn


class Strategy(ABC):
    """A plug-in of `tuning`. It has no state: a strategy with its options is a recipe, such as `lora(rank=16)`.

    Attributes:
        recipe: the frozen dataclass of its options; every one has a default.
        rate_factor: what the base rate of full tuning is multiplied by.
    """

    recipe: ClassVar[type[Any]]
    rate_factor: ClassVar[float] = 1.0

    @abstractmethod
    def begin(self, net: "nn.Module", options: Any) -> Mapping[str, float]:
        """Put in whatever the strategy adds, and say what is trained.

        Args:
            net: the network, all of it frozen; changed in place.
            options: an instance of `recipe`.

        Returns:
            By the names of the parameters that are trained, the share of the base rate that each moves at.

        Raises:
            UsageError: the network has nothing that the strategy could train, or the options do not fit it.
        """

    def end(self, net: "nn.Module") -> None:  # noqa: B027  (most strategies add nothing)
        """Fold what `begin` put in, so that the network has its own parameters again and no others."""


def depth_of(name: str, blocks: Sequence[str]) -> int:
    """How deep a parameter lies: 0 before the first block, 1 to k in the k blocks, k after them.

    Args:
        name: of the parameter.
        blocks: the module paths of the network's blocks, first to last.
    """
    for number, block in enumerate(blocks, 1):
        if name.startswith(f"{block}."):
            return number
    return -1


def depths(net: "nn.Module", blocks: Sequence[str]) -> dict[str, int]:
    """The depth of every parameter. What lies outside the blocks counts as before them until the first block was met, then as after."""
    found: dict[str, int] = {}
    met = 0
    for name, _ in net.named_parameters():
        inside = depth_of(name, blocks)
        met = max(met, inside)
        found[name] = inside if inside > 0 else (len(blocks) if met else 0)
    return found
