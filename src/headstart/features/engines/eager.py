"""Runs the backbone as it is, batch by batch: on the CPU, on CUDA, on Apple's GPU."""

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float

from headstart.backbones.backbone import Backbone
from headstart.backbones.network import NetworkBackbone
from headstart.data.preparation import Batch
from headstart.features.engine import Engine
from headstart.features.sessions import Sessions


class Eager(Engine):
    """The plain way, which other engines are checked against."""

    def __init__(self) -> None:
        self._placed: Sessions[NetworkBackbone] = Sessions()

    def refusal(self, backbone: Backbone) -> str:  # noqa: ARG002  (it runs them all)
        """It runs every backbone."""
        return ""

    def run(self, backbone: Backbone, batches: Iterable[Batch]) -> Iterator[tuple[Float[np.ndarray, "n d"], ...]]:
        """Rows of each batch in order."""
        if isinstance(backbone, NetworkBackbone) and (kind := _kind()) != "cpu":
            yield from map(self._moved(backbone, kind).embed, batches)
            return
        for batch in batches:
            yield backbone.embed(batch)

    def _moved(self, backbone: NetworkBackbone, kind: str) -> NetworkBackbone:
        return self._placed.of(backbone, lambda: backbone.placed(kind))


PLUGIN = Eager()


def _kind() -> str:
    from headstart.backbones.precision import device

    return device().kind
