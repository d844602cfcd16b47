"""A small network and pictures that it can learn only by changing its weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from headstart.backbones.backbone import BackboneRequest
from headstart.backbones.choice import open_backbone
from headstart.backbones.exported import ExportedBackbone
from headstart.backbones.network import NetworkBackbone
from headstart.compression.half import written
from headstart.compression.measuring import Speed
from headstart.heads.fitted import Linear
from headstart.model.model import Model

SIDE = 12


def rising(networks: Sequence[Any]) -> list[Speed]:
    """Speeds that are told, each candidate faster than the one before: a network of two small convolutions is as fast in any arithmetic."""
    return [Speed(100.0 * (1 + place), 4, 0.01, 0.02) for place in range(len(networks))]


_KNOWN: dict[tuple[int, str], tuple[Model, ExportedBackbone]] = {}


def once(model: Model, folder: Path, *, precision: str, runtime: str) -> ExportedBackbone:
    """A model's network as it was written and opened first: where speeds are told, what the candidates are compared with is never run."""
    key = (id(model.backbone), runtime)
    if key not in _KNOWN:
        _KNOWN[key] = model, written(model, folder, precision=precision, runtime=runtime)
    return _KNOWN[key][1]


class Stripes(nn.Module):
    """Two blocks of convolutions whose filters are all alike, so that no frozen row tells upright stripes from level ones."""

    def __init__(self, *, alike: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
            nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
        )
        if alike:
            with torch.no_grad():
                for block in self.blocks:
                    block[0].weight.copy_(
                        torch.full_like(block[0].weight, 0.05) + 1e-4 * torch.randn_like(block[0].weight)
                    )

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.blocks(pixels)
        return found


def network(*, alike: bool = True, layer: str = "") -> NetworkBackbone:
    """The frozen network."""
    asked = BackboneRequest(
        "torch", "stripes", layer=layer, module=Stripes(alike=alike), prepare={"modality": "image", "size": SIDE}
    )
    backbone = open_backbone(asked)
    assert isinstance(backbone, NetworkBackbone)
    return backbone


def head(width: int = 8, classes: int = 2) -> Linear:
    """Some fitted head."""
    rng = np.random.default_rng(0)
    return Linear(rng.normal(0, 0.5, (width, classes)).astype(np.float32), rng.normal(size=classes), "softmax")


def stripes(folder: Path, *, n: int, parts: tuple[str, ...] = ("train", "test")) -> Path:
    """n noisy pictures a class and part, of upright and of level stripes at any offset."""
    rng = np.random.default_rng(1)
    for part in parts:
        for label in ("level", "upright"):
            for number in range(n):
                wave = 90 * (np.arange(SIDE) // 2 % 2)
                wave = np.roll(wave, rng.integers(0, SIDE))
                flat = np.broadcast_to(wave[:, None] if label == "level" else wave[None], (SIDE, SIDE))
                pixels = flat[..., None] + rng.integers(0, 120, (SIDE, SIDE, 3))
                path = folder / part / label / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.astype(np.uint8)).save(path)
    return folder
