"""Whatever a library raises for what a stranger's directory asks of it is one sentence; what ends a program still ends it."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import headstart as hs
from headstart.core.errors import ModelError, WeightsMissing
from headstart.model import loading
from support.cache import cache_in
from support.made import reviews


class Odd(Exception):
    """Of a library that nobody listed."""


RAISED = (
    OverflowError("too large\nand a stack"),
    MemoryError(),
    RecursionError("deep"),
    StopIteration(),
    Odd(),
    TypeError("a"),
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    with cache_in(folder / "cache"):
        return hs.fit(reviews(folder / "reviews.csv"), backbone="toy:text").save(folder / "model")


@pytest.fixture
def model(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


def change(model: Path, **backbone: Any) -> None:
    """Change what the manifest says of the backbone."""
    path = model / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["backbone"].update(backbone)
    path.write_text(json.dumps(manifest), encoding="utf-8")


def raises(error: BaseException) -> Any:
    def played(*_: Any, **__: Any) -> Any:
        raise error

    return played


def exported(model: Path) -> None:
    """Give a graph in the place of the weights."""
    (model / "backbone.safetensors").unlink()
    (model / "model.onnx").write_bytes(b"a graph")
    path = model / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    del manifest["files"]["backbone.safetensors"]
    manifest["files"]["model.onnx"] = hashlib.sha256(b"a graph").hexdigest()
    path.write_text(json.dumps(manifest), encoding="utf-8")
    change(model, by="graph", graph={"runtime": "onnx", "precision": "float32", "files": ["model.onnx"], "beside": []})


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_it_is_one_sentence(error: Exception, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place, sentence in (
        ("rebuild_backbone", "toy:text cannot be built as the manifest describes it: "),
        ("probe.check", r"probe\.safetensors does not hold inputs that the backbone takes: "),
        ("open_exported", "toy:text cannot be built as the manifest describes it: "),
    ):
        if place == "open_exported":
            exported(model)
        with monkeypatch.context() as patch:
            patch.setattr(f"headstart.model.loading.{place}", raises(error))
            with pytest.raises(ModelError, match=sentence + type(error).__name__) as caught:
                loading.verified(model)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [WeightsMissing("the weights are not here"), KeyboardInterrupt(), SystemExit(3)])
def test_what_is_a_sentence_or_an_end_stays_as_it_is(
    error: BaseException, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "rebuild_backbone", raises(error))
    with pytest.raises(type(error)) as caught:
        hs.load(model)
    assert caught.value is error


@pytest.mark.parametrize("depth", [300, 900, 5000, 100_000])
def test_options_that_nest_deep_are_one_sentence(depth: int, model: Path) -> None:
    path = model / "manifest.json"
    text = path.read_text(encoding="utf-8").replace('"options": {}', f'"options": {{"a": {"[" * depth}{"]" * depth}}}')
    assert "[" * depth in text
    path.write_text(text, encoding="utf-8")
    with pytest.raises(
        ModelError, match=r"options that it does not take|is not the JSON|nests too deep|cannot be built"
    ):
        hs.load(model)
