"""What chooses among candidates, what the kept one's figures are of, and what its card tells."""

import json
import shutil
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
from headstart.backbones.precision import device
from headstart.cli.main import main
from headstart.compression import depth, half
from headstart.compression.contract import Contract
from headstart.compression.measuring import Speed
from headstart.compression.method import Source
from headstart.core.progress import silent
from headstart.data.samples import Samples
from headstart.evaluation.intervals import share
from headstart.features.hashing import digest_samples
from headstart.model.model import Model
from headstart.verbs import compress as verb
from headstart.verbs import compress_bench
from headstart.verbs.compress_bench import open_bench
from support.cache import cache_in
from support.made import photos, reviews
from support.networks import save_tiny
from support.told import told_by
from support.tunable import network, once, rising

PLAIN = hs.FitOptions(check=False)
ONNX = hs.CompressOptions(tries=("int8_onnx",))

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three parts; in `test` three reds are called blue."""
    folder = photos(tmp_path_factory.mktemp("photos"), n=20, parts=("train", "val", "test"))
    wrong = photos(tmp_path_factory.mktemp("more"), n=3, parts=("",), seed=7)
    for number in range(3):
        shutil.copy(wrong / "red" / f"{number}.png", folder / "test" / "blue" / f"wrong{number}.png")
    return folder


@pytest.fixture(scope="module")
def model(data: Path) -> Model:
    return hs.fit(data, options=replace(PLAIN, backbone=network(alike=False)))


@pytest.fixture(scope="module")
def small_text(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Path]:
    """A model of texts of three blocks, and its data."""
    folder = tmp_path_factory.mktemp("texts")
    table = reviews(folder / "reviews.csv", n=120)
    backbone = open_backbone(BackboneRequest("transformers", str(save_tiny("bert", folder / "bert"))))
    return hs.fit(table, options=replace(PLAIN, backbone=backbone, hold_out=0.4)), table


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speeds that are told, each candidate faster than the one before."""

    monkeypatch.setattr(verb, "speeds", rising)
    monkeypatch.setattr(verb, "written", once)


