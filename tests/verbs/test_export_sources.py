"""`export` and what it is made from: the model itself is left alone, figures are of samples that it was not fitted on, and every file tells the same."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headstart as hs
from headstart.backbones.backbone import BackboneRequest
from headstart.backbones.choice import open_backbone
from headstart.backbones.network import NetworkBackbone
from headstart.cli.main import main
from headstart.core.errors import ExportError, UsageError
from headstart.exporting import directory
from headstart.heads.fitted import Layer, Mlp
from headstart.model.model import Model
from headstart.verbs import export as verb
from support.made import photos
from support.networks import save_tiny
from support.told import told_by
from support.tunable import Stripes, network

PLAIN = hs.FitOptions(check=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos(tmp_path_factory.mktemp("photos"), n=16)


@pytest.fixture(scope="module")
def model(data: Path) -> Model:
    return hs.fit(data, options=replace(PLAIN, backbone=network(alike=False)))


@pytest.fixture(scope="module")
def saved(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model whose network opens again without being handed over."""
    place = tmp_path_factory.mktemp("saved")
    request = BackboneRequest("timm", "test_resnet", weights=save_tiny("test_resnet", place), prepare={"size": 32})
    fitted = hs.fit(data, options=replace(PLAIN, backbone=request))
    return fitted.save(place / "model")


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


def outs(folder: Path) -> dict[str, Path]:
    link = folder.with_name("link")
    if not link.is_symlink():
        link.symlink_to(folder)
    return {
        "it": folder,
        "within": folder / "x",
        "far within": folder / "assets" / "y",
        "around": folder.parent,
        "a link": link,
    }


@pytest.mark.parametrize("which", ["it", "within", "far within", "around", "a link"])
@pytest.mark.parametrize("verb", ["export", "compress"])
def test_nothing_is_written_where_the_model_lies(verb: str, which: str, saved: Path, data: Path) -> None:
    before = files_of(saved)
    with pytest.raises(UsageError, match="have to be apart"):
        if verb == "export":
            hs.export(saved, to="torch", out=outs(saved)[which])
        else:
            hs.compress(saved, data, out=outs(saved)[which])
    assert files_of(saved) == before


def test_the_command_says_so(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(saved), "--to", "onnx", "--out", str(saved)]) == 2
    assert "have to be apart" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["tune", "distil"])
