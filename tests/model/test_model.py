"""A model comes back from its directory as it was, and never stands where something else did."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import headstart as hs
from headstart.backbones.backbone import BackboneRequest
from headstart.backbones.choice import open_backbone
from headstart.core.errors import DataError, ModelError
from headstart.data.opening import texts_as_samples
from headstart.features.extraction import embed
from support.cache import cache_in
from support.made import photos, reviews, sounds
from support.networks import save_tiny

TEXTS = ["a splendid and warm film", "dull , cold and grim", "ünïcödé 电影 🎬"]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> hs.Model:
    folder = tmp_path_factory.mktemp("fitted")
    with cache_in(folder / "cache"):
        return hs.fit(reviews(folder / "reviews.csv", n=40), backbone="toy:text")


def test_saved_and_loaded_it_answers_alike(fitted: hs.Model, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")
    loaded = hs.load(tmp_path / "model")
    assert loaded.predict(texts_as_samples(TEXTS)) == fitted.predict(texts_as_samples(TEXTS))
    assert loaded.labels == fitted.labels
    assert loaded.temperature == fitted.temperature
    assert loaded.prior == fitted.prior
    assert loaded.report == replace(fitted.report, skipped=())
    np.testing.assert_array_equal(loaded.split.digests, fitted.split.digests)
    loaded.save(tmp_path / "again")
    for name in ("head.safetensors", "backbone.safetensors", "split.safetensors", "probe.safetensors"):
        assert (tmp_path / "model" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_loaded_in_a_fresh_process_it_answers_alike(fitted: hs.Model, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")
    program = (
        "import json, sys\nimport headstart as hs\n"
        f"print(json.dumps(hs.predict({str(tmp_path / 'model')!r}, {TEXTS!r}), allow_nan=False))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, encoding="utf-8"
    ).stdout
    assert json.loads(printed) == json.loads(json.dumps(hs.predict(fitted, TEXTS)))


@pytest.mark.parametrize("kind", ["image", "audio"])
def test_other_modalities_too(kind: str, tmp_path: Path) -> None:
    data = photos(tmp_path / "d") if kind == "image" else sounds(tmp_path / "d")
    model = hs.fit(data, backbone=f"toy:{kind}")
    model.save(tmp_path / "model")
    files = sorted(data.rglob("*.png" if kind == "image" else "*.wav"))[:3]
    assert hs.predict(tmp_path / "model", files) == hs.predict(model, files)


@pytest.mark.parametrize("head", ["knn", "random_features(features=40)", "mlp(hidden=20, epochs=3)"])
def test_heads_that_bend_come_back(head: str, tmp_path: Path) -> None:
    model = hs.fit(reviews(tmp_path / "r.csv"), backbone="toy:text", options=hs.FitOptions(head=head))
    model.save(tmp_path / "model")
    assert hs.predict(tmp_path / "model", TEXTS) == hs.predict(model, TEXTS)


def test_rows_of_another_backbone_are_refused(fitted: hs.Model) -> None:
    other = open_backbone(replace(BackboneRequest.parse("toy:text"), prepare={"max_tokens": 4}))
    with pytest.raises(DataError, match="made another way"):
        fitted.probabilities(embed(other, texts_as_samples(TEXTS)).features)


def test_several_layers_are_joined_and_the_model_needs_its_folder_no_more(tmp_path: Path) -> None:
    folder = save_tiny("bert", tmp_path)
    request = replace(BackboneRequest.parse(f"transformers:{folder}"), layer="encoder.layer.0,encoder.layer.1")
    model = hs.fit(reviews(tmp_path / "r.csv"), backbone=request)
    assert len(model.backbone.specs) == 2
    assert model.head.scores(np.zeros((1, sum(spec.dim for spec in model.backbone.specs)))).shape == (1, 2)
    before = hs.predict(model, TEXTS)
    with pytest.raises(ModelError, match="cannot be saved by reference"):
        model.save(tmp_path / "by-reference", by_reference=True)
    assert not (tmp_path / "by-reference").exists()
    model.save(tmp_path / "model")
    shutil.rmtree(folder)
    again = hs.predict(tmp_path / "model", TEXTS)
    for one, other in zip(before, again, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-6)


def test_by_reference_it_holds_no_weights_and_checks_their_digest(fitted: hs.Model, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model", by_reference=True)
    assert not (tmp_path / "model" / "backbone.safetensors").exists()
    assert hs.predict(tmp_path / "model", TEXTS) == hs.predict(fitted, TEXTS)


def test_a_model_replaces_a_model_and_nothing_else(fitted: hs.Model, tmp_path: Path) -> None:
    target = tmp_path / "model"
    fitted.save(target)
    fitted.save(target)
    assert hs.load(target).labels == fitted.labels
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(ModelError, match="something else than a headstart model"):
        fitted.save(tmp_path / "thesis")
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(ModelError, match="is a file"):
        fitted.save(tmp_path / "file")
    assert (tmp_path / "thesis" / "chapter.txt").read_text(encoding="utf-8") == "years of work"
    (tmp_path / "empty").mkdir()
    fitted.save(tmp_path / "empty")
    assert hs.load(tmp_path / "empty").labels == fitted.labels


def test_a_failed_save_leaves_the_old_model_and_no_rest(
    fitted: hs.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted.save(tmp_path / "model")
    before = (tmp_path / "model" / "manifest.json").read_bytes()

    def broken(*_: object, **_named: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("headstart.model.saving.card", broken)
    with pytest.raises(ModelError, match=r"could not be written to .*model: No space left on device"):
        fitted.save(tmp_path / "model")
    assert (tmp_path / "model" / "manifest.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_no_training_item_leaves(fitted: hs.Model, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")
    for path in (tmp_path / "model").rglob("*"):
        if path.is_file() and path.name != "backbone.safetensors":
            assert b"splendid , " not in path.read_bytes()
            assert b"film 3 was" not in path.read_bytes()


def test_the_card_tells_what_was_measured(fitted: hs.Model, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    accuracy = fitted.report.metrics["accuracy"]
    for part in (f"{accuracy.value:.4f}", "toy:text", fitted.report.head, "train, out of fold", "bad, good"):
        assert part in card


def test_of_another_modality(fitted: hs.Model, tmp_path: Path) -> None:
    with pytest.raises(hs.HeadstartError, match="text"):
        hs.predict(fitted, photos(tmp_path / "p", parts=("",)))


def test_predictions_come_in_order_with_errors_in_their_place(tmp_path: Path) -> None:
    data = photos(tmp_path / "d", parts=("",))
    model = hs.fit(data, backbone="toy:image")
    (tmp_path / "broken.png").write_bytes((data / "red" / "0.png").read_bytes()[:200])
    answers = hs.predict(model, [data / "red" / "0.png", tmp_path / "broken.png", data / "blue" / "0.png"])
    assert [answer.get("label") for answer in answers] == ["red", None, "blue"]
    assert answers[1]["error"]
    assert answers[0]["probability"] == max(answers[0]["probabilities"].values())
    assert sum(answers[0]["probabilities"].values()) == pytest.approx(1)
    assert (answers[0]["set"], answers[0]["abstain"]) == (["red"], None)
    assert answers[0]["outlier"]["is"] is False


def test_the_lines_of_the_issue(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos")
    model = hs.fit(str(data), backbone="toy:image")
    files = [str(data / "val" / "red" / "0.png"), str(data / "val" / "blue" / "0.png")]
    assert [answer["label"] for answer in model.predict(files)] == ["red", "blue"]
    model.save(tmp_path / "ants")
    assert hs.load(tmp_path / "ants").predict(files) == model.predict(files)
    assert hs.load(tmp_path / "ants").evaluate(str(data / "val")).metrics == model.report.metrics


def test_files_named_twice_empty_or_missing_are_answered_in_their_place(tmp_path: Path) -> None:
    data = photos(tmp_path / "d", parts=("",))
    model = hs.fit(data, backbone="toy:image")
    red, blue = data / "red" / "0.png", data / "blue" / "0.png"
    (tmp_path / "empty.png").write_bytes(b"")
    answers = model.predict([red, tmp_path / "empty.png", red, tmp_path / "missing.png", blue])
    assert [answer.get("label") for answer in answers] == ["red", None, "red", None, "blue"]
    assert "0 bytes" in answers[1]["error"]
    assert "cannot be read" in answers[3]["error"]
    (alone,) = model.predict([tmp_path / "empty.png"])
    assert "0 bytes" in alone["error"]


def test_a_model_fitted_with_groups_needs_none_later(tmp_path: Path) -> None:
    with (tmp_path / "grouped.csv").open("w", encoding="utf-8", newline="") as file:
        file.write(
            "text,label,who\n"
            + "".join(f"{'yes fine' if i % 2 else 'no bad'} {i},{i % 2},p{i % 7}\n" for i in range(60))
        )
    reading = hs.ReadOptions(group="who", target="label")
    model = hs.fit(tmp_path / "grouped.csv", backbone="toy:text", options=hs.FitOptions(reading=reading))
    (tmp_path / "other.csv").write_text("text,label\nyes fine 100,1\nno bad 101,0\n", encoding="utf-8")
    assert model.evaluate(tmp_path / "other.csv").n == 2
    assert len(model.predict(tmp_path / "other.csv")) == 2


def test_fitted_on_a_table_of_paths_it_evaluates_class_folders(tmp_path: Path) -> None:
    data = photos(tmp_path / "d", parts=("",))
    rows = [f"{path.relative_to(tmp_path).as_posix()},{path.parent.name}" for path in sorted(data.rglob("*.png"))]
    (tmp_path / "list.csv").write_text("bild,art\n" + "\n".join(rows), encoding="utf-8")
    reading = hs.ReadOptions(input="bild", target="art")
    model = hs.fit(tmp_path / "list.csv", backbone="toy:image", options=hs.FitOptions(reading=reading))
    report = model.evaluate(photos(tmp_path / "new", parts=("",), seed=5))
    assert report.n == 24
    assert report.metrics["accuracy"].value > 0.9


def test_texts_that_were_cut_are_told_of_by_evaluate(tmp_path: Path) -> None:
    model = hs.fit(reviews(tmp_path / "r.csv"), backbone="toy:text")
    (tmp_path / "long.csv").write_text("text,label\n" + "good " * 9000 + ",good\nshort,bad\n", encoding="utf-8")
    assert any("1 texts are longer" in warning for warning in model.evaluate(tmp_path / "long.csv").warnings)
    assert [answer["truncated"] for answer in model.predict(["good " * 9000, "short"])] == [True, False]
