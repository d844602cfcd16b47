"""SavedModels as backbones: rows equal those of TensorFlow called directly, and no program touches files."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

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


@tf.function(autograph=False)
def _traced_save(pixels: Any) -> Any:
    """Called as TensorFlow calls what saves a checkpoint: `__inference__traced_save_` and a number."""
    return tf.cast(_saves(pixels), tf.float32)


def _chooses(pixels: Any) -> Any:
    branch = _traced_save.get_concrete_function(tf.TensorSpec((None, 32, 32, 3), tf.float32))
    return tf.raw_ops.Case(branch_index=0, input=[pixels], Tout=[tf.float32], branches=[branch])[0]


def _merges(pixels: Any) -> Any:
    tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=["/tmp/planted"], destination_prefix="/tmp/gone")
    return 0.0


def _restores(pixels: Any) -> Any:
    return tf.raw_ops.RestoreV2(prefix="/tmp/planted", tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.float32])[
        0
    ]


PLANTED = {
    "ReadFile": _reads,
    "SaveV2": _saves,
    "ImmutableConst": _maps,
    "DecodeProtoV2": _describes,
    "GenerateVocabRemapping": _looks_up,
    "FIFOQueueV2": _waits,
    "Case": _chooses,
    "StatefulPartitionedCall": _traced_save,
    "MergeV2Checkpoints": _merges,
    "RestoreV2": _restores,
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


def _plant(path: Path, target: Path) -> Any:
    """Let the program's main graph write a file, as its saver and before anything else."""
    program = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    graph = tf.Graph()
    with graph.as_default():
        names = [tf.constant([each], name=name) for name, each in (("names", "a"), ("slices", ""))]
        write = tf.raw_ops.SaveV2(
            prefix=str(target), tensor_names=names[0], shape_and_slices=names[1], tensors=[tf.zeros(3)], name="write"
        )
        with tf.control_dependencies([write]):
            tf.constant(str(target), name="written")
    meta = program.meta_graphs[0]
    meta.graph_def.node.extend(graph.as_graph_def().node)
    meta.saver_def.restore_op_name = meta.saver_def.save_tensor_name = "write"
    meta.saver_def.filename_tensor_name = "written:0"
    return program


def test_the_main_graph_is_never_run(tmp_path: Path) -> None:
    """What saves and restores a checkpoint there is left out before TensorFlow sees it."""
    _, path = saved(tmp_path)
    program = _plant(path, tmp_path / "planted")
    (path / "saved_model.pb").write_bytes(program.SerializeToString())
    before = sorted(tmp_path.iterdir())
    backbone = open_backbone(BackboneRequest("savedmodel", str(path), layer="rows", prepare=SCALE))
    assert backbone.embed(backbone.preparation.probes(2, 0))[0].shape == (2, 6)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("lacks", ["objects", "one graph"])
def test_a_program_whose_main_graph_would_be_run_is_refused(tmp_path: Path, lacks: str) -> None:
    """TensorFlow loads one without objects, or with several graphs, as it did in its first version: by running what the graph names."""
    _, path = saved(tmp_path)
    program = _plant(path, tmp_path / "planted")
    if lacks == "objects":
        program.meta_graphs[0].ClearField("object_graph_def")
    else:
        program.meta_graphs.add().CopyFrom(program.meta_graphs[0])
    (path / "saved_model.pb").write_bytes(program.SerializeToString())
    before = sorted(tmp_path.iterdir())
    with pytest.raises(BackboneError, match="was not saved by TensorFlow 2"):
        open_backbone(BackboneRequest("savedmodel", str(path), layer="rows"))
    assert sorted(tmp_path.iterdir()) == before


def test_an_object_that_keeps_what_saves_is_refused(tmp_path: Path) -> None:
    """TensorFlow calls some functions of a program's objects as it loads, those that make tables and those that fill them."""
    net = Net()
    net.other = _traced_save.get_concrete_function(tf.TensorSpec((None, 32, 32, 3), tf.float32))
    tf.saved_model.save(net, str(tmp_path / "net"), signatures=net.__call__)
    with pytest.raises(BackboneError, match=r"TensorFlow cannot load savedmodel:net: .*__inference__traced_save_"):
        open_backbone(BackboneRequest("savedmodel", str(tmp_path / "net"), layer="rows"))


def test_one_with_tables_beside_it_loads(tmp_path: Path) -> None:
    """TensorFlow fills tables with functions of the program and with constants of its main graph."""
    net = Net()
    net.table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["a"], [1]), 0)
    net.more = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, 0)
    net.more.insert(["a"], [1])
    net.find = tf.function(net.table.lookup, input_signature=[tf.TensorSpec((None,), tf.string)])
    tf.saved_model.save(net, str(tmp_path / "net"), signatures=net.__call__)
    assert open_backbone(BackboneRequest("savedmodel", str(tmp_path / "net"), layer="rows")).specs[0].dim == 6


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
