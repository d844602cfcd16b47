"""timm: names, sizes, checkpoints."""

from pathlib import Path

import numpy as np
import pytest
import torch

from headstart.backbones.backbone import Architecture, BackboneRequest
from headstart.backbones.choice import open_backbone, rebuild_backbone
from headstart.core.errors import BackboneError, ModelError, UsageError, WeightsMissing
from support.networks import save_tiny


def test_names_are_checked_before_anything_else() -> None:
    with pytest.raises(BackboneError, match=r"timm has no model 'resnet5'\. Did you mean .*resnet50"):
        open_backbone("timm:resnet5")
    with pytest.raises(BackboneError, match=r"no weights 'resnet50\.nowhere': resnet50 comes with the tags .*a1_in1k"):
        open_backbone("timm:resnet50.nowhere")


def test_a_default_readout_follows_the_network(tmp_path: Path) -> None:
    vit = open_backbone(BackboneRequest("timm", "test_vit", weights=save_tiny("test_vit", tmp_path)))
    assert (vit.specs[0].pooling, vit.specs[0].dim) == ("cls+mean", 128)
    other = open_backbone(
        BackboneRequest("timm", "test_vit", weights=save_tiny("test_vit", tmp_path), prepare={"size": 96})
    )
    assert other.architecture.options["img_size"] == 96
    assert other.tensors()["pos_embed"].shape != vit.tensors()["pos_embed"].shape
    net = open_backbone(BackboneRequest("timm", "test_resnet", weights=save_tiny("test_resnet", tmp_path)))
    assert net.specs[0].pooling == "model"


def test_a_checkpoint_with_a_classifier_fits_and_others_do_not(tmp_path: Path) -> None:
    bare = save_tiny("test_resnet", tmp_path)
    import timm

    torch.manual_seed(0)
    full = timm.create_model("test_resnet", pretrained=False, num_classes=1000)
    torch.save({"state_dict": full.state_dict()}, tmp_path / "full.pth")
    backbone = open_backbone(BackboneRequest("timm", "test_resnet", weights=tmp_path / "full.pth"))
    assert not any(name.startswith("fc.") for name in backbone.tensors())
    np.testing.assert_array_equal(backbone.tensors()["conv1.0.weight"], full.state_dict()["conv1.0.weight"].numpy())
    with pytest.raises(BackboneError, match="does not fit"):
        open_backbone(BackboneRequest("timm", "test_vit", weights=bare))
    with pytest.raises(UsageError, match="image has no option 'sizes'"):
        open_backbone(BackboneRequest("timm", "test_resnet", weights=bare, prepare={"sizes": 3}))
    with pytest.raises(WeightsMissing, match="there is no weight file"):
        open_backbone(BackboneRequest("timm", "test_resnet", weights=tmp_path / "none.pth"))


def test_a_name_that_timm_lost_is_a_model_error(tmp_path: Path) -> None:
    backbone = open_backbone(BackboneRequest("timm", "test_resnet", weights=save_tiny("test_resnet", tmp_path)))
    for name in ("gone", "hf-hub:someone/something", "local-dir:somewhere"):
        lost = Architecture("timm", name, {"model": name}, "")
        with pytest.raises(ModelError, match=f"timm cannot build the saved backbone {name}: timm has no model"):
            rebuild_backbone(lost, backbone.specs, assets={}, tensors=backbone.tensors)
    other = Architecture("timm", "test_resnet", {"model": "test_vit"}, "")
    with pytest.raises(ModelError, match="names another model"):
        rebuild_backbone(other, backbone.specs, assets={}, tensors=backbone.tensors)


def test_a_network_of_branches_gives_its_own_output_and_no_other(tmp_path: Path) -> None:
    import timm

    weights = save_tiny("crossvit_9_240", tmp_path)
    backbone = open_backbone(BackboneRequest("timm", "crossvit_9_240", weights=weights))
    net = timm.create_model("crossvit_9_240", pretrained=False, num_classes=0).eval()
    net.load_state_dict({name: torch.from_numpy(array) for name, array in backbone.tensors().items()})
    batch = backbone.preparation.probes(1, 0)
    with torch.inference_mode():
        wanted = net(backbone.module.feed.pixels(torch.from_numpy(batch.values)))  # type: ignore[attr-defined]
    np.testing.assert_allclose(backbone.embed(batch)[0], wanted.numpy(), atol=1e-5)
    with pytest.raises(BackboneError, match="returns several tensors, which only pooling 'model' reads"):
        open_backbone(BackboneRequest("timm", "crossvit_9_240", weights=weights, pooling="mean"))
    with pytest.raises(BackboneError, match="gives list, and rows are read from tensors"):
        open_backbone(BackboneRequest("timm", "crossvit_9_240", weights=weights, layer="blocks.0"))


def test_the_class_token_of_a_masked_autoencoder_is_left_out() -> None:
    from headstart.backbones import timm as source
    from headstart.data.modalities import preparation

    prepared = preparation("image(size=224)", {})
    poolings = [
        source._network({"model": f"vit_base_patch16_224.{tag}"}, prepared, "").default_pooling
        for tag in ("mae", "augreg_in1k")
    ]
    assert poolings == ["mean", "cls+mean"]
