"""Eight bits: weights by channel and activations, calibrated on real samples, by NNCF for OpenVINO."""

import contextlib
import importlib
import importlib.util
import io
import logging
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from headstart.backbones.exported import PROBABILITIES, ROWS, ExportedBackbone, given
from headstart.backbones.precision import BFLOAT16, device
from headstart.backbones.runtimes import INT8, INT8_BFLOAT16
from headstart.compression.half import RUNTIME
from headstart.compression.method import Candidate, Method, Source, no_network
from headstart.core.errors import ExportError, ExtraMissing, gist
from headstart.exporting.directory import lay_out
from headstart.exporting.openvino import converted, put_model
from headstart.model.model import Model


class Int8(Method):
    """Post-training quantisation. Convolutions and products take 8-bit numbers; the head, which is small and decides, stays as it is."""

    def refusal(self, source: Source) -> str:
        """It needs NNCF, and a network of torch."""
        if reason := no_network(source):
            return reason
        if importlib.util.find_spec("nncf") is None:
            return str(ExtraMissing.of("nncf", "compress", purpose="quantisation"))
        return ""

    def candidates(self, source: Source) -> Iterator[Candidate]:
        """What is not quantised in float32, or in bfloat16 where the processor has the units."""
        for precision, beside in ((INT8, "float32"), (INT8_BFLOAT16, "bfloat16")):
            if beside == BFLOAT16 and BFLOAT16 not in device().units:
                continue
            how = f"weights and activations in 8 bits, calibrated on {len(source.views)} views of training samples, the rest in {beside}, through OpenVINO"
            yield Candidate(precision, how, source.model, partial(written, source=source, precision=precision))


PLUGIN = Int8()


def written(model: Model, folder: Path, *, source: Source, precision: str) -> ExportedBackbone:
    """A model's network with its products in 8 bits.

    Args:
        model: with the head that goes into the graph.
        folder: where.
        source: whose views calibrate, as the network's own preparation makes them.
        precision: `int8`, or `int8+bfloat16` for what else there is.

    Raises:
        ExportError: it cannot be quantised.
    """
    from headstart.exporting.tracing import names_of, trace

    quantised = _quantised(converted(trace(model)), source, names_of(model))

    def put(*, told: Mapping[str, str]) -> None:
        put_model(quantised, folder, told=told)

    return lay_out(model, RUNTIME, folder=folder, put=put, precision=precision)


def _quantised(network: Any, source: Source, names: tuple[str, ...]) -> Any:
    """The network with its products in 8 bits.

    Raises:
        ExportError: NNCF cannot quantise it.
    """
    nncf: Any = importlib.import_module("nncf")
    logging.getLogger("nncf").setLevel(logging.ERROR)
    batches = list(source.batches())
    kind = None if source.model.modality == "image" else nncf.ModelType.TRANSFORMER
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # where it draws bars of its own
            return nncf.quantize(
                network,
                nncf.Dataset(batches, partial(given, modality=source.model.modality, names=names)),
                preset=nncf.QuantizationPreset.MIXED,
                subset_size=len(batches),
                model_type=kind,
                ignored_scope=nncf.IgnoredScope(names=_head(network), validate=False),
                # Weights of 7 bits everywhere: without VNNI two products of 8 bits are added in 16, which overflows, and a file travels.
                advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
            )
    except Exception as error:  # whatever it raises for a network that it does not know becomes the one sentence
        raise ExportError(f"the network cannot be quantised: {gist(error)}") from error


def _head(network: Any) -> list[str]:
    """The names of what lies between the rows and the probabilities: the head."""
    found: list[str] = []
    (rows,) = [each for each in network.outputs if ROWS in each.names]
    begin = rows.get_node().input_value(0).get_node().get_friendly_name()
    (end,) = [each for each in network.outputs if PROBABILITIES in each.names]
    waiting, seen = [end.get_node()], {begin}
    while waiting:
        node = waiting.pop()
        for place in range(node.get_input_size()):
            before = node.input_value(place).get_node()
            name = before.get_friendly_name()
            if name not in seen:
                seen.add(name)
                found.append(name)
                waiting.append(before)
    return found
