"""An exported model from a stranger: its graph is checked before it is opened, and nothing of it is run."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import headstart as hs
from headstart.core.digests import sha256_file
from headstart.core.errors import ModelError
from support.made import photos
from support.tunable import network


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stranger")
    data = photos(folder / "photos", n=8)
    model = hs.fit(data, options=hs.FitOptions(backbone=network(alike=False), check=False))
    return hs.export(model, to="onnx", out=folder / "model").path


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
