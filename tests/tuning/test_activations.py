"""What frozen blocks give is computed once where the views stay as they are, and the plan says which."""

from pathlib import Path

import numpy as np
import pytest
import torch

import headstart as hs
from headstart.backbones.backbone import BackboneRequest
from headstart.backbones.choice import open_backbone
from headstart.backbones.network import NetworkBackbone
from headstart.tasks import TASKS
from headstart.tuning import activations, choice
from headstart.tuning.activations import Kept, keep
from headstart.tuning.augmentation import Augmentation
from headstart.tuning.classifier import Trainable
from headstart.tuning.devices import open_accelerator, to_layout
from headstart.tuning.loop import Material, train
from headstart.tuning.losses import LossOptions
from headstart.tuning.materials import labelled
from headstart.tuning.schedule import Leg
from headstart.tuning.views import Views
from support.networks import save_tiny
from support.tunable import head, network, stripes

WORDS = ["dog", "cat", "runs", "sleeps", "the", "a", "on", "mat"]


@pytest.fixture
def bert(tmp_path: Path) -> NetworkBackbone:
    backbone = open_backbone(BackboneRequest("transformers", str(save_tiny("bert", tmp_path / "bert"))))
    assert isinstance(backbone, NetworkBackbone)
    return backbone


def texts(folder: Path, backbone: NetworkBackbone) -> Material:
    """Sentences of very different length."""
    rng = np.random.default_rng(0)
    lines = [f"{' '.join(rng.choice(WORDS, int(rng.integers(2, 14))))},{'ab'[i % 2]}" for i in range(90)]
    (folder / "texts.csv").write_text("text,label\n" + "\n".join(lines))
    return _material(hs.read(folder / "texts.csv"), backbone, "text")


def _material(samples: hs.Samples, backbone: NetworkBackbone, modality: str) -> Material:
    targets = TASKS.get("single_label").encode(samples.table.column("target"), None)
    return labelled(
        Views.of(samples, backbone.preparation),
        targets,
        task=TASKS.get("single_label"),
        options=LossOptions(),
        augmentation=Augmentation(modality),
        weights=np.ones(len(samples)),
    )


def opened(backbone: NetworkBackbone, strategy: str) -> Trainable:
    chosen = choice.parse(strategy, backbone.module.feed.net, n=100)
    found = Trainable.of(backbone, head(backbone.specs[0].dim), strategy=chosen.strategy, options=chosen.options)
    to_layout(found, open_accelerator(narrow=False))
    return found


def kept_for(backbone: NetworkBackbone, material: Material, strategy: str) -> tuple[Kept | None, str]:
    accelerator = open_accelerator(narrow=False)
    return keep(opened(backbone, strategy), material.views, fixed=True, accelerator=accelerator)


def test_a_training_on_kept_blocks_is_the_training(bert: NetworkBackbone, tmp_path: Path) -> None:
    material = texts(tmp_path, bert)
    kept, told = kept_for(bert, material, "last(blocks=1)")
    assert kept is not None
    assert told.startswith("what the first 2 of 3 blocks give was computed once")
    leg = Leg("long", 1e-3, 1e-3, 25, 8, 3)
    runs = []
    for recall in (False, True):
        trained = opened(bert, "last(blocks=1)")
        calls = []
        below = trained.classifier.net.get_submodule("encoder.layer.0.attention")
        below.register_forward_hook(lambda *_given, seen=calls: seen.append(1))  # type: ignore[misc]
        if recall:
            kept.install(trained.classifier)
        source = Material(**{**vars(material), "kept": kept if recall else None})
        runs.append(train(trained, source, leg=leg, accelerator=open_accelerator(narrow=False)))
        assert bool(calls) is not recall, "the blocks below run only where nothing is kept"
    np.testing.assert_allclose(runs[0].curve, runs[1].curve, rtol=1e-4)
    for name, each in runs[0].raw.net.items():
        np.testing.assert_allclose(each.numpy(), runs[1].raw.net[name].numpy(), atol=2e-4, err_msg=name)


def test_maps_of_pictures_are_kept_too(tmp_path: Path) -> None:
    material = _material(hs.read(stripes(tmp_path / "data", n=10)).part("train"), network(), "image")
    kept, _ = kept_for(network(), material, "last(blocks=1)")
    assert kept is not None
    assert (kept.below, kept.block) == ((), "blocks.0")
    numbers = np.array([3, 0, 7])
    batch = material.views.batch(numbers)
    trained = opened(network(), "last(blocks=1)")
    trained.train_mode()
    given = torch.from_numpy(np.array(batch.values)), torch.from_numpy(np.array(batch.lengths))
    with torch.no_grad():
        whole = trained.classifier(*given)
        kept.install(trained.classifier)
        kept.recall(numbers, torch.device("cpu"))
        np.testing.assert_allclose(trained.classifier(*given).numpy(), whole.numpy(), atol=1e-5)


def test_where_it_cannot_pay_the_plan_says_why(
    bert: NetworkBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    material = texts(tmp_path, bert)
    assert kept_for(bert, material, "full")[1].endswith("as its first blocks are trained as well")
    accelerator = open_accelerator(narrow=False)
    varied = keep(opened(bert, "last(blocks=1)"), material.views, fixed=False, accelerator=accelerator)
    assert varied == (None, "every step runs the whole network, as it sees other views each time")
    folder = save_tiny("bert", tmp_path / "again")
    lower = open_backbone(BackboneRequest("transformers", str(folder), layer="encoder.layer.0,-1"))
    assert isinstance(lower, NetworkBackbone)
    chosen = choice.parse("last(blocks=1)", lower.module.feed.net, n=100)
    both = Trainable.of(
        lower, head(sum(spec.dim for spec in lower.specs)), strategy=chosen.strategy, options=chosen.options
    )
    told = keep(both, material.views, fixed=True, accelerator=accelerator)[1]
    assert told.endswith("as a block is read that would be left out")
    monkeypatch.setattr(activations, "_ROOM", 0.0)
    assert kept_for(bert, material, "last(blocks=1)")[1].endswith("would fill more than a quarter of the disk")
    monkeypatch.undo()
    monkeypatch.setattr(activations, "_ALIKE", -1.0)
    assert kept_for(bert, material, "last(blocks=1)")[1].endswith("need more than what the block before them gives")
