"""A network that another framework runs, as a function over arrays: what it takes, what can be read of it, what rebuilds it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from headstart.backbones.backbone import EVERY
from headstart.core.errors import BackboneError


@dataclass(frozen=True)
class Port:
    """An input of a graph.

    Attributes:
        name: in the graph.
        dtype: as NumPy calls it.
        shape: the length of every axis, None where it is free; the first is that of samples.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]


class Graph(ABC):
    """A network as a function over arrays.

    Attributes:
        title: what a person calls it, such as `onnx:model.onnx`.
        inputs: what it takes.
        layers: the names of what can be read, the one that is read by default first.
        content: all that rebuilds it, by name: it is saved with a model, and its digest is the backbone's identity.
        channels_last: how pixels lie where the input's shape does not tell: (n, h, w, 3), else (n, 3, h, w).
    """

    title: str
    inputs: tuple[Port, ...]
    layers: tuple[str, ...]
    content: Mapping[str, np.ndarray]
    channels_last: bool

    @abstractmethod
    def run(self, inputs: Mapping[str, np.ndarray], names: Sequence[str]) -> Sequence[np.ndarray]:
        """The outputs of these names for the inputs of one batch."""


def layers_of(layer: str) -> tuple[str, ...]:
    """The layers that a person names, each once, the empty name for the default one.

    Raises:
        BackboneError: every block is wanted of what has no list of blocks.
    """
    if layer == EVERY:
        raise BackboneError("a graph has no list of blocks to scan: name layers with --layer")
    return tuple(dict.fromkeys(part.strip() for part in layer.split(",")))


def in_batches(inputs: Mapping[str, np.ndarray], size: int | None) -> list[tuple[Mapping[str, np.ndarray], int]]:
    """The inputs in pieces of exactly `size` samples, each with how many of them count: the last is filled up with its last sample."""
    n = len(next(iter(inputs.values())))
    if size is None or n == size:
        return [(inputs, n)]
    places = np.minimum(np.arange(-(-n // size) * size), n - 1)
    return [
        ({name: array[places[at : at + size]] for name, array in inputs.items()}, min(size, n - at))
        for at in range(0, n, size)
    ]
