"""Networks as OpenVINO takes them: those of torch, traced and kept on disk, and those that were exported."""

import contextlib
import functools
import json
import os
import re
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from headstart.backbones.exported import LENGTHS, ROWS, VALUES, ExportedBackbone
from headstart.backbones.network import NetworkBackbone, as_tensor
from headstart.backbones.runtimes import openvino_library
from headstart.core.digests import of_text, sha256_file
from headstart.core.errors import BackboneError, CacheError
from headstart.core.files import cache_root, whole_directory
from headstart.data.preparation import Batch

# Raise it when this file makes another graph from the same network.
_VERSION = 1
_SEED = 7
_FILES = ("model.xml", "model.bin")
# What a tracer says of numbers that it takes for constants; that it follows one branch only, it says too, and that is seldom wrong.
FROZEN = re.compile(r"Converting a tensor to a Python (integer|float|number|index|list)")


Runnable = NetworkBackbone | ExportedBackbone


class Graph(ABC):
    """A network as OpenVINO takes it. It holds no backbone: what is kept for a network must not keep it alive."""

    @abstractmethod
    def read(self, backbone: Any, *, core: Any, batch: int) -> Any:
        """The model, not compiled yet.

        Args:
            backbone: whose graph this is.
            core: of OpenVINO.
            batch: samples of one shape that a batch has room for; -1 for any number of one shape, 0 for any number of any shape.
        """

    @abstractmethod
    def inputs(self, backbone: Any, batch: Batch, *, room: int) -> dict[Any, np.ndarray]:
        """A batch as its inputs, filled up to so many samples."""

    @abstractmethod
    def rows(self, request: Any, n: int) -> tuple[np.ndarray, ...]:
        """The first n rows of each spec, copied out of a request that has ended."""


def graph_of(backbone: Runnable) -> Graph:
    """The graph of a backbone, made where it is not there yet."""
    return Shipped.of(backbone) if isinstance(backbone, ExportedBackbone) else Traced.of(backbone)


@dataclass(frozen=True)
class Shipped(Graph):
    """The graph of an export.

    Attributes:
        path: where it lies.
        ends: where each spec's rows begin, but for the first.
    """

    path: Path
    ends: tuple[int, ...]

    @classmethod
    def of(cls, backbone: ExportedBackbone) -> "Shipped":
        """That of a backbone."""
        ends = np.cumsum([spec.dim for spec in backbone.specs])[:-1]
        return cls(backbone.folder / backbone.graph.files[0], tuple(map(int, ends)))

    def read(self, backbone: Any, *, core: Any, batch: int) -> Any:
        """Read it from where it lies."""
        model = core.read_model(self.path)
        if batch:
            model.reshape({VALUES[backbone.preparation.modality]: [batch, *_view(backbone).shape]})
        return model

    def inputs(self, backbone: Any, batch: Batch, *, room: int) -> dict[Any, np.ndarray]:
        """By name."""
        given = backbone.given(Batch(_filled(batch.values, room), _filled(batch.lengths, room)))
        return {name: np.ascontiguousarray(each) for name, each in given.items()}

    def rows(self, request: Any, n: int) -> tuple[np.ndarray, ...]:
        """Of the output `rows`."""
        return tuple(np.split(request.get_tensor(ROWS).data[:n].astype(np.float32), self.ends, axis=1))


@dataclass(frozen=True)
class Traced(Graph):
    """A network of torch, traced.

    Attributes:
        folder: of the artefact.
        names: its inputs in order, of `values` and `lengths`; one that the network does not use is not there.
    """

    folder: Path
    names: tuple[str, ...]

    @classmethod
    def of(cls, backbone: NetworkBackbone) -> "Traced":
        """From the artefact on disk, or from a new one.

        Raises:
            CacheError: something else writes there.
        """
        folder = folder_of(backbone)
        # What a person's own module calls is no part of its identity: its graph is never taken from an earlier process.
        names = None if backbone.specs[0].source == "torch" else _intact(folder)
        if names is None:
            _convert(backbone, folder)
            names = _intact(folder)
        if names is None:
            raise CacheError(f"the compiled network in {folder} was damaged twice: something else writes there")
        with contextlib.suppress(OSError):  # a cache that is not ours to write
            os.utime(folder)  # what is used stays when the cache is pruned by age
        return cls(folder, names)

    def read(self, backbone: Any, *, core: Any, batch: int) -> Any:
        """Read it from the disk."""
        model = core.read_model(self.folder / _FILES[0])
        if batch:
            model.reshape(_shapes(backbone, self.names, batch))
        return model

    def inputs(self, backbone: Any, batch: Batch, *, room: int) -> dict[Any, np.ndarray]:
        """By place; the front is run here, in torch and in float32."""
        import torch

        with torch.inference_mode():
            front = backbone.module.front(as_tensor(batch.values), as_tensor(batch.lengths)).numpy()
        given = {"values": front, LENGTHS: batch.lengths}
        return {place: np.ascontiguousarray(_filled(given[name], room)) for place, name in enumerate(self.names)}

    def rows(self, request: Any, n: int) -> tuple[np.ndarray, ...]:
        """Of all outputs in order."""
        return tuple(tensor.data[:n].astype(np.float32) for tensor in request.output_tensors)