def test_what_chooses_is_not_what_the_figures_are_of(
    model: Model, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_out = {each.tobytes() for each in digest_samples(hs.read(data).part("test")).digests}
    seen: list[int] = []
    inner = compress_bench.embed

    def embed(backbone: Any, samples: Samples, **more: Any) -> Any:
        seen.append(sum(each.tobytes() in held_out for each in digest_samples(samples).digests))
        return inner(backbone, samples, **more)

    monkeypatch.setattr(compress_bench, "embed", embed)
    found = hs.compress(model, data, out=tmp_path / "small", options=ONNX)
    assert (found.part, found.n, found.before, found.table[-1].figure) == ("val", 40, 1.0, 1.0)
    assert found.unseen is not None
    assert (found.unseen.part, found.unseen.n) == ("test", 43)
    assert found.unseen.before == found.unseen.figure == pytest.approx(40 / 43)
    assert (found.unseen.low, found.unseen.high) == (share(40, 43).low, share(40, 43).high)
    assert (found.unseen.drop, found.unseen.error) == (0.0, 0.0)
    assert [each for each in seen if each] == [43, 43], "once for the model, once for what is kept"
    assert seen[0] == 0, "and not before something was chosen"
    assert "on 43 samples of test, none of which chose it" in found.sentence
    small = hs.load(tmp_path / "small")
    assert small.report.evaluated_on == "test"
    assert small.report.metrics["accuracy"].value == found.unseen.figure
    assert hs.evaluate(small, data).metrics["accuracy"].value == found.unseen.figure
    assert json.loads(json.dumps(found.to_json()))["unseen"]["n"] == 43


def test_what_loses_on_samples_that_chose_nothing_is_not_kept(
    model: Model, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A planted loss that `val` cannot see: what is chosen turns answers of `test` over. No other is tried in its place."""
    inner = compress_bench._outcomes

    def outcomes(own: Model, targets: Any, predicted: np.ndarray) -> Any:
        name, found = inner(own, targets, predicted)
        lost = len(found) == 43 and isinstance(own.backbone, ExportedBackbone)
        return name, found * (np.arange(43) >= 12) if lost else found

    monkeypatch.setattr(compress_bench, "_outcomes", outcomes)
    two = hs.CompressOptions(tries=("int8_onnx", "pixels", "half", "int8"))
    found = hs.compress(model, data, out=tmp_path / "small", options=two)
    assert (found.path, found.chosen, found.parity, found.unseen) == (None, "", None, None)
    (refused,) = [each.refused for each in found.table[1:] if each.refused]
    assert refused.startswith("on 43 samples of test, none of which chose it, it loses ")
    assert "points, and " in refused
    assert found.table[-1].refused == refused, "it was the fastest that kept the contract on val"
    assert found.notes[-1].startswith("no other is tried in its place")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(verb, "load", lambda _path: model)
    asked = ["compress", str(tmp_path / "any"), str(data), "--out", str(tmp_path / "small"), "--tries", "int8_onnx"]
    assert main(asked) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "none of which chose it" in said
    assert "nothing is written" in said


def test_a_program_that_loses_more_than_the_contract_allows_is_not_kept(
    model: Model, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = compress_bench.prove

    def prove(*given: Any, **more: Any) -> Any:
        known = inner(*given, **more)
        return replace(known, drop=0.02, error=0.03, exported=known.fitted - 0.02)

    monkeypatch.setattr(compress_bench, "prove", prove)
    found = hs.compress(model, data, out=tmp_path / "small", options=ONNX)
    assert found.path is None
    assert any("its program's accuracy of 0.9800 is less than the contract allows" in note for note in found.notes)
    asked = replace(ONNX, contract=Contract(max_drop=2.0))
    assert hs.compress(model, data, out=tmp_path / "small", options=asked).path is not None


def test_where_one_part_does_both_it_is_said(
    model: Model, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    some = tmp_path / "data"
    for part in ("train", "val"):
        shutil.copytree(data / part, some / part)
    monkeypatch.setattr(verb, "load", lambda _path: model)
    asked = ["compress", str(tmp_path / "any"), str(some), "--out", str(tmp_path / "small"), "--tries", "int8_onnx"]
    assert main([*asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["part"], found["unseen"]) == ("val", None)
    assert "on 40 held-out samples, which chose it as well" in found["sentence"]
    assert any("data with a val and a test part" in note for note in found["notes"])
    assert main(asked) == 0
    said = " ".join(capsys.readouterr().out.split())
    low, high = share(40, 40).low, share(40, 40).high
    assert f"[{low:.3f}, {high:.3f}]" in said
    assert low < 0.95


def test_intervals_say_something_where_nothing_is_wrong(model: Model, data: Path, tmp_path: Path) -> None:
    found = hs.compress(model, data, out=tmp_path / "small", options=ONNX)
    for row in found.table:
        assert (row.figure, row.high) == (1.0, 1.0)
        assert row.low == share(40, 40).low < 0.95


def test_errors_of_values_have_the_interval_of_the_house(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folder = photos(tmp_path / "photos", n=60, parts=("",))
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))
    lines = [f"{name},{3.0 * name.startswith('red') + 0.1 * rng.standard_normal():.3f}" for name in names]
    (folder / "table.csv").write_text("\n".join(["image,price", *lines]) + "\n", encoding="utf-8")
    reading = hs.ReadOptions(target="price", task="regression")
    asked = replace(PLAIN, backbone=network(alike=False), reading=reading, hold_out=0.4)
    fitted = hs.fit(folder / "table.csv", options=asked)
    found = hs.compress(fitted, folder / "table.csv", out=tmp_path / "small", options=ONNX)
    known = fitted.report.metrics["mae"]
    assert found.table[0].figure == pytest.approx(-known.value, rel=1e-6)
    assert (-found.table[0].high, -found.table[0].low) == pytest.approx((known.low, known.high), rel=1e-6)


def test_the_card_tells_what_it_is(model: Model, data: Path, tmp_path: Path) -> None:
    found = hs.compress(model, data, out=tmp_path / "small", options=ONNX)
    card = (tmp_path / "small" / "README.md").read_text(encoding="utf-8")
    assert "Precision: int8, a graph for onnxruntime (`model.onnx`)" in card
    assert "## Compressed" in card
    section = card.split("## Compressed\n\n")[1].split("\n\n## ")[0]
    assert "weights and activations in 8 bits" in section
    assert f"{found.table[-1].speedup:.2f} times as fast as float32 at its fastest" in section
    assert "accuracy 0.9302 where the model has 0.9302" in section
    assert "0.5 points" in section
    assert "headstart predict THIS_DIRECTORY photo.jpg" in card
    assert "python THIS_DIRECTORY/predict.py photo.jpg" in card
    assert "## Compressed" not in (model.save(tmp_path / "plain") / "README.md").read_text(encoding="utf-8")


def test_the_card_of_a_program_of_torch_names_its_program(model: Model, tmp_path: Path) -> None:
    folder = hs.export(model, to="torch", out=tmp_path / "export").path
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "headstart predict" not in card
    assert "python THIS_DIRECTORY/predict.py photo.jpg" in card
    assert "Precision: float32, a graph for torch (`model.pt2`)" in card


@pytest.mark.parametrize("tries", ["int8", "int8_onnx"])
def test_a_compressed_file_tells_what_the_manifest_says(tries: str, model: Model, data: Path, tmp_path: Path) -> None:
    if tries == "int8":
        pytest.importorskip("nncf")
    hs.compress(model, data, out=tmp_path / "small", options=hs.CompressOptions(tries=(tries,)))
    loaded = hs.load(tmp_path / "small")
    assert isinstance(loaded.backbone, ExportedBackbone)
    manifest = json.loads((tmp_path / "small" / "manifest.json").read_text(encoding="utf-8"))
    whole = json.loads(told_by(loaded.backbone.graph.runtime, tmp_path / "small")["headstart"])
    for name in ("conformal", "outlier"):
        assert whole[name].pop("of") == "", "it hangs on the digest of the file itself"
        assert manifest[name].pop("of")
    assert [each.pop("weights") for each in whole["backbone"]["specs"]] == [""]
    assert all(each.pop("weights") for each in manifest["backbone"]["specs"])
    assert whole | {"files": 0, "created": 0} == manifest | {"files": 0, "created": 0}


def test_a_student_is_tempered_to_what_it_said_itself(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = hs.fit(data, options=replace(PLAIN, backbone=network(alike=False)))
    student = hs.fit(data, options=replace(PLAIN, backbone=network(alike=False)))
    seen: list[float] = []
    inner = compress_bench.matched

    def matched(scores: Any, known: Any, **more: Any) -> float:
        seen.append(inner(scores, known, **more))
        return seen[-1]

    monkeypatch.setattr(compress_bench, "matched", matched)
    monkeypatch.setattr(verb, "distil", lambda *_given, **_more: SimpleNamespace(model=student))
    monkeypatch.setattr(half, "narrowest", lambda: "bfloat16")
    asked = hs.CompressOptions(tries=("student",), student="torch:small", contract=Contract(max_drop=100.0))
    hs.compress(model, data, out=tmp_path / "small", options=asked)
    assert len(seen) == 1
    assert hs.load(tmp_path / "small").temperature == seen[0] == pytest.approx(student.temperature, rel=0.2)


@pytest.mark.parametrize(("units", "quicker"), [("float32", "onnx"), ("float32", "openvino"), ("bfloat16", "onnx")])
def test_fewer_blocks_are_really_tried_and_written(
    units: str, quicker: str, small_text: tuple[Model, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float32 through whichever runtime is the quicker one for the model itself."""
    if units == "bfloat16" and units not in device().units:
        pytest.skip("this processor has no units for bfloat16")
    monkeypatch.setattr(half, "narrowest", lambda: units)
    monkeypatch.setattr(depth, "_SHARES", (0.7,))

    def told(networks: Sequence[Any]) -> list[Speed]:
        """Where the method asks for the quicker one the two runtimes are compared; in the end all."""
        runtimes = [getattr(getattr(each, "graph", None), "runtime", "torch") for each, _ in networks]
        if runtimes != ["openvino", "onnx"]:
            return rising(networks)
        return [replace(rising(networks)[0], throughput=200.0 if each == quicker else 100.0) for each in runtimes]

    fitted, table = small_text
    monkeypatch.setattr(verb, "speeds", told)
    asked = hs.CompressOptions(tries=("depth",), contract=Contract(max_drop=100.0))
    found = hs.compress(fitted, table, out=tmp_path / "small", options=asked)
    assert [each.name for each in found.table[1:]] == ["2 of 3 blocks"], found.notes
    assert found.chosen == "2 of 3 blocks"
    small = hs.load(tmp_path / "small")
    assert isinstance(small.backbone, ExportedBackbone)
    assert (small.backbone.graph.runtime, small.precision) == (quicker if units == "float32" else "openvino", units)
    assert (
        f"in {units} through {'onnxruntime' if small.backbone.graph.runtime == 'onnx' else 'OpenVINO'}"
        in found.table[1].how
    )
    assert [spec.layer.rpartition(".")[2] for spec in small.backbone.specs] == ["0", "1"]
    assert small.report.metrics["accuracy"].value == found.table[1].figure
    assert (fitted.report.evaluated_on, small.report.evaluated_on) == ("test", "test")
    program_bytes = sum((tmp_path / "small" / name).stat().st_size for name in small.backbone.graph.files)
    assert program_bytes == pytest.approx(found.table[1].bytes, rel=0.1)


def test_of_the_blocks_that_are_kept_the_last_is_read_and_the_one_at_half(
    small_text: tuple[Model, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted, _ = small_text
    monkeypatch.setattr(depth, "_SHARES", (1.0, *depth._SHARES))
    read: list[list[str]] = []

    def refit(backbone: Any, _head: str) -> Model:
        read.append([spec.layer.rpartition(".")[2] for spec in backbone.specs])
        return fitted

    found = [each.name for each in depth.PLUGIN.candidates(Source(fitted, (), refit))]
    assert found == ["2 of 3 blocks", "1 of 3 blocks"], "all of them are no fewer blocks"
    assert read == [["0", "1"], ["0"]]


def test_the_network_is_run_once_for_all_shares_of_its_blocks(
    small_text: tuple[Model, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And each head is fitted on rows that are in the store by then."""
    fitted, table = small_text
    ran: list[tuple[str, int, int]] = []
    inner = verb.fit

    def told(samples: Any, **named: Any) -> Model:
        again = inner(samples, **named)
        ran.append((again.report.engine, again.report.cached, again.report.extracted))
        return again

    monkeypatch.setattr(verb, "fit", told)
    with cache_in(tmp_path / "cache"):
        source = verb._source(open_bench(fitted, table, progress=silent), {}, hs.CompressOptions(), silent)
        assert [each.name for each in depth.PLUGIN.candidates(source)] == ["2 of 3 blocks", "1 of 3 blocks"]
    assert len(ran) == 2
    assert all(engine == "none" and cached > 0 and extracted == 0 for engine, cached, extracted in ran), ran


@pytest.mark.parametrize(("tries", "times"), [(("half",), 0), (("depth", "student"), 1)])
def test_the_quicker_runtime_is_measured_once_and_where_it_is_asked_for(
    tries: tuple[str, ...], times: int, small_text: tuple[Model, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted, table = small_text
    seen: list[list[str]] = []

    def told(networks: Sequence[Any]) -> list[Speed]:
        seen.append([getattr(getattr(each, "graph", None), "runtime", "torch") for each, _ in networks])
        return rising(networks)

    monkeypatch.setattr(half, "narrowest", lambda: "float32")
    monkeypatch.setattr(depth, "_SHARES", (0.7,))
    monkeypatch.setattr(verb, "speeds", told)
    monkeypatch.setattr(verb, "distil", lambda *_given, **_more: SimpleNamespace(model=fitted))
    asked = hs.CompressOptions(tries=tries, student="torch:small", contract=Contract(max_drop=100.0))
    found = hs.compress(fitted, table, out=tmp_path / "small", options=asked)
    assert sum(each == ["openvino", "onnx"] for each in seen) == times
    assert len(seen) == times + 1, "in the end all are measured"
    through = [each.how.rpartition(" through ")[2] for each in found.table[1:]]
    assert through == ["onnxruntime"] * (2 if times else 0), found.notes


def test_in_bfloat16_no_runtime_is_measured(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source(model, (), lambda *_given: model, runtime=lambda: pytest.fail("it was measured"))
    monkeypatch.setattr(half, "narrowest", lambda: "bfloat16")
    assert half.quickest(source) == ("bfloat16", "openvino")


def test_too_few_to_choose_on_are_not_chosen_on(model: Model, data: Path, tmp_path: Path) -> None:
    some = tmp_path / "data"
    for part in ("train", "test"):
        shutil.copytree(data / part, some / part)
    for label in ("red", "blue"):
        (some / "val" / label).mkdir(parents=True)
        for number in range(3):
            shutil.copy(data / "val" / label / f"{number}.png", some / "val" / label)
    bench = open_bench(model, some, progress=silent)
    assert (bench.part, len(bench.held), bench.unseen) == ("test", 43, None)
