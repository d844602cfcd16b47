"""`explain`: one prediction, its map, and the nearest training examples."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import headstart as hs
from headstart.core.errors import UsageError
from headstart.core.progress import silent
from headstart.heads.fitted import unit_rows
from headstart.verbs.explain import ExplainOptions, _nearest, explain
from support.cache import cache_in
from support.made import photos, reviews, sounds


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def saved(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with cache_in(tmp_path_factory.mktemp("cache")):
        return hs.fit(folder, backbone="toy:image").save(tmp_path_factory.mktemp("models") / "model")


def test_a_photo_and_its_nearest_examples(folder: Path, saved: Path) -> None:
    model = hs.load(saved)
    item = folder / "train" / "red" / "0.png"
    found = explain(model, item, data=folder, options=ExplainOptions(k=3))
    assert found.prediction == hs.predict(model, item)[0]
    assert found.saliency.label == found.prediction["label"] == "red"
    assert [each.label for each in found.nearest] == ["red"] * 3
    assert "train/red/0.png" not in {each.id for each in found.nearest}
    assert found.nearest[0].similarity >= found.nearest[-1].similarity
    assert all(each.id.startswith("train/") for each in found.nearest)


def test_without_data_the_examples_are_those_that_the_model_carries(folder: Path, saved: Path) -> None:
    model = hs.load(saved)
    rows = hs.extract(folder / "train", backbone=model.backbone).features[0]
    mean = rows.values.mean(axis=0)
    labels = np.array([model.labels.index(name.split("/")[0]) for name in rows.ids])
    carried = SimpleNamespace(rows=unit_rows(rows.values, mean), mean=mean, ids=rows.ids, labels=labels)
    carrying = SimpleNamespace(judge=SimpleNamespace(neighbours=carried), labels=model.labels)
    nearest, notes = _nearest(carrying, rows.values[:1], None, ExplainOptions(k=2), silent)  # type: ignore[arg-type]
    assert rows.ids[0] not in {each.id for each in nearest}
    assert [each.label for each in nearest] == [rows.ids[0].split("/")[0]] * 2
    assert notes == ("the item itself is among the training examples and is not shown as its own",)
    without = explain(replace(model), folder / "val" / "red" / "0.png")
    if getattr(getattr(model, "judge", None), "neighbours", None) is None:
        assert without.nearest == ()
        assert "name the training data (--data DATA)" in without.notes[-1]


def test_what_cannot_be_explained_is_one_sentence(folder: Path, saved: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    with pytest.raises(hs.DataError, match=r"broken.png cannot be explained: it is a damaged"):
        explain(saved, tmp_path / "broken.png")
    with pytest.raises(hs.DataError, match=r"0.wav cannot be explained: it is no JPEG"):
        explain(saved, sounds(tmp_path / "sounds", n=1) / "low" / "0.wav")
    with pytest.raises(UsageError, match=r"one item is explained at a time, and .* holds 48"):
        explain(saved, folder)
    with pytest.raises(hs.DataError, match=r"this model takes image input, and .* holds text"):
        explain(saved, folder / "val" / "red" / "0.png", data=reviews(tmp_path / "reviews.csv"))
    with pytest.raises(UsageError, match="has no label 'green'"):
        explain(saved, folder / "val" / "red" / "0.png", options=ExplainOptions(label="green"))


def test_the_command_draws_for_each_modality(
    folder: Path, saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from headstart.cli.main import main

    item = str(folder / "val" / "blue" / "1.png")
    out = tmp_path / "map ä.png"
    assert main(["explain", str(saved), item, "--data", str(folder), "--out", str(out), "--quiet"]) == 0
    shown = capsys.readouterr().out
    assert "blue" in shown
    assert "nearest training examples" in shown
    with Image.open(out) as drawn:
        assert drawn.size == (48, 40)
    texts = reviews(tmp_path / "reviews.csv", n=40)
    words = str(hs.fit(texts, backbone="toy:text").save(tmp_path / "words"))
    assert main(["explain", words, "a splendid , warm film", "--quiet"]) == 0
    assert "splendid" in capsys.readouterr().out
    assert main(["explain", words, "a splendid film", "--out", "map.png", "--quiet"]) == 2
    assert "--out draws over an image" in capsys.readouterr().err
    tones = sounds(tmp_path / "sounds")
    model = str(hs.fit(tones, backbone="toy:audio").save(tmp_path / "tones"))
    assert main(["explain", model, str(tones / "low" / "0.wav"), "--quiet"]) == 0
    assert "0.05 s" in capsys.readouterr().out
