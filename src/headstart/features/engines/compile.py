"""Runs what torch.compile makes of the network: worth its minutes only for long runs, where nothing faster is installed."""

import os
import shutil
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

from headstart.backbones.backbone import Backbone
from headstart.backbones.network import NetworkBackbone
from headstart.backbones.precision import device
from headstart.core.files import cache_root
from headstart.data.preparation import Batch
from headstart.features.engine import Engine
from headstart.features.sessions import Sessions

# Seconds that generating and compiling code takes on a CPU, from nothing.
_COMPILING = 60.0


class Compile(Engine):
    """torch.compile with its default backend, which needs a C++ compiler on a CPU. Generated code is kept in the cache folder."""

    starts_at_once = False

    def __init__(self) -> None:
        self._compiled: Sessions[NetworkBackbone] = Sessions()

    def refusal(self, backbone: Backbone) -> str:
        """It needs a torch network, and on a CPU a C++ compiler."""
        if not isinstance(backbone, NetworkBackbone):
            return "it runs networks of torch"
        compiler = os.environ.get("CXX", "") or next(
            (name for name in ("g++", "clang++", "cl") if shutil.which(name)), ""
        )
        if device().kind == "cpu" and not compiler:
            return "no C++ compiler is installed"
        return "" if device().kind != "mps" else "it is not used on Apple's GPU"

    def gain(self, backbone: Backbone) -> float:  # noqa: ARG002  (no figure to tell networks apart by)
        """A cautious figure on a CPU; elsewhere it is taken only by name, until it has been measured."""
        return 1.3 if device().kind == "cpu" else 1.0

    def setup(self, backbone: Backbone) -> float:
        """A minute, or nothing where it is ready in this process."""
        assert isinstance(backbone, NetworkBackbone)
        return 0.0 if self._compiled.ready(backbone) else _COMPILING

    def run(self, backbone: Backbone, batches: Iterable[Batch]) -> Iterator[tuple[Float[np.ndarray, "n d"], ...]]:
        """Rows of each batch in order."""
        assert isinstance(backbone, NetworkBackbone)
        compiled = self._compiled.of(backbone, lambda: _compiled(backbone))
        for batch in batches:
            yield compiled.embed(batch)


PLUGIN = Compile()


def _compiled(backbone: NetworkBackbone) -> NetworkBackbone:
    import torch

    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_root() / "engines" / "compile"))
    placed = backbone.placed(device().kind)
    module: Any = placed.module
    module.body = torch.compile(module.body)
    return placed