@pytest.mark.parametrize("which", ["it", "within", "a link"])
def test_training_leaves_the_model_that_it_starts_from(
    verb: str, which: str, saved: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, student = files_of(saved), ["--student", "timm:test_resnet"] * (verb == "distil")
    assert main([verb, str(saved), str(data), "--out", str(outs(saved)[which]), *student]) == 2
    assert "have to be apart" in capsys.readouterr().err
    assert (
        main([verb, str(saved), str(data), "--out", str(saved.parent / "new"), "--run", str(saved / "run"), *student])
        == 2
    )
    assert "have to be apart" in capsys.readouterr().err
    assert files_of(saved) == before


def test_an_export_is_no_model_to_export_or_compress(model: Model, data: Path, tmp_path: Path) -> None:
    made = hs.export(model, to="onnx", out=tmp_path / "onnx").path
    for call in (
        lambda: hs.export(made, to="onnx", out=tmp_path / "b"),
        lambda: hs.compress(made, data, out=tmp_path / "b"),
    ):
        with pytest.raises(
            UsageError, match=r"exported model already \(float32, onnx\).*name the model that it was made from"
        ):
            call()


def test_the_figures_are_of_samples_that_it_was_not_fitted_on(model: Model, data: Path, tmp_path: Path) -> None:
    found = hs.export(model, to="onnx", out=tmp_path / "a", with_data=data)
    assert found.parity is not None
    assert (found.parity.part, found.parity.left_out, found.parity.in_sample) == ("val", 0, False)
    mixed = tmp_path / "mixed"
    for label in ("red", "blue"):
        (mixed / label).mkdir(parents=True)
        for number in range(8):
            for part in ("train", "val"):
                shutil.copy(data / part / label / f"{number}.png", mixed / label / f"{part}{number}.png")
    shutil.copy(data / "val" / "red" / "9.png", mixed / "blue" / "wrong.png")
    part = hs.export(model, to="onnx", out=tmp_path / "b", with_data=mixed).parity
    assert part is not None
    assert (part.n, part.part, part.left_out, part.in_sample) == (33, "", 16, False)
    assert part.fitted == pytest.approx(hs.evaluate(model, mixed).metrics["accuracy"].value) == 16 / 17


def test_figures_of_training_samples_alone_are_told_to_be_no_evidence(
    model: Model, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = hs.export(model, to="onnx", out=tmp_path / "a", with_data=data / "train")
    assert found.parity is not None
    assert found.parity.in_sample
    assert found.parity.fitted is not None
    assert "fitted on every one of these samples" in " ".join(found.notes)
    monkeypatch.setattr(verb, "load", lambda _path: model)
    assert (
        main(["export", str(tmp_path / "any"), "--to", "onnx", "--out", str(tmp_path / "b"), "--with-data", str(data)])
        == 0
    )
    assert "part val" in " ".join(capsys.readouterr().out.split())


def narrow(model: Model, precision: str) -> Model:
    """The model as it is where it was fitted at another precision than this machine has units for."""
    backbone = model.at(precision).backbone
    return replace(
        model, fitted_precision=precision, judge=None, report=replace(model.report, precision=None), backbone=backbone
    ).at("float32")


def test_as_fitted_is_at_the_precision_of_the_fit_whatever_it_runs_at(model: Model, data: Path, tmp_path: Path) -> None:
    assert isinstance(model.backbone, NetworkBackbone)
    fitted = narrow(model, "bfloat16")
    assert fitted.precision == "float32"
    parity = hs.export(fitted, to="onnx", out=tmp_path / "a", with_data=data).parity
    assert parity is not None
    assert parity.fitted_in == "bfloat16"
    assert parity.error is not None, "whether it is worse is judged"


def test_where_the_precision_of_the_fit_cannot_be_run_it_is_said(
    model: Model, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = narrow(model, "bfloat16")
    inner = Model.at

    def at(self: Model, precision: str) -> Model:
        if precision != "float32":
            raise RuntimeError("no kernel for it\nand more")
        return inner(self, precision)

    monkeypatch.setattr(Model, "at", at)
    found = hs.export(fitted, to="onnx", out=tmp_path / "a", with_data=data)
    assert found.parity is not None
    assert (found.parity.fitted_in, found.parity.error) == ("float32", None)
    assert any("fitted in bfloat16, which cannot be run here" in note for note in found.notes)


def test_a_refused_export_leaves_the_model_that_was_there(
    model: Model, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = model.save(tmp_path / "there")
    before = files_of(there)
    monkeypatch.setattr(directory, "program", lambda *_given: "raise SystemExit('no')\n")
    with pytest.raises(ExportError):
        hs.export(model, to="onnx", out=there, with_data=data)
    assert files_of(there) == before
    assert [each.name for each in tmp_path.iterdir()] == ["there"]


@pytest.mark.parametrize("runtime", ["onnx", "openvino", "torch"])
def test_every_format_tells_what_the_manifest_says(runtime: str, model: Model, tmp_path: Path) -> None:
    made = hs.export(model, to=runtime, out=tmp_path / "made").path
    manifest = json.loads((made / "manifest.json").read_text(encoding="utf-8"))
    told = told_by(runtime, made)
    whole = json.loads(told["headstart"])
    assert json.loads(told["labels"]) == list(model.labels)
    assert json.loads(told["preparation"])["precision"] == "float32"
    assert whole["conformal"] is not None
    assert whole | {"files": 0, "created": 0} == manifest | {"files": 0, "created": 0}


def several_labels(folder: Path) -> Path:
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))
    tags = [f"{name.split('/')[0]}|{('odd', 'even')[number % 2]}" for number, name in enumerate(names)]
    table = folder / "tags.csv"
    table.write_text("\n".join(["image,tags", *map(",".join, zip(names, tags, strict=True))]) + "\n", encoding="utf-8")
    return table


def layered(model: Model) -> Model:
    """With a head of two layers, one of them hidden."""
    rng = np.random.default_rng(0)
    width = sum(spec.dim for spec in model.backbone.specs)
    hidden = Layer(rng.normal(size=(width, 6)).astype(np.float32), rng.normal(size=6))
    head = Mlp((hidden,), rng.normal(size=(6, 2)).astype(np.float32), rng.normal(size=2), "relu", "softmax")
    return replace(model, head=head, judge=None)


@pytest.mark.parametrize("kind", ["hidden layer", "layers side by side", "several labels", "deployment prior"])
def test_models_of_every_kind_answer_alike(kind: str, model: Model, data: Path, tmp_path: Path) -> None:
    source: Any = data
    if kind == "hidden layer":
        fitted = layered(model)
    elif kind == "layers side by side":
        request = BackboneRequest(
            "torch",
            "stripes",
            layer="blocks.0,blocks.1",
            module=Stripes(alike=False),
            prepare={"modality": "image", "size": 12},
        )
        fitted = hs.fit(data, options=replace(PLAIN, backbone=open_backbone(request)))
        assert len(fitted.backbone.specs) == 2
    elif kind == "several labels":
        source = several_labels(photos(tmp_path / "photos", n=24, parts=("",)))
        reading = hs.ReadOptions(target="tags", task="multi_label", separator="|")
        asked = replace(PLAIN, backbone=network(alike=False), reading=reading, hold_out=0.4)
        fitted = hs.fit(source, options=asked)
    else:
        fitted = hs.fit(
            data, options=replace(PLAIN, backbone=network(alike=False), deployment_prior="blue=0.1,red=0.9")
        )
    found = hs.export(fitted, to="onnx", out=tmp_path / "made", with_data=source)
    assert found.parity is not None
    assert (found.parity.agreement, found.parity.sets) == (1.0, 0)
    items = source if kind == "several labels" else data / "val"
    for ours, theirs in zip(fitted.predict(items), hs.load(found.path).predict(items), strict=True):
        assert (ours.get("label"), ours.get("labels")) == (theirs.get("label"), theirs.get("labels"))
        for name, share in ours["probabilities"].items():
            assert theirs["probabilities"][name] == pytest.approx(share, abs=1e-3)
