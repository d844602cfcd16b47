"""OpenVINO: `model.xml` and `model.bin`, the quickest on Intel's and AMD's processors."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.backbones.runtimes import openvino_library
from headstart.core.errors import ExportError, gist
from headstart.exporting.format import Format
from headstart.exporting.onnx import serialised

if TYPE_CHECKING:
    from headstart.exporting.tracing import Traced


class OpenVino(Format):
    """OpenVINO's intermediate representation, read from the ONNX file of the same model."""

    libraries = ("onnx", "onnxscript", "openvino")
    extra = "export"
    runtime = "openvino>=2025.2"
    files = ("model.xml", "model.bin")

    def write(self, traced: "Traced", folder: Path, *, told: Mapping[str, str]) -> None:
        """Write `model.xml` and `model.bin`, in float32.

        Raises:
            ExportError: OpenVINO has no operator for something in the network, or ONNX, from which it reads it, cannot hold it.
        """
        put_model(converted(traced), folder, told=told)


PLUGIN = OpenVino()


def converted(traced: "Traced") -> Any:
    """A model's graph as OpenVINO's.

    Raises:
        ExportError: OpenVINO has no operator for something in the network, or ONNX, from which it reads it, cannot hold it.
    """
    with tempfile.TemporaryDirectory() as place:
        passing = Path(place) / "model.onnx"
        passing.write_bytes(serialised(traced.onnx))
        try:
            model = openvino_library().Core().read_model(passing)
        except RuntimeError as error:
            lines = [line.strip() for line in str(error).splitlines() if "failed for" in line] or [gist(error)]
            raise ExportError(f"OpenVINO cannot read the network: {lines[0]}") from error
        return model.clone()  # whose weights are not those of the file, which goes


def put_model(model: Any, folder: Path, *, told: Mapping[str, str]) -> None:
    """Write OpenVINO's model, with what it tells of itself, in the precision that its weights are in."""
    for name, value in told.items():
        model.set_rt_info(value, [name])
    openvino_library().save_model(model, folder / PLUGIN.files[0], compress_to_fp16=False)