def _filled(array: np.ndarray, n: int) -> np.ndarray:
    """The array with its first axis filled up to n by repeating its first row."""
    missing = n - len(array)
    return array if missing <= 0 else np.concatenate([array, np.repeat(array[:1], missing, axis=0)])


def _view(backbone: Runnable) -> np.ndarray:
    view: np.ndarray = backbone.preparation.probes(1, _SEED).values[0]
    return view


def full_batch(backbone: Runnable) -> int:
    """Samples that fill a batch of the preparation's budget."""
    return max(1, int(1.0 / backbone.preparation.cost(_view(backbone)) + 1e-9))


def folder_of(backbone: NetworkBackbone) -> Path:
    """Where the artefact of a backbone lies. Its name hangs on all that decides the graph."""
    parts = [spec.fingerprint for spec in backbone.specs]
    parts += [str(_VERSION), *_versions()]
    return cache_root() / "engines" / "openvino" / of_text("\n".join(parts)).hex()


@functools.cache
def _versions() -> tuple[str, ...]:
    """Those of the libraries that decide a graph, as far as they are installed."""
    found = []
    for name in ("openvino", "torch", "timm", "transformers"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append(f"{name} {metadata.version(name)}")
    return tuple(found)


def _shapes(backbone: NetworkBackbone, names: tuple[str, ...], batch: int) -> dict[int, list[int]]:
    """Fixed shapes of the inputs, at which EfficientNet-Lite0 in bfloat16 is 8 % faster than at open ones (float32: 1 %)."""
    shapes = {"values": [batch, *_view(backbone).shape], LENGTHS: [batch]}
    return {place: shapes[name] for place, name in enumerate(names)}


def _convert(backbone: NetworkBackbone, folder: Path) -> None:
    """Trace the network with a batch of its own probes and write the graph.

    OpenVINO's front end is called directly: its `convert_model` would report its use over the network.
    """
    ov = openvino_library()
    import torch
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    class Body(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.readout = backbone.module

        def forward(self, values: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return self.readout.body(values, lengths)

    probes = backbone.preparation.probes(3, _SEED)
    values, lengths = as_tensor(probes.values), as_tensor(probes.lengths)
    with warnings.catch_warnings(record=True) as said, torch.no_grad():
        warnings.simplefilter("always")
        front = backbone.module.front(values, lengths)
        decoder = TorchScriptPythonDecoder(Body().eval(), example_input=(front, lengths))
        frontend: Any = FrontEndManager().load_by_framework("pytorch")
        model: Any = frontend.convert(frontend.load(decoder))
    frozen = [str(each.message) for each in said if FROZEN.search(str(each.message))]
    if frozen and backbone.preparation.modality != "image":
        raise BackboneError(
            "the network takes a number out of its input, which tracing would make a constant of every batch"
        )
    names = [_name(each, front) for each in model.inputs]
    with whole_directory(folder) as making:
        ov.save_model(model, making / "model.xml", compress_to_fp16=False)
        files = {name: sha256_file(making / name) for name in _FILES}
        (making / "graph.json").write_text(json.dumps({"inputs": names, "files": files}), encoding="utf-8")


def _intact(folder: Path) -> tuple[str, ...] | None:
    """The names of the graph's inputs, None where the artefact is not there or is not what was written."""
    try:
        known = json.loads((folder / "graph.json").read_text(encoding="utf-8"))
        whole = all(sha256_file(folder / name) == known["files"][name] for name in _FILES)
        return tuple(known["inputs"]) if whole else None
    except (OSError, ValueError, KeyError):
        return None


def _name(given: Any, front: Any) -> str:
    """Which of our two inputs one of the graph's is, by its rank."""
    return "lengths" if given.partial_shape.rank.get_length() == 1 and front.dim() != 1 else "values"
