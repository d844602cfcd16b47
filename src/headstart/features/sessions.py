"""What an engine made ready for a network, kept as long as the network is."""

import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from headstart.backbones.backbone import TorchBackbone
from headstart.backbones.exported import ExportedBackbone

S = TypeVar("S")


class Sessions(Generic[S]):
    """One value for each network and precision. It holds no network alive."""

    def __init__(self) -> None:
        self._kept: weakref.WeakKeyDictionary[Any, dict[str, S]] = weakref.WeakKeyDictionary()

    def ready(self, backbone: TorchBackbone | ExportedBackbone) -> bool:
        """Whether there is one."""
        return backbone.specs[0].precision in self._kept.get(_network(backbone), {})

    def of(self, backbone: TorchBackbone | ExportedBackbone, make: Callable[[], S]) -> S:
        """The value for the backbone, made where there is none."""
        kept = self._kept.setdefault(_network(backbone), {})
        precision = backbone.specs[0].precision
        if precision not in kept:
            kept[precision] = make()
        return kept[precision]

    def drop(self, backbone: TorchBackbone | ExportedBackbone) -> None:
        """Forget the value for the backbone."""
        self._kept.get(_network(backbone), {}).pop(backbone.specs[0].precision, None)


def _network(backbone: TorchBackbone | ExportedBackbone) -> Any:
    """What lives as long as the network does."""
    return backbone.session if isinstance(backbone, ExportedBackbone) else backbone.module
