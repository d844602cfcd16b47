"""`distil`: a student learns from its teacher's outputs, and is shipped where it beats the one of labels alone."""

import json
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import headstart as hs
from headstart.backbones.choice import open_backbone
from headstart.cli.main import main
from headstart.core.errors import DataError, UsageError
from headstart.model.model import Model
from headstart.tasks import TASKS
from headstart.verbs.distil_measure import latencies
from headstart.verbs.distil_teacher import Lesson
from headstart.verbs.tune import TuneOptions, tune
from support.made import photos
from support.tunable import network, stripes


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """One that was tuned on many samples."""
    data = stripes(tmp_path_factory.mktemp("many"), n=100)
    model = hs.fit(data, options=hs.FitOptions(backbone=network(), check=False))
    found = tune(model, data, options=TuneOptions(steps=200, strategy="full(decay=1.0)"))
    assert found.shipped
    return found.model


def asked(**changed: object) -> hs.DistilOptions:
    plain = hs.DistilOptions(student=network(), strategy="full(decay=1.0)", steps=150, looks=2, flip=False)
    return replace(plain, **changed)  # type: ignore[arg-type]


def few(folder: Path) -> tuple[Path, Path]:
    """24 labelled pictures a class with many held out, and 160 without a label."""
    data = stripes(folder / "data", n=24)
    shutil.rmtree(data / "test")
    whole = stripes(folder / "whole", n=80)
    shutil.copytree(whole / "test", data / "test")
    (folder / "plain").mkdir()
    for place in sorted((whole / "train").rglob("*.png")):
        shutil.copy(place, folder / "plain" / f"{place.parent.name}-{place.name}")
    return data, folder / "plain"


def test_a_student_learns_from_unlabelled_samples(teacher: Model, tmp_path: Path) -> None:
    data, plain = few(tmp_path)
    found = hs.distil(teacher, data, options=asked(unlabelled=plain))
    assert found.distilled
    assert found.sentence.startswith("the distilled student beats the one of labels alone and is shipped: accuracy")
    assert found.taught["unlabelled"] > 100
    assert found.compared["accuracy"].a > found.compared["accuracy"].b + 0.1
    assert found.kept is not None
    assert found.kept > 0.9
    assert hs.evaluate(found.model, data).metrics["accuracy"].value == found.teacher["accuracy"].a
    assert 0.2 < found.latency.share < 5
    assert found.model.report.tuned == "full(decay=1.0, embeddings=True)"
    assert "taught by the outputs of" in found.model.report.notes[-1]


def test_samples_of_the_data_are_left_out_of_the_unlabelled(teacher: Model, tmp_path: Path) -> None:
    data, plain = few(tmp_path)
    for number, place in enumerate(sorted((data / "test").rglob("*.png"))[:10]):
        shutil.copy(place, plain / f"planted-{number}.png")
    before = len(list(plain.iterdir()))
    shutil.copy(min(plain.iterdir()), plain / "twice.png")
    found = hs.distil(teacher, data, options=asked(unlabelled=plain, strategy="frozen"))
    train = found.taught["samples"] - found.taught["unlabelled"]
    note = next(note for note in found.notes if "unlabelled samples are taught as well" in note)
    assert "were left out: they are in the data, come twice, or cannot be read" in note
    # The held-out ones of `few` are copies of nothing that is unlabelled but the ten that were planted.
    assert found.taught["unlabelled"] <= before - 10
    assert train < 48


def test_a_head_alone_takes_no_step(teacher: Model, tmp_path: Path) -> None:
    data, plain = few(tmp_path)
    found = hs.distil(teacher, data, options=asked(unlabelled=plain, strategy="frozen", student=network(alike=False)))
    assert (found.steps, found.looks, found.strategy) == (0, 1, "frozen")
    assert found.curve == ()


def test_features_are_matched_and_the_map_is_not_shipped(teacher: Model, tmp_path: Path) -> None:
    data, plain = few(tmp_path)
    found = hs.distil(teacher, data, options=asked(unlabelled=plain, features=0.5, kind="dkd"))
    assert found.distilled
    tensors = found.model.backbone.module.feed.net.state_dict()  # type: ignore[attr-defined]
    assert set(tensors) == set(network().module.feed.net.state_dict())


