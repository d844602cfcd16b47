"""An exported model from a stranger: its graph is checked before it is opened, and nothing of it is run."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import headstart as hs
from headstart.core.digests import sha256_file
from headstart.core.errors import ModelError
from headstart.model.loading import verified
from support.made import photos
from support.tunable import network


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stranger")
    data = photos(folder / "photos", n=8)
    model = hs.fit(data, options=hs.FitOptions(backbone=network(alike=False), check=False))
    return hs.export(model, to="onnx", out=folder / "model").path


@pytest.fixture(scope="module")
def for_openvino(exported: Path) -> Path:
    data = exported.parent / "photos"
    model = hs.fit(data, options=hs.FitOptions(backbone=network(alike=False), check=False, with_examples=True))
    return hs.export(model, to="openvino", out=exported.parent / "openvino").path


@pytest.fixture
def taken(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "model"))


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None] = lambda _manifest: None) -> None:
    """Change the manifest, and list every file as it lies there now."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["files"] = {name: sha256_file(folder / name) for name in manifest["files"] if (folder / name).exists()}
    change(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")


def test_a_flipped_byte_of_the_graph_is_seen(taken: Path) -> None:
    content = bytearray((taken / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (taken / "model.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.onnx is not the one that was saved"):
        hs.load(taken)


def test_a_flipped_byte_of_any_file_is_seen(exported: Path, for_openvino: Path, tmp_path: Path) -> None:
    seen = set()
    for source in (exported, for_openvino):
        for number, path in enumerate(sorted(each for each in source.rglob("*") if each.is_file())):
            if path.name == "manifest.json":
                continue
            copy = Path(shutil.copytree(source, tmp_path / f"{source.name}-{number}"))
            target = copy / path.relative_to(source)
            content = bytearray(target.read_bytes())
            content[len(content) // 2] ^= 1
            target.write_bytes(content)
            with pytest.raises(ModelError, match=f"{path.name} is not the one that was saved"):
                hs.load(copy)
            seen.add(path.name)
    assert {"model.onnx", "model.xml", "model.bin", "predict.py", "examples.safetensors", "requirements.txt"} <= seen


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("model.xml", _cut),
        ("model.xml", lambda content: content.replace(b'type="Convolution"', b'type="Evil"')),
        ("model.xml", lambda content: content.replace(b'offset="', b'offset="9')),
        ("model.bin", _cut),
        ("model.bin", lambda _: b""),
    ],
)
def test_a_graph_of_openvino_that_lies_is_one_sentence(
    name: str, change: Callable[[bytes], bytes], for_openvino: Path, tmp_path: Path
) -> None:
    taken = Path(shutil.copytree(for_openvino, tmp_path / "model"))
    before = (taken / name).read_bytes()
    (taken / name).write_bytes(change(before))
    assert (taken / name).read_bytes() != before
    rewrite(taken)
    with pytest.raises(ModelError) as error:
        verified(taken)
    assert "\n" not in str(error.value)


def test_a_graph_of_openvino_is_compiled_once_it_runs_and_one_that_cannot_be_is_one_sentence(
    for_openvino: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = hs.load(for_openvino)
    asked: list[str] = []

    class Core:
        def compile_model(self, *_: object) -> None:
            asked.append("compiled")
            raise RuntimeError("Exception from src/core.cpp: no such operation")

    session = model.backbone.session  # type: ignore[attr-defined]
    assert "_compiled" not in vars(session), "the server's engine compiles its own"
    monkeypatch.setattr(session, "_core", Core())
    batch = model.backbone.preparation.probes(1, 0)
    with pytest.raises(
        ModelError, match=r"the model's graph model\.xml cannot be compiled by openvino: .*no such operation"
    ):
        model.backbone.embed(batch)
    assert asked == ["compiled"]
    monkeypatch.undo()
    assert len(model.backbone.embed(batch)[0]) == 1


def test_a_graph_that_points_to_another_file_is_refused(taken: Path) -> None:
    import onnx

    model = onnx.load(taken / "model.onnx")
    tensor = max(model.graph.initializer, key=lambda each: each.ByteSize())
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/passwd")
    (taken / "model.onnx").write_bytes(model.SerializeToString())
    rewrite(taken)
    with pytest.raises(ModelError, match=r"model\.onnx keeps tensors in other files"):
        hs.load(taken)


def test_a_graph_that_is_none_is_one_sentence(taken: Path) -> None:
    (taken / "model.onnx").write_bytes(b"no graph at all")
    rewrite(taken)
    with pytest.raises(ModelError, match=r"the model's graph model\.onnx cannot be opened by onnx"):
        hs.load(taken)


def test_a_program_beside_it_is_never_run(taken: Path, tmp_path: Path) -> None:
    (taken / "predict.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')", encoding="utf-8")
    rewrite(taken)
    assert hs.load(taken).labels == ("blue", "red")
    assert not (tmp_path / "ran").exists()


WRONG: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "torch": (lambda graph: graph.update(runtime="torch"), "as its files may hold code"),
    "another runtime": (lambda graph: graph.update(runtime="os"), "has to name a runtime"),
    "another precision": (lambda graph: graph.update(precision="float8"), "has to name a runtime"),
    "no file": (lambda graph: graph.update(files=[]), "has to name a runtime"),
    "a path": (lambda graph: graph.update(files=["../model.onnx"]), "has to name a runtime"),
    "a file that is not there": (
        lambda graph: graph.update(files=["other.onnx"]),
        "names files that the model does not hold",
    ),
    "one beside it that is not there": (
        lambda graph: graph.update(beside=["x"]),
        "names files that the model does not hold",
    ),
    "another key": (lambda graph: graph.update(trust=True), "has to name a runtime"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_manifest_that_describes_another_graph_is_refused(name: str, taken: Path) -> None:
    change, said = WRONG[name]
    rewrite(taken, lambda manifest: change(manifest["backbone"]["graph"]))
    with pytest.raises(ModelError, match=said) as error:
        hs.load(taken)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("by", ["value", "reference"])
def test_a_graph_belongs_to_a_model_by_graph(by: str, taken: Path) -> None:
    rewrite(taken, lambda manifest: manifest["backbone"].update(by=by))
    with pytest.raises(ModelError, match="has a graph exactly where it is given by one"):
        hs.load(taken)


def test_a_graph_of_another_modality_is_refused(taken: Path) -> None:
    import onnx

    model = onnx.load(taken / "model.onnx")
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name == "pixels":
                node.input[place] = "ids"
    model.graph.input[0].name = "ids"
    (taken / "model.onnx").write_bytes(model.SerializeToString())
    rewrite(taken)
    with pytest.raises(ModelError, match=r"takes ids, and one for image takes"):
        hs.load(taken)


def test_a_graph_that_says_that_it_holds_its_own_tensors_loads(taken: Path) -> None:
    """onnxruntime's quantiser writes the location even where it is the usual one."""
    import onnx

    model = onnx.load(taken / "model.onnx")
    for tensor in model.graph.initializer:
        tensor.data_location = onnx.TensorProto.DEFAULT
    (taken / "model.onnx").write_bytes(model.SerializeToString())
    assert b"\x70\x00" in (taken / "model.onnx").read_bytes()
    rewrite(taken)
    assert hs.load(taken).labels == ("blue", "red")


def test_a_file_elsewhere_is_found_however_it_is_written(
    taken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search for the bytes that name it was got round: the runtime then read a file of the working directory into a weight."""
    import onnx
    from google.protobuf.internal.encoder import _VarintBytes

    model = onnx.load(taken / "model.onnx")
    bias = next(
        each for each in model.graph.initializer if each.data_type == onnx.TensorProto.FLOAT and each.ByteSize() < 1000
    )
    size = len(bias.raw_data)
    bias.ClearField("raw_data")
    place = list(model.graph.initializer).index(bias)
    del model.graph.initializer[place]
    inner = _padded_external(bias.SerializeToString(), size)
    graph = model.graph.SerializeToString() + b"\x2a" + _VarintBytes(len(inner)) + inner
    model.ClearField("graph")
    content = model.SerializeToString() + b"\x3a" + _VarintBytes(len(graph)) + graph
    assert b"\x0a\x08location" not in content
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.bin").write_bytes(b"\0" * size)
    (taken / "model.onnx").write_bytes(content)
    rewrite(taken)
    with pytest.raises(ModelError, match=r"model\.onnx keeps tensors in other files"):
        hs.load(taken)


@pytest.mark.parametrize("wide", ["external", "graph", "initialiser"])
def test_a_tag_of_more_than_32_bits_is_no_graph(
    wide: str, taken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runtime's reader drops what a tag has beyond 32 bits, and then finds the field that was hidden."""
    import onnx
    from google.protobuf.internal.encoder import _VarintBytes

    def tag(field: int, kind: int, name: str) -> bytes:
        return _VarintBytes((field << 3 | kind) + (2**32 if name == wide else 0))

    model = onnx.load(taken / "model.onnx")
    bias = next(
        each for each in model.graph.initializer if each.data_type == onnx.TensorProto.FLOAT and each.ByteSize() < 1000
    )
    size = len(bias.raw_data)
    bias.ClearField("raw_data")
    model.graph.initializer.remove(bias)
    entries = [_entry(b"\x08location", b"secret.bin"), _entry(b"\x06length", str(size).encode())]
    inner = bias.SerializeToString() + b"".join(tag(13, 2, "external") + bytes([len(each)]) + each for each in entries)
    inner += tag(14, 0, "external") + b"\x01"
    graph = model.graph.SerializeToString() + tag(5, 2, "initialiser") + _VarintBytes(len(inner)) + inner
    model.ClearField("graph")
    content = model.SerializeToString() + tag(7, 2, "graph") + _VarintBytes(len(graph)) + graph
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.bin").write_bytes(b"\0" * size)
    (taken / "model.onnx").write_bytes(content)
    rewrite(taken)
    with pytest.raises(ModelError, match="cannot be opened by onnx: ValueError: it holds a tag of more than 32 bits"):
        hs.load(taken)


@pytest.mark.parametrize("start", [b"", b"<!DOCTYPE net [<!ENTITY a 'b'>]>", b"<?xml version='1.0'?><nets/>"])
def test_a_graph_of_openvino_is_its_own_document(
    start: bytes, exported: Path, for_openvino: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenVINO tells a format by what a file holds, and one in ONNX may name any file: its own alone is opened."""
    import onnx

    taken = Path(shutil.copytree(for_openvino, tmp_path / "model"))
    monkeypatch.chdir(tmp_path)
    if start:
        (taken / "model.xml").write_bytes(start + (taken / "model.xml").read_bytes())
    else:
        model = onnx.load(exported / "model.onnx")
        onnx.save(model, tmp_path / "far", save_as_external_data=True, location="secret.bin", size_threshold=0)
        shutil.copy(tmp_path / "far", taken / "model.xml")
    rewrite(taken)
    with pytest.raises(ModelError, match=r"model\.xml is no document of OpenVINO"):
        hs.load(taken)


def _first(graph: dict[str, Any]) -> None:
    graph["files"] = graph["files"][::-1]


def _alone(graph: dict[str, Any]) -> None:
    graph["beside"] = [*graph["beside"], graph["files"].pop()]


def _more(graph: dict[str, Any]) -> None:
    graph["files"].append(graph["beside"].pop())


@pytest.mark.parametrize("change", [_first, _alone, _more])
def test_a_graph_of_openvino_has_its_two_files(
    change: Callable[[dict[str, Any]], None], for_openvino: Path, tmp_path: Path
) -> None:
    taken = Path(shutil.copytree(for_openvino, tmp_path / "model"))
    rewrite(taken, lambda manifest: change(manifest["backbone"]["graph"]))
    with pytest.raises(ModelError, match=r"a graph of openvino is model\.xml and model\.bin"):
        hs.load(taken)


def _padded_external(tensor: bytes, size: int) -> bytes:
    """A tensor of another file, the key's length written in two bytes where one would do."""
    entries = [_entry(b"\x88\x00location", b"secret.bin"), _entry(b"\x06length", str(size).encode())]
    return tensor + b"".join(b"\x6a" + bytes([len(each)]) + each for each in entries) + b"\x70\x01"


def _entry(key: bytes, value: bytes) -> bytes:
    return b"\x0a" + key + b"\x12" + bytes([len(value)]) + value


@pytest.mark.parametrize(
    "content", [b"", b"\x08", b"\x0a\x7f", b"\x0b" * 9, b"\x3a\x02\x0a\x05", b"\x08" + b"\xff" * 11, b"\0\0\0\0ORTM"]
)
def test_bytes_that_are_no_graph_are_one_sentence(content: bytes, taken: Path) -> None:
    (taken / "model.onnx").write_bytes(content)
    rewrite(taken)
    with pytest.raises(ModelError, match=r"cannot be opened by onnx") as error:
        hs.load(taken)
    assert "\n" not in str(error.value)


def _renamed(model: Any) -> None:
    """No output is called as rows are."""
    for node in model.graph.node:
        for place, name in enumerate(node.output):
            if name == "rows":
                node.output[place] = "others"
    next(each for each in model.graph.output if each.name == "rows").name = "others"


def _other_size(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 7


def _other_type(model: Any) -> None:
    model.graph.input[0].type.tensor_type.elem_type = 11  # float64


def _fewer_numbers(model: Any) -> None:
    """Rows of one number."""
    import onnx

    _renamed(model)
    model.graph.node.append(
        onnx.helper.make_node("ReduceMean", ["others"], ["rows"], keepdims=1, noop_with_empty_axes=0)
    )
    next(each for each in model.graph.output if each.name == "others").name = "rows"


@pytest.mark.parametrize("change", [_renamed, _other_size, _other_type, _fewer_numbers])
def test_a_graph_that_does_not_do_what_its_manifest_says_is_one_sentence(
    change: Callable[[Any], None], taken: Path, tmp_path: Path
) -> None:
    import onnx

    model = onnx.load(taken / "model.onnx")
    change(model)
    (taken / "model.onnx").write_bytes(model.SerializeToString())
    rewrite(taken)
    picture = photos(tmp_path / "photos", n=2) / "val" / "red" / "0.png"
    for ask in (lambda: hs.load(taken).predict([picture]), lambda: verified(taken)):
        with pytest.raises(ModelError, match=r"graph model\.onnx|cannot be opened") as error:
            ask()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [["float32"], {"a": 1}, 32, None])
def test_a_precision_of_another_type_is_refused(value: object, taken: Path) -> None:
    rewrite(taken, lambda manifest: manifest["backbone"]["graph"].update(precision=value))
    with pytest.raises(ModelError, match="has to name a runtime, a precision"):
        hs.load(taken)


def test_a_graph_of_narrower_arithmetic_may_differ_as_processors_do(taken: Path) -> None:
    """Its rows are made in what this processor has units for: they lie further apart than float32's, and still not anywhere."""
    tensors = load_file(taken / "probe.safetensors")
    rows = tensors["rows.0"]
    for precision, apart, fits in (("bfloat16", 0.05, True), ("bfloat16", 0.5, False), ("float32", 0.05, False)):
        noise = np.random.default_rng(0).normal(size=rows.shape).astype(np.float32)
        tensors["rows.0"] = rows + noise * np.float32(apart * np.linalg.norm(rows) / np.linalg.norm(noise))
        save_file(tensors, taken / "probe.safetensors")
        rewrite(taken, partial(_narrow, precision=precision))
        if fits:
            assert 0.04 < verified(taken).drift < 0.06
            continue
        with pytest.raises(ModelError, match=f"other rows here .* in {precision}"):
            verified(taken)


def _narrow(manifest: dict[str, Any], *, precision: str) -> None:
    manifest["backbone"]["graph"]["precision"] = precision
