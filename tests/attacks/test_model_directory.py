"""Every step of the load order, attacked: what is wrong is refused with a sentence, and nothing of it is used."""

import hashlib
import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import headstart as hs
from headstart.core.errors import ModelError
from support.made import reviews

Change = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(folder / "cache"))
        model = hs.fit(reviews(folder / "reviews.csv"), backbone="toy:text")
    model.save(folder / "model")
    return folder / "model"


@pytest.fixture
def model(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


def edit(model: Path, change: Change) -> None:
    """Change the manifest as an attacker would who can also write digests."""
    manifest = json.loads((model / "manifest.json").read_text("utf-8"))
    change(manifest)
    (model / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def relist(model: Path) -> None:
    """State the present digests, so that a later step is reached."""

    def change(manifest: dict[str, Any]) -> None:
        manifest["files"] = {
            path.relative_to(model).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(model.rglob("*"))
            if path.is_file() and path.name != "manifest.json"
        }

    edit(model, change)


def refused(model: Path, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        hs.load(model)


def test_untouched_it_loads(model: Path) -> None:
    assert hs.load(model).labels == ("bad", "good")
    relist(model)
    assert hs.load(model).labels == ("bad", "good")


def test_no_manifest(model: Path) -> None:
    (model / "manifest.json").unlink()
    refused(model, "is no headstart model")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "not the JSON"),
        (b"[]", "one JSON object"),
        (b'{"format": 0, "format": 0}', "twice"),
        (b'{"format": NaN}', "no JSON number"),
        (b"\xff\xfe", "not the JSON"),
        (b"[" * 100_000, "not the JSON"),
        (b'{"format": 0, "kind": "features+head"}', "lacks the keys"),
    ],
)
def test_a_manifest_that_is_none(model: Path, content: bytes, sentence: str) -> None:
    (model / "manifest.json").write_bytes(content)
    refused(model, sentence)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda m: m.update(format=1), "install a newer headstart"),
        (lambda m: m.update(format=True), "install a newer headstart"),
        (lambda m: m.update(kind="pickle"), "kind"),
        (lambda m: m.update(extra=1), "unknown keys"),
        (lambda m: m.pop("temperature"), "lacks the keys"),
        (lambda m: m.update(temperature=0), "wrong type"),
        (lambda m: m.update(temperature="1"), "wrong type"),
        (lambda m: m.update(labels=["a", 1]), "wrong type"),
        (lambda m: m.update(task="../../os"), "task"),
        (lambda m: m.update(task="regression"), "task"),
        (lambda m: m.update(labels=["good"]), "manifest makes it"),
        (lambda m: m.update(prior=[1.0]), "prior"),
        (lambda m: m.update(rule="eval"), "decision rule"),
        (lambda m: m.update(conformal={"q": 1}), "judge"),
        (lambda m: m["head"].update(kind="pickle"), "neither linear nor neighbours"),
        (lambda m: m["head"].update(link="exec"), "link"),
        (lambda m: m["head"].update(more=1), "neither linear nor neighbours"),
        (lambda m: m["backbone"].update(by="url"), "backbone has the keys"),
        (lambda m: m["backbone"]["specs"][0].pop("dim"), "backbone spec"),
        (lambda m: m["backbone"]["specs"][0].update(dim="8"), "wrong type"),
        (lambda m: m["backbone"]["specs"][0].update(dim=7), "manifest makes it"),
        (lambda m: m["backbone"].update(specs=[]), "no spec"),
        (lambda m: m["backbone"].update(assets=["../manifest.json"]), "assets"),
        (lambda m: m["backbone"].update(assets=7), "assets"),
        (lambda m: m["backbone"]["architecture"].update(extra=1), "architecture"),
        (lambda m: m["backbone"]["architecture"].update(name=1), "architecture"),
        (lambda m: m["fit"].pop("metrics"), "fit has the keys"),
        (lambda m: m["fit"].update(metrics={"accuracy": 1}), "fit cannot be read"),
        (lambda m: m["reading"].update(more=None), "reading options"),
        (lambda m: m["files"].update({"../outside": "0"}), "no headstart model may hold"),
        (lambda m: m["files"].update({"/etc/passwd": "0"}), "no headstart model may hold"),
        (lambda m: m["files"].update({"assets/../../x": "0"}), "no headstart model may hold"),
        (lambda m: m["files"].update({"C:\\x": "0"}), "no headstart model may hold"),
        (lambda m: m["files"].update({"manifest.json": "0"}), "no headstart model may hold"),
        (lambda m: m["files"].update({"absent.bin": "0"}), "lacks the file absent.bin"),
        (lambda m: m["files"].pop("README.md"), "holds the file README.md"),
    ],
)
def test_a_manifest_that_lies(model: Path, change: Change, sentence: str) -> None:
    edit(model, change)
    refused(model, sentence)


