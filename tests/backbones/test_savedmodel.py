"""SavedModels as backbones: rows equal those of TensorFlow called directly, and no program touches files."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import headstart as hs
from headstart.backbones.backbone import BackboneRequest
from headstart.backbones.choice import open_backbone
from headstart.core.errors import BackboneError, UsageError, WeightsMissing
from headstart.testing import check_backbone
from support.made import photos

SCALE = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}


def _reads(pixels: Any) -> Any:
    return tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32)


def _saves(pixels: Any) -> Any:
    tf.raw_ops.SaveV2(prefix="/tmp/planted", tensor_names=["a"], shape_and_slices=[""], tensors=[pixels])
    return 0.0


def _maps(pixels: Any) -> Any:
    return tf.raw_ops.ImmutableConst(dtype=tf.float32, shape=(1,), memory_region_name="/etc/hostname")


def _describes(pixels: Any) -> Any:
    found = tf.raw_ops.DecodeProtoV2(
        bytes=tf.constant([""]),
        message_type="a",
        field_names=["b"],
        output_types=[tf.float32],
        descriptor_source="/etc/hostname",
    )
    return tf.reduce_sum(found.values[0])


def _looks_up(pixels: Any) -> Any:
    found = tf.raw_ops.GenerateVocabRemapping(
        new_vocab_file="/etc/hostname", old_vocab_file="/etc/hosts", new_vocab_offset=0, num_new_vocab=1
    )
    return tf.cast(found.num_present, tf.float32)


def _waits(pixels: Any) -> Any:
    queue = tf.raw_ops.FIFOQueueV2(component_types=[tf.float32])
    return tf.raw_ops.QueueDequeueV2(handle=queue, component_types=[tf.float32])[0]


PLANTED = {
    "ReadFile": _reads,
    "SaveV2": _saves,
    "ImmutableConst": _maps,
    "DecodeProtoV2": _describes,
    "GenerateVocabRemapping": _looks_up,
    "FIFOQueueV2": _waits,
}


class Net(tf.Module):
    def __init__(self, planted: str = "") -> None:
        super().__init__()
        self.kernel = tf.Variable(tf.random.normal((4, 4, 3, 6)))
        self.planted = planted

    @tf.function(input_signature=[tf.TensorSpec((None, 32, 32, 3), tf.float32, name="pixels")])
    def __call__(self, pixels: Any):
        maps = tf.nn.conv2d(pixels, self.kernel, 4, "SAME")
        if self.planted:
            maps += PLANTED[self.planted](pixels)
        return {"maps": maps, "rows": tf.reduce_mean(tf.nn.relu(maps), (1, 2))}


def saved(folder: Path, planted: str = "") -> tuple[Net, Path]:
    net = Net(planted)
    tf.saved_model.save(net, str(folder / "net"))
    return net, folder / "net"


def test_rows_equal_those_of_tensorflow(tmp_path: Path) -> None:
    net, path = saved(tmp_path)
    backbone = open_backbone(BackboneRequest("savedmodel", str(path), layer="rows,maps", prepare=SCALE))
    assert [(spec.name, spec.layer, spec.dim) for spec in backbone.specs] == [("net", "rows", 6), ("net", "maps", 6)]
    batch = backbone.preparation.probes(3, 0)
    wanted = net(tf.constant(batch.values / np.float32(127.5) - np.float32(1)))
    rows, maps = backbone.embed(batch)
    np.testing.assert_allclose(rows, wanted["rows"].numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(maps, wanted["maps"].numpy().mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)
    check_backbone(backbone)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    _, path = saved(tmp_path)
    with pytest.raises(BackboneError, match="has the outputs maps, rows: choose one with --layer"):
        open_backbone(BackboneRequest("savedmodel", str(path)))
    with pytest.raises(BackboneError, match=r"has no layer 'row'.*'rows'"):
        open_backbone(BackboneRequest("savedmodel", str(path), layer="row"))
    with pytest.raises(UsageError, match="holds its weights itself"):
        open_backbone(BackboneRequest("savedmodel", str(path), weights=path))
    with pytest.raises(WeightsMissing, match="there is no SavedModel none"):
        open_backbone("savedmodel:none")
    (path / "assets").mkdir(exist_ok=True)
    (path / "assets" / "words.txt").write_text("a")
    with pytest.raises(BackboneError, match=r"holds the asset assets/words\.txt"):
        open_backbone(BackboneRequest("savedmodel", str(path)))


@pytest.mark.parametrize("operation", PLANTED)
def test_a_program_that_touches_files_is_refused(tmp_path: Path, operation: str) -> None:
    _, path = saved(tmp_path, operation)
    with pytest.raises(BackboneError, match=f"holds the operation {operation}, which could run code or touch files"):
        open_backbone(BackboneRequest("savedmodel", str(path), layer="rows"))


def test_a_model_on_it_is_fitted_saved_and_loaded(tmp_path: Path) -> None:
    _, path = saved(tmp_path)
    data = photos(tmp_path / "photos")
    model = hs.fit(data, backbone=BackboneRequest("savedmodel", str(path), layer="rows", prepare=SCALE))
    new = sorted((data / "val" / "red").glob("*.png"))[:2]
    before = list(model.predict(new))
    model.save(tmp_path / "model")
    path.rename(tmp_path / "gone")
    assert list(hs.load(tmp_path / "model").predict(new)) == before


def test_a_saved_model_leaves_keras_on_torch(tmp_path: Path) -> None:
    """TensorFlow imports Keras, and what Keras runs on is settled by the first import in a process."""
    _, path = saved(tmp_path)
    script = (
        "import sys; from headstart.backbones.choice import open_backbone; "
        "from headstart.backbones.backbone import BackboneRequest; "
        f"open_backbone(BackboneRequest('savedmodel', sys.argv[1], layer='rows', prepare={SCALE!r})); "
        "import keras; print(keras.backend.backend())"
    )
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    command = [sys.executable, "-c", script, str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.split()[-1] == "torch"


def test_an_operation_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    _, path = saved(tmp_path)
    content = (path / "saved_model.pb").read_bytes()
    assert b"\x04Relu" in content
    (path / "saved_model.pb").write_bytes(content.replace(b"\x04Relu", b"\x04Evil"))
    with pytest.raises(BackboneError, match="holds the operation Evil, which could run code"):
        open_backbone(BackboneRequest("savedmodel", str(path), layer="rows"))
