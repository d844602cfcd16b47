"""`tune`: it ships what wins, keeps what does not lose, and goes on where it was killed."""

import html
import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import headstart as hs
from headstart.backbones.backbone import BackboneRequest
from headstart.backbones.choice import open_backbone
from headstart.cli.main import main
from headstart.core.errors import DataError, FitError, UsageError
from headstart.core.progress import silent
from headstart.features.extraction import embed
from headstart.heads.losses import objective
from headstart.model.model import Model, join
from headstart.tuning import gate, ladder
from headstart.tuning.classifier import Classifier, State
from headstart.tuning.losses import LossOptions, loss_of
from headstart.tuning.runs import check_folder, clear
from headstart.verbs.tune import TuneOptions, tune
from headstart.verbs.tune_ground import Ground, _one_in, read_ground
from headstart.verbs.tune_ship import gated
from support.made import photos
from support.networks import save_tiny
from support.tunable import head, network, stripes

verb = sys.modules["headstart.verbs.tune"]  # `headstart.verbs.tune` is the function
STEPS = TuneOptions(steps=150, strategy="full(decay=1.0)")


def fitted(data: Path, *, alike: bool = True) -> Model:
    return hs.fit(data, options=hs.FitOptions(backbone=network(alike=alike), check=False))


def test_what_only_tuning_can_learn_is_shipped_and_loads_alike(tmp_path: Path) -> None:
    data = stripes(tmp_path / "data", n=60)
    model = fitted(data)
    found = tune(model, data, options=STEPS)
    assert found.shipped
    assert found.sentence.startswith("tuning won and is shipped: accuracy")
    assert found.compared["accuracy"].a > found.compared["accuracy"].b + 0.2
    assert found.compared["accuracy"].p < 0.001
    assert found.model.report.metrics["accuracy"].value == found.compared["accuracy"].a
    assert found.model.backbone.specs[0].weights != model.backbone.specs[0].weights
    assert found.gate["n"] == 12
    assert found.curve[-1][1] < found.curve[0][1]
    assert hs.evaluate(found.model, data).metrics == found.model.report.metrics
    answers = found.model.predict(data / "test" / "level")
    assert {"label", "probabilities"} <= set(next(iter(answers)))
    assert found.model.judge is not None


def test_a_tuned_network_of_a_library_is_saved_by_value(tmp_path: Path) -> None:
    folder = save_tiny("bert", tmp_path / "bert")
    rng = np.random.default_rng(0)
    words = (["dog", "cat", "runs", "sleeps"], ["the", "a", "on", "mat"])
    lines = [f"{' '.join(rng.choice(words[i % 2], 12))},{'ab'[i % 2]}" for i in range(160)]
    (tmp_path / "texts.csv").write_text("text,label\n" + "\n".join(lines))
    backbone = open_backbone(BackboneRequest("transformers", str(folder)))
    model = hs.fit(tmp_path / "texts.csv", options=hs.FitOptions(backbone=backbone, check=False, hold_out=0.2))
    found = tune(model, tmp_path / "texts.csv", options=replace(STEPS, strategy="lora(rank=4)", steps=30))
    tuned = found.model if found.shipped else _forced(model, tmp_path / "texts.csv")
    before = list(tuned.predict(tmp_path / "texts.csv"))
    tuned.save(tmp_path / "tuned")
    loaded = hs.load(tmp_path / "tuned")
    assert list(loaded.predict(tmp_path / "texts.csv")) == before
    assert loaded.report.tuned.startswith(("lora(", "full("))
    page = hs.report(tmp_path / "tuned", tmp_path / "texts.csv", out=tmp_path / "report.html")
    assert "headstart tune tuned-frozen texts.csv --out tuned --strategy" in html.unescape(page.path.read_text())


def _forced(model: Model, data: Path) -> Model:
    """The tuned model, whatever the gate says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate.Gate, "passed", property(lambda self: True))
        return tune(model, data, options=replace(STEPS, strategy="full(decay=0.8)", steps=20)).model


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nothing could win it is tried."""
    monkeypatch.setattr(Ground, "winnable", property(lambda self: True))


def test_what_is_no_better_stays_frozen(tmp_path: Path, tried: None) -> None:
    data = photos(tmp_path / "data", n=30, parts=("train", "test"))
    model = fitted(data, alike=False)
    found = tune(model, data, options=replace(STEPS, steps=20))
    assert not found.shipped
    assert found.model is model
    assert "the frozen model stays" in found.sentence
    assert found.compared == {}