def test_an_unknown_source_is_never_imported(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "planted.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("planted", "os", "..planted", "headstart.core", "backbone"):
        edit(model, lambda m, name=name: m["backbone"]["architecture"].update(source=name))  # type: ignore[misc]
        with pytest.raises(hs.HeadstartError):
            hs.load(model)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "name", ["head.safetensors", "backbone.safetensors", "split.safetensors", "probe.safetensors", "README.md"]
)
def test_a_flipped_byte_anywhere(model: Path, name: str) -> None:
    content = bytearray((model / name).read_bytes())
    content[len(content) // 2] ^= 1
    (model / name).write_bytes(content)
    refused(model, f"file {name} is not the one that was saved")


def test_a_truncated_file(model: Path) -> None:
    content = (model / "head.safetensors").read_bytes()
    (model / "head.safetensors").write_bytes(content[:-3])
    relist(model)
    refused(model, "no safetensors file")


def test_a_huge_header(model: Path) -> None:
    content = (model / "head.safetensors").read_bytes()
    (model / "head.safetensors").write_bytes(struct.pack("<Q", 1 << 62) + content[8:])
    relist(model)
    refused(model, "no safetensors file")


def test_swapped_tensors(model: Path) -> None:
    tensors = load_file(model / "head.safetensors")
    save_file({"weight": tensors["bias"], "bias": tensors["weight"]}, model / "head.safetensors")
    relist(model)
    refused(model, "manifest makes it")


@pytest.mark.parametrize("name", ["more", "less", "double", "infinite"])
def test_other_tensors(model: Path, name: str) -> None:
    tensors = load_file(model / "head.safetensors")
    if name == "more":
        tensors["more"] = np.zeros(1, np.float32)
    elif name == "less":
        del tensors["bias"]
    elif name == "double":
        tensors["bias"] = tensors["bias"].astype(np.float64)
    else:
        tensors["bias"][0] = np.inf
    save_file(tensors, model / "head.safetensors")
    relist(model)
    refused(model, "head.safetensors")


def test_other_weights_of_the_backbone(model: Path) -> None:
    tensors = load_file(model / "backbone.safetensors")
    first = min(tensors)
    tensors[first] = tensors[first] + np.ones((), tensors[first].dtype)
    save_file(tensors, model / "backbone.safetensors")
    relist(model)
    refused(model, "their digest differs")


def test_an_extra_file_and_a_folder(model: Path) -> None:
    (model / "run.py").write_text("raise SystemExit", encoding="utf-8")
    refused(model, "holds the file run.py")
    (model / "run.py").unlink()
    (model / "sub").mkdir()
    refused(model, "only assets/")


@pytest.mark.skipif(not hasattr(os, "symlink") or os.name == "nt", reason="this system makes no links without rights")
def test_links(model: Path, tmp_path: Path) -> None:
    shutil.copy(model / "head.safetensors", tmp_path / "elsewhere")
    (model / "head.safetensors").unlink()
    (model / "head.safetensors").symlink_to(tmp_path / "elsewhere")
    refused(model, "link")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe(model: Path) -> None:
    os.mkfifo(model / "pipe")
    refused(model, "no regular file")


def test_rows_that_drifted(model: Path) -> None:
    tensors = load_file(model / "probe.safetensors")
    tensors["rows.0"] = tensors["rows.0"] * np.float32(1.5)
    save_file(tensors, model / "probe.safetensors")
    edit(model, lambda m: m["libraries"].update(numpy="0.0.1"))
    relist(model)
    refused(model, "other rows here .* numpy 0.0.1")
