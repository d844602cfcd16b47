"""Ranking on growing subsets: the informative backbone wins, ties are told, budgets end it with a valid answer."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import headstart as hs
from headstart.backbones.backbone import Backbone, BackboneRequest
from headstart.backbones.choice import open_backbone
from headstart.backbones.layers import open_every_layer
from headstart.core.errors import UsageError, WeightsMissing
from headstart.data.samples import make_samples
from headstart.features.hashing import digest_samples
from headstart.selection import ranking
from headstart.selection.field import Field
from headstart.selection.layers import scan_layers
from headstart.selection.ranking import Entrant, Plan, rank_backbones
from headstart.tasks import TASKS
from headstart.tasks.task import Targets
from support.made import photos


class Blank(Exception):
    """What opening a backbone raises that must not be opened."""


def field(folder: Path, *, n: int) -> Field:
    samples = hs.read(photos(folder, n=n, parts=("train",)))
    y = TASKS.get("single_label").encode(samples.table.column("target"), None)
    return Field.of(samples, y, digests=digest_samples(samples).digests, seed=0)


def toy(size: int) -> Callable[[], Backbone]:
    return lambda: open_backbone(BackboneRequest("toy", "image", prepare={"size": size}))


def test_on_few_samples_every_candidate_sees_all_of_them(tmp_path: Path) -> None:
    found = rank_backbones([Entrant("large", toy(32)), Entrant("small", toy(8))], field(tmp_path, n=15))
    assert [each.n for each in found] == [30, 30]
    assert found[0].tied
    assert found[0].behind == 0.0
    assert found[0].figure >= found[1].figure
    assert all(each.width > 0 and 0 <= each.neighbours <= 1 for each in found)


def test_those_far_behind_stay_on_the_small_subset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "SMALL", 20)
    monkeypatch.setattr(ranking, "_FIRST", 24)
    monkeypatch.setattr(ranking, "_A_CLASS", 1)
    monkeypatch.setattr(ranking, "SHARE", 1.0)
    ground = field(tmp_path, n=60)

    def scores(x: np.ndarray, subset: ranking.Subset, *, metric: str, seed: int) -> dict[str, np.ndarray]:
        del metric, seed
        values = np.full(subset.n, np.nan)
        values[subset.at] = np.arange(len(subset.at)) % 20 < {3: 19, 2: 18, 1: 8}[x.shape[1]]
        return {"linear": values}

    class Wide:
        def __init__(self, width: int) -> None:
            self.specs = (replace(open_backbone("toy:image").specs[0], dim=width),)

    def extracted(samples: hs.Samples, backbone: Wide, *, engine: str) -> object:
        del engine
        rows = np.zeros((len(samples), backbone.specs[0].dim))
        part = type("Part", (), {"values": rows})
        return type("Found", (), {"extracted": 1, "kept": np.arange(len(samples)), "features": (part,)})

    monkeypatch.setattr(ranking, "score", scores)
    monkeypatch.setattr(ranking, "extract", extracted)
    found = rank_backbones([Entrant(str(width), lambda width=width: Wide(width)) for width in (1, 2, 3)], ground)
    assert found[0].title == "3"
    assert found[-1].title == "1"
    assert found[0].n > found[-1].n == 24


def test_a_budget_that_is_spent_leaves_a_valid_answer(tmp_path: Path) -> None:
    def never() -> Backbone:
        raise Blank

    ground = field(tmp_path, n=15)
    found = rank_backbones([Entrant("first", toy(16)), Entrant("second", never)], ground, plan=Plan(budget=1e-6))
    assert [each.title for each in found] == ["first", "second"]
    assert found[0].n > 0
    assert (found[1].n, found[1].note) == (0, "not looked at: the budget ended before")


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        (Plan(metric="liner"), r"Did you mean 'linear'\?"),
        (Plan(budget=0.0), "a budget is a time longer than nothing"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(plan: Plan, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=sentence):
        rank_backbones([Entrant("toy", toy(8))], field(tmp_path, n=6), plan=plan)


@pytest.mark.parametrize("metric", ["knn", "hscore", "logme"])
def test_other_metrics_order_as_well(metric: str, tmp_path: Path) -> None:
    found = rank_backbones([Entrant("a", toy(8)), Entrant("b", toy(24))], field(tmp_path, n=15), plan=Plan(metric))
    assert found[0].score >= found[1].score
    assert np.isfinite(found[0].figure)


def test_every_layer_is_a_candidate_from_one_pass(tmp_path: Path) -> None:
    request = BackboneRequest("timm", "test_resnet", weights=_weights(tmp_path))
    every = open_every_layer(request)
    assert [spec.layer for spec in every.specs] == ["layer1", "layer2", "layer3", "layer4", ""]
    found = rank_backbones([Entrant("resnet", lambda: every, each_layer=True)], field(tmp_path / "photos", n=12))
    assert {each.layer for each in found} == {spec.layer for spec in every.specs}


def _weights(folder: Path) -> Path:
    from safetensors.torch import save_file

    from headstart.backbones.torchvision_schemas import mend

    mend()
    import timm

    path = folder / "weights.safetensors"
    save_file(timm.create_model("test_resnet", pretrained=False).state_dict(), str(path))
    return path


def layers(n: int = 300) -> tuple[list[np.ndarray], Targets]:
    """Noise, half of the classes' tale, the other half, and noise again."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 4
    noise = [rng.standard_normal((n, 5)) for _ in range(4)]
    noise[1][:, 0] += 4 * (y // 2)
    noise[2][:, 0] += 4 * (y % 2)
    return noise, Targets(y.astype(np.int64), ("a", "b", "c", "d"), "single_label")


def test_layers_join_while_each_tells_something_new() -> None:
    found = scan_layers(*layers())
    assert found.chosen == (1, 2)
    assert len(found.singles) == 4
    assert found.grown[-1].loss < found.grown[0].loss - found.grown[-1].error
    assert found.grown[-1].figure > 0.9


def test_a_copy_of_a_layer_does_not_join_it() -> None:
    rows, y = layers()
    both = np.concatenate([rows[1], rows[2]], axis=1)
    assert len(scan_layers([both, both, rows[0]], y).chosen) == 1


def test_large_groups_make_the_first_subset_larger() -> None:
    groups = np.repeat(np.arange(8), 500)
    y = Targets((groups % 2).astype(np.int64), ("a", "b"), "single_label")
    order = np.argsort(groups, kind="stable")
    samples = make_samples([str(i) for i in range(4000)], ["x"] * 4000, modality="text", inline=True, source="videos")
    ground = Field(samples, y, groups, order)
    assert ground.fair(400) == 1600, "each label in two groups"
    alone = Field(samples, y, None, order)
    assert alone.fair(400) == 400
    rare = Targets(np.where(groups == 7, 1, 0).astype(np.int64), ("a", "b"), "single_label")
    assert Field(samples, rare, groups, order).fair(400) == 4000, "as far as there are two"


def test_candidates_that_are_alike_are_tied(tmp_path: Path) -> None:
    found = rank_backbones([Entrant("one", toy(16)), Entrant("other", toy(16))], field(tmp_path, n=15))
    assert [each.tied for each in found] == [True, True]


def test_what_nobody_named_is_left_out_where_it_cannot_be_opened(tmp_path: Path) -> None:
    def missing() -> Backbone:
        raise WeightsMissing("no weights")

    entrants = [Entrant("good", toy(16)), Entrant("missing", missing, optional=True)]
    found = rank_backbones(entrants, field(tmp_path, n=15))
    assert found[1].note == "cannot be opened: no weights"
    with pytest.raises(WeightsMissing):
        rank_backbones([Entrant("good", toy(16)), Entrant("missing", missing)], field(tmp_path, n=15))
