"""Registries list without importing, and find what third parties add."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from headstart.core.errors import UsageError
from headstart.core.registry import Registry, entry_points
from headstart.data.modalities import MODALITIES
from headstart.data.preparation import Modality
from headstart.heads import HEADS
from headstart.heads.recipe import HeadRecipe


def test_every_plugin_has_a_name_and_a_line() -> None:
    assert MODALITIES.names() == ("audio", "image", "text")
    for registry in (MODALITIES, HEADS):
        for name, line in registry.catalogue().items():
            assert len(line) > 20, name


def test_listing_imports_no_plugin() -> None:
    program = (
        "import sys\nfrom headstart.heads import HEADS\nfrom headstart.backbones import SOURCES\n"
        "HEADS.catalogue(); SOURCES.catalogue()\n"
        "loaded = [n for n in sys.modules if n.startswith(('headstart.heads.ridge', 'headstart.backbones.timm', 'torch', 'timm', 'transformers'))]\n"
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_near_miss_is_suggested() -> None:
    with pytest.raises(UsageError, match=r"there is no modality called 'imag'\. Did you mean 'image'"):
        MODALITIES.get("imag")


@pytest.mark.parametrize("name", ["../image", "image.py", "__init__", "", "os", "recipe", "fitted"])
def test_only_plugins_are_found(name: str) -> None:
    with pytest.raises(UsageError, match="there is no head"):
        HEADS.get(name)


def test_an_entry_point_adds_a_plugin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "third_party_head.py").write_text(
        "from dataclasses import dataclass\nfrom headstart.heads.recipe import HeadRecipe\n\n\n@dataclass(frozen=True)\nclass Own(HeadRecipe):\n"
        "    tasks = ('single_label',)\n\n    def fit(self, x, y, *, groups=None, seed=0):\n        raise NotImplementedError\n\n\nPLUGIN = Own()\nWRONG = 3\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    points = [
        metadata.EntryPoint("own", "third_party_head:PLUGIN", "headstart.heads"),
        metadata.EntryPoint("wrong", "third_party_head:WRONG", "headstart.heads"),
    ]
    real = metadata.entry_points
    monkeypatch.setattr(
        metadata, "entry_points", lambda *, group: points if group == "headstart.heads" else real(group=group)
    )
    entry_points.cache_clear()
    registry: Registry[HeadRecipe] = Registry("headstart.heads", "head", HeadRecipe, HEADS.not_plugins)
    assert "own" in registry.names()
    assert isinstance(registry.get("own"), HeadRecipe)
    assert "third_party_head" in registry.catalogue()["own"]
    with pytest.raises(UsageError, match="is a int, and has to be a HeadRecipe"):
        registry.get("wrong")
    entry_points.cache_clear()


def test_a_plugin_of_another_room_is_refused() -> None:
    strange: Registry[Modality] = Registry("headstart.heads", "modality", Modality, HEADS.not_plugins)
    with pytest.raises(UsageError, match="has to be a Modality"):
        strange.get("ridge")
