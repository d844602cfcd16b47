"""`rank`, and the fits that use it: `--backbone auto` and `--layers scan`."""

import json
from pathlib import Path

import pytest

import headstart as hs
from headstart.backbones.backbone import BackboneRequest
from headstart.cli.main import main
from headstart.core.errors import UsageError, WeightsMissing
from headstart.reporting.making import _fit
from headstart.verbs import entrants as taking_part
from headstart.verbs.rank import RankOptions, rank
from support.made import photos
from support.weights import need_embedded

SIZES = tuple(BackboneRequest("toy", "image", prepare={"size": size}) for size in (8, 24))


def test_only_the_training_part_is_looked_at(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos", n=10, parts=("train", "test"))
    found = rank(data, backbones=SIZES)
    assert (found.n, found.figure) == (20, "accuracy")
    assert {each.n for each in found.standings} == {20}
    assert "of 2 candidates on 20 training samples" in found.sentence


def test_a_fit_extracts_nothing_that_the_ranking_has(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos", n=10, parts=("train",))
    rank(data, backbones=SIZES)
    assert hs.fit(data, backbone=SIZES[0]).report.extracted == 0


def test_nothing_to_rank_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking_part, "catalogue", list)
    with pytest.raises(WeightsMissing, match="no pretrained weights for image are on this machine"):
        rank(photos(tmp_path / "photos", n=6))


def test_the_command_prints_a_table_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = str(photos(tmp_path / "photos", n=10, parts=("train",)))
    assert main(["rank", data, "--backbones", "toy:image", "--quiet", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert set(printed) == {"metric", "figure", "sentence", "n", "candidates", "notes", "seconds"}
    assert printed["candidates"][0]["backbone"] == "toy:image"
    assert main(["rank", data, "--backbones", "toy:image", "--budget", "5m", "--quiet"]) == 0
    assert "toy:image is the only candidate" in capsys.readouterr().out


def test_fit_takes_the_best_of_what_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = photos(tmp_path / "photos", n=10, parts=("train",))
    entry = hs.models(modality="image", build=False)[0]
    toys = [type(entry)("toy:image", "image", "", "", None, installed=True)]
    monkeypatch.setattr(taking_part, "catalogue", lambda: toys)
    monkeypatch.setattr(taking_part, "_NOT_RANKED", ())
    model = hs.fit(data, backbone="auto")
    assert model.report.backbone.startswith("toy:image")
    assert any("the backbone was chosen by the data" in note for note in model.report.notes)


def test_unknown_ways_are_refused(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos", n=6)
    with pytest.raises(UsageError, match="layers are chosen by scan, and got 'scam'"):
        hs.fit(data, backbone="toy:image", options=hs.FitOptions(layers="scam"))
    request = BackboneRequest("embedded", "efficientnet-lite0", layer="blocks.3")
    with pytest.raises(UsageError, match="without a layer"):
        hs.fit(data, backbone=request, options=hs.FitOptions(layers="scan"))
    with pytest.raises(UsageError, match=r"Did you mean 'logme'\?"):
        rank(data, options=RankOptions(backbones=SIZES, metric="logmee"))


def test_a_scan_reads_the_layers_that_suit(tmp_path: Path) -> None:
    need_embedded("image")
    data = photos(tmp_path / "photos", n=12, parts=("train",))
    model = hs.fit(data, backbone="embedded:efficientnet-lite0", options=hs.FitOptions(layers="scan"))
    assert any(note.startswith("of 8 layers, ") for note in model.report.notes)
    layers = ",".join(spec.layer for spec in model.backbone.specs)
    assert not layers or f"--layer {layers}" in _fit(model, "photos", "model")
    model.save(tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert card.count("Readout: layer") == len(model.backbone.specs)
    again = hs.load(tmp_path / "model")
    assert [spec.layer for spec in again.backbone.specs] == [spec.layer for spec in model.backbone.specs]
