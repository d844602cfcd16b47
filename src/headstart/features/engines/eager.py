"""Runs the backbone as it is, batch by batch: on the CPU, on CUDA, on Apple's GPU."""

from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
from jaxtyping import Float

from headstart.backbones.backbone import Backbone
from headstart.backbones.network import NetworkBackbone
from headstart.backbones.precision import FLOAT32, device
from headstart.data.preparation import Batch
from headstart.features.engine import Engine
from headstart.features.sessions import Sessions


class Eager(Engine):
    """The plain way, which other engines are checked against."""

    def __init__(self) -> None:
        self._placed: Sessions[NetworkBackbone | None] = Sessions()

    def refusal(self, backbone: Backbone) -> str:  # noqa: ARG002  (it runs them all)
        """It runs every backbone."""
        return ""

    def run(self, backbone: Backbone, batches: Iterable[Batch]) -> Iterator[tuple[Float[np.ndarray, "n d"], ...]]:
        """Rows of each batch in order."""
        given = iter(batches)
        for first in given:
            ready = self._ready(backbone, first) if isinstance(backbone, NetworkBackbone) else backbone
            yield from map(ready.embed, chain([first], given))

    def _ready(self, backbone: NetworkBackbone, batch: Batch) -> NetworkBackbone:
        """The network on the device at hand, or with its weights cast once where its rows are the same to the last bit."""
        if (kind := device().kind) != "cpu":
            return self._placed.of(backbone, lambda: backbone.placed(kind)) or backbone
        if backbone.specs[0].precision == FLOAT32:
            return backbone
        return (
            self._placed.of(backbone, lambda: _cast(backbone, Batch(batch.values[:1], batch.lengths[:1]))) or backbone
        )


PLUGIN = Eager()


def _cast(backbone: NetworkBackbone, batch: Batch) -> NetworkBackbone | None:
    """The copy with its weights cast; None where it does not give the same rows of this batch: all engines are checked against these."""
    copied = backbone.cast()
    return copied if all(map(np.array_equal, copied.embed(batch), backbone.embed(batch))) else None
