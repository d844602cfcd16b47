"""Keras models as backbones: rows equal those of Keras called directly, and no file runs code."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import headstart as hs
from headstart.backbones.backbone import BackboneRequest, TorchBackbone
from headstart.backbones.choice import open_backbone
from headstart.backbones.keras import scaling_of
from headstart.core.errors import BackboneError, UsageError, WeightsMissing
from headstart.features.choosing import choose
from headstart.testing import check_backbone
from support.made import photos

SCALE = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def tiny(folder: Path) -> tuple[Any, Path]:
    layers = keras.layers
    model = keras.Sequential([
        keras.Input((32, 32, 3)), layers.Conv2D(6, 4, strides=4, name="maps"), layers.BatchNormalization(), layers.ReLU(), layers.Dropout(0.5),
        layers.GlobalAveragePooling2D(), layers.Dense(5, name="rows"),
    ])  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / "model.keras")
    return model, folder / "model.keras"


def array(tensor: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def test_a_vgg16_gives_the_rows_of_keras(tmp_path: Path) -> None:
    model = keras.applications.VGG16(weights=None, include_top=False, input_shape=(64, 64, 3))
    model.save_weights(tmp_path / "vgg.weights.h5")
    request = BackboneRequest(
        "keras", "VGG16", weights=tmp_path / "vgg.weights.h5", layer=",block2_pool", prepare={"size": 64}
    )
    backbone = open_backbone(request)
    assert isinstance(backbone, TorchBackbone)
    assert backbone.warnings == ()
    batch = backbone.preparation.probes(3, 0)
    pixels = keras.applications.vgg16.preprocess_input(batch.values.astype(np.float32))
    part = keras.Model(model.inputs[0], [model.output, model.get_layer("block2_pool").output])
    for ours, theirs in zip(backbone.embed(batch), part(pixels, training=False), strict=True):
        wanted = array(theirs).mean(axis=(1, 2))
        np.testing.assert_allclose(ours, wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())
    check_backbone(backbone)


@pytest.mark.parametrize(
    "name", ["vgg16", "resnet", "resnet_v2", "mobilenet_v2", "densenet", "efficientnet", "inception_v3", "convnext"]
)
def test_scaling_is_that_of_preprocess_input(name: str) -> None:
    module = getattr(keras.applications, name)
    found = scaling_of(module)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3)).astype(np.float64)
    ours = (pixels / 255 - found.mean) / found.std
    np.testing.assert_allclose(
        ours[..., ::-1] if found.flip else ours, module.preprocess_input(pixels.copy()), atol=1e-5
    )


def test_a_file_gives_the_rows_of_keras(tmp_path: Path) -> None:
    model, path = tiny(tmp_path)
    backbone = open_backbone(BackboneRequest("keras", str(path), layer="maps,rows", prepare=SCALE))
    batch = backbone.preparation.probes(3, 0)
    pixels = batch.values.astype(np.float32) / 255
    np.testing.assert_allclose(backbone.embed(batch)[1], array(model(pixels, training=False)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        backbone.embed(batch)[0], array(model.get_layer("maps")(pixels)).mean(axis=(1, 2)), rtol=1e-4, atol=1e-5
    )
    check_backbone(backbone)
    with pytest.raises(BackboneError, match=r"has no layer 'map'.*maps"):
        open_backbone(BackboneRequest("keras", str(path), layer="map"))
    [warning] = open_backbone(BackboneRequest("keras", str(path))).warnings
    assert "mean and deviation of ImageNet" in warning


def test_a_copy_has_weights_of_its_own(tmp_path: Path) -> None:
    _, path = tiny(tmp_path)
    backbone: Any = open_backbone(BackboneRequest("keras", str(path), prepare=SCALE))
    batch = backbone.preparation.probes(2, 0)
    before, copied = backbone.embed(batch)[0], backbone.placed("cpu")
    np.testing.assert_array_equal(copied.embed(batch)[0], before)
    for tensor in copied.module.parameters():
        tensor.data.zero_()
    assert not copied.embed(batch)[0].any()
    np.testing.assert_array_equal(backbone.embed(batch)[0], before)
    with pytest.raises(UsageError, match="openvino cannot be used: its converter does not know"):
        choose(backbone, "openvino")


@pytest.mark.parametrize(
    "planted",
    [
        {"module": "keras.layers", "class_name": "Lambda", "config": {}, "registered_name": None},
        {"class_name": "Lambda", "config": {}},
        {"class_name": "__lambda__", "config": {"value": ""}},
        {"module": "os", "class_name": "function", "config": "system", "registered_name": "function"},
        {"module": "keras.layers", "class_name": "Dense", "config": {}, "registered_name": "Mine>Dense"},
        {"module": "keras.src.utils.file_utils", "class_name": "function", "config": "get_file"},
        {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {}, "registered_name": None},
        {"module": "keras", "class_name": "layers.Lambda", "config": {}, "registered_name": None},
        {
            "module": "keras",
            "class_name": "layers.StringLookup",
            "config": {},
            "registered_name": "layers.StringLookup",
        },
        {"module": "keras", "class_name": "function", "config": "visualization.plot_image_gallery"},
        {"module": "keras.layers", "class_name": "function", "config": "deserialize", "registered_name": None},
        {"module": "keras.layers", "class_name": "deserialize", "config": {}, "registered_name": None},
        {"module": "keras", "class_name": "Operation", "config": {}, "registered_name": None},
        {"module": "keras.src.models.functional", "class_name": "Functional", "registered_name": "Mine>Functional"},
        {"module": ["keras"], "class_name": ["Dense"], "config": {}, "registered_name": {}},
    ],
)
def test_a_malicious_file_is_refused(tmp_path: Path, planted: dict[str, Any]) -> None:
    _, path = tiny(tmp_path)
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(files["config.json"])
    config["config"]["layers"][2]["config"]["gamma_initializer"] = planted
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (files | {"config.json": json.dumps(config).encode()}).items():
            archive.writestr(name, content)
    with pytest.raises(BackboneError, match="could run code or read other files, and is not loaded"):
        open_backbone(BackboneRequest("keras", str(path)))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("assets/more.pkl", b"")
    with pytest.raises(BackboneError, match="and nothing else"):
        open_backbone(BackboneRequest("keras", str(path)))


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    _, path = tiny(tmp_path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "[" * 200_000)
    with pytest.raises(BackboneError, match=r"model\.keras is no whole \.keras file \(RecursionError"):
        open_backbone(BackboneRequest("keras", str(path)))


def test_activations_and_models_within_load(tmp_path: Path) -> None:
    """As Keras writes them: functions by name, layers and models as objects, how it was trained beside them."""
    layers = keras.layers
    inner = keras.Sequential([
        keras.Input((8, 8, 3)), layers.Conv2D(4, 3, activation=keras.activations.gelu, kernel_regularizer="l2",
                                              kernel_constraint=keras.constraints.MaxNorm())])  # fmt: skip
    pixels = keras.Input((8, 8, 3))
    maps = layers.Conv2D(5, 1, activation=layers.LeakyReLU())(layers.Activation(keras.activations.relu)(inner(pixels)))
    model = keras.Model(pixels, layers.GlobalAveragePooling2D()(maps))
    model.compile(keras.optimizers.Adam(), keras.losses.MeanSquaredError())
    model.save(tmp_path / "model.keras")
    assert open_backbone(BackboneRequest("keras", str(tmp_path / "model.keras"))).specs[0].dim == 5


def test_how_a_model_within_was_trained_is_left_out(tmp_path: Path) -> None:
    """Keras writes that for every model that was compiled, and would build the optimiser of each."""
    base, path = tiny(tmp_path)
    base.compile(keras.optimizers.Adam(), keras.losses.MeanSquaredError())
    base.train_on_batch(np.zeros((2, 32, 32, 3), np.float32), np.zeros((2, 5), np.float32))
    base.save(path)
    model = keras.Sequential([keras.Input((32, 32, 3)), keras.saving.load_model(path), keras.layers.Dense(3)])
    model.save(tmp_path / "whole.keras")
    with zipfile.ZipFile(tmp_path / "whole.keras") as archive:
        assert b'"class_name": "Adam"' in archive.read("config.json"), "of the model within"
    backbone = open_backbone(BackboneRequest("keras", str(tmp_path / "whole.keras"), prepare=SCALE))
    assert isinstance(backbone, TorchBackbone)
    assert "compile_config" not in json.dumps(backbone.architecture.options), "Keras is given none of it"
    batch = backbone.preparation.probes(3, 0)
    pixels = batch.values.astype(np.float32) / 255
    np.testing.assert_allclose(backbone.embed(batch)[0], array(model(pixels, training=False)), rtol=1e-4, atol=1e-5)


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(WeightsMissing, match=r"weights of keras:VGG16 are not on this machine.*--weights FILE"):
        open_backbone("keras:VGG16")
    with pytest.raises(BackboneError, match="Did you mean 'VGG19' or 'VGG16'"):
        open_backbone("keras:VGG17")
    (tmp_path / "other.weights.h5").write_bytes(b"no weights")
    with pytest.raises(BackboneError, match="does not fit keras:VGG16"):
        open_backbone(BackboneRequest("keras", "VGG16", weights=tmp_path / "other.weights.h5", prepare={"size": 32}))
    with pytest.raises(WeightsMissing, match="there is no file"):
        open_backbone("keras:none.keras")
    with pytest.raises(UsageError, match="no option"):
        open_backbone(BackboneRequest("keras", str(tiny(tmp_path)[1]), prepare={"colour": 1}))


def test_a_model_on_it_is_fitted_saved_and_loaded(tmp_path: Path) -> None:
    _, path = tiny(tmp_path / "net")
    data = photos(tmp_path / "photos")
    model = hs.fit(data, backbone=BackboneRequest("keras", str(path), prepare=SCALE))
    new = sorted((data / "val" / "red").glob("*.png"))[:2]
    before = list(model.predict(new))
    model.save(tmp_path / "model")
    path.unlink()
    assert list(hs.load(tmp_path / "model").predict(new)) == before


PROGRAM = """
import sys
import numpy as np
from headstart.backbones.backbone import BackboneRequest
from headstart.backbones.choice import open_backbone
from headstart.features.choosing import choose
from headstart.testing import check_backbone
backbone = open_backbone(BackboneRequest("keras", sys.argv[1], prepare={"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}))
import keras
assert keras.backend.backend() == "tensorflow"
batch = backbone.preparation.probes(3, 0)
model = keras.saving.load_model(sys.argv[1], compile=False)
wanted = np.asarray(model(batch.values.astype(np.float32) / 255, training=False))
np.testing.assert_allclose(backbone.embed(batch)[0], wanted, rtol=1e-4, atol=1e-5)
check_backbone(backbone)
print(backbone.specs[0].fingerprint)
"""


def test_on_tensorflow_the_rows_and_the_identity_are_the_same(tmp_path: Path) -> None:
    _, path = tiny(tmp_path)
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path)], env=environment, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    backbone = open_backbone(BackboneRequest("keras", str(path), prepare=SCALE))
    assert done.stdout.split()[-1] == backbone.specs[0].fingerprint
