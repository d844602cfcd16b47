"""ONNX files as backbones: rows equal those of onnxruntime called directly, and what a file may not do is refused."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import headstart as hs
from headstart.backbones.backbone import BackboneRequest
from headstart.backbones.choice import open_backbone, rebuild_backbone
from headstart.backbones.onnx import OnnxGraph
from headstart.core.errors import BackboneError, ModelError, UsageError, WeightsMissing
from headstart.data.preparation import Batch
from headstart.testing import check_backbone
from support.made import photos
from support.networks import TOKENS, write_tokenizer

RNG = np.random.default_rng(0)
SCALE = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


def save(folder: Path, nodes: list, inputs: list, outputs: list, weights: dict[str, np.ndarray]) -> Path:
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


def images(folder: Path, *, batch: int | str = "n", last: bool = False, kind: int = TensorProto.FLOAT) -> Path:
    """A convolution over 32 pixels, its maps pooled and projected; (n, 3, 32, 32), or with `last` (n, 32, 32, 3)."""
    shape = [batch, 32, 32, 3] if last else [batch, 3, 32, 32]
    nodes = [helper.make_node("Cast", ["pixels"], ["cast"], to=TensorProto.FLOAT)]
    nodes += [helper.make_node("Transpose" if last else "Identity", ["cast"], ["first"], **({"perm": [0, 3, 1, 2]} if last else {}))]  # fmt: skip
    nodes += [
        helper.make_node("Conv", ["first", "kernel"], ["block.maps"], strides=[4, 4]),
        helper.make_node("Relu", ["block.maps"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["rows"]),
    ]
    weights = {"kernel": RNG.standard_normal((8, 3, 4, 4)), "matrix": RNG.standard_normal((8, 5))}
    return save(
        folder,
        nodes,
        [helper.make_tensor_value_info("pixels", kind, shape)],
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, [batch, 5])],
        {name: array.astype(np.float32) for name, array in weights.items()},
    )


def texts(folder: Path) -> Path:
    ids, mask = (helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "t"]) for name in ("input_ids", "attention_mask"))  # fmt: skip
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["embedded"]),
        helper.make_node("Cast", ["attention_mask"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["real", "axis"], ["wide"]),
        helper.make_node("Mul", ["embedded", "wide"], ["last_hidden_state"]),
    ]
    output = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["n", "t", 6])
    table = RNG.standard_normal((len(TOKENS), 6)).astype(np.float32)
    return save(folder, nodes, [ids, mask], [output], {"table": table, "axis": np.array([2])})


def direct(path: Path, name: str, **inputs: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run([name], inputs)[0]


def scaled(batch: Batch) -> np.ndarray:
    return ((batch.values.astype(np.float32) / 255 - 0.5) / 0.25).astype(np.float32)


@pytest.mark.parametrize("last", [False, True])
def test_rows_equal_those_of_onnxruntime(tmp_path: Path, last: bool) -> None:
    path = images(tmp_path, last=last)
    backbone = open_backbone(BackboneRequest("onnx", str(path), prepare=SCALE))
    assert (backbone.specs[0].dim, backbone.specs[0].name, backbone.warnings) == (5, "model.onnx", ())
    batch = backbone.preparation.probes(3, 0)
    pixels = scaled(batch) if last else scaled(batch).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(backbone.embed(batch)[0], direct(path, "rows", pixels=pixels), rtol=1e-5, atol=1e-5)
    check_backbone(backbone)


def test_a_fixed_batch_and_bytes(tmp_path: Path) -> None:
    path = images(tmp_path, batch=2, kind=TensorProto.UINT8)
    backbone = open_backbone(BackboneRequest("onnx", str(path)))
    assert backbone.warnings == (), "bytes need no scale"
    batch = backbone.preparation.probes(3, 0)
    pixels = batch.values.transpose(0, 3, 1, 2)
    wanted = np.concatenate([direct(path, "rows", pixels=pixels[:2]), direct(path, "rows", pixels=pixels[1:])[1:]])
    np.testing.assert_allclose(backbone.embed(batch)[0], wanted, rtol=1e-5)
    check_backbone(backbone)


def test_layers_are_outputs_and_tensors_inside(tmp_path: Path) -> None:
    path = images(tmp_path)
    backbone = open_backbone(BackboneRequest("onnx", str(path), layer="block.maps,rows", prepare=SCALE))
    assert [(spec.layer, spec.dim) for spec in backbone.specs] == [("block.maps", 8), ("rows", 5)]
    check_backbone(backbone)
    with pytest.raises(BackboneError, match=r"has no layer 'block\.map'.*block\.maps"):
        open_backbone(BackboneRequest("onnx", str(path), layer="block.map"))


def test_texts_are_masked(tmp_path: Path) -> None:
    path = texts(tmp_path)
    prepare = {"tokenizer": str(write_tokenizer(tmp_path)), "max_tokens": 16}
    backbone = open_backbone(BackboneRequest("onnx", str(path), prepare=prepare))
    views = [backbone.preparation.prepare(text).views[0] for text in ("the dog", "the big cat sleeps on a mat")]
    batch = backbone.preparation.collate(views)
    for row, ids in zip(backbone.embed(batch)[0], views, strict=True):
        found = direct(path, "last_hidden_state", input_ids=ids[None], attention_mask=np.ones_like(ids[None]))
        np.testing.assert_allclose(row, found[0].mean(axis=0), rtol=1e-5, atol=1e-6)
    check_backbone(backbone)
    with pytest.raises(UsageError, match=r"needs prepare=\{'tokenizer': PATH\}"):
        open_backbone(BackboneRequest("onnx", str(path)))


def test_an_unsaid_scale_is_a_warning(tmp_path: Path) -> None:
    [warning] = open_backbone(BackboneRequest("onnx", str(images(tmp_path)))).warnings
    assert "mean and deviation of ImageNet" in warning


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = images(tmp_path)
    with pytest.raises(UsageError, match="takes images of 32 pixels, and got size=64"):
        open_backbone(BackboneRequest("onnx", str(path), prepare={"size": 64}))
    with pytest.raises(UsageError, match="runs in float32 only"):
        open_backbone(BackboneRequest("onnx", str(path), precision="bfloat16"))
    with pytest.raises(UsageError, match="holds its weights itself"):
        open_backbone(BackboneRequest("onnx", str(path), weights=path))
    with pytest.raises(WeightsMissing, match=r"there is no file none\.onnx"):
        open_backbone("onnx:none.onnx")
    path.write_bytes(b"\xff\xff no model")
    with pytest.raises(BackboneError, match="no whole ONNX model"):
        open_backbone(BackboneRequest("onnx", str(path)))


def test_tensors_in_other_files_are_refused(tmp_path: Path) -> None:
    model = onnx.load(images(tmp_path))
    onnx.save(model, tmp_path / "far.onnx", save_as_external_data=True, location="secret", size_threshold=0)
    with pytest.raises(BackboneError, match="keeps tensors in other files"):
        open_backbone(BackboneRequest("onnx", str(tmp_path / "far.onnx")))


def stubborn(folder: Path, *, text: bool = False) -> Path:
    """A graph that onnxruntime takes, and whose output cannot be made of two samples, or is words."""
    if text:
        nodes = [helper.make_node("Cast", ["pixels"], ["rows"], to=TensorProto.STRING)]
    else:
        nodes = [helper.make_node("Reshape", ["pixels", "shape"], ["rows"])]
    inputs = [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, 32, 32])]
    kind = TensorProto.STRING if text else TensorProto.FLOAT
    outputs = [helper.make_tensor_value_info("rows", kind, ["a", "b", "c", "d"][: 4 if text else 2])]
    return save(folder, nodes, inputs, outputs, {} if text else {"shape": np.array([7, 11])})


@pytest.mark.parametrize("text", [False, True])
def test_a_graph_that_cannot_be_run_is_one_sentence(tmp_path: Path, text: bool) -> None:
    """What onnxruntime raises then has no common kind but Exception."""
    path = stubborn(tmp_path / "bad", text=text)
    with pytest.raises(BackboneError, match=r"onnx:model\.onnx cannot be run on what is prepared for it: ") as error:
        open_backbone(BackboneRequest("onnx", str(path), prepare=SCALE))
    assert "\n" not in str(error.value)
    good = open_backbone(BackboneRequest("onnx", str(images(tmp_path / "good")), prepare=SCALE))
    content = {"onnx": np.frombuffer(path.read_bytes(), np.uint8)}
    with pytest.raises(ModelError, match=r"saved backbone onnx:model\.onnx cannot be read: .* cannot be run") as error:
        rebuild_backbone(good.architecture, good.specs, assets={}, tensors=lambda: content)
    assert "\n" not in str(error.value)


def test_a_batch_that_the_graph_does_not_take_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = open_backbone(BackboneRequest("onnx", str(images(tmp_path)), prepare=SCALE))
    batch = backbone.preparation.probes(2, 0)
    with pytest.raises(BackboneError, match=r"cannot be run on what is prepared for it: InvalidArgument: "):
        backbone.embed(Batch(batch.values[:, :16], batch.lengths))
    with monkeypatch.context() as patch:
        patch.setattr(OnnxGraph, "run", lambda *_: [np.zeros((1, 5), np.float32)])
        with pytest.raises(BackboneError, match=r"makes rows \(1, 5\) of 2 samples"):
            backbone.embed(batch)
    for raised in (MemoryError("no memory"), KeyboardInterrupt()):

        def run(*_: object, raised: BaseException = raised) -> None:
            raise raised

        monkeypatch.setattr(OnnxGraph, "run", run)
        with pytest.raises(type(raised)):
            backbone.embed(batch)


def test_a_model_on_it_is_fitted_saved_and_loaded(tmp_path: Path) -> None:
    path = images(tmp_path / "net")
    data = photos(tmp_path / "photos")
    model = hs.fit(data, backbone=BackboneRequest("onnx", str(path), prepare=SCALE))
    new = sorted((data / "val" / "red").glob("*.png"))[:2]
    before = list(model.predict(new))
    model.save(tmp_path / "model")
    path.unlink()
    assert list(hs.load(tmp_path / "model").predict(new)) == before
    with pytest.raises(ModelError, match="cannot be saved by reference"):
        model.save(tmp_path / "other", by_reference=True)
