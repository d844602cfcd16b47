"""Half precision: the same network in bfloat16, where the processor has units for it."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from headstart.backbones.exported import ExportedBackbone
from headstart.backbones.precision import BFLOAT16, FLOAT32, device
from headstart.compression.method import Candidate, Method, Source, no_network
from headstart.exporting import FORMATS
from headstart.exporting.directory import lay_out
from headstart.model.model import Model

RUNTIME = "openvino"
ENGINES = {"openvino": "OpenVINO", "onnx": "onnxruntime"}
"""By the runtime of an export, the engine that it is measured through."""


class Half(Method):
    """OpenVINO in bfloat16. The file is that of float32: the processor rounds as it multiplies."""

    def refusal(self, source: Source) -> str:
        """Only networks of torch are written, and only some processors have the units."""
        return no_network(source) or ("" if narrowest() == BFLOAT16 else "this processor has no units for bfloat16")

    def candidates(self, source: Source) -> Iterator[Candidate]:
        """One."""
        yield Candidate("bfloat16", "the whole network in bfloat16, through OpenVINO", source.model, written)


PLUGIN = Half()


def narrowest() -> str:
    """What candidates of several methods are run in: bfloat16 where the processor has the units for it, else float32."""
    return BFLOAT16 if BFLOAT16 in device().units else FLOAT32


def quickest(source: Source) -> tuple[str, str]:
    """That precision, and the runtime for it: in float32 the one that is quicker for the model itself."""
    precision = narrowest()
    return precision, source.runtime() if precision == FLOAT32 else RUNTIME


def written(model: Model, folder: Path, *, precision: str = BFLOAT16, runtime: str = RUNTIME) -> ExportedBackbone:
    """A model's network as a runtime runs it at a precision; only OpenVINO has others than float32."""
    from headstart.exporting.tracing import trace

    put = partial(FORMATS.get(runtime).write, trace(model), folder)
    return lay_out(model, runtime, folder=folder, put=put, precision=precision)
