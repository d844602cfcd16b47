"""The runtimes of graphs in files: what opens one, and runs a batch through it. None of them imports torch, but torch's own."""

import importlib
import importlib.util
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from headstart.backbones.onnx_wire import keeps_elsewhere
from headstart.core.errors import ExtraMissing, ModelError, gist

RUNTIMES = ("onnx", "openvino", "torch")
"""By the name of the format."""

SAFE = ("onnx", "openvino")
"""Those whose files hold a graph and numbers, and nothing that could run: the others are opened only where headstart has just written them."""

INT8, INT8_BFLOAT16 = "int8", "int8+bfloat16"
"""Graphs with products in 8 bits, and what else they hold in float32 or in bfloat16."""

# How OpenVINO calls an arithmetic.
HINTS = {"float32": "f32", "bfloat16": "bf16", INT8: "f32", INT8_BFLOAT16: "bf16"}


class Session(ABC):
    """An opened graph. Several threads may run it at once."""

    names: frozenset[str]

    @abstractmethod
    def run(self, given: Mapping[str, np.ndarray], wanted: Sequence[str]) -> list[np.ndarray]:
        """The outputs of these names for a batch; inputs that the graph does not have are left out."""


def open_session(runtime: str, path: Path, *, precision: str) -> Session:
    """Open a graph.

    Args:
        runtime: one of `RUNTIMES`.
        path: the file.
        precision: the arithmetic; onnxruntime and torch take the file's own.

    Raises:
        ExtraMissing: the runtime is not installed.
        Exception: whatever a runtime raises for a file that it cannot open.
    """
    if runtime == "onnx":
        return OnnxSession(path)
    return OpenVinoSession(path, precision) if runtime == "openvino" else TorchSession(path)


class OnnxSession(Session):
    """onnxruntime, on the CPU."""

    def __init__(self, path: Path) -> None:
        onnxruntime = _installed("onnxruntime")
        options = onnxruntime.SessionOptions()
        # Threads that spin while they wait hold up the decoding beside them.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        # A format of its own, which is not looked through, would otherwise be told from the file's first bytes.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        content = path.read_bytes()
        if keeps_elsewhere(content):
            raise ModelError(f"{path.name} keeps tensors in other files, and a model's graph holds its own")
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.names = frozenset(each.name for each in self._session.get_inputs())

    def run(self, given: Mapping[str, np.ndarray], wanted: Sequence[str]) -> list[np.ndarray]:
        """Run it; what the outputs that are wanted do not need is not computed."""
        found: list[np.ndarray] = self._session.run(list(wanted), {name: given[name] for name in self.names})
        return found


class OpenVinoSession(Session):
    """OpenVINO, on the CPU."""

    def __init__(self, path: Path, precision: str) -> None:
        _installed("openvino", imported=False)
        self._core, self._path, self._precision = openvino_library().Core(), path, precision
        self._read = self._core.read_model(path)
        self.names = frozenset(name for each in self._read.inputs for name in each.names)
        self._places = {name: place for place, each in enumerate(self._read.outputs) for name in each.names}
        self._free: list[Any] = []

    @cached_property
    def _compiled(self) -> Any:
        """Made when it first runs: the engine of the same name compiles its own, and half a second for nothing is much of a server's start.

        Raises:
            ModelError: OpenVINO reads the graph and cannot compile it.
        """
        hints = {"INFERENCE_PRECISION_HINT": HINTS[self._precision], "ENABLE_CPU_PINNING": False}
        try:
            return self._core.compile_model(self._read, "CPU", hints)
        except RuntimeError as error:
            raise ModelError(
                f"the model's graph {self._path.name} cannot be compiled by openvino: {gist(error)}"
            ) from error

    def run(self, given: Mapping[str, np.ndarray], wanted: Sequence[str]) -> list[np.ndarray]:
        """Run it in a request that nobody else uses meanwhile."""
        try:
            request = self._free.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        request.infer({name: given[name] for name in self.names}, share_inputs=True)
        found = [np.array(request.get_output_tensor(self._places[name]).data) for name in wanted]
        self._free.append(request)
        return found


class TorchSession(Session):
    """A program of torch.export."""

    def __init__(self, path: Path) -> None:
        torch = _installed("torch")
        told = {"inputs.txt": ""}
        self._network = torch.export.load(path, extra_files=told).module()
        self._order = [str(name) for name in json.loads(told["inputs.txt"])]
        self.names = frozenset(self._order)

    def run(self, given: Mapping[str, np.ndarray], wanted: Sequence[str]) -> list[np.ndarray]:
        """Run it."""
        import torch

        with torch.inference_mode():
            found = self._network(
                *(torch.from_numpy(np.ascontiguousarray(each)) for each in (given[name] for name in self._order))
            )
        named = dict(zip(("probabilities", "rows"), found, strict=True))
        return [named[name].numpy() for name in wanted]


def _installed(library: str, *, imported: bool = True) -> Any:
    """A runtime's library, which is all that a graph needs: the extras that have one bring what makes graphs as well.

    Raises:
        ExtraMissing: it is not installed.
    """
    if importlib.util.find_spec(library) is None:
        raise ExtraMissing.of(library, "", purpose="this exported model")
    return importlib.import_module(library) if imported else None


def openvino_library() -> Any:
    """OpenVINO, imported without its telemetry, which would report the import over the network."""
    if "openvino" in sys.modules:
        return sys.modules["openvino"]
    name = "openvino_telemetry"
    hidden = name not in sys.modules
    if hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # to import it now is an ImportError, and a stub takes its place
    try:
        return importlib.import_module("openvino")
    finally:
        if hidden:
            del sys.modules[name]
