"""`compress`: what is faster and loses no more than allowed is shipped, and nothing else."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
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
from headstart.compression import int8, int8_onnx, measuring
from headstart.compression.contract import Contract
from headstart.compression.measuring import Speed, speeds
from headstart.compression.method import Source
from headstart.core.errors import DataError, ExportError, SampleError, UsageError
from headstart.core.progress import silent
from headstart.exporting import directory
from headstart.exporting.openvino import converted
from headstart.exporting.program import program
from headstart.exporting.tracing import names_of, trace
from headstart.features.extraction import embed
from headstart.features.hashing import digest_samples
from headstart.model.model import Model, join
from headstart.tasks import TASKS
from headstart.verbs import compress as verb
from headstart.verbs.compress_bench import open_bench
from support.made import photos, reviews
from support.networks import save_tiny
from support.tunable import Stripes, network, once, rising

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

    monkeypatch.setattr(verb, "speeds", rising)
    monkeypatch.setattr(verb, "written", once)


@pytest.mark.usefixtures("quick")
def test_the_fastest_that_keeps_the_contract_is_shipped(model: Model, data: Path, tmp_path: Path) -> None:
    found = hs.compress(model, data, out=tmp_path / "small", options=hs.CompressOptions(tries=("int8",)))
    assert found.chosen in {"int8", "int8+bfloat16"}
    assert found.chosen == found.table[-1].name
    assert found.table[0].name == "float32, onnxruntime", "the fastest of the three, as told"
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
def test_eight_bits_for_onnxruntime_are_by_channel_and_leave_the_head_alone(
    model: Model, data: Path, tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    found = hs.compress(model, data, out=tmp_path / "small", options=hs.CompressOptions(tries=("int8_onnx",)))
    assert found.chosen == found.table[-1].name == "int8, onnxruntime"
    assert found.parity is not None
    assert found.parity.agreement == 1.0
    loaded = hs.load(tmp_path / "small")
    assert isinstance(loaded.backbone, ExportedBackbone)
    assert (loaded.backbone.graph.runtime, loaded.precision) == ("onnx", "int8")
    assert hs.evaluate(loaded, data).metrics["accuracy"].value == found.table[-1].figure
    graph = onnx.load(tmp_path / "small" / "model.onnx").graph
    stored = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    shrunk = [node for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in stored]
    assert [node for node in shrunk if stored[node.input[0]].dtype == np.int8 and stored[node.input[1]].size > 1]
    kept = {each.shape for each in stored.values() if each.dtype == np.float32}
    weight = np.asarray(loaded.head.weight)  # type: ignore[attr-defined]  # a linear head
    assert {weight.shape, weight.T.shape} & kept, "the head is in float32"


@pytest.mark.usefixtures("quick")
def test_eight_bits_for_onnxruntime_that_lose_more_are_refused(
    model: Model, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = hs.fit(data, options=replace(PLAIN, backbone=network()))
    monkeypatch.setattr(int8_onnx, "_quantised", lambda *_given: trace(replace(model, backbone=other.backbone)).onnx)
    found = hs.compress(model, data, out=tmp_path / "small", options=hs.CompressOptions(tries=("int8_onnx",)))
    assert found.path is None
    assert found.table[1].refused.startswith("it loses")


def _source_of(model: Model, rows: Path) -> Source:
    bench = open_bench(model, rows, progress=silent)
    return Source(model, bench.views(model.backbone), lambda *_given: model)


@pytest.mark.usefixtures("quick")
def test_texts_are_quantised_for_onnxruntime_too(tmp_path: Path) -> None:
    rows = reviews(tmp_path / "reviews.csv", n=120)
    backbone = open_backbone(BackboneRequest("transformers", str(save_tiny("bert", tmp_path / "bert"))))
    model = hs.fit(rows, options=replace(PLAIN, backbone=backbone, hold_out=0.4))
    found = hs.compress(model, rows, out=tmp_path / "small", options=hs.CompressOptions(tries=("int8_onnx",)))
    assert [each.name for each in found.table[1:]] == ["int8, onnxruntime"], found.notes
    graph = int8_onnx._quantised(trace(model).onnx, _source_of(model, rows), names_of(model)).graph
    makers = {name: node for node in graph.node for name in node.output}
    shrunk = {name for name, node in makers.items() if node.op_type == "DequantizeLinear"}
    products = [node for node in graph.node if node.op_type == "MatMul"]
    weights = {each.name for each in graph.initializer}
    of_weights = [node for node in products if makers.get(node.input[1], node).input[0] in weights]
    assert any(set(node.input[:2]) <= shrunk for node in of_weights), "products with weights are in 8 bits"
    attention = [node for node in products if node not in of_weights]
    assert attention
    assert not any(shrunk & set(node.input) for node in attention), "products of activations are not"


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


@pytest.mark.usefixtures("quick")
def test_sets_are_told_by_the_program_of_a_compressed_model_too(model: Model, data: Path, tmp_path: Path) -> None:
    hs.compress(model, data, out=tmp_path / "small", options=hs.CompressOptions(tries=("int8",)))
    item = str(data / "val" / "red" / "0.png")
    command = [sys.executable, str(tmp_path / "small" / "predict.py"), item]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    (known,) = hs.load(tmp_path / "small").predict(item)
    assert json.loads(done.stdout)["set"] == list(known["set"])


@pytest.mark.usefixtures("quick")
def test_what_costs_and_other_shares_decide_is_kept(data: Path, tmp_path: Path) -> None:
    costs = tmp_path / "costs.csv"
    costs.write_text("label,blue,red\nblue,0,30\nred,1,0\n", encoding="utf-8")
    plain = replace(PLAIN, backbone=network(alike=False))
    for name, asked in (
        ("costs", replace(plain, optimise=f"cost={costs}")),
        ("shares", replace(plain, deployment_prior="blue=0.2,red=0.8")),
    ):
        model = hs.fit(data, options=asked)
        hs.compress(model, data, out=tmp_path / name, options=hs.CompressOptions(tries=("int8",)))
        small = hs.load(tmp_path / name)
        assert small.rule == model.rule
        assert small.deployment_prior == model.deployment_prior
    costs.unlink()
    assert model.deployment_prior == (0.2, 0.8)


@pytest.mark.usefixtures("quick")
def test_groups_stay_on_one_side_when_a_head_is_fitted_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = photos(tmp_path / "photos", n=40, parts=("train",))
    names = sorted(str(path.relative_to(data / "train")) for path in (data / "train").rglob("*.png"))
    lines = [f"{name},{name.split('/')[0]},{number // 2}" for number, name in enumerate(names)]
    table = data / "train" / "table.csv"
    table.write_text("\n".join(["image,label,patient", *lines]) + "\n", encoding="utf-8")
    reading = hs.ReadOptions(group="patient")
    model = hs.fit(table, options=replace(PLAIN, backbone=network(alike=False), reading=reading, hold_out=0.4))
    seen: list[np.ndarray | None] = []

    def noted(samples: hs.Samples, *, options: hs.FitOptions) -> Model:
        seen.append(samples.groups)
        return hs.fit(samples, options=options)

    monkeypatch.setattr(verb, "fit", noted)
    hs.compress(model, table, out=tmp_path / "small", options=hs.CompressOptions(tries=("int8",)))
    assert seen
    assert all(groups is not None and len(set(groups)) == len(groups) / 2 for groups in seen)


@pytest.mark.usefixtures("quick")
def test_smaller_pictures_are_tried_for_networks_of_convolutions(data: Path, model: Model, tmp_path: Path) -> None:
    weights = save_tiny("test_resnet", tmp_path)
    request = BackboneRequest("timm", "test_resnet", weights=weights, prepare={"size": 64})
    larger = hs.fit(data, options=replace(PLAIN, backbone=request))
    contract = Contract(max_drop=100.0)
    asked = hs.CompressOptions(tries=("pixels",), contract=contract)
    found = hs.compress(larger, data, out=tmp_path / "small", options=asked)
    assert [each.name.split(",")[0] for each in found.table[1:]] == ["48 pixels"], found.notes
    assert found.parity is not None
    small = hs.load(tmp_path / "small")
    assert "size=48" in small.backbone.specs[0].prepare
    assert small.backbone.preparation.prepare((data / "val" / "red" / "0.png").read_bytes()).views[0].shape == (
        48,
        48,
        3,
    )
    assert small.split.digests.tolist() == larger.split.digests.tolist()
    few = hs.compress(model, data, out=tmp_path / "none", options=asked)  # two convolutions
    assert few.notes == ("pixels is not tried: the network is not made of convolutions over images",)


@pytest.mark.usefixtures("quick")
def test_one_that_fails_costs_no_other_its_chance(
    model: Model, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_given: object) -> None:
        raise RuntimeError("no kernel\nat line 3")

    monkeypatch.setattr(int8, "_quantised", broken)
    asked = hs.CompressOptions(tries=("int8", "int8", "int8_onnx"))
    found = hs.compress(model, data, out=tmp_path / "small", options=asked)
    assert found.chosen == "int8, onnxruntime"
    assert "int8 is not tried: RuntimeError: no kernel" in found.notes


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("error", [RuntimeError("shapes do not fit\nat line 3"), DataError("no view is left")])
def test_a_method_that_fails_before_there_is_a_candidate_costs_no_other_its_chance(
    error: Exception, model: Model, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_given: object) -> None:
        raise error

    monkeypatch.setattr(int8.PLUGIN.__class__, "candidates", broken)
    asked = hs.CompressOptions(tries=("int8", "int8_onnx"))
    found = hs.compress(model, data, out=tmp_path / "small", options=asked)
    assert found.chosen == "int8, onnxruntime"
    kind = "RuntimeError: shapes do not fit" if isinstance(error, RuntimeError) else "no view is left"
    assert f"int8 is not tried: {kind}" in found.notes


def test_what_cannot_be_measured_is_no_candidate_and_a_size_that_fails_is_none(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "_SECONDS", 0.01)
    views = list(model.backbone.preparation.probes(40, 0).values)
    inner = measuring._rate

    def rate(run: Any, batches: Any, **more: float) -> float:
        if len(batches[0]) > 4:
            raise RuntimeError("out of memory\nfor this batch")
        return inner(run, batches, **more)

    def none() -> list[np.ndarray]:
        raise SampleError("cut off")

    monkeypatch.setattr(measuring, "_rate", rate)
    found = speeds([(model.backbone, none), (model.backbone, lambda: views)])
    assert found[0] == "cut off"
    assert isinstance(found[1], Speed)
    assert found[1].batch <= 4
    monkeypatch.setattr(measuring, "SIZES", (8, 16))
    assert speeds([(model.backbone, lambda: views)]) == ["RuntimeError: out of memory"]


def test_candidates_that_cannot_be_measured_are_left_out_and_told_of(
    model: Model, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def all_but(number: int) -> Callable[[Sequence[Any]], list[Any]]:
        return lambda networks: [
            "no kernel" if place == number else each for place, each in enumerate(rising(networks))
        ]

    monkeypatch.setattr(verb, "written", once)
    asked = hs.CompressOptions(tries=("int8_onnx", "int8"))
    monkeypatch.setattr(verb, "speeds", all_but(3))  # after float32 at its three engines
    found = hs.compress(model, data, out=tmp_path / "small", options=asked)
    assert "int8, onnxruntime" not in {each.name for each in found.table}
    assert "int8, onnxruntime is not measured: no kernel" in found.notes
    assert found.chosen.startswith("int8")
    monkeypatch.setattr(verb, "speeds", all_but(2))
    asked = hs.CompressOptions(tries=("int8_onnx",))
    found = hs.compress(model, data, out=tmp_path / "small", options=asked)
    assert found.table[0].name != "float32, onnxruntime"
    assert "float32 through onnxruntime is not measured: no kernel" in found.notes
    monkeypatch.setattr(verb, "speeds", lambda networks: ["no kernel" for _ in networks])
    with pytest.raises(ExportError, match=r"there is nothing to compare with: float32 through .* is not measured"):
        hs.compress(model, data, out=tmp_path / "small", options=asked)


def test_weights_of_eight_bits_keep_to_seven_so_that_no_processor_overflows(model: Model, data: Path) -> None:
    """Without VNNI two products are added in 16 bits. A file is made on one processor and runs on another."""
    source = _source_of(model, data)
    network = int8._quantised(converted(trace(model)), source, names_of(model))
    weights = [
        node.get_data()
        for node in network.get_ops()
        if node.get_type_name() == "Constant" and node.get_element_type().get_type_name() == "i8"
    ]
    assert len(weights) == 2, "one of each convolution"
    assert all(32 < np.abs(each.astype(int)).max() <= 64 for each in weights)


@pytest.mark.usefixtures("quick")
def test_where_a_program_answers_otherwise_the_next_one_is_kept(
    model: Model, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = directory.program("image", "onnx")
    wrong = source.replace("dtype=np.uint8)], [1.0]", "dtype=np.uint8)[..., ::-1]], [1.0]")
    assert wrong != source

    def planted(modality: str, runtime: str) -> str:
        return wrong if runtime == "onnx" else program(modality, runtime)

    monkeypatch.setattr(directory, "program", planted)
    asked = hs.CompressOptions(tries=("int8", "int8_onnx"))  # the second is told to be faster
    found = hs.compress(model, data, out=tmp_path / "small", options=asked)
    assert found.chosen.startswith("int8")
    assert found.chosen != "int8, onnxruntime"
    assert found.table[-1].refused == "its program answers otherwise"
    assert any(note.startswith("int8, onnxruntime is not kept: the export gives other answers") for note in found.notes)


def test_a_student_is_measured_on_what_its_own_preparation_makes(model: Model, data: Path) -> None:
    bench = open_bench(model, data, progress=silent)
    other = open_backbone(
        BackboneRequest("torch", "small", module=Stripes(), prepare={"modality": "image", "size": 20})
    )
    views = bench.views(other)
    assert {view.shape for view in views} == {(20, 20, 3)}
    (found,) = speeds([(other, lambda: views)])
    assert isinstance(found, Speed)
    assert found.throughput > 0


def test_several_labels_and_values_are_compressed_by_figures_where_less_is_better(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folder = photos(tmp_path / "photos", n=60, parts=("",))
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))
    tags = [f"{name.split('/')[0]}|{('odd', 'even')[number % 2]}" for number, name in enumerate(names)]
    values = [f"{3.0 * name.startswith('red') + 0.1 * rng.standard_normal():.3f}" for name in names]
    lines = [f"{name},{tag},{value}" for name, tag, value in zip(names, tags, values, strict=True)]
    table = folder / "table.csv"
    table.write_text("\n".join(["image,tags,price", *lines]) + "\n", encoding="utf-8")
    for target, task, figure in (("tags", "multi_label", "log_loss"), ("price", "regression", "mae")):
        reading = hs.ReadOptions(target=target, task=task, separator="|" if task == "multi_label" else None)
        asked = replace(PLAIN, backbone=network(alike=False), reading=reading, hold_out=0.4)
        model = hs.fit(table, options=asked)
        bench = open_bench(model, table, progress=silent)
        assert bench.figure == figure
        assert bench.scale == pytest.approx(-bench.outcomes.mean())
        assert bench.outcomes.max() < 0
        worse = replace(model, temperature=5.0, head=hs.fit(table, options=asked).head)
        task_ = TASKS.get(task)
        targets = task_.encode(bench.held.table.column("target"), model.labels or None)
        rows = join(embed(model.backbone, bench.held).features)
        shifted = worse.predicted(rows) if task == "multi_label" else model.predicted(rows) + 2.0
        assert task_.figure(targets, shifted)[1].mean() < bench.outcomes.mean(), "what is worse is lower"


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
    (found,) = speeds([(model.backbone, lambda: views)])
    assert isinstance(found, Speed)
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
