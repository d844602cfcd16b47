"""A model by reference from a stranger: it names a published model, or nothing is opened."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import headstart as hs
from headstart.backbones.choice import check_reference
from headstart.core.errors import ModelError
from headstart.core.spec import BackboneSpec
from support.cache import cache_in
from support.made import reviews


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    with cache_in(folder / "cache"):
        return hs.fit(reviews(folder / "reviews.csv"), backbone="toy:text").save(folder / "model", by_reference=True)


@pytest.fixture
def model(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


def refer(model: Path, source: str, name: str) -> None:
    """Let a manifest name other weights, as an attacker would."""
    path = model / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for each in (manifest["backbone"]["architecture"], *manifest["backbone"]["specs"]):
        each.update(source=source, name=name)
    path.write_text(json.dumps(manifest), encoding="utf-8")


FILES, PLAIN, HERE = "takes files alone", "is no plain name", "a file or folder of that name"


@pytest.mark.parametrize(
    ("source", "name", "sentence"),
    [
        *(("onnx", name, FILES) for name in ("/any/file", "model.onnx", "here")),
        *(("savedmodel", name, FILES) for name in ("/any/dir", "here")),
        *(("keras", name, FILES) for name in ("/any.keras", "own.keras")),
        *(("transformers", name, PLAIN) for name in ("/any/x", "../x", "a/../b", "..", ".", "./here", "~", "~/x")),
        *(("transformers", name, PLAIN) for name in ("a\\b", "C:x", "a/b/c", "a//b", "/", "a/", "https://host/x", "")),
        *(("transformers", name, PLAIN) for name in ("a\0b", "a\nb", "-x", "a/.b", "a..b", "a\n", "x" * 300)),
        *(("timm", name, PLAIN) for name in ("hf-hub:owner/name", "local-dir:/x", "/x")),
        ("toy", "text/../image", PLAIN),
        *(("transformers", name, HERE) for name in ("here", "here/inner", "file")),
        ("planted", "here", HERE),
    ],
)
def test_nothing_of_this_machine_is_opened(
    source: str, name: str, sentence: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("headstart.backbones.choice.open_backbone", asked.append)
    (model.parent / "here" / "inner").mkdir(parents=True)
    (model.parent / "file").touch()
    monkeypatch.chdir(model.parent)
    refer(model, source, name)
    for ask in (hs.load, hs.verify):
        with pytest.raises(ModelError, match=sentence) as error:
            ask(model)
        assert "\n" not in str(error.value)
    assert asked == []


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("toy", "text"),
        ("transformers", "owner/na.me-2"),
        ("timm", "vit_b16.tag_1k"),
        ("keras", "VGG16"),
        ("torch", "here"),
    ],
)
def test_a_plain_name_is_followed(source: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a folder has it by chance, of a source that looks for none."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    check_reference((BackboneSpec(source, name, "", "", "", "mean", "", "text", 24, "float32"),))


def test_what_was_saved_is_loaded(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text").mkdir()
    monkeypatch.chdir(tmp_path)
    assert hs.load(model).labels == ("bad", "good")


def test_a_model_on_a_file_is_not_saved_by_reference(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would name the file as the working directory has it, and could not be loaded again."""
    import dataclasses

    loaded = hs.load(model)
    spec = dataclasses.replace(loaded.backbone.specs[0], source="onnx", name="model.onnx")
    loaded = dataclasses.replace(loaded, backbone=dataclasses.replace(loaded.backbone, specs=(spec,)), judge=None)
    with pytest.raises(
        ModelError, match=r"cannot be saved by reference, because .*takes files alone.*save it by value"
    ):
        loaded.save(tmp_path / "other", by_reference=True)
    assert not (tmp_path / "other").exists()
