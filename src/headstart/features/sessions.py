"""What an engine made ready for a network, kept as long as the network is."""

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from headstart.backbones.backbone import TorchBackbone

if TYPE_CHECKING:
    import torch

S = TypeVar("S")


class Sessions(Generic[S]):
    """One value for each network and precision. It holds no network alive."""

    def __init__(self) -> None:
        self._kept: weakref.WeakKeyDictionary[torch.nn.Module, dict[str, S]] = weakref.WeakKeyDictionary()

    def ready(self, backbone: TorchBackbone) -> bool:
        """Whether there is one."""
        return backbone.specs[0].precision in self._kept.get(backbone.module, {})

    def of(self, backbone: TorchBackbone, make: Callable[[], S]) -> S:
        """The value for the backbone, made where there is none."""
        kept = self._kept.setdefault(backbone.module, {})
        precision = backbone.specs[0].precision
        if precision not in kept:
            kept[precision] = make()
        return kept[precision]

    def drop(self, backbone: TorchBackbone) -> None:
        """Forget the value for the backbone."""
        self._kept.get(backbone.module, {}).pop(backbone.specs[0].precision, None)
