"""`fit`: what each part of the data is used for, and one clear sentence for data that cannot be used."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import headstart as hs
from headstart.core.errors import DataError, FitError, HeadstartError, UsageError
from headstart.data.samples import Samples
from headstart.data.splits import join_groups
from headstart.model.reports import OUT_OF_FOLD
from support.made import photos, reviews, sounds


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_folder_with_train_and_val_is_evaluated_on_val(tmp_path: Path) -> None:
    before = snapshot(photos(tmp_path / "photos"))
    model = hs.fit(tmp_path / "photos", backbone="toy:image")
    report = model.report
    assert report.evaluated_on == "val"
    assert dict(report.n) == {"train": 24, "val": 24, "test": 0}
    assert model.labels == ("blue", "red")
    assert report.metrics["accuracy"].value > 0.9
    assert model.prior == (0.5, 0.5)
    assert snapshot(tmp_path / "photos") == before, "the source data is never written to"


def test_without_a_split_the_figures_are_out_of_fold_and_say_so(tmp_path: Path) -> None:
    report = hs.fit(photos(tmp_path / "photos", parts=("",)), backbone="toy:image").report
    assert report.evaluated_on == OUT_OF_FOLD
    assert report.metrics == report.out_of_fold


def test_test_is_evaluated_and_val_is_left_for_later(tmp_path: Path) -> None:
    report = hs.fit(photos(tmp_path / "photos", parts=("train", "val", "test")), backbone="toy:image").report
    assert report.evaluated_on == "test"
    assert dict(report.n) == {"train": 24, "val": 0, "test": 24}
    assert any("24 samples of val are left" in note for note in report.notes)


def test_the_figures_of_train_owe_nothing_to_the_rows_that_they_are_of(tmp_path: Path) -> None:
    """Random labels: a head that saw its own rows would look good, an out-of-fold one cannot."""
    rng = np.random.default_rng(3)
    with (tmp_path / "noise.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for i in range(120):
            writer.writerow(
                [" ".join(f"w{word}" for word in rng.integers(0, 500, 12)) + f" {i}", ("x", "y")[rng.integers(2)]]
            )
    accuracy = hs.fit(tmp_path / "noise.csv", backbone="toy:text").report.metrics["accuracy"]
    assert accuracy.low < 0.6


def test_hold_out_sets_a_test_part_aside_that_evaluate_finds_again(tmp_path: Path) -> None:
    data = reviews(tmp_path / "reviews.csv", n=60)
    model = hs.fit(data, backbone="toy:text", options=hs.FitOptions(hold_out=0.25))
    assert model.report.evaluated_on == "test"
    assert model.report.n["test"] == 15
    again = hs.evaluate(model, data)
    assert (again.n, again.left_out, again.in_sample) == (15, 45, False)
    assert again.metrics == model.report.metrics


def test_evaluating_only_what_it_was_fitted_on_is_said_to_be_no_evidence(tmp_path: Path) -> None:
    data = reviews(tmp_path / "reviews.csv")
    report = hs.evaluate(hs.fit(data, backbone="toy:text"), data)
    assert report.in_sample
    assert report.n == 30


def test_copies_of_training_samples_in_the_test_part_are_counted(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos")
    for i in range(3):
        (data / "val" / "red" / f"copy{i}.png").write_bytes((data / "train" / "red" / f"{i}.png").read_bytes())
    report = hs.fit(data, backbone="toy:image").report
    assert any(
        warning.startswith("3 samples of val have the very content of a training sample") for warning in report.warnings
    )


def test_groups_and_copies_stay_on_one_side_of_a_fold() -> None:
    digests = np.array([[0] * 16, [1] * 16, [0] * 16, [2] * 16, [3] * 16], np.uint8)
    groups = np.array(["a", "b", "c", "c", None], object)
    merged = join_groups(groups, digests)
    assert merged is not None
    assert merged[0] == merged[2] == merged[3]
    assert len({merged[0], merged[1], merged[4]}) == 3
    assert join_groups(None, digests[[0, 1, 3]]) is None
    copies = join_groups(None, digests)
    assert copies is not None
    assert copies[0] == copies[2]


def test_audio_folders(tmp_path: Path) -> None:
    model = hs.fit(sounds(tmp_path / "sounds"), backbone="toy:audio")
    assert model.modality == "audio"
    assert model.report.metrics["accuracy"].value == 1.0


def test_multi_label_and_regression(tmp_path: Path) -> None:
    with (tmp_path / "tags.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "tags"])
        for i in range(60):
            tags = [tag for tag, on in (("fun", i % 2), ("long", i % 3 == 0)) if on]
            writer.writerow(
                [
                    f"item {i} {'laugh joke' if i % 2 else 'sigh'} {'hours endless' if i % 3 == 0 else 'brief'}",
                    "|".join(tags),
                ]
            )
    reading = hs.ReadOptions(target="tags", separator="|", task="multi_label")
    tagged = hs.fit(tmp_path / "tags.csv", backbone="toy:text", options=hs.FitOptions(reading=reading))
    assert tagged.task == "multi_label"
    assert set(tagged.labels) == {"fun", "long"}
    assert tagged.report.metrics["map"].value > 0.8
    tagged.save(tmp_path / "tagged")
    answer = hs.predict(tmp_path / "tagged", ["item laugh joke hours endless"])[0]
    assert set(answer["probabilities"]) == {"fun", "long"}

    with (tmp_path / "numbers.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "stars"])
        for i in range(80):
            writer.writerow([f"text {i} " + "good " * (i % 5) + "bad " * (4 - i % 5), 0.5 + i % 5])
    reading = hs.ReadOptions(target="stars", task="regression")
    model = hs.fit(tmp_path / "numbers.csv", backbone="toy:text", options=hs.FitOptions(reading=reading))
    assert model.task == "regression"
    assert model.report.metrics["r2"].value > 0.5
    model.save(tmp_path / "model")
    assert (
        hs.predict(tmp_path / "model", ["good good good good"])[0]["value"]
        > hs.predict(model, ["bad bad bad bad"])[0]["value"]
    )


def test_an_explicit_head_and_backbone(tmp_path: Path) -> None:
    data = reviews(tmp_path / "reviews.csv")
    report = hs.fit(data, options=hs.FitOptions(backbone="toy:text", head="ridge")).report
    assert report.head.startswith("ridge(")
    with pytest.raises(UsageError, match=r"no head called 'rigde'.* Did you mean 'ridge'"):
        hs.fit(data, backbone="toy:text", options=hs.FitOptions(head="rigde"))
    with pytest.raises(UsageError, match="SOURCE:NAME"):
        hs.fit(data, backbone="resnet50")
    with pytest.raises(UsageError, match="backbone source"):
        hs.fit(data, backbone="tim:resnet50")
    with pytest.raises(DataError, match="takes image input, and the data holds text"):
        hs.fit(data, backbone="toy:image")


@pytest.mark.parametrize(
    ("rows", "error", "sentence"),
    [
        (["text,label", "a,x", "b,x", "c,x"], FitError, "two labels"),
        (["text,label", "a,", "b,", "c,"], DataError, "label"),
        (["text,label"], DataError, "no row"),
        (["words,kind", "a,x", "b,y"], DataError, "words"),
    ],
    ids=["one class", "no label", "no row", "unknown columns"],
)
def test_tables_that_cannot_be_used(
    rows: list[str], error: type[HeadstartError], sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "bad.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    with pytest.raises(error, match=sentence) as caught:
        hs.fit(tmp_path / "bad.csv", backbone="toy:text")
    assert "\n" not in str(caught.value)


def test_an_empty_folder_and_a_missing_one(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty"):
        hs.fit(tmp_path / "empty")
    with pytest.raises(DataError, match="missing"):
        hs.fit(tmp_path / "missing")


def test_labels_that_the_training_part_lacks_are_an_error_that_says_which(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos")
    (data / "val" / "blue").rename(data / "val" / "green")
    with pytest.raises(DataError, match="green"):
        hs.fit(data, backbone="toy:image")


def test_one_sample_in_a_class_is_fitted_and_warned_of(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos", parts=("",))
    (data / "lonely").mkdir()
    photos(tmp_path / "other", n=1, parts=("",), seed=4)
    (data / "lonely" / "0.png").write_bytes((tmp_path / "other" / "red" / "0.png").read_bytes())
    model = hs.fit(data, backbone="toy:image")
    assert model.labels == ("blue", "lonely", "red")
    assert any("lonely" in warning for warning in model.report.warnings)


def test_broken_files_are_listed_and_the_rest_is_fitted(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos", parts=("",))
    (data / "red" / "empty.png").write_bytes(b"")
    (data / "red" / "cut off.png").write_bytes((data / "red" / "0.png").read_bytes()[:400])
    (data / "red" / "Thumbs.db").write_bytes(b"junk")
    (data / "red" / ".ipynb_checkpoints").mkdir()
    (data / "red" / ".ipynb_checkpoints" / "0.png").write_bytes((data / "red" / "0.png").read_bytes())
    report = hs.fit(data, backbone="toy:image").report
    assert report.n["train"] == 24
    assert sorted(each.input for each in report.skipped) == ["red/cut off.png", "red/empty.png"]
    assert all(each.reason for each in report.skipped)


def test_samples_from_python(tmp_path: Path) -> None:
    from headstart.data.samples import make_samples

    texts = [f"{'happy glad' if i % 2 else 'sad sorry'} {i}" for i in range(40)]
    samples = make_samples(
        [str(i) for i in range(40)],
        texts,
        modality="text",
        inline=True,
        source="mine",
        target=["np"[i % 2] for i in range(40)],
    )
    assert isinstance(samples, Samples)
    model = hs.fit(samples, backbone="toy:text")
    assert model.report.metrics["accuracy"].value > 0.9
    unlabelled = replace(samples, table=samples.table.drop_columns(["target"]))
    with pytest.raises(DataError, match="no labels"):
        hs.fit(unlabelled, backbone="toy:text")


def test_hold_out_keeps_copies_on_one_side(tmp_path: Path) -> None:
    with (tmp_path / "twice.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for i in range(80):
            writer.writerow([f"text number {i // 2} {'up' if i // 2 % 2 else 'down'}", "ab"[i // 2 % 2]])
    report = hs.fit(tmp_path / "twice.csv", backbone="toy:text", options=hs.FitOptions(hold_out=0.25)).report
    assert report.n["test"] == 20
    assert not any("very content" in warning for warning in report.warnings)


def test_groups_that_are_the_labels_are_refused(tmp_path: Path) -> None:
    reading = hs.ReadOptions(group="parent")
    with pytest.raises(DataError, match=r"each label of .* lies in one group only"):
        hs.fit(photos(tmp_path / "p", parts=("",)), backbone="toy:image", options=hs.FitOptions(reading=reading))


def test_data_of_another_modality_than_asked_for(tmp_path: Path) -> None:
    reading = hs.ReadOptions(modality="audio")
    with pytest.raises(DataError, match="audio"):
        hs.fit(reviews(tmp_path / "r.csv"), backbone="toy:text", options=hs.FitOptions(reading=reading))


def test_a_feature_store_inside_the_data_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = photos(tmp_path / "p", parts=("",))
    monkeypatch.setenv("HEADSTART_CACHE", str(data / "cache"))
    with pytest.raises(DataError, match="never written to: set HEADSTART_CACHE elsewhere"):
        hs.fit(data, backbone="toy:image")
    assert not (data / "cache").exists()


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        ("ridge(penalty=-1)", "positive number"),
        ("lda", "the task is regression"),
        ("", "is no recipe"),
        ("knn(neighbours=0)", "positive"),
    ],
)
def test_a_head_that_does_not_fit_is_refused_before_anything_is_extracted(
    head: str, sentence: str, tmp_path: Path, own_cache: Path
) -> None:
    with (tmp_path / "n.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text", "stars"], *([f"text {i}", i / 7] for i in range(30))])
    reading = hs.ReadOptions(target="stars", task="regression" if head == "lda" else None)
    with pytest.raises(UsageError, match=sentence):
        hs.fit(tmp_path / "n.csv", backbone="toy:text", options=hs.FitOptions(head=head, reading=reading))
    assert not (own_cache / "features").exists()


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range(seed: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="seed"):
        hs.fit(reviews(tmp_path / "r.csv"), backbone="toy:text", options=hs.FitOptions(seed=seed))
