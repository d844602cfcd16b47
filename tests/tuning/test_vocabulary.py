"""Of a table of words those are trained that occur, and it is the same training."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import headstart as hs
from headstart.backbones.backbone import BackboneRequest
from headstart.backbones.choice import open_backbone
from headstart.backbones.network import NetworkBackbone
from headstart.tasks import TASKS
from headstart.tuning import choice, vocabulary
from headstart.tuning.augmentation import Augmentation
from headstart.tuning.classifier import State, Trainable
from headstart.tuning.devices import open_accelerator, to_layout
from headstart.tuning.loop import Material, train
from headstart.tuning.losses import LossOptions
from headstart.tuning.materials import labelled
from headstart.tuning.schedule import Leg
from headstart.tuning.views import Views
from support.networks import save_tiny
from support.tunable import head

LEG = Leg("long", 1e-2, 1e-2, 12, 8, 3, weight_decay=0.0)
TABLE = "embeddings.word_embeddings.weight"


def backbone(folder: Path) -> NetworkBackbone:
    found = open_backbone(BackboneRequest("transformers", str(save_tiny("bert", folder / "bert"))))
    assert isinstance(found, NetworkBackbone)
    return found


def opened(frozen: NetworkBackbone, strategy: str) -> Trainable:
    chosen = choice.parse(strategy, frozen.module.feed.net, n=100)
    return Trainable.of(frozen, head(frozen.specs[0].dim), strategy=chosen.strategy, options=chosen.options)


def texts(folder: Path, frozen: NetworkBackbone) -> Material:
    rng = np.random.default_rng(0)
    words = ["dog", "cat", "runs"]
    lines = [f"{' '.join(rng.choice(words, int(rng.integers(2, 9))))},{'ab'[i % 2]}" for i in range(60)]
    (folder / "texts.csv").write_text("text,label\n" + "\n".join(lines))
    samples = hs.read(folder / "texts.csv")
    return labelled(
        Views.of(samples, frozen.preparation),
        TASKS.get("single_label").encode(samples.table.column("target"), None),
        task=TASKS.get("single_label"),
        options=LossOptions(),
        augmentation=Augmentation("text"),
        weights=np.ones(len(samples)),
    )


def test_the_words_that_occur_end_as_in_the_whole_table(tmp_path: Path) -> None:
    frozen = backbone(tmp_path)
    source = texts(tmp_path, frozen)
    start = State.of(opened(frozen, "full").classifier)
    ends, checkpoints = [], []
    for narrowed in (False, True):
        trained = opened(frozen, "full")
        if narrowed:
            vocabulary.narrow(trained, source.views)
            rows = trained.parameters()[f"net.{TABLE}"]
            used = np.union1d(source.views.values, [0])
            assert rows.shape[0] == len(used) < len(start.net[TABLE])
            assert vocabulary.told(trained.classifier.net) == (
                f"; of {len(start.net[TABLE]):,} words the {len(used):,} that occur are trained"
            )
        to_layout(trained, open_accelerator(narrow=False))
        folder = tmp_path / f"run-{narrowed}"
        leg = replace(LEG, every=5)
        ends.append(train(trained, source, leg=leg, accelerator=open_accelerator(narrow=False), folder=folder))
        checkpoints.append(sum(each.stat().st_size for each in folder.rglob("*") if each.is_file()))
    whole, narrow = (each.raw.net for each in ends)
    assert whole.keys() == narrow.keys() == start.net.keys()
    for name, each in whole.items():
        np.testing.assert_allclose(each.numpy(), narrow[name].numpy(), atol=1e-5, err_msg=name)
    others = np.setdiff1d(np.arange(len(start.net[TABLE])), used)
    torch.testing.assert_close(narrow[TABLE][others], start.net[TABLE][others], rtol=0, atol=0)
    assert (narrow[TABLE][used] != start.net[TABLE][used]).any()
    assert checkpoints[1] < checkpoints[0]


@pytest.mark.parametrize("strategy", ["full(embeddings=False)", "last(blocks=1)", "lora(rank=2)"])
def test_a_table_that_is_not_trained_stays(tmp_path: Path, strategy: str) -> None:
    frozen = backbone(tmp_path)
    trained = opened(frozen, strategy)
    vocabulary.narrow(trained, texts(tmp_path, frozen).views)
    assert vocabulary.told(trained.classifier.net) == ""


def test_a_table_with_a_second_owner_stays(tmp_path: Path) -> None:
    frozen = backbone(tmp_path)
    trained = opened(frozen, "full")
    tied = torch.nn.Linear(1, 1)
    tied.weight = trained.classifier.net.get_submodule("embeddings.word_embeddings").weight  # type: ignore[assignment]
    trained.classifier.net.tied = tied  # type: ignore[assignment]
    vocabulary.narrow(trained, texts(tmp_path, frozen).views)
    assert vocabulary.told(trained.classifier.net) == ""
