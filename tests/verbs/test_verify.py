"""`verify` and `card`: every step of loading, the probe too, and the card that the directory vouches for."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import headstart as hs
from headstart.cli.main import main
from headstart.core.digests import sha256_file
from headstart.core.errors import ModelError
from support.cache import cache_in
from support.made import photos, reviews
from support.tunable import network


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return hs.fit(reviews(tmp_path / "reviews.csv"), backbone="toy:text").save(tmp_path / "model")


def relist(model: Path, name: str) -> None:
    """List a changed file with its new digest, as whoever changed it on purpose would."""
    manifest = json.loads((model / "manifest.json").read_text(encoding="utf-8"))
    manifest["files"][name] = sha256_file(model / name)
    (model / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def test_a_whole_model_is_told_so(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = hs.verify(model)
    assert (found.format, found.task, found.by) == (
        json.loads((model / "manifest.json").read_text())["format"],
        "single_label",
        "value",
    )
    assert found.files == sum(each.is_file() for each in model.rglob("*")) - 1, "the manifest lists all but itself"
    assert found.bytes > 0
    assert found.drift < 1e-5
    assert found.saved_with == ()
    assert main(["verify", str(model)]) == 0
    assert f"{found.files} with their digests" in capsys.readouterr().out
    assert main(["verify", str(model), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["drift"] == pytest.approx(found.drift)


def test_an_export_for_torch_is_compared_and_not_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = photos(tmp_path / "photos", n=8)
    model = hs.fit(data, options=hs.FitOptions(backbone=network(alike=False), check=False))
    path = hs.export(model, to="torch", out=tmp_path / "export").path
    assert (hs.verify(path).by, hs.verify(path).drift) == ("graph", None)
    assert main(["verify", str(path)]) == 0
    assert "not computed: this export is for torch alone" in capsys.readouterr().out
    (path / "model.pt2").write_bytes(b"another")
    assert main(["verify", str(path)]) == 1
    assert "model.pt2 is not the one that was saved" in capsys.readouterr().err


@pytest.fixture(scope="module")
def for_torch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose manifest says that it is an export to torch, as a stranger may lay one out."""
    folder = tmp_path_factory.mktemp("torch")
    with cache_in(folder / "cache"):
        model = hs.fit(reviews(folder / "reviews.csv"), backbone="toy:text").save(folder / "model")
    (model / "backbone.safetensors").unlink()
    for name in ("model.pt2", "predict.py"):
        (model / name).write_bytes(b"anything")
    path = model / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    graph = {"runtime": "torch", "precision": "float32", "files": ["model.pt2"], "beside": ["predict.py"]}
    manifest["backbone"].update(by="graph", graph=graph)
    names = [each.relative_to(model).as_posix() for each in model.rglob("*") if each.is_file() and each != path]
    manifest["files"] = {name: sha256_file(model / name) for name in names}
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return model


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda m: m.update(backbone={"graph": {"runtime": "torch"}}), "backbone has the keys"),
        (lambda m: m.update(fit={}), "fit has the keys"),
        (lambda m: m["backbone"].update(by="value"), "has a graph exactly where"),
        (lambda m: m["backbone"].update(by="nonsense"), "backbone has the keys"),
        (lambda m: m["backbone"].update(specs=[]), "no spec"),
        (lambda m: m["backbone"].update(specs=[{}]), "backbone spec has the keys"),
        (lambda m: m["backbone"]["specs"][0].update(prepare="text(max_tokens='x')"), "cannot be built as the manifest"),
        (lambda m: m["backbone"]["graph"].update(files=["absent.pt2"]), "names files that the model does not hold"),
        (lambda m: m["backbone"]["graph"].update(files=["README.md"]), "no part of this model"),
        (lambda m: m["backbone"]["graph"].update(precision="float8"), "has to name a runtime"),
        (lambda m: m["backbone"]["architecture"].update(name="image"), "not that of its specs"),
        (lambda m: m["backbone"]["architecture"].pop("options"), "architecture has other keys"),
        (lambda m: m["reading"].update(more=None), "reading options"),
        (lambda m: m.update(task="regression"), "task"),
        (lambda m: m.update(rule={}), "rule"),
        (lambda m: m["fit"].update(metrics={"accuracy": 1}), "fit cannot be read"),
        (lambda m: m["conformal"].update(of="0" * 32), "judge was fitted for another head"),
        (lambda m: m["backbone"]["specs"][0].update(dim=7), "manifest makes it"),
    ],
)
def test_an_export_for_torch_that_lies_is_not_whole(
    change: Callable[[dict[str, Any]], None], sentence: str, for_torch: Path, tmp_path: Path
) -> None:
    assert (hs.verify(for_torch).by, hs.verify(for_torch).drift) == ("graph", None)
    model = Path(shutil.copytree(for_torch, tmp_path / "export"))
    manifest = json.loads((model / "manifest.json").read_text(encoding="utf-8"))
    change(manifest)
    (model / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(ModelError, match=sentence):
        hs.verify(model)
    with pytest.raises(ModelError):
        hs.load(model)


@pytest.mark.parametrize("name", ["head", "split", "judge", "probe"])
def test_an_export_for_torch_without_its_tensors_is_not_whole(name: str, for_torch: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(for_torch, tmp_path / "export"))
    save_file({"more": np.zeros(1, np.float32)}, model / f"{name}.safetensors")
    relist(model, f"{name}.safetensors")
    with pytest.raises(ModelError, match=rf"{name}\.safetensors (has to hold|holds|does not hold)"):
        hs.verify(model)


def test_a_card_and_a_name_cannot_steer_the_terminal(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (model / "README.md").write_text("# Card\n\x1b]0;another title\x07 \x1b[31mred\n", encoding="utf-8")
    relist(model, "README.md")
    assert main(["card", str(model)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("# Card\n")
    assert shown.endswith("red\n")
    assert not {"\x1b", "\x07"} & set(shown)
    (model / "x\x1b[31mred").write_bytes(b"")
    assert main(["verify", str(model)]) == 1
    assert "\x1b" not in capsys.readouterr().err


def test_a_flipped_byte_is_seen(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = bytearray((model / "head.safetensors").read_bytes())
    content[-1] ^= 1
    (model / "head.safetensors").write_bytes(content)
    assert main(["verify", str(model)]) == 1
    assert "head.safetensors is not the one that was saved" in capsys.readouterr().err
    with pytest.raises(ModelError, match="is not the one that was saved"):
        hs.card(model)


def test_rows_that_differ_are_seen_where_loading_would_not_look(model: Path) -> None:
    tensors = load_file(model / "probe.safetensors")
    tensors["rows.0"] = (tensors["rows.0"] * np.float32(1.01)).astype(np.float32)
    save_file(tensors, model / "probe.safetensors")
    relist(model, "probe.safetensors")
    hs.load(model)
    with pytest.raises(ModelError, match="gives other rows here than where it was fitted"):
        hs.verify(model)


def test_other_versions_are_named(model: Path) -> None:
    manifest = json.loads((model / "manifest.json").read_text(encoding="utf-8"))
    manifest["libraries"]["numpy"] = "1.0"
    (model / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    [told] = hs.verify(model).saved_with
    assert told.startswith("numpy 1.0, here ")


def test_the_card_is_that_of_the_directory(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["card", str(model)]) == 0
    shown = capsys.readouterr().out
    assert shown == (model / "README.md").read_text(encoding="utf-8") == hs.card(model)
    assert main(["card", str(model), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"card": shown}
    assert main(["card", str(model / "nowhere")]) == 1
