"""A person's own module: an object, an entry point, a checkpoint, and the way back."""

import importlib.util
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from headstart.backbones.backbone import Backbone, BackboneRequest
from headstart.backbones.choice import catalogue, open_backbone, rebuild_backbone
from headstart.core import registry
from headstart.core.errors import BackboneError, ModelError, UsageError
from support.networks import TOKENS, Attention, Convolutional, Recurrent, write_tokenizer

_IMAGE = {"modality": "image", "size": 32}


def _rebuilt(backbone: Backbone, module: nn.Module | None = None) -> Backbone:
    assets = backbone.preparation.assets
    return rebuild_backbone(
        backbone.architecture, backbone.specs, assets=assets, tensors=backbone.tensors, module=module
    )


def _made() -> tuple[nn.Module, str]:
    torch.manual_seed(1)
    return Convolutional(), "image(size=32)"


def _made_wrongly() -> nn.Module:
    return Convolutional()


@pytest.fixture
def entry_points(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    found = metadata.entry_points
    points = {
        name: metadata.EntryPoint(name, f"{__name__}:{function.__name__}", "headstart.modules")
        for name, function in (("mine", _made), ("wrong", _made_wrongly))
    }
    functions = {"mine": _made, "wrong": _made_wrongly}
    monkeypatch.setattr(metadata.EntryPoint, "load", lambda self: functions[self.name])
    monkeypatch.setattr(
        metadata,
        "entry_points",
        lambda **query: list(points.values()) if query.get("group") == "headstart.modules" else found(**query),
    )
    registry.entry_points.cache_clear()
    yield
    registry.entry_points.cache_clear()


def test_the_person_s_module_is_left_as_it_is() -> None:
    module = Convolutional()
    backbone = open_backbone(BackboneRequest("torch", "mine", module=module, prepare=_IMAGE))
    backbone.embed(backbone.preparation.probes(2, 0))
    assert module.training
    assert all(tensor.requires_grad for tensor in module.parameters())
    assert backbone.specs[0].dim == 12


def test_rebuilding_needs_the_module() -> None:
    module = Convolutional()
    backbone = open_backbone(BackboneRequest("torch", "mine", module=module, prepare=_IMAGE))
    with pytest.raises(ModelError, match=r"person's own module.*hs\.load\(path, module=\.\.\.\).*headstart\.modules"):
        _rebuilt(backbone)
    probes = backbone.preparation.probes(2, 0)
    again = _rebuilt(backbone, Convolutional())
    np.testing.assert_array_equal(again.embed(probes)[0], backbone.embed(probes)[0])
    with pytest.raises(
        ModelError, match=r"torch:mine is not the one that the model was fitted with: it differs in its layers"
    ):
        _rebuilt(backbone, nn.Conv2d(3, 4, 3))


@pytest.mark.usefixtures("entry_points")
def test_an_entry_point_is_opened_and_rebuilt_by_its_name() -> None:
    backbone = open_backbone(BackboneRequest("torch", "mine", prepare={"size": 48}))
    assert "size=48" in backbone.specs[0].prepare
    probes = backbone.preparation.probes(2, 0)
    np.testing.assert_array_equal(_rebuilt(backbone).embed(probes)[0], backbone.embed(probes)[0])
    assert {entry.backbone for entry in catalogue()} >= {"torch:mine", "torch:wrong"}
    with pytest.raises(BackboneError, match=r"has to return \(module, recipe\)"):
        open_backbone("torch:wrong")
    with pytest.raises(BackboneError, match=r"no module 'mien'.*Did you mean 'mine'"):
        open_backbone("torch:mien")


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_a_checkpoint_is_loaded(suffix: str, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    trained = Convolutional()
    with torch.no_grad():
        trained.convolutions[0].weight.add_(1.0)
    path = tmp_path / f"w.{suffix}"
    save_file(trained.state_dict(), path) if suffix == "safetensors" else torch.save(trained.state_dict(), path)
    backbone = open_backbone(BackboneRequest("torch", "mine", module=Convolutional(), weights=path, prepare=_IMAGE))
    found = backbone.tensors()["convolutions.0.weight"]
    np.testing.assert_array_equal(found, trained.convolutions[0].weight.detach().numpy())
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "other.pth")
    with pytest.raises(BackboneError, match="does not fit Convolutional"):
        open_backbone(
            BackboneRequest("torch", "mine", module=Convolutional(), weights=tmp_path / "other.pth", prepare=_IMAGE)
        )


def test_what_prepare_has_to_say(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"needs prepare=\{'modality'"):
        open_backbone(BackboneRequest("torch", "mine", module=Convolutional()))
    with pytest.raises(UsageError, match=r"with the file of its tokenizer\.json"):
        open_backbone(BackboneRequest("torch", "mine", module=Recurrent(19), prepare={"modality": "text"}))
    with pytest.raises(UsageError, match=r"has no option 'sise'.*Did you mean 'size'"):
        open_backbone(
            BackboneRequest("torch", "mine", module=Convolutional(), prepare={"modality": "image", "sise": 3})
        )


def test_a_layer_inside_a_person_s_module(tmp_path: Path) -> None:
    prepare = {"modality": "text", "tokenizer": str(write_tokenizer(tmp_path)), "max_tokens": 16}
    backbone = open_backbone(
        BackboneRequest("torch", "mine", module=Attention(len(TOKENS)), layer="-1,-2,embedding", prepare=prepare)
    )
    assert [spec.layer for spec in backbone.specs] == ["encoder.layers.1", "encoder.layers.0", "embedding"]
    gru = open_backbone(BackboneRequest("torch", "mine", module=Recurrent(len(TOKENS)), layer="gru", prepare=prepare))
    assert gru.specs[0].dim == 12
    with pytest.raises(BackboneError, match="Recurrent has no list of them"):
        open_backbone(BackboneRequest("torch", "mine", module=Recurrent(len(TOKENS)), layer="-1", prepare=prepare))


class _Waves(nn.Module):
    """A convolution over samples: channels before time."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(1, 6, 40, stride=20)

    def forward(self, sound: torch.Tensor) -> torch.Tensor:
        return self.convolution(sound[:, None])


def test_time_is_told_from_channels() -> None:
    backbone = open_backbone(
        BackboneRequest("torch", "waves", module=_Waves(), prepare={"modality": "audio", "rate": 8000, "window": 2.0})
    )
    assert backbone.specs[0].dim == 6


class _Transposed(nn.Module):
    """Samples on the second axis: no backbone."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.flatten(1).T


class _Skipping(nn.Module):
    """A layer that is never run."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(2, 2)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels


def test_modules_that_are_no_backbones() -> None:
    with pytest.raises(BackboneError, match="its first axis has to be samples"):
        open_backbone(BackboneRequest("torch", "t", module=_Transposed(), prepare=_IMAGE))
    with pytest.raises(BackboneError, match="'unused' is not used when _Skipping makes rows"):
        open_backbone(BackboneRequest("torch", "s", module=_Skipping(), layer="unused", prepare=_IMAGE))


_SOURCE = """
from torch import nn

class Net(nn.Module):
    def __init__(self, scale=1.0, stride=2, activation=nn.ReLU):
        super().__init__()
        self.scale = scale
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3, stride=stride), activation())

    def forward(self, pixels):
        return self.layers(pixels) * self.scale
