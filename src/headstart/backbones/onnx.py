"""A model in an ONNX file: `onnx:model.onnx`, run by onnxruntime (extra `onnx`); `layer` names an output, or any tensor inside."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.backbones.backbone import Architecture, Backbone, BackboneRequest, CatalogueEntry, Source
from headstart.backbones.graph import Graph, Port, in_batches, layers_of
from headstart.backbones.network import need
from headstart.core.errors import BackboneError, ModelError, UsageError, WeightsMissing, gist
from headstart.core.spec import BackboneSpec

if TYPE_CHECKING:
    import torch

# The one tensor that a saved backbone has: the bytes of the file.
_CONTENT = "onnx"
# How onnxruntime writes the types that headstart prepares.
_TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
}


class OnnxSource(Source):
    """Models in ONNX files: images, texts or recordings, told from the inputs' axes and types.

    A file does not say how it wants its samples prepared: `prepare` does, `{"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}` for images,
    `{"tokenizer": PATH}` for texts, `{"rate": 16000}` for recordings. Sizes that the file fixes are taken from it. An input of bytes gets
    the pixels as they are.

    Its identity is the file's bytes, and they are what a model saves of it. Nothing outside of the file is read.
    """

    def catalogue(self) -> tuple[CatalogueEntry, ...]:
        """Nothing: files have no list."""
        return ()

    def open(self, request: BackboneRequest) -> Backbone:
        """The model of a file, read at an output or at a tensor inside.

        Raises:
            WeightsMissing: there is no such file.
            BackboneError: it is no ONNX model, keeps tensors in other files, or has no such layer.
            ExtraMissing: onnxruntime is not installed.
        """
        path = Path(request.name)
        _libraries(request.name)
        if request.weights is not None:
            raise UsageError(f"onnx:{request.name} holds its weights itself, and got others: leave --weights out")
        if not path.is_file():
            raise WeightsMissing(f"there is no file {request.name}: give the path of a model, such as onnx:model.onnx")
        from headstart.backbones.foreign import open_graph

        graph = _graph(path.name, path.read_bytes(), request.layer)
        return open_graph(graph, request, architecture=Architecture("onnx", path.name, {}, ""))

    def rebuild(
        self,
        architecture: Architecture,
        specs: tuple[BackboneSpec, ...],
        *,
        assets: Mapping[str, bytes],
        tensors: Callable[[], Mapping[str, np.ndarray]],
        module: "torch.nn.Module | None" = None,
    ) -> Backbone:
        """The model that was saved.

        Raises:
            ModelError: the saved bytes are no ONNX model, or are not read as the specs say.
        """
        del module
        _libraries(architecture.name)
        from headstart.backbones.foreign import reopen_graph

        found = tensors()
        if set(found) != {_CONTENT} or found[_CONTENT].dtype != np.uint8:
            raise ModelError(
                f"onnx:{architecture.name} is saved as one tensor of bytes, {_CONTENT}, and got {sorted(found)}"
            )
        try:
            graph = _graph(architecture.name, found[_CONTENT].tobytes(), ",".join(spec.layer for spec in specs))
        except BackboneError as error:
            raise ModelError(str(error)) from error
        return reopen_graph(graph, specs, architecture=Architecture("onnx", architecture.name, {}, ""), assets=assets)


PLUGIN = OnnxSource()


def _libraries(name: str) -> None:
    for library in ("onnx", "onnxruntime"):
        need(library, f"the backbone onnx:{name}", extra="onnx")


@dataclass(frozen=True, eq=False)
class OnnxGraph(Graph):
    """An ONNX file's graph in onnxruntime.

    Attributes:
        session: of onnxruntime, on the CPU.
    """

    title: str
    inputs: tuple[Port, ...]
    layers: tuple[str, ...]
    content: Mapping[str, np.ndarray]
    session: Any
    channels_last: bool = False

    def run(self, inputs: Mapping[str, np.ndarray], names: Sequence[str]) -> Sequence[np.ndarray]:
        """The outputs of these names; where the file fixes the number of samples, in batches of as many."""
        parts = in_batches(inputs, self.inputs[0].shape[0])
        found = [[each[:n] for each in self.session.run(list(names), dict(part))] for part, n in parts]
        return [np.concatenate(each) for each in zip(*found, strict=True)]


def _graph(name: str, content: bytes, layer: str) -> OnnxGraph:
    """The graph of a file's bytes, with the tensors inside that `layer` names among its outputs.

    Raises:
        BackboneError: they are no ONNX model, it keeps tensors in other files, or onnxruntime cannot run it.
    """
    import onnxruntime
    from google.protobuf.message import DecodeError
    from onnx import ValueInfoProto, load_model_from_string

    title = f"onnx:{name}"
    try:
        model = load_model_from_string(content)
    except DecodeError as error:
        raise BackboneError(f"{title} is no whole ONNX model ({error}): export it again") from error
    if any(each.DESCRIPTOR.name == "TensorProto" and each.data_location for each in _messages(model)):
        raise BackboneError(
            f"{title} keeps tensors in other files, which are not read: save it as one file, with  onnx.save(onnx.load(PATH), ONE_FILE)"
        )
    outputs = [each.name for each in model.graph.output if each.type.HasField("tensor_type")]
    inner = [each for node in model.graph.node for each in node.output if each]
    if not outputs:
        raise BackboneError(f"{title} has no output that is a tensor, and rows are read from one")
    asked = [each for each in layers_of(layer) if each in inner and each not in outputs]
    model.graph.output.extend(ValueInfoProto(name=each) for each in asked)
    options = onnxruntime.SessionOptions()
    # Threads that spin while they wait hold up the decoding beside them.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # whatever onnxruntime raises for a graph that it cannot run becomes the one sentence
        raise BackboneError(f"onnxruntime cannot run {title}: {gist(error)}") from error
    ports = [Port(each.name, _TYPES.get(each.type, each.type), _lengths(each.shape)) for each in session.get_inputs()]
    kept = {_CONTENT: np.frombuffer(content, dtype=np.uint8)}
    return OnnxGraph(title, tuple(ports), tuple(dict.fromkeys([*outputs, *inner])), kept, session)


def _lengths(shape: Sequence[object]) -> tuple[int | None, ...]:
    return tuple(length if isinstance(length, int) and length > 0 else None for length in shape)


def _messages(message: Any) -> Iterator[Any]:
    """A protobuf message and all that it holds: tensors lie in initialisers, attributes, functions and graphs within graphs."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in [value] if hasattr(value, "ListFields") else value:
                yield from _messages(each)
