"""`compress`: what is faster and loses no more than allowed is shipped, and nothing else."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import headstart as hs
from headstart.backbones.backbone import BackboneRequest
from headstart.backbones.choice import open_backbone
from headstart.backbones.exported import ExportedBackbone
from headstart.backbones.network import NetworkBackbone, reread
from headstart.backbones.precision import BFLOAT16, device
from headstart.cli.main import main
from headstart.compression import int8
from headstart.compression.contract import Contract
from headstart.compression.measuring import Speed, speeds
from headstart.core.errors import DataError, UsageError
from headstart.exporting.openvino import converted
from headstart.exporting.tracing import trace
from headstart.features.hashing import digest_samples
from headstart.model.model import Model
from headstart.verbs import compress as verb
from support.made import photos, reviews
from support.networks import save_tiny
from support.tunable import network

PLAIN = hs.FitOptions(check=False)

pytest.importorskip("nncf")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos(tmp_path_factory.mktemp("photos"), n=30)


@pytest.fixture(scope="module")
def model(data: Path) -> Model:
    return hs.fit(data, options=replace(PLAIN, backbone=network(alike=False)))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speeds that are told, each candidate faster than the one before: a network of two small convolutions is as fast in any arithmetic."""

    def told(backbones: Sequence[Any], _views: Sequence[np.ndarray]) -> list[Speed]:
        return [Speed(100.0 * (1 + place), 4, 0.01, 0.02) for place in range(len(backbones))]

    monkeypatch.setattr(verb, "speeds", told)


@pytest.mark.usefixtures("quick")
def test_the_fastest_that_keeps_the_contract_is_shipped(model: Model, data: Path, tmp_path: Path) -> None:
    found = hs.compress(model, data, out=tmp_path / "small", options=hs.CompressOptions(tries=("int8",)))
    assert found.chosen in {"int8", "int8+bfloat16"}
    assert found.chosen == found.table[-1].name
    assert found.table[0].name == "float32, openvino"
    assert found.table[0].refused == "it is what has to be beaten"
    assert found.parity is not None
    assert found.parity.agreement == 1.0
    assert found.n == 60
    assert json.loads(json.dumps(found.to_json()))["chosen"] == found.chosen
    loaded = hs.load(tmp_path / "small")
    assert isinstance(loaded.backbone, ExportedBackbone)
    assert loaded.precision == found.chosen
    assert hs.evaluate(loaded, data).metrics["accuracy"].value == found.table[-1].figure
    assert loaded.judge is not None