"""


def _loaded(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The class `Net` of a module `nets` with this text, as a person's own file would have it."""
    folder.mkdir()
    (folder / "nets.py").write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("nets", folder / "nets.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "nets", module)
    spec.loader.exec_module(module)
    return module.Net


def _executed(text: str) -> Any:
    """The class `Net` without any file."""
    names: dict[str, Any] = {"__name__": "nets"}
    exec(text, names)
    return names["Net"]


@pytest.mark.parametrize("how", ["file", "no file"])
def test_equal_tensors_in_another_module_are_another_backbone(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(number: int, text: str = _SOURCE, **options: Any) -> Backbone:
        made = _loaded(text, tmp_path / str(number), monkeypatch) if how == "file" else _executed(text)
        torch.manual_seed(0)
        return open_backbone(BackboneRequest("torch", "mine", module=made(**options), prepare=_IMAGE))

    backbone = opened(0)
    assert len(backbone.specs[0].architecture) == 32
    assert opened(1).specs == backbone.specs
    others = {
        "its text": opened(2, _SOURCE.replace("(pixels) *", "(pixels) +")),
        "its settings": opened(3, scale=2.0),
        "its stride": opened(4, stride=1),
        "its activation": opened(5, activation=nn.Tanh),
    }
    for what, other in others.items():
        assert other.specs[0].weights == backbone.specs[0].weights, what
        assert other.specs[0].fingerprint != backbone.specs[0].fingerprint, what
    sentence = "is not the one that the model was fitted with: it differs in "
    with pytest.raises(ModelError, match=sentence + r"the text of nets\.Net;"):
        _rebuilt(others["its text"], _executed(_SOURCE)() if how == "no file" else opened(6).module.feed.net)  # type: ignore[attr-defined]
    with pytest.raises(ModelError, match=sentence + "the settings of the whole;"):
        _rebuilt(opened(7, scale=2.0), opened(8).module.feed.net)  # type: ignore[attr-defined]


class _Heads(nn.Module):
    """Attention, whose number of heads `repr` does not show."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, heads, batch_first=True)
        self.grow = nn.Conv2d(3, 4, 8, stride=8)
        self.register_buffer("scale", torch.full((1,), float(heads)), persistent=False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        tokens = self.grow(pixels).flatten(2).transpose(1, 2)
        return self.attention(tokens, tokens, tokens)[0]


def test_what_repr_does_not_show_is_part_of_the_identity() -> None:
    found = []
    for heads in (1, 2):
        torch.manual_seed(0)
        found.append(open_backbone(BackboneRequest("torch", "h", module=_Heads(heads), prepare=_IMAGE)).specs[0])
    assert found[0].weights == found[1].weights
    assert found[0].architecture != found[1].architecture


class _Branches(nn.Module):
    """Two outputs of equal standing."""

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        return [pixels.mean(dim=(2, 3)), pixels.amax(dim=(2, 3))]


def test_several_outputs_are_no_rows() -> None:
    with pytest.raises(BackboneError, match="_Branches returns list, and a backbone's module returns a tensor"):
        open_backbone(BackboneRequest("torch", "b", module=_Branches(), prepare=_IMAGE))