def test_nothing_is_trained_where_nothing_could_win(tmp_path: Path) -> None:
    """A frozen head without an error leaves nothing to win; with two errors among those that decide something is left."""
    data = photos(tmp_path / "data", n=40)
    model = fitted(data, alike=False)
    found = tune(model, data, options=replace(STEPS, steps=5))
    assert found.gate["frozen"] == 1.0
    assert (found.shipped, found.steps, found.strategy, found.model) == (False, 0, "", model)
    assert found.sentence.startswith("nothing was trained, so the frozen model stays")
    asked = hs.FitOptions(check=False)
    ground = read_ground(model, data, asked=asked, new_labels=False, doubted=False, progress=silent)
    assert not ground.winnable
    for errors, winnable in ((1, False), (2, True)):
        outcomes = ground.frozen_outcomes.copy()
        outcomes[np.flatnonzero(~ground.chooses)[:errors]] = 0
        assert replace(ground, frozen_outcomes=outcomes).winnable is winnable


def test_the_half_that_chose_nothing_decides(tmp_path: Path) -> None:
    data = stripes(tmp_path / "data", n=60)
    model = fitted(data)
    ground = read_ground(
        model, data, asked=hs.FitOptions(check=False), new_labels=False, doubted=False, progress=silent
    )
    truths = ground.y.take(ground.aside_rows).values
    rows = join(ground.extraction.features)[ground.aside]
    as_frozen = ground.frozen.head.scores(rows)
    right = np.where(np.eye(2)[truths] > 0, 5.0, -5.0)
    assert 0.2 < ground.frozen_outcomes.mean() < 0.8, "the frozen head knows nothing, so that there is something to win"
    for half, passes in ((ground.chooses, False), (~ground.chooses, True)):
        assert gated(ground, np.where(half[:, None], right, as_frozen)).passed is passes