@pytest.mark.usefixtures("quick")
def test_what_loses_more_is_refused_and_nothing_is_written(
    model: Model, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = hs.fit(
        data, options=replace(PLAIN, backbone=network())
    )  # whose rows tell nothing: that is the planted loss
    monkeypatch.setattr(int8, "_quantised", lambda *_given: converted(trace(replace(model, backbone=other.backbone))))
    found = hs.compress(model, data, out=tmp_path / "small", options=hs.CompressOptions(tries=("int8",)))
    assert found.chosen == ""
    assert found.path is None
    assert found.parity is None
    assert all(each.refused.startswith("it loses") for each in found.table[1:])
    assert found.sentence.startswith("nothing that was tried keeps the contract")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("quick")
def test_a_compressed_model_answers_without_torch(model: Model, data: Path, tmp_path: Path) -> None:
    if BFLOAT16 not in device().units:
        pytest.skip("this processor has no units for bfloat16")
    found = hs.compress(model, data, out=tmp_path / "small", options=hs.CompressOptions(tries=("half",)))
    assert found.chosen == "bfloat16"
    program = "import sys, headstart as hs; print(hs.load(sys.argv[1]).predict(sys.argv[2])[0]['label'], 'torch' in sys.modules)"
    item = str(data / "val" / "red" / "0.png")
    command = [sys.executable, "-c", program, str(tmp_path / "small"), item]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.stdout.split() == ["red", "False"], done.stderr


@pytest.mark.usefixtures("quick")
def test_a_student_is_tried_where_one_is_named(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = data / "train"
    model = hs.fit(whole, options=replace(PLAIN, backbone=network(alike=False), hold_out=0.4))
    seen: list[hs.Samples] = []

    def taught(teacher: Model, samples: hs.Samples, *, options: hs.DistilOptions, **_given: object) -> SimpleNamespace:
        seen.append(samples)
        assert (teacher, options.student, options.budget) == (model, "torch:small", 60.0)
        return SimpleNamespace(model=hs.fit(samples, options=replace(PLAIN, backbone=network(alike=False))))

    monkeypatch.setattr(verb, "distil", taught)
    none = hs.CompressOptions(tries=("student",))
    assert "no student was named" in hs.compress(model, whole, out=tmp_path / "none", options=none).notes[0]
    asked = hs.CompressOptions(tries=("student",), student="torch:small", budget=60.0)
    found = hs.compress(model, whole, out=tmp_path / "small", options=asked)
    assert found.chosen == found.table[-1].name == "student torch:stripes"
    assert all(model.split.in_train(digest_samples(each).digests).all() for each in seen)
    assert hs.load(tmp_path / "small").split.digests.tolist() == model.split.digests.tolist()


@pytest.mark.usefixtures("quick")
def test_the_head_is_fitted_anew_on_the_compressed_rows_of_what_it_was_fitted_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = data / "train"
    model = hs.fit(whole, options=replace(PLAIN, backbone=network(alike=False), hold_out=0.4, with_examples=True))
    seen: list[np.ndarray] = []

    def noted(samples: hs.Samples, *, options: hs.FitOptions) -> Model:
        seen.append(digest_samples(samples).digests)
        assert options.head == model.report.head
        return hs.fit(samples, options=options)

    monkeypatch.setattr(verb, "fit", noted)
    found = hs.compress(model, whole, out=tmp_path / "small", options=hs.CompressOptions(tries=("int8",)))
    assert seen, "a frozen head is fitted anew"
    assert all(model.split.in_train(each).all() for each in seen), "nothing that is held out has a part in it"
    small = hs.load(tmp_path / "small")
    assert not np.array_equal(getattr(small.head, "weight", 0), getattr(model.head, "weight", 0))
    assert small.split.digests.tolist() == model.split.digests.tolist()
    assert small.report.metrics["accuracy"].value == found.table[-1].figure
    assert small.judge is not None
    assert small.judge.neighbours is not None
    assert small.examples is not None
    assert len(small.examples) == len(small.judge.neighbours.rows)


def test_a_head_on_an_earlier_layer_drops_what_follows(tmp_path: Path) -> None:
    table = reviews(tmp_path / "reviews.csv", n=80)
    backbone = open_backbone(BackboneRequest("transformers", str(save_tiny("bert", tmp_path / "bert"))))
    assert isinstance(backbone, NetworkBackbone)
    earlier = reread(backbone, layer="encoder.layer.0")
    batch = backbone.preparation.probes(3, 0)
    known = open_backbone(
        BackboneRequest("transformers", str(tmp_path / "bert" / "bert"), layer="encoder.layer.0", pooling="mean")
    )
    np.testing.assert_array_equal(earlier.embed(batch)[0], known.embed(batch)[0])
    model = hs.fit(table, options=replace(PLAIN, backbone=backbone, hold_out=0.4))
    whole = trace(model).onnx
    half = trace(hs.fit(table, options=replace(PLAIN, backbone=earlier, hold_out=0.4))).onnx
    assert len(half.graph.node) < 0.8 * len(whole.graph.node)


def test_speeds_are_measured(model: Model) -> None:
    views = list(model.backbone.preparation.probes(40, 0).values)
    (found,) = speeds([model.backbone], views)
    assert found.throughput > 10
    assert 0 < found.p50 <= found.p95
    assert found.batch in {1, 2, 4, 8, 16, 32}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (hs.CompressOptions(target="gpu"), "a model is compressed for cpu, and got 'gpu'"),
        (hs.CompressOptions(contract=Contract(min_speedup=1.0)), "nothing that is not faster is called compression"),
        (hs.CompressOptions(contract=Contract(max_drop=-1.0)), "a drop is from 0 to 100 points"),
        (hs.CompressOptions(tries=("int9",)), "there is no compression method called 'int9'"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_before_anything_is_read(
    options: hs.CompressOptions, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        hs.compress(tmp_path / "no-model", tmp_path / "no-data", out=tmp_path / "out", options=options)


def test_data_without_both_kinds_of_samples_is_refused(model: Model, data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"compression takes at least 20 of each"):
        hs.compress(model, data / "val", out=tmp_path / "out")


@pytest.mark.usefixtures("quick")
def test_the_command_prints_the_table(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = hs.fit(data, options=replace(PLAIN, backbone=network(alike=False)))
    monkeypatch.setattr(verb, "load", lambda _path: fitted)
    command = ["compress", "any", str(data), "--out", str(tmp_path / "small"), "--tries", "int8"]
    assert main(command) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "times as fast as float32 at its fastest" in said
    assert "it is what has to be beaten" in said
