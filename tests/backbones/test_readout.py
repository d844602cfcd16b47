"""Reading layers: VGG16, ResNet-50 and BERT-base against the networks themselves, and what cannot be read."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from headstart.backbones.backbone import BackboneRequest
from headstart.backbones.choice import open_backbone
from headstart.backbones.network import NetworkBackbone
from headstart.backbones.pooling import Pooling, pool
from headstart.backbones.torchvision_schemas import mend
from headstart.core.errors import BackboneError, UsageError
from headstart.data.preparation import Batch
from support.networks import Convolutional, save_tiny, write_tokenizer


def _opened(request: BackboneRequest) -> NetworkBackbone:
    backbone = open_backbone(request)
    assert isinstance(backbone, NetworkBackbone)
    return backbone


def _seen(net: nn.Module, path: str, *args: Any, **options: Any) -> torch.Tensor:
    """What a layer gives when the network runs by itself; a copy, as a later layer may work in place."""
    found: list[torch.Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        found.append((output[0] if isinstance(output, tuple) else output).clone())

    handle = net.get_submodule(path).register_forward_hook(keep)
    with torch.inference_mode():
        net(*args, **options)
    handle.remove()
    return found[0]


def _pixels(batch: Batch, backbone: NetworkBackbone) -> torch.Tensor:
    """The device half, written again."""
    mean, std = (np.array(values) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    assert "mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)" in backbone.specs[0].prepare
    return torch.from_numpy(((batch.values / 255 - mean) / std).transpose(0, 3, 1, 2).astype(np.float32))


@pytest.mark.parametrize(("name", "layer", "dim"), [("vgg16", "features.28", 512), ("resnet50", "layer3", 1024)])
def test_a_layer_of_a_convolutional_network_is_what_the_network_gives(
    name: str, layer: str, dim: int, tmp_path: Path
) -> None:
    mend()
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    net = timm.create_model(name, pretrained=False).eval()
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    request = BackboneRequest(
        "timm", name, layer=layer, weights=tmp_path / "w.safetensors", prepare={"size": 64} if name != "vgg16" else {}
    )
    backbone = _opened(request)
    assert [(spec.layer, spec.pooling, spec.dim) for spec in backbone.specs] == [(layer, "mean", dim)]
    probes = backbone.preparation.probes(2, 0)
    maps = _seen(net, layer, _pixels(probes, backbone))
    np.testing.assert_allclose(backbone.embed(probes)[0], maps.mean(dim=(2, 3)).numpy(), rtol=1e-4, atol=1e-6)
    if name == "vgg16":
        assert (maps < 0).any(), "a convolution before its ReLU has negative values; the in-place ReLU would hide them"


def test_resnet50_reads_its_own_pooled_output_by_default(tmp_path: Path) -> None:
    mend()
    import timm

    torch.manual_seed(0)
    net = timm.create_model("resnet50", pretrained=False).eval()
    torch.save(net.state_dict(), tmp_path / "w.pth")
    backbone = _opened(BackboneRequest("timm", "resnet50", weights=tmp_path / "w.pth", prepare={"size": 64}))
    assert (backbone.specs[0].layer, backbone.specs[0].pooling, backbone.specs[0].dim) == ("", "model", 2048)
    probes = backbone.preparation.probes(2, 0)
    net.reset_classifier(0)
    with torch.inference_mode():
        wanted = net(_pixels(probes, backbone)).numpy()
    np.testing.assert_allclose(backbone.embed(probes)[0], wanted, rtol=1e-4, atol=1e-6)


def test_the_ninth_block_of_bert_base(tmp_path: Path) -> None:
    mend()
    from transformers import BertConfig, BertModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    net = BertModel(BertConfig()).eval()
    net.save_pretrained(tmp_path)
    write_tokenizer(tmp_path)
    backbone = _opened(BackboneRequest("transformers", str(tmp_path), layer="-4,"))
    assert [spec.layer for spec in backbone.specs] == ["encoder.layer.8", ""]
    assert [spec.dim for spec in backbone.specs] == [768, 768]
    batch = backbone.preparation.collate(
        [backbone.preparation.prepare(text).views[0] for text in ("a dog runs", "the cat sleeps on the small mat !")]
    )
    mask = torch.arange(batch.values.shape[1]) < torch.from_numpy(batch.lengths)[:, None]
    options = {"input_ids": torch.from_numpy(batch.values), "attention_mask": mask.long()}
    rows = backbone.embed(batch)
    for row, path in zip(rows, ("encoder.layer.8", "encoder.layer.11"), strict=True):
        tokens = _seen(net, path, **options)
        for one in range(2):
            wanted = tokens[one, : batch.lengths[one]].mean(dim=0).numpy()
            np.testing.assert_allclose(row[one], wanted, rtol=1e-4, atol=1e-5)


def test_an_unknown_layer_names_its_neighbours(tmp_path: Path) -> None:
    folder = str(save_tiny("bert", tmp_path))
    with pytest.raises(BackboneError, match=r"has no layer 'encoder\.layers\.1'\. Did you mean .*'encoder\.layer\.1'"):
        open_backbone(BackboneRequest("transformers", folder, layer="encoder.layers.1"))
    with pytest.raises(BackboneError, match=r"the 3 blocks from encoder\.layer\.0 to encoder\.layer\.2 are counted"):
        open_backbone(BackboneRequest("transformers", folder, layer="-4"))
    with pytest.raises(BackboneError, match="counted from -1"):
        open_backbone(BackboneRequest("transformers", folder, layer="2"))
    with pytest.raises(UsageError, match="names one layer twice"):
        open_backbone(BackboneRequest("transformers", folder, layer="-1,encoder.layer.2"))
    with pytest.raises(BackboneError, match="cannot be read at layer"):
        open_backbone(BackboneRequest("transformers", folder, layer="-1", pooling="model"))
    with pytest.raises(UsageError, match=r"no pooling 'meen'.*'mean'"):
        open_backbone(BackboneRequest("transformers", folder, pooling="meen"))
    with pytest.raises(UsageError, match="one for all layers or one for each"):
        open_backbone(BackboneRequest("transformers", folder, layer="-1", pooling="mean,cls"))
    with pytest.raises(UsageError, match=r"no precision 'bfloat61'.*'bfloat16'"):
        open_backbone(BackboneRequest("transformers", folder, precision="bfloat61"))


@pytest.mark.parametrize(
    ("pooling", "sentence"),
    [("cls", "no class token"), ("last", "gives feature maps"), ("model", "no pooled output of its own")],
)
def test_poolings_that_do_not_fit_are_refused(pooling: str, sentence: str) -> None:
    prepare = {"modality": "image", "size": 32}
    with pytest.raises(BackboneError, match=sentence):
        open_backbone(BackboneRequest("torch", "mine", module=Convolutional(), pooling=pooling, prepare=prepare))


def test_flat_is_refused_where_samples_differ_in_length(tmp_path: Path) -> None:
    folder = str(save_tiny("bert", tmp_path))
    with pytest.raises(BackboneError, match="grows with the sample's length"):
        open_backbone(BackboneRequest("transformers", folder, pooling="flat"))


def test_all_is_the_mean_over_the_blocks(tmp_path: Path) -> None:
    folder = str(save_tiny("bert", tmp_path))
    each = open_backbone(BackboneRequest("transformers", folder, layer="-1,-2,-3"))
    mean = open_backbone(BackboneRequest("transformers", folder, layer="all"))
    probes = each.preparation.probes(3, 0)
    np.testing.assert_allclose(mean.embed(probes)[0], np.mean(each.embed(probes), axis=0), rtol=1e-5, atol=1e-6)
    with pytest.raises(BackboneError, match="averages blocks of one width"):
        open_backbone(
            BackboneRequest(
                "timm", "test_resnet", layer="all", weights=save_tiny("test_resnet", tmp_path), prepare={"size": 64}
            )
        )


def test_poolings_by_hand() -> None:
    tokens = torch.arange(24.0).reshape(2, 4, 3)
    counts = torch.tensor([2, 4])
    assert torch.equal(
        pool(tokens, "mean", counts=counts, prefix=0), torch.stack([tokens[0, :2].mean(0), tokens[1].mean(0)])
    )
    assert torch.equal(pool(tokens, "max", counts=counts, prefix=0), torch.stack([tokens[0, 1], tokens[1, 3]]))
    assert torch.equal(pool(tokens, "last", counts=counts, prefix=0), torch.stack([tokens[0, 1], tokens[1, 3]]))
    assert torch.equal(pool(tokens, "last", counts=None, prefix=0), tokens[:, 3])
    assert torch.equal(pool(tokens, "cls", counts=counts, prefix=0), tokens[:, 0])
    both = pool(tokens, "cls+mean", counts=None, prefix=2)
    assert torch.equal(both, torch.cat([tokens[:, 0], tokens[:, 2:].mean(1)], dim=1))
    assert str(Pooling.parse("cls+mean+l2")) == "cls+mean+l2"
    assert Pooling.parse("cls+mean+l2") == Pooling("cls+mean", unit=True)


def test_a_copied_network_keeps_its_own_findings(tmp_path: Path) -> None:
    import copy

    backbone = _opened(BackboneRequest("transformers", str(save_tiny("bert", tmp_path)), layer="-2"))
    probes = backbone.preparation.probes(3, 0)
    values, lengths = torch.from_numpy(probes.values), torch.from_numpy(probes.lengths)
    twin = copy.deepcopy(backbone.module)
    with torch.no_grad():
        for tensor in twin.parameters():
            tensor.mul_(0.5)
        changed = twin(values, lengths)[0].numpy()
    kept = backbone.embed(probes)[0]
    assert not np.allclose(changed, kept, atol=1e-3)
    np.testing.assert_array_equal(backbone.module(values, lengths)[0].numpy(), kept)