def test_the_network_begins_where_the_frozen_rows_are(tmp_path: Path) -> None:
    data = stripes(tmp_path / "data", n=10)
    samples = hs.read(data)
    for alike in (True, False):
        frozen = network(alike=alike)
        start = State.of(Classifier(frozen.module, head()))
        known = join(embed(frozen, samples, engine="eager").features)
        np.testing.assert_allclose(ladder.rows_of(start, frozen, samples=samples), known, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("strategy", ["full(decay=1.0)", "bitfit"])
def test_new_labels_are_learnt_where_tuning_wins_and_where_it_does_not(tmp_path: Path, strategy: str) -> None:
    data = photos(tmp_path / "data", n=40)
    model = fitted(data, alike=False)
    rng = np.random.default_rng(1)
    for part in ("train", "val"):
        (data / part / "green").mkdir()
        for number in range(40):
            pixels = rng.integers(0, 90, (40, 48, 3))
            pixels[..., 1] += 120
            Image.fromarray(pixels.astype(np.uint8)).save(data / part / "green" / f"{number}.png")
    found = tune(model, data, options=replace(STEPS, steps=10, strategy=strategy, new_labels=True))
    assert found.model.labels == ("blue", "green", "red")
    answers = found.model.predict(data / "val" / "green")
    assert [each["label"] for each in answers] == ["green"] * 40
    assert found.shipped or found.sentence.endswith("its head was fitted anew, and knows 'green' as well")


def test_a_validation_part_without_anything_to_read_is_no_part(tmp_path: Path, tried: None) -> None:
    data = stripes(tmp_path / "data", n=30, parts=("train",))
    for label in ("level", "upright"):
        (data / "val" / label).mkdir(parents=True)
    model = fitted(data)
    assert tune(model, data, options=replace(STEPS, steps=5)).part == ""
    for label in ("level", "upright"):
        for number in range(3):
            (data / "val" / label / f"{number}.png").write_bytes(b"no picture")
    assert tune(model, data, options=replace(STEPS, steps=5)).gate["n"] > 0


def test_the_start_scores_as_the_frozen_head(tmp_path: Path, tried: None) -> None:
    data = stripes(tmp_path / "data", n=30)
    found = tune(fitted(data), data, options=replace(STEPS, steps=20))
    start = found.points[0]
    assert (start["title"], start["share"]) == ("start", 0.0)
    other = tune(fitted(data), data, options=replace(STEPS, steps=25, strategy="bitfit"))
    assert other.points[0] == start


def test_the_same_call_goes_on_and_another_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = stripes(tmp_path / "data", n=40)
    model = fitted(data)
    options = replace(STEPS, run=tmp_path / "run")
    whole = tune(model, data, options=replace(options, run=tmp_path / "whole"))
    train, calls = ladder.train, []

    def killed(*arguments: object, **named: object) -> object:
        calls.append(named["leg"])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(ladder, "train", killed)
    with pytest.raises(KeyboardInterrupt):
        tune(model, data, options=options)
    found = tune(model, data, options=options)
    assert [leg.name for leg in calls] == ["try-0", "try-1", "try-2", "try-2", "long"]  # type: ignore[attr-defined]
    assert found.points == whole.points
    assert found.curve == whole.curve
    assert found.model.backbone.specs == whole.model.backbone.specs
    with pytest.raises(UsageError, match="holds the tuning of another model, other data or other options"):
        tune(model, data, options=replace(options, seed=1))


def test_a_rate_at_which_it_runs_away_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = stripes(tmp_path / "data", n=40)
    model, train = fitted(data), ladder.train

    def wild(*arguments: object, **named: object) -> object:
        if getattr(named["leg"], "name", "") == "try-2":
            raise FitError("tuning diverged")
        return train(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(ladder, "train", wild)
    assert sorted(map(float, tune(model, data, options=STEPS).tries)) == pytest.approx(
        [0.5**0.5 * 1e-3 / 3, 0.5**0.5 * 1e-3], rel=0.01
    )


def test_a_budget_becomes_steps_once_and_no_clock_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = stripes(tmp_path / "data", n=40)
    model = fitted(data)
    found = tune(model, data, options=TuneOptions(budget=30.0, strategy="full(decay=1.0)", run=tmp_path / "run"))
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["steps"] > 0
    assert run["seconds_per_step"] > 0
    assert run["strategy"] == "full(decay=1.0, embeddings=True)"
    shutil.rmtree(tmp_path / "run" / "long")

    def asked_again(*_given: object, **_named: object) -> None:
        raise AssertionError("it was settled")

    for name in ("_timed", "_looking"):  # what looks at a clock
        monkeypatch.setattr(ladder, name, asked_again)
    monkeypatch.setattr(verb, "mirrored", asked_again)
    again = tune(model, data, options=TuneOptions(budget=30.0, strategy="full(decay=1.0)", run=tmp_path / "run"))
    assert (again.steps, again.curve, again.points) == (found.steps, found.curve, found.points)
    monkeypatch.undo()
    with pytest.raises(UsageError, match="of the budget are left for steps: give a longer --budget"):
        tune(model, data, options=TuneOptions(budget=0.02))


def test_labels_that_the_model_does_not_know_are_offered(tmp_path: Path) -> None:
    data = stripes(tmp_path / "data", n=30)
    model = fitted(data)
    (data / "train" / "dots").mkdir()
    for number in range(30):
        source = data / "train" / ("level", "upright")[number % 2] / f"{number}.png"
        (data / "train" / "dots" / f"{number}.png").write_bytes(source.read_bytes()[:-1] + b"\x82")
    with pytest.raises(DataError, match=r"does not know 1 of the labels of .* \(dots\): say --new-labels"):
        tune(model, data, options=replace(STEPS, steps=5))


def test_doubted_labels_count_less(tmp_path: Path) -> None:
    data = photos(tmp_path / "data", n=40, parts=("train",))
    labels = sorted(path.name for path in (data / "train").iterdir())
    moved = min((data / "train" / labels[0]).iterdir())
    moved.rename(data / "train" / labels[1] / f"wrong-{moved.name}")
    model = hs.fit(data, options=hs.FitOptions(backbone="toy:image", check=False))
    asked = hs.FitOptions(reading=model.reading)
    ground = read_ground(model, data, asked=asked, new_labels=False, doubted=True, progress=silent)
    plain = read_ground(model, data, asked=asked, new_labels=False, doubted=False, progress=silent)
    wrong = [place for place, name in enumerate(ground.samples.take(ground.train).ids) if "wrong" in name]
    assert len(wrong) == 1, "it is trained on with this seed"
    assert ground.weights[wrong[0]] < 0.5
    assert ground.weights.sum() > len(ground.weights) - 4
    assert (plain.weights == 1).all()
    assert any("count less, as their labels are doubted" in note for note in ground.notes)


def test_what_cannot_be_tuned_is_one_sentence(tmp_path: Path) -> None:
    data = photos(tmp_path / "data", n=12, parts=("train",))
    with pytest.raises(UsageError, match="no network of torch, and only those can be tuned"):
        tune(hs.fit(data, backbone="toy:image"), data)
    few = stripes(tmp_path / "few", n=3, parts=("train",))
    with pytest.raises(DataError, match="too few"):
        tune(fitted(few), few, options=STEPS)


@pytest.mark.parametrize("loss", ["class_weights", "effective_number", "focal"])
def test_a_loss_for_uneven_classes_is_that_of_heads(tmp_path: Path, loss: str, tried: None) -> None:
    data = stripes(tmp_path / "data", n=30)
    for path in sorted((data / "train" / "level").iterdir())[:18]:
        path.unlink()
    model = fitted(data)
    found = tune(model, data, options=replace(STEPS, steps=5, loss=loss))
    plain = tune(model, data, options=replace(STEPS, steps=5))
    assert found.curve != plain.curve
    counts, rng = np.array([12, 30]), np.random.default_rng(0)
    scores, targets = torch.from_numpy(rng.normal(size=(9, 2))), torch.arange(9) % 2
    weights = torch.from_numpy(rng.random(9))
    mine = loss_of("softmax", LossOptions(0.0, loss), counts=counts)(scores, targets, weights)
    known = objective(loss, counts).losses(scores, targets) * weights
    assert float(mine) == pytest.approx(float(known.sum() / weights.sum()))
    with pytest.raises(UsageError, match="say --optimise balanced instead"):
        TuneOptions(loss="balanced_softmax").check()
    with pytest.raises(UsageError, match="there is none called 'focl'"):
        TuneOptions(loss="focl").check()


def test_mirrored_stripes_are_stripes_and_mirrored_arrows_are_not(tmp_path: Path, tried: None) -> None:
    data = stripes(tmp_path / "stripes", n=40)
    told = tune(fitted(data, alike=False), data, options=replace(STEPS, steps=3)).notes
    assert any("pictures are mirrored while training" in note for note in told)
    rng = np.random.default_rng(0)
    for label in ("left", "right"):
        for number in range(60):
            pixels = rng.integers(0, 60, (12, 12, 3))
            # A ramp that rises towards one side.
            pixels[:, :, 0] += (np.arange(12) * 12)[:: -1 if label == "left" else 1]
            path = tmp_path / "ramps" / "train" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    asked = BackboneRequest("torch", "halves", module=halves(), prepare={"modality": "image", "size": 12})
    model = hs.fit(tmp_path / "ramps", options=hs.FitOptions(backbone=open_backbone(asked), check=False))
    told = tune(model, tmp_path / "ramps", options=replace(STEPS, steps=3)).notes
    assert any("pictures are not mirrored while training" in note for note in told)


def test_a_model_that_knows_nothing_cannot_tell_whether_mirrored_pictures_are_alike(
    tmp_path: Path, tried: None
) -> None:
    data = stripes(tmp_path / "stripes", n=60)
    told = tune(fitted(data), data, options=replace(STEPS, steps=3)).notes
    assert any("pictures are not mirrored while training" in note for note in told)


@pytest.mark.parametrize("flip", [True, False])
def test_what_a_person_says_of_mirroring_is_done(tmp_path: Path, flip: bool, tried: None) -> None:
    data = stripes(tmp_path / "stripes", n=30)
    found = tune(fitted(data), data, options=replace(STEPS, steps=3, flip=flip, run=tmp_path / "run"))
    assert json.loads((tmp_path / "run" / "run.json").read_text())["flip"] is flip
    assert not any("mirrored" in note for note in found.notes)


def halves() -> nn.Module:

    class Net(nn.Module):
        """The brightness of the left and of the right half."""

        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d((1, 2)))

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.blocks(pixels).flatten(1)
            return found

    torch.manual_seed(0)
    return Net()


def test_the_command_writes_a_model_and_removes_its_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tried: None
) -> None:
    (tmp_path / "made").mkdir()
    folder = save_tiny("test_resnet", tmp_path / "made")
    data = photos(tmp_path / "data", n=30, parts=("train", "test"))
    request = BackboneRequest("timm", "test_resnet", weights=folder, prepare={"size": 32})
    hs.fit(data, options=hs.FitOptions(backbone=open_backbone(request), check=False)).save(tmp_path / "frozen")
    monkeypatch.chdir(tmp_path)
    assert main(["tune", "frozen", "data", "--out", "tuned", "--steps", "5", "--strategy", "last(blocks=1)"]) == 0
    assert "samples that chose nothing" in " ".join(capsys.readouterr().out.split())
    assert hs.load("tuned").labels == hs.load("frozen").labels
    assert not Path("tuned.tuning").exists()
    assert main(["tune", "frozen", "data", "--out", "data/tuned"]) == 2
    assert "never written to" in capsys.readouterr().err
    assert main(["tune", "frozen", "data", "--out", "tuned", "--strategy", "ful"]) == 2
    assert "Did you mean 'full'" in capsys.readouterr().err


