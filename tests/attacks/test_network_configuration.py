"""A model of a network of transformers from a stranger: its configuration may ask for code, for another network or for kernels, and gets none.

transformers takes its networks by configuration, and a configuration may name a repository: what it names is never asked for.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import headstart as hs
from headstart.backbones.backbone import BackboneRequest
from headstart.backbones.choice import open_backbone
from headstart.core.errors import BackboneError, ModelError
from support.cache import cache_in
from support.made import reviews
from support.networks import save_tiny

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("bert", tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def saved(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("stranger")
    with cache_in(place / "cache"):
        model = hs.fit(
            reviews(place / "reviews.csv"), options=hs.FitOptions(backbone=f"transformers:{folder}", check=False)
        )
    return model.save(place / "model")


@pytest.fixture(autouse=True)
def nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for a code of a repository finds a person who agrees to all, and a network that fails the test."""

    def asked(*_: object, **__: object) -> None:
        pytest.fail("the network was asked")

    for name in ("HEADSTART_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a person was asked whether to run code"))
    monkeypatch.setattr(socket.socket, "connect", asked)
    monkeypatch.setattr(socket, "getaddrinfo", asked)


CHANGES: dict[str, tuple[Change, str]] = {
    "code": (lambda c: c.update(auto_map={"AutoModel": "attacker/evil--m.X"}), "what headstart never keeps"),
    "code for a kind that is no encoder": (
        lambda c: (
            c.clear(),
            c.update(model_type="pix2struct_text_model", vocab_size=100, auto_map={"AutoModel": "attacker/evil--m.X"}),
        ),
        "what headstart never keeps",
    ),
    "a kind that is no encoder": (
        lambda c: c.update(model_type="pix2struct_vision_model"),
        "of which headstart reads no rows",
    ),
    "timm of the hub": (
        lambda c: (c.clear(), c.update(model_type="timm_wrapper", vocab_size=9, architecture="hf-hub:attacker/evil")),
        "of which headstart reads no rows",
    ),
    "a file as a checkpoint": (
        lambda c: (
            c.clear(),
            c.update(model_type="timm_wrapper", architecture="resnet18", model_args={"checkpoint_path": "/etc/passwd"}),
        ),
        "of which headstart reads no rows",
    ),
    "a backbone": (lambda c: c.update(backbone="facebook/dinov2-base"), "'backbone', which names something"),
    "a backbone within": (
        lambda c: c.update(rope=[{"use_timm_backbone": True}]),
        "'use_timm_backbone', which names something",
    ),
    "kernels": (
        lambda c: c.update(attn_implementation="attacker/evil"),
        "'attn_implementation', which names something",
    ),
    "a network within": (lambda c: c.update(inner={"model_type": "timm_backbone"}), "of which headstart reads no rows"),
    "a kind that is none": (lambda c: c.update(inner={"model_type": ["bert"]}), "of which headstart reads no rows"),
    "a value of another type": (lambda c: c.update(hidden_size="wide"), "cannot build the saved backbone"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_configuration_that_reaches_elsewhere_is_refused(name: str, saved: Path, tmp_path: Path) -> None:
    change, said = CHANGES[name]
    model = Path(shutil.copytree(saved, tmp_path / "model"))
    manifest = json.loads((model / "manifest.json").read_text(encoding="utf-8"))
    change(manifest["backbone"]["architecture"]["options"]["config"])
    (model / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(ModelError, match=said) as error:
        hs.load(model)
    assert "\n" not in str(error.value)


def test_no_kernels_are_fetched_where_nobody_asks_for_them() -> None:
    """Some networks of transformers fetch kernels as they are built, where the library that does it is installed."""
    script = (
        "from headstart.backbones.network import need; need('transformers', 'a test');"
        " from transformers.integrations import hub_kernels; print(hub_kernels._TRANSFORMERS_USE_HUB_KERNELS)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "USE_HUB_KERNELS"}
    for own, told in ({}, "NO"), ({"USE_HUB_KERNELS": "YES"}, "YES"):
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment | own, capture_output=True, encoding="utf-8", check=True
        )
        assert done.stdout.split() == [told]


def test_untouched_it_loads(saved: Path) -> None:
    assert hs.load(saved).labels == ("bad", "good")


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.update(attn_implementation="attacker/evil"),
        lambda c: c.update(backbone="facebook/dinov2-base", use_pretrained_backbone=True),
        lambda c: c.update(model_type="timm_wrapper", architecture="hf-hub:attacker/evil"),
        lambda c: c.update(model_type="pix2struct_text_model", auto_map={"AutoModel": "attacker/evil--m.X"}),
    ],
)
def test_a_folder_that_reaches_elsewhere_is_refused(change: Change, folder: Path, tmp_path: Path) -> None:
    taken = Path(shutil.copytree(folder, tmp_path / "taken"))
    config = json.loads((taken / "config.json").read_text(encoding="utf-8"))
    change(config)
    (taken / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(BackboneError):
        open_backbone(BackboneRequest("transformers", str(taken)))


def test_code_beside_a_known_network_is_left_alone(folder: Path, tmp_path: Path) -> None:
    taken = Path(shutil.copytree(folder, tmp_path / "taken"))
    config = json.loads((taken / "config.json").read_text(encoding="utf-8"))
    config["auto_map"] = {"AutoModel": "attacker/evil--m.X", "AutoConfig": "attacker/evil--m.Y"}
    (taken / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert open_backbone(BackboneRequest("transformers", str(taken))).specs[0].dim == config["hidden_size"]


def _with_modules(folder: Path, taken: Path, **paths: str) -> BackboneRequest:
    """A copy of the folder whose `modules.json` says where each of its parts lies."""
    shutil.copytree(folder, taken)
    modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for kind, path in paths.items()]
    (taken / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    return BackboneRequest("transformers", str(taken))


@pytest.mark.parametrize("kind", ["Transformer", "Pooling", "Normalize"])
@pytest.mark.parametrize(
    "path", ["{elsewhere}", "../elsewhere", "..", ".", "...", "a/../../elsewhere", "a/b", "..\\elsewhere", "C:x", "a\n"]
)
def test_parts_of_a_folder_lie_in_it(kind: str, path: str, folder: Path, tmp_path: Path) -> None:
    """A network of another folder of this machine would be read, and saved with the model."""
    other = Path(shutil.copytree(folder, tmp_path / "elsewhere"))
    (other / "config.json").unlink()
    paths = {"Transformer": "", "Pooling": ""} | {kind: path.format(elsewhere=other)}
    asked = _with_modules(folder, tmp_path / "taken", **paths)
    with pytest.raises(BackboneError, match=r"modules\.json of taken names the part .*, which is no name") as error:
        open_backbone(asked)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(os.name == "nt", reason="this system makes no links without rights")
def test_parts_are_read_also_where_they_are_linked_to(folder: Path, tmp_path: Path) -> None:
    """The cache of the hub links to its files, which lie beside its snapshots."""
    asked = _with_modules(folder, tmp_path / "taken", Transformer="0_Transformer", Pooling="1_Pooling")
    taken, store = tmp_path / "taken", tmp_path / "store"
    store.mkdir()
    (taken / "0_Transformer").mkdir()
    for file in folder.iterdir():
        (taken / file.name).rename(store / file.name)
        (taken / "0_Transformer" / file.name).symlink_to(store / file.name)
    (store / "pooling").write_text(json.dumps({"pooling_mode_cls_token": True}), encoding="utf-8")
    (taken / "1_Pooling").mkdir()
    (taken / "1_Pooling" / "config.json").symlink_to(store / "pooling")
    assert open_backbone(asked).specs[0].pooling == "cls"