def test_the_same_call_goes_on_with_the_teachers_kept_outputs(
    teacher: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.features import running
    from headstart.features.choosing import PLAIN, Choice
    from headstart.tuning import ladder
    from headstart.verbs import distil_teacher

    # Two runs are compared, so that one engine has to make both's rows: `auto` may go over to another whenever time tells it to.
    monkeypatch.setattr(running, "choose", lambda _backbone, _engine: Choice(PLAIN))
    data, _ = few(tmp_path)
    options = asked(run=tmp_path / "run", steps=40)
    whole = hs.distil(teacher, data, options=replace(options, run=tmp_path / "other"))

    def stop(*_given: object, **_named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ladder, "train", stop)
        with pytest.raises(KeyboardInterrupt):
            hs.distil(teacher, data, options=options)
    monkeypatch.setattr(distil_teacher, "_computed", stop)  # the outputs are there, and are not computed again
    again = hs.distil(teacher, data, options=options)
    assert again.gate == whole.gate
    assert again.curve == whole.curve


def test_what_frozen_blocks_give_is_computed_once_for_the_same_looks(teacher: Model, tmp_path: Path) -> None:
    data, plain = few(tmp_path)
    found = hs.distil(teacher, data, options=asked(unlabelled=plain, strategy="last(blocks=1)", steps=10))
    assert any("the first 1 of 2 blocks give was computed once" in note for note in found.notes)


def test_a_student_may_be_of_another_family(tmp_path: Path) -> None:
    """The teacher is no network, its rows are of another width, and they are matched all the same."""
    data = photos(tmp_path / "photos", n=24)
    teaches = hs.fit(data, options=hs.FitOptions(backbone="toy:image", check=False))
    student = network(alike=False)
    assert student.specs[0].dim != teaches.backbone.specs[0].dim
    found = hs.distil(teaches, data, options=asked(student=student, features=0.5, steps=20))
    assert found.steps == 20
    assert np.isfinite([loss for _, loss, _ in found.curve]).all()
    assert found.model.report.backbone == "torch:stripes"
    assert found.kept is not None
    assert found.kept > 0.9


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"strategy": "fulll"}, "fulll"),
        ({"temperature": 0.0}, "a temperature is a number above 0"),
        ({"kind": "rkd"}, "kd or dkd"),
    ],
)
def test_a_wrong_word_costs_no_fit(
    teacher: Model, tmp_path: Path, changed: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fitted(*_given: object, **_named: object) -> None:
        raise AssertionError("nothing is fitted for that")

    monkeypatch.setattr(sys.modules["headstart.verbs.distil"], "fit", fitted)
    with pytest.raises(UsageError, match=said):
        hs.distil(teacher, tmp_path, options=asked(**changed))


def test_what_cannot_be_taught_is_refused(teacher: Model, tmp_path: Path) -> None:
    data, _ = few(tmp_path)
    shutil.copytree(data / "train" / "level", data / "train" / "slanted")
    with pytest.raises(DataError, match=r"the teacher does not know 1 of the labels of the data \(slanted\)"):
        hs.distil(teacher, data, options=asked())
    shutil.rmtree(data / "train" / "slanted")
    with pytest.raises(UsageError, match="1 to 64 looks"):
        hs.distil(teacher, data, options=asked(looks=0))
    with pytest.raises(UsageError, match="taught by kd or dkd"):
        hs.distil(teacher, data, options=asked(kind="rkd"))


def test_the_command_writes_a_student(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, plain = few(tmp_path)
    hs.fit(data, options=hs.FitOptions(backbone="toy:image", check=False)).save(tmp_path / "teacher")
    words = ["distil", str(tmp_path / "teacher"), str(data), "--out", str(tmp_path / "out"), "--unlabelled", str(plain)]
    words += ["--student", "toy:image", "--prepare", "size=8", "--quiet"]
    assert main([*words, "--strategy", "frozen", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["strategy"], told["steps"], told["part"]) == ("frozen", 0, "test")
    assert np.isfinite(told["latency"]["share"])
    assert hs.load(tmp_path / "out").labels == ("level", "upright")
    assert main([*words, "--strategy", "frozen"]) == 0
    shown = capsys.readouterr().out
    assert "ms an answer, the teacher's" in shown
    assert "student of labels alone" in shown or "the one of labels alone" in shown
    assert main(words) == 2
    assert "is no network of torch" in capsys.readouterr().err


def test_other_unlabelled_samples_are_another_run(teacher: Model, tmp_path: Path) -> None:
    data, plain = few(tmp_path)
    options = asked(unlabelled=plain, steps=5, run=tmp_path / "run")
    hs.distil(teacher, data, options=options)
    max(plain.iterdir()).unlink()
    with pytest.raises(UsageError, match="holds the tuning of another model, other data or other options"):
        hs.distil(teacher, data, options=options)


@pytest.mark.parametrize("inline", [True, False])
def test_unlabelled_texts_may_lie_in_files_or_in_a_table(tmp_path: Path, *, inline: bool) -> None:
    rng = np.random.default_rng(0)
    words = (["dog", "cat", "barks"], ["sun", "rain", "wind"])
    lines = [(" ".join(rng.choice(words[number % 2], 6)), "ab"[number % 2]) for number in range(60)]
    table, folder = tmp_path / "texts.csv", tmp_path / "texts"
    table.write_text("text,label\n" + "\n".join(f"{text},{label}" for text, label in lines))
    for number, (text, label) in enumerate(lines):
        (folder / label).mkdir(parents=True, exist_ok=True)
        (folder / label / f"{number}.txt").write_text(text)
    (tmp_path / "more").mkdir()
    more = [" ".join(rng.choice(words[number % 2], 7)) for number in range(20)]
    for number, text in enumerate(more):
        (tmp_path / "more" / f"{number}.txt").write_text(text)
    (tmp_path / "more.csv").write_text("text\n" + "\n".join(more))
    data, plain = (table, tmp_path / "more") if inline else (folder, tmp_path / "more.csv")
    teacher = hs.fit(data, options=hs.FitOptions(backbone="toy:text", check=False))
    seen: list[object] = []
    kept = type(teacher.backbone.preparation).prepare

    def prepare(self: object, content: object) -> object:
        seen.append(content)
        return kept(self, content)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(teacher.backbone.preparation), "prepare", prepare)
        found = hs.distil(
            teacher, data, options=hs.DistilOptions(student="toy:text", unlabelled=plain, strategy="frozen")
        )
    assert found.taught["unlabelled"] == len(set(more))
    assert set(more) <= {each if isinstance(each, str) else bytes(each).decode() for each in seen}  # type: ignore[arg-type]
    assert not any("/" in str(each) for each in seen)


class Slow:
    """Answers after a while, and after a longer one when the other has answered last."""

    last: "Slow | None" = None

    def __init__(self, seconds: float) -> None:
        self.seconds, self.asked, self.backbone = seconds, 0, open_backbone("toy:image")

    def predict(self, samples: hs.Samples, *, engine: str) -> list[object]:
        assert (len(samples), engine) == (1, "eager")
        time.sleep(self.seconds if Slow.last is self else 0.1)
        Slow.last = self
        self.asked += 1
        return []


def test_an_answer_is_timed_where_its_model_answers_again_and_again(tmp_path: Path) -> None:
    samples = hs.read(stripes(tmp_path / "data", n=3))
    teacher, student = Slow(0.02), Slow(0.005)
    found = latencies(teacher, student, samples=samples)  # type: ignore[arg-type]
    assert teacher.asked == student.asked > 30
    assert found.teacher == pytest.approx(0.02, abs=0.01)
    assert found.share == pytest.approx(0.25, abs=0.1)


def test_a_text_that_lost_words_is_the_teachers_to_label(tmp_path: Path) -> None:
    (tmp_path / "texts.csv").write_text("text,label\n" + "a b c d,x\ne f g h,y\n" * 2)
    samples = hs.read(tmp_path / "texts.csv")
    task = TASKS.get("single_label")
    ground: Any = SimpleNamespace(task=task, y=task.encode(samples.table.column("target"), None))
    lesson = Lesson(samples, ground.y.values[:, None].astype(float), len(samples), 3, 0, flip=False)
    assert lesson.labels_of_looks(ground)[:, 0].tolist() == [0, -1, -1, 1, -1, -1] * 2
    pictures = replace(lesson, samples=replace(samples, modality="image"))
    assert pictures.labels_of_looks(ground)[:, 0].tolist() == [0, 0, 0, 1, 1, 1] * 2
