"""What the formats of exports can hold."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from google.protobuf.message import EncodeError
from onnx import ModelProto

from headstart.core.errors import ExportError
from headstart.exporting import FORMATS, onnx


def refusing() -> Any:
    """As a network of more than 2 GiB, of which no message can be made: not even its length is told."""

    def fails() -> NoReturn:
        raise EncodeError("Failed to serialize proto")

    return SimpleNamespace(SerializeToString=fails, ByteSize=fails, metadata_props=ModelProto().metadata_props)


def large() -> ModelProto:
    made = ModelProto()
    made.graph.initializer.add().raw_data = bytes(2000)
    return made


@pytest.mark.parametrize("network", [large, refusing], ids=["counted", "refused"])
@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_a_network_too_large_for_onnx_is_told_what_can_hold_it(
    to: str, network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx, "_MOST_BYTES", 1000)
    traced: Any = SimpleNamespace(onnx=network())
    with pytest.raises(ExportError, match=r"larger than the 2 GiB that .* export it with --to torch"):
        FORMATS.get(to).write(traced, tmp_path, told={"labels": "[]"})
    assert list(tmp_path.iterdir()) == []


def test_what_a_file_tells_of_itself_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx, "_MOST_BYTES", 1000)
    traced: Any = SimpleNamespace(onnx=ModelProto())
    with pytest.raises(ExportError, match="2 GiB"):
        FORMATS.get("onnx").write(traced, tmp_path, told={"labels": "a" * 2000})
    FORMATS.get("onnx").write(traced, tmp_path, told={"labels": "a"})
    assert ModelProto.FromString((tmp_path / "model.onnx").read_bytes()).metadata_props[0].value == "a"
