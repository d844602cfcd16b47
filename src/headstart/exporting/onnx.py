"""ONNX: one file that onnxruntime, and nearly every other runtime, runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.core.errors import ExportError
from headstart.exporting.format import Format

if TYPE_CHECKING:
    import onnx

    from headstart.exporting.tracing import Traced

# Protocol buffers hold no message of 2 GiB, and a file of two parts is no longer one file.
_MOST_BYTES = 2**31 - 2**20


class Onnx(Format):
    """`model.onnx`, weights within."""

    libraries = ("onnx", "onnxscript", "onnxruntime")
    extra = "export"
    runtime = "onnxruntime>=1.20"
    files = ("model.onnx",)

    def write(self, traced: "Traced", folder: Path, *, told: Mapping[str, str]) -> None:
        """Write `model.onnx`.

        Raises:
            ExportError: ONNX has no operator for something in the network, or it is larger than such a file may be.
        """
        put_model(traced.onnx, folder, told=told)


PLUGIN = Onnx()


def put_model(model: "onnx.ModelProto", folder: Path, *, told: Mapping[str, str]) -> None:
    """Write a model of ONNX, with what it tells of itself.

    Raises:
        ExportError: it is larger than one file may be.
    """
    del model.metadata_props[:]
    for name, value in told.items():
        model.metadata_props.add(key=name, value=value)
    (folder / PLUGIN.files[0]).write_bytes(serialised(model))


def serialised(model: "onnx.ModelProto") -> bytes:
    """A model of ONNX as the bytes of a file.

    Raises:
        ExportError: it is larger than one file may be.
    """
    from google.protobuf.message import EncodeError

    try:
        content = model.SerializeToString()
    except EncodeError:  # of what is larger protobuf cannot even tell the size
        content = None
    if content is None or len(content) > _MOST_BYTES:
        raise ExportError(
            "the network is larger than the 2 GiB that one ONNX file may hold, from which OpenVINO's are made as well: export it with --to torch"
        )
    return bytes(content)