def test_what_a_fit_held_out_is_evaluated_and_not_trained_on(tmp_path: Path) -> None:
    data = stripes(tmp_path / "data", n=60, parts=("train",)) / "train"
    options = hs.FitOptions(backbone=network(), check=False, hold_out=0.2)
    model = hs.fit(data, options=options)
    found = tune(model, data, options=STEPS)
    assert found.part == "test"
    assert any("were held out when the model was fitted, and stay the part test" in note for note in found.notes)
    held = model.split.digests[model.split.parts == 4]
    assert len(held) == 24
    assert not found.model.split.in_train(held).any()
    assert found.model.report.n["test"] == 24
    assert found.model.report.evaluated_on == "test"


def test_without_an_evaluated_part_the_report_names_none(tmp_path: Path) -> None:
    data = stripes(tmp_path / "data", n=60)
    model = fitted(data)
    found = tune(model, stripes(tmp_path / "other", n=70, parts=("train",)) / "train", options=STEPS)
    assert found.shipped
    assert (found.part, found.model.report.evaluated_on) == ("", "train, out of fold")
    assert (found.model.report.n["test"], found.model.report.n["val"]) == (0, 0)


def test_the_validation_part_chooses_and_is_no_evidence_any_more(tmp_path: Path) -> None:
    data = stripes(tmp_path / "data", n=60, parts=("train", "val", "test"))
    model = fitted(data)
    found = tune(model, data, options=STEPS)
    assert found.shipped
    assert any(re.match(r"1[12]\d samples of the part val choose and decide", note) for note in found.notes), (
        "near copies go"
    )
    assert found.model.report.n["train"] == 120, "all training samples are trained on"
    assert 55 <= found.gate["n"] <= 60
    judged = hs.evaluate(found.model, data, part="val")
    assert judged.in_sample or judged.n < 10, "what chose is no evidence"


