"""A person's own module: an object, an entry point, a checkpoint, and the way back."""

from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from headstart.backbones.backbone import Backbone, BackboneRequest
from headstart.backbones.choice import catalogue, open_backbone, rebuild_backbone
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
def entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
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
    with pytest.raises(ModelError, match="do not fit torch:mine"):
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
