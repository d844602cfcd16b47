"""Eight bits for onnxruntime: weights by channel and activations, calibrated on real samples, by onnxruntime's own quantisation."""

import importlib
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.backbones.exported import PROBABILITIES, ROWS, ExportedBackbone, given
from headstart.backbones.runtimes import INT8
from headstart.compression.method import Candidate, Method, Source, no_network
from headstart.core.errors import ExportError, ExtraMissing, gist
from headstart.exporting.directory import lay_out
from headstart.exporting.onnx import PLUGIN as ONNX
from headstart.exporting.onnx import put_model
from headstart.model.model import Model

if TYPE_CHECKING:
    import onnx

RUNTIME = "onnx"
# Everything that onnxruntime has 8-bit kernels for pays in a network of convolutions; of a transformer only the products with weights do.
_PRODUCTS = ("MatMul", "Gemm", "Conv")
# A vision transformer has one convolution, its stem, and a network of sound two or three; a network with this many lives by them.
_CONVOLUTIONS = 8


class Int8Onnx(Method):
    """Post-training quantisation, static: a graph that any machine with onnxruntime runs, whatever the make of its processor."""

    def refusal(self, source: Source) -> str:
        """It needs onnxruntime and what writes ONNX, and a network of torch."""
        if reason := no_network(source):
            return reason
        try:
            ONNX.check_installed("quantisation")
        except ExtraMissing as error:
            return str(error)
        return ""

    def candidates(self, source: Source) -> Iterator[Candidate]:
        """One."""
        how = f"weights and activations in 8 bits, calibrated on {len(source.views)} views of training samples, the rest in float32, through onnxruntime"
        yield Candidate("int8, onnxruntime", how, source.model, partial(_written, source=source))


PLUGIN = Int8Onnx()


def _written(model: Model, folder: Path, *, source: Source) -> ExportedBackbone:
    from headstart.exporting.tracing import names_of, trace

    quantised = _quantised(trace(model).onnx, source, names_of(model))

    def put(*, told: Mapping[str, str]) -> None:
        put_model(quantised, folder, told=told)

    return lay_out(model, RUNTIME, folder=folder, put=put, precision=INT8)


def _quantised(network: "onnx.ModelProto", source: Source, names: tuple[str, ...]) -> "onnx.ModelProto":
    """The network with its products in 8 bits.

    Raises:
        ExportError: onnxruntime cannot quantise it.
    """
    import onnx

    from headstart.exporting.tracing import quietly

    tools: Any = importlib.import_module("onnxruntime.quantization")
    modality = source.model.modality
    convolutional = sum(node.op_type == "Conv" for node in network.graph.node) >= _CONVOLUTIONS
    with tempfile.TemporaryDirectory() as place, quietly():
        path = Path(place) / "quantised.onnx"
        try:
            tools.quantize_static(
                network,
                path,
                _reader(tools, (given(batch, modality, names=names) for batch in source.batches())),
                op_types_to_quantize=None if convolutional else list(_PRODUCTS),
                per_channel=True,
                activation_type=tools.QuantType.QUInt8,
                weight_type=tools.QuantType.QInt8,
                # 7 bits: where a processor has no units that add in 32 bits, sums of two products of 8 overflow 16, and a model travels.
                reduce_range=True,
                nodes_to_exclude=[*_head(network), *_without_weights(network)],
                extra_options={"QDQOpTypePerChannelSupportToAxis": {"MatMul": 1}},
            )
            return onnx.load(path)
        except Exception as error:  # whatever it raises for a network that it does not know becomes the one sentence
            raise ExportError(f"the network cannot be quantised: {gist(error)}") from error


def _reader(tools: Any, batches: Iterator[Mapping[str, Any]]) -> Any:
    """The batches, as the quantisation asks for them."""

    class Reader(tools.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> Mapping[str, Any] | None:
            return next(batches, None)

    return Reader()


def _without_weights(network: "onnx.ModelProto") -> list[str]:
    """The names of products of two activations: attention, and the mean of several views."""
    weights = {each.name for each in network.graph.initializer}
    products = (node for node in network.graph.node if node.op_type in {"MatMul", "Gemm"})
    return [node.name for node in products if weights.isdisjoint(node.input[:2])]


def _head(network: "onnx.ModelProto") -> list[str]:
    """The names of the nodes between the rows and the probabilities: the head, which is small and decides."""
    makers = {name: node for node in network.graph.node for name in node.output}
    begun, found = {ROWS}, []
    if ROWS in makers and makers[ROWS].op_type == "Identity":  # an output under another name
        begun.update(makers[ROWS].input)
    waiting = [PROBABILITIES]
    while waiting:
        name = waiting.pop()
        if name in begun or name not in makers:
            continue
        begun.update(makers[name].output)
        found.append(makers[name].name)
        waiting += makers[name].input
    return found
