"""Every source of backbones, at its default readout and others, keeps the contract."""

import json
from pathlib import Path

import pytest

from headstart.backbones import SOURCES
from headstart.backbones.backbone import BackboneRequest
from headstart.backbones.choice import catalogue, open_backbone
from headstart.core.errors import BackboneError, UsageError, WeightsMissing
from headstart.testing import check_backbone
from support.networks import TOKENS, Attention, Convolutional, Recurrent, save_tiny, write_tokenizer


@pytest.mark.parametrize("name", ["toy:image", "toy:text", "toy:audio"])
def test_toys_keep_the_contract(name: str) -> None:
    check_backbone(open_backbone(name))


@pytest.mark.parametrize("name", ["efficientnet-lite0", "efficientnet-lite2", "minilm-l6", "whisper-tiny.en"])
def test_embedded_backbones_keep_the_contract(name: str) -> None:
    try:
        backbone = open_backbone(f"embedded:{name}")
    except WeightsMissing as missing:
        pytest.skip(str(missing))
    check_backbone(backbone)


@pytest.mark.parametrize(
    ("name", "layer", "pooling"),
    [
        ("test_resnet", "", ""),
        ("test_resnet", "layer2,-1", ""),
        ("test_resnet", "", "flat"),
        ("test_convnext", "stages.1", "max"),
        ("test_mambaout", "-1", ""),
        ("test_mambaout", "", ""),
        ("test_vit", "", ""),
        ("test_vit", "all", ""),
        ("test_vit", "", "cls+l2"),
    ],
)
def test_timm_keeps_the_contract(name: str, layer: str, pooling: str, tmp_path: Path) -> None:
    weights = save_tiny(name, tmp_path)
    request = BackboneRequest("timm", name, layer=layer, pooling=pooling, weights=weights, prepare={"size": 64})
    check_backbone(open_backbone(request))


@pytest.mark.parametrize(
    ("kind", "layer", "pooling"),
    [
        ("bert", "", ""),
        ("bert", "-2", "cls"),
        ("bert", "", "model"),
        ("roberta", "", "last"),
        ("distilbert", "all", ""),
        ("t5", "", "max"),
        ("vit", "", ""),
        ("dinov2_with_registers", "-1,-2", ""),
        ("clip", "", "model"),
        ("siglip", "", ""),
        ("swin", "", ""),
        ("resnet", "-2", ""),
        ("wav2vec2", "", ""),
        ("wav2vec2_layer", "", ""),
        ("hubert", "-1", "max"),
        ("whisper", "", ""),
        ("ast", "", ""),
    ],
)
def test_transformers_keep_the_contract(kind: str, layer: str, pooling: str, tmp_path: Path) -> None:
    folder = save_tiny(kind, tmp_path)
    check_backbone(open_backbone(BackboneRequest("transformers", str(folder), layer=layer, pooling=pooling)))


@pytest.mark.parametrize("layer", ["", "convolutions.0", "convolutions"])
def test_a_convolutional_module_keeps_the_contract(layer: str) -> None:
    request = BackboneRequest(
        "torch", "mine", module=Convolutional(), layer=layer, prepare={"modality": "image", "size": 32}
    )
    check_backbone(open_backbone(request), module=Convolutional())


@pytest.mark.parametrize("module", [Recurrent, Attention])
@pytest.mark.parametrize("pooling", ["", "last", "max"])
def test_sequence_modules_keep_the_contract(module: type, pooling: str, tmp_path: Path) -> None:
    prepare = {"modality": "text", "tokenizer": str(write_tokenizer(tmp_path)), "max_tokens": 32}
    request = BackboneRequest("torch", "mine", module=module(len(TOKENS)), pooling=pooling, prepare=prepare)
    check_backbone(open_backbone(request), module=module(len(TOKENS)))


@pytest.mark.parametrize("source", SOURCES.names())
def test_every_source_lists_and_refuses(source: str) -> None:
    plugin = SOURCES.get(source)
    for entry in plugin.catalogue():
        assert entry.backbone.startswith(f"{source}:")
        assert entry.description
        assert entry.modality in {"image", "text", "audio"} or source == "torch"
        assert (entry.size_bytes is not None) or not entry.installed or source == "torch"
    with pytest.raises((BackboneError, UsageError), match="no-such-model"):
        plugin.open(BackboneRequest(source, "no-such-model", offline=True))


def test_the_catalogue_is_all_sources_and_json() -> None:
    entries = catalogue()
    assert {entry.backbone.partition(":")[0] for entry in entries} >= {"embedded", "timm", "transformers"}
    assert not any(entry.backbone.startswith("toy:") for entry in entries), "toys are not offered"
    assert len({entry.backbone for entry in entries}) == len(entries)
    json.dumps([vars(entry) for entry in entries])
    assert set(SOURCES.catalogue()) == {
        "embedded",
        "keras",
        "onnx",
        "savedmodel",
        "timm",
        "toy",
        "torch",
        "transformers",
    }
    assert all(len(line) > 40 for line in SOURCES.catalogue().values())
