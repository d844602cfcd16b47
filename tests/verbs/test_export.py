"""`export`: the same answers from the same files, without headstart; and refused where they are not the same."""

import json
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import headstart as hs
from headstart.backbones.backbone import BackboneRequest
from headstart.backbones.choice import open_backbone
from headstart.backbones.exported import ExportedBackbone
from headstart.cli.main import main
from headstart.core.errors import ExportError, ModelError, UsageError
from headstart.exporting import directory
from headstart.exporting import program as programs
from headstart.exporting.parity import Parity
from headstart.model.model import Model
from support.made import photos, reviews, sounds
from support.networks import save_tiny
from support.tunable import network
from support.weights import need_embedded

PLAIN = hs.FitOptions(check=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos whose rims are green, so that another crop shows."""
    folder = photos(tmp_path_factory.mktemp("photos"), n=16)
    for place in folder.rglob("*.png"):
        pixels = np.array(Image.open(place))
        pixels[:14], pixels[-14:] = (0, 250, 0), (0, 250, 0)
        Image.fromarray(pixels).save(place)
    return folder


@pytest.fixture(scope="module")
def model(data: Path) -> Model:
    return hs.fit(data, options=replace(PLAIN, backbone=network(alike=False)))


@pytest.fixture(scope="module")
def exported(model: Model, data: Path, tmp_path_factory: pytest.TempPathFactory) -> hs.Export:
    return hs.export(model, to="onnx", out=tmp_path_factory.mktemp("exports") / "photos", with_data=data)


def test_it_is_proved_from_raw_files(exported: hs.Export) -> None:
    assert exported.parity is not None
    assert (exported.checked, exported.parity.n, exported.parity.agreement) == ("data", 32, 1.0)
    assert exported.parity.difference < 1e-3
    assert exported.parity.fitted == exported.parity.exported
    assert exported.bytes == sum(each.stat().st_size for each in exported.path.rglob("*") if each.is_file())
    assert json.loads(json.dumps(exported.to_json()))["parity"]["n"] == 32


def test_the_file_tells_all_of_itself(exported: hs.Export, model: Model) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(exported.path / "model.onnx"))
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["labels"]) == list(model.labels)
    whole = json.loads(told["headstart"])
    assert whole["prior"] == list(model.prior or ())
    assert whole["temperature"] == model.temperature
    assert whole["conformal"]["quantile"] == model.judge.conformal.quantile  # type: ignore[union-attr]
    assert 0 < whole["outlier"]["threshold"] < 1
    assert whole["fit"]["metrics"]["accuracy"]["value"] == model.report.metrics["accuracy"].value
    assert [each.name for each in session.get_inputs()] == ["pixels"]
    assert [each.name for each in session.get_outputs()] == ["probabilities", "rows"]


ALONE = """
import json, sys
import headstart as hs
model = hs.load(sys.argv[1])
answers = model.predict(sys.argv[2])
evaluated = hs.evaluate(model, sys.argv[3]).metrics["accuracy"].value
heavy = [name for name in ("torch", "timm", "transformers") if name in sys.modules]
print(json.dumps([heavy, [each["label"] for each in answers], [each["outlier"]["score"] for each in answers], evaluated]))
"""


def test_it_loads_and_answers_without_torch(exported: hs.Export, model: Model, data: Path) -> None:
    items = data / "val" / "red"
    command = [sys.executable, "-c", ALONE, str(exported.path), str(items), str(data)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    heavy, labels, outliers, accuracy = json.loads(done.stdout)
    answers = model.predict(items)
    assert heavy == []
    assert labels == [each["label"] for each in answers]
    np.testing.assert_allclose(outliers, [each["outlier"]["score"] for each in answers], atol=1e-3)
    assert accuracy == hs.evaluate(model, data).metrics["accuracy"].value


def test_a_loaded_export_is_saved_with_all_of_its_files(exported: hs.Export, tmp_path: Path, data: Path) -> None:
    loaded = hs.load(exported.path)
    assert isinstance(loaded.backbone, ExportedBackbone)
    again = hs.load(loaded.save(tmp_path / "copy"))
    before, after = ({each.name for each in path.iterdir()} for path in (exported.path, tmp_path / "copy"))
    assert before == after
    items = data / "val" / "red"
    assert again.predict(items) == loaded.predict(items)
    with pytest.raises(ModelError, match="an exported model cannot be saved by reference"):
        loaded.save(tmp_path / "reference", by_reference=True)
    with pytest.raises(UsageError, match="is an exported model already"):
        hs.export(loaded, to="onnx", out=tmp_path / "twice")


def _swapped(source: str) -> str:
    return source.replace(
        'np.asarray(picture.convert("RGB"), dtype=np.uint8)',
        'np.asarray(picture.convert("RGB"), dtype=np.uint8)[..., ::-1]',
    )


def _cropped(source: str) -> str:
    return source.replace('/ options["crop"])', "/ 0.5)")


@pytest.mark.parametrize("planted", [_swapped, _cropped], ids=["colours", "crop"])
def test_a_planted_error_of_preparation_is_refused_and_nothing_stays(
    planted: Any, model: Model, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = programs.program("image", "onnx")
    assert planted(source) != source, "the error is planted"
    monkeypatch.setattr(directory, "program", lambda *_given: planted(source))
    with pytest.raises(ExportError, match=r"gives other answers than the model: .* it was removed"):
        hs.export(model, to="onnx", out=tmp_path / "wrong", with_data=data)
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_fails_is_refused(
    model: Model, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "program", lambda *_given: "raise SystemExit('no such thing')\n")
    with pytest.raises(ExportError, match="the export's program failed: no such thing"):
        hs.export(model, to="onnx", out=tmp_path / "wrong", with_data=data)
    assert list(tmp_path.iterdir()) == []


def test_texts_in_windows_through_openvino(tmp_path: Path) -> None:
    table = reviews(tmp_path / "reviews.csv", n=40)
    long = " ".join(["film", "good", "the"] * 30)
    table.write_text(table.read_text(encoding="utf-8") + f"{long},good\n{long},bad\n", encoding="utf-8")
    backbone = open_backbone(
        BackboneRequest(
            "transformers", str(save_tiny("bert", tmp_path / "bert")), prepare={"long": "windows", "max_tokens": 16}
        )
    )
    model = hs.fit(table, options=replace(PLAIN, backbone=backbone, hold_out=0.4))
    found = hs.export(model, to="openvino", out=tmp_path / "export", with_data=table)
    assert found.parity is not None
    assert found.parity.agreement == 1.0
    assert found.parity.n == 42
    loaded = hs.load(found.path)
    ours, theirs = (each.predict([long, "a short one"]) for each in (model.at("float32"), loaded))
    for one, other in zip(ours, theirs, strict=True):
        assert abs(one["probability"] - other["probability"]) < 1e-4


def test_recordings_through_onnx(tmp_path: Path) -> None:
    need_embedded("audio")
    data = sounds(tmp_path / "sounds", n=6)
    model = hs.fit(data, options=replace(PLAIN, hold_out=0.3))
    found = hs.export(model, to="onnx", out=tmp_path / "export", with_data=data)
    assert found.parity is not None
    assert found.parity.agreement == 1.0
    assert found.parity.difference < 0.01
    assert hs.load(found.path).predict(data / "low")[0]["label"] == "low"


def test_a_text_may_hold_whatever_ends_a_line(tmp_path: Path) -> None:
    table = reviews(tmp_path / "reviews.csv", n=40)
    odd = "a\u2028lovely\u0085film\u2029of warm\x0bwords"
    table.write_text(table.read_text(encoding="utf-8") + f"{odd},schön\u2028\n{odd} again,good\n", encoding="utf-8")
    backbone = open_backbone(BackboneRequest("transformers", str(save_tiny("bert", tmp_path / "bert"))))
    model = hs.fit(table, options=replace(PLAIN, backbone=backbone))
    found = hs.export(model, to="onnx", out=tmp_path / "export", with_data=table)
    assert found.parity is not None
    assert (found.parity.n, found.parity.agreement) == (42, 1.0)


def test_text_files_that_cannot_be_read_are_read_by_neither(tmp_path: Path) -> None:
    for label, encoding in (("good", "utf-16"), ("bad", "utf-8")):
        (tmp_path / "texts" / label).mkdir(parents=True)
        for number in range(20):
            place = tmp_path / "texts" / label / f"{number}.txt"
            place.write_text(f"film {number} was {label} and the cat sat", encoding=encoding)
    backbone = open_backbone(BackboneRequest("transformers", str(save_tiny("bert", tmp_path / "bert"))))
    model = hs.fit(tmp_path / "texts", options=replace(PLAIN, backbone=backbone))
    (tmp_path / "texts" / "bad" / "latin.txt").write_bytes("ein schöner Film".encode("latin-1"))
    found = hs.export(model, to="onnx", out=tmp_path / "export", with_data=tmp_path / "texts")
    assert found.parity is not None
    assert (found.parity.n, found.parity.agreement) == (40, 1.0)


def test_values_are_proved_with_their_error(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", n=40, parts=("",))
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))
    lines = [f"{name},{3.0 * name.startswith('red') + 0.01 * number:.3f}" for number, name in enumerate(names)]
    (folder / "table.csv").write_text("\n".join(["image,price", *lines]) + "\n", encoding="utf-8")
    asked = replace(
        PLAIN, backbone=network(alike=False), hold_out=0.4, reading=hs.ReadOptions(target="price", task="regression")
    )
    found = hs.export(
        hs.fit(folder / "table.csv", options=asked), to="onnx", out=tmp_path / "export", with_data=folder / "table.csv"
    )
    assert found.parity is not None
    assert found.parity.figure == "mae"
    assert found.parity.exported == pytest.approx(found.parity.fitted, abs=1e-3)
    assert found.parity.drop == pytest.approx(0.0, abs=1e-3)
    done = subprocess.run(
        [sys.executable, str(found.path / "predict.py"), str(folder / names[0])],
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    (known,) = hs.load(found.path).predict(folder / names[0])
    answer = json.loads(done.stdout)
    assert answer["high"] - answer["low"] == pytest.approx(known["high"] - known["low"], rel=1e-6)
    assert answer["value"] == pytest.approx(known["value"], abs=5e-3), "pixels differ by a step here and there"


PROVED = Parity(
    part="",
    n=100,
    unread=0,
    agreement=1.0,
    difference=0.0,
    mean=0.0,
    narrow=False,
    sets=0,
    left_out=0,
    in_sample=False,
    figure="accuracy",
    fitted=0.9,
    fitted_in="float32",
    exported=0.9,
    drop=0.0,
    error=0.01,
)


@pytest.mark.parametrize(
    ("parity", "said"),
    [
        (PROVED, ""),
        (replace(PROVED, drop=0.0101), "worse than the model as it was fitted"),
        (replace(PROVED, drop=0.01), ""),
        (replace(PROVED, drop=0.5, error=None), ""),
        (replace(PROVED, drop=-0.5), ""),
        (replace(PROVED, sets=2), "other sets of labels than the model for 2 of 100 samples"),
        (replace(PROVED, agreement=0.998), "other answers"),
        (replace(PROVED, difference=0.01), "other answers"),
        (replace(PROVED, difference=float("nan")), "other answers"),
        (replace(PROVED, narrow=True, difference=0.2, agreement=0.99, sets=1), ""),
        (replace(PROVED, narrow=True, mean=0.01), "the mean difference is 0.01"),
        (replace(PROVED, narrow=True, agreement=0.989), "other answers"),
        (replace(PROVED, narrow=True, sets=2), "other sets of labels"),
    ],
)
def test_what_is_refused(parity: Parity, said: str) -> None:
    if not said:
        parity.check()
        return
    with pytest.raises(ExportError, match=said):
        parity.check()


def test_a_graph_that_makes_other_answers_of_the_same_rows_is_refused_without_data(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.exporting import tracing

    whole = tracing.trace
    monkeypatch.setattr(tracing, "trace", lambda fitted: whole(replace(fitted, temperature=3 * fitted.temperature)))
    with pytest.raises(ExportError, match="makes other answers of the same prepared inputs"):
        hs.export(model, to="onnx", out=tmp_path / "export")
    assert list(tmp_path.iterdir()) == []


def test_without_data_it_says_what_was_not_compared(model: Model, tmp_path: Path) -> None:
    found = hs.export(model, to="torch", out=tmp_path / "export")
    assert (found.checked, found.parity) == ("probes", None)
    assert "name labelled samples with --with-data" in found.notes[0]
    assert found.difference < 1e-4
    with pytest.raises(
        ModelError, match="exported to torch is opened by that library alone, as its files may hold code"
    ):
        hs.load(found.path)
    with pytest.raises(UsageError, match="there is no export format called 'onx'"):
        hs.export(model, to="onx", out=tmp_path / "other")
    for name in ("litert", "saved_model"):
        with pytest.raises(UsageError, match=f"an export to {name} is not offered: its converter cannot be installed"):
            hs.export(model, to=name, out=tmp_path / "other")
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ModelError, match="holds something else"):
        hs.export(model, to="torch", out=tmp_path / "else")


def test_the_command_shows_the_proof(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = reviews(tmp_path / "reviews.csv", n=40)
    backbone = open_backbone(BackboneRequest("transformers", str(save_tiny("bert", tmp_path / "bert"))))
    hs.fit(table, options=replace(PLAIN, backbone=backbone, hold_out=0.4)).save(tmp_path / "my models")
    assert main(["export", str(tmp_path / "my models"), "--to", "torch", "--with-data", str(table)]) == 0
    said = capsys.readouterr().out
    assert "100.00% of 40 answers from raw files are the model's" in said
    out = tmp_path / "my models-torch"
    listed, program = (shlex.split(line) for line in said.strip().splitlines()[-2:])
    assert listed[-4:] == ["pip", "install", "-r", str(out / "requirements.txt")], "what is printed can be pasted"
    assert program == ["python", str(out / "predict.py"), "INPUT..."]
    assert (out / "requirements.txt").read_text(encoding="utf-8").splitlines() == [
        "numpy>=1.26",
        "tokenizers>=0.20",
        "torch>=2.6",
    ]
    command = [sys.executable, "-I", *program[1:-1], "a lovely film"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    assert json.loads(done.stdout)["label"] in {"good", "bad"}