def test_a_validation_part_that_is_too_small_is_left(tmp_path: Path) -> None:
    data = stripes(tmp_path / "data", n=60, parts=("train", "val", "test"))
    for place in sorted((data / "val").rglob("*.png"))[::20]:
        place.rename(place.with_suffix(".kept"))
    for place in (data / "val").rglob("*.png"):
        place.unlink()
    for place in (data / "val").rglob("*.kept"):
        place.rename(place.with_suffix(".png"))
    found = tune(fitted(data), data, options=replace(STEPS, steps=10))
    assert any("24 of 120 training samples are set aside" in note for note in found.notes)


def test_a_label_keeps_its_only_sample_to_train_on(tmp_path: Path) -> None:
    data = stripes(tmp_path / "data", n=40)
    (data / "train" / "rare").mkdir()
    shutil.copy(data / "train" / "level" / "0.png", data / "train" / "rare" / "0.png")
    Image.effect_noise((12, 12), 80).convert("RGB").save(data / "train" / "rare" / "0.png")
    for seed in range(3):
        found = tune(fitted(data), data, options=replace(STEPS, steps=5, seed=seed))
        assert found.model.labels == ("level", "rare", "upright")


def test_data_without_a_label_of_the_model_is_refused_in_a_sentence(tmp_path: Path) -> None:
    data = stripes(tmp_path / "data", n=40)
    (data / "train" / "flat").mkdir()
    for number in range(12):
        Image.new("RGB", (12, 12), (number, 9, 9)).save(data / "train" / "flat" / f"{number}.png")
    model = fitted(data)
    shutil.rmtree(data / "train" / "flat")
    with pytest.raises(DataError, match=r"has no sample of 1 of the labels that the model knows \(flat\)"):
        tune(model, data, options=STEPS)


