"""`compress` where 8 bits really lose what a network knows: what is quantised is measured as it was written, and refused."""

from pathlib import Path

import pytest
import torch
from torch import nn

import headstart as hs
from headstart.backbones.backbone import BackboneRequest
from headstart.backbones.choice import open_backbone
from headstart.verbs import compress as verb
from support.made import photos
from support.tunable import rising

pytest.importorskip("nncf")

_LOUD = 4000.0


class Fragile(nn.Module):
    """What tells red from blue is a whisper beside one loud channel: 8 bits for both have steps of 16, and the whisper is at most 4."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 8, 1)
        self.read = nn.Conv2d(8, 8, 1)
        with torch.no_grad():
            self.mix.weight.zero_()
            self.mix.bias.zero_()
            self.mix.bias[0] = _LOUD
            self.mix.weight[1, 0], self.mix.weight[1, 2] = 1.0, -1.0
            self.read.weight.zero_()
            self.read.bias.zero_()
            self.read.weight[0, 0] = 1 / _LOUD
            self.read.weight[1, 1] = 1.0

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.read(torch.relu(self.mix(pixels)))
        return found


@pytest.mark.parametrize("method", ["int8", "int8_onnx"])
def test_eight_bits_that_lose_what_a_network_knows_are_refused(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verb, "speeds", rising)  # a network of two products is as fast in any arithmetic
    data = photos(tmp_path / "photos", n=30)
    request = BackboneRequest("torch", "fragile", module=Fragile(), prepare={"modality": "image", "size": 12})
    model = hs.fit(data, options=hs.FitOptions(backbone=open_backbone(request), check=False))
    found = hs.compress(model, data, out=tmp_path / "small", options=hs.CompressOptions(tries=(method,)))
    assert found.table[0].figure > 0.95, "the network itself knows red from blue"
    assert len(found.table) > 1, found.notes
    for each in found.table[1:]:
        assert each.figure < 0.8, "8 bits do not"
        assert each.refused.startswith("it loses")
    assert found.chosen == ""
    assert not (tmp_path / "small").exists()