def test_an_evaluated_part_that_cannot_be_read_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = stripes(tmp_path / "data", n=60)
    for place in (data / "test").rglob("*.png"):
        place.write_bytes(place.read_bytes()[:40])
    monkeypatch.setattr(gate.Gate, "passed", property(lambda self: True))
    found = tune(fitted(data), data, options=replace(STEPS, steps=1))
    assert found.shipped
    assert found.compared == {}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (TuneOptions(smoothing=2.0), "a share from 0 to below 1"),
        (TuneOptions(optimise="macro"), "can be optimised for"),
        (TuneOptions(steps=-5), "1 step or more"),
        (TuneOptions(budget=0.0), "longer than 0 s"),
    ],
)
def test_options_out_of_range_are_refused_before_anything_is_read(options: TuneOptions, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        tune(Model.__new__(Model), "nowhere", options=options)


def test_a_folder_that_holds_something_else_is_neither_used_nor_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("dear")
    words = ["tune", str(tmp_path / "frozen"), str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    assert main([*words, "--run", str(tmp_path / "mine")]) == 2
    assert "holds something else than a tuning's run" in capsys.readouterr().err
    for place in (tmp_path, tmp_path / "out", tmp_path / "data" / "inner"):
        assert main([*words, "--run", str(place)]) == 2
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "dear"


def test_what_a_kill_left_half_written_is_in_nobodys_way(tmp_path: Path, tried: None) -> None:
    data = stripes(tmp_path / "data", n=20)
    run = tmp_path / "run"
    run.mkdir()
    (run / ".run.json.k2j3.part").write_text('{"identity": "', encoding="utf-8")
    (run / ".teacher.safetensors.a8s.part").write_bytes(b"begun")
    check_folder(run)
    tune(fitted(data), data, options=replace(STEPS, steps=3, run=run))
    clear(run)
    assert not run.exists()
    run.mkdir()
    (run / "thesis.part").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="holds something else"):
        check_folder(run)


def test_a_run_that_has_ended_removes_what_it_wrote_and_nothing_else(tmp_path: Path) -> None:
    from headstart.tuning import runs

    folder = tmp_path / "run"
    (folder / "try-0").mkdir(parents=True)
    (folder / "long").mkdir()
    (folder / "run.json").write_text("{}")
    (folder / "notes.txt").write_text("kept")
    runs.check_folder(folder)
    runs.clear(folder)
    assert [each.name for each in folder.iterdir()] == ["notes.txt"]
    (folder / "notes.txt").unlink()
    runs.clear(folder)
    assert not folder.exists()


def test_values_far_from_zero_are_learnt_in_their_own_unit(tmp_path: Path) -> None:
    data = stripes(tmp_path / "data", n=100)
    rng, lines = np.random.default_rng(0), ["image,weight,split"]
    for place in sorted(data.rglob("*.png")):
        part, label = place.parts[-3:-1]
        lines.append(f"{place},{1e8 + 3 * (label == 'upright') + rng.normal(0, 0.1):.4f},{part}")
    (tmp_path / "values.csv").write_text("\n".join(lines))
    model = hs.fit(tmp_path / "values.csv", target="weight", options=hs.FitOptions(backbone=network(), check=False))
    found = tune(model, tmp_path / "values.csv", options=STEPS)
    assert found.shipped, found.sentence
    error = found.compared[found.figure]
    assert error.b > 0.8
    assert error.a < 0.8 * error.b
    answers = found.model.predict(hs.read(tmp_path / "values.csv", options=model.reading).part("test"))
    assert all(abs(answer["value"] - 1e8) < 10 for answer in answers)


@pytest.mark.parametrize(("n", "aside"), [(100, 20), (2_500, 500), (3_999, 571), (10_000, 1_000), (100_000, 2_000)])
def test_of_many_samples_a_smaller_share_is_set_aside(n: int, aside: int) -> None:
    assert n // _one_in(n) == aside
