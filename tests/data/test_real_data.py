"""The real data sets are read as they are: counts, classes, parts, groups."""

from collections import Counter

import pytest

from headstart.data.opening import open_samples
from headstart.data.reading import ReadOptions
from headstart.data.splits import folds
from support.data import shared


def counts(name: str, part: str) -> Counter[str]:
    return Counter(open_samples(shared(name)).part(part).table.column("target").to_pylist())


def test_ants_bees() -> None:
    samples = open_samples(shared("ants_bees"))
    assert (samples.modality, samples.parts, samples.skipped) == ("image", ("train", "val"), ())
    assert (len(samples.part("train")), len(samples.part("val"))) == (243, 153)
    assert set(samples.table.column("target").to_pylist()) == {"ants", "bees"}
    alone = open_samples(shared("ants_bees") / "val")
    assert sorted(alone.inputs) == sorted(samples.part("val").inputs)


def test_blood_cells_and_their_slides() -> None:
    assert counts("blood_cells", "train") == {"RBC": 3327, "WBC": 295, "Platelets": 280}
    samples = open_samples(shared("blood_cells"), options=ReadOptions(group="^(BloodImage_[0-9]+)")).part("train")
    groups = samples.groups
    assert groups is not None
    fold = folds(samples.table.column("target").to_pylist(), task="single_label", groups=groups)
    assert len({(group, index) for group, index in zip(groups, fold, strict=True)}) == len(set(groups))


@pytest.mark.parametrize(
    ("name", "sizes", "classes"),
    [
        ("sst2", {"train": 6920, "val": 872, "test": 1821}, 2),
        ("trec", {"train": 5452, "test": 500}, 6),
        ("thucnews", {"train": 10000, "test": 10000}, 10),
    ],
)
def test_tables_of_texts(name: str, sizes: dict[str, int], classes: int) -> None:
    samples = open_samples(shared(name))
    assert (samples.modality, samples.inline, samples.skipped) == ("text", True, ())
    assert {part: len(samples.part(part)) for part in samples.parts} == sizes
    assert len(set(samples.table.column("target").to_pylist())) == classes


def test_spoken_digits_and_their_speakers() -> None:
    samples = open_samples(shared("spoken_digits"), options=ReadOptions(group="^([a-z]+)_"))
    assert (samples.modality, samples.skipped) == ("audio", ())
    assert {part: len(samples.part(part)) for part in samples.parts} == {"train": 1200, "test": 300}
    assert samples.groups is not None
    assert len(set(samples.groups)) == 6
    assert any("6 groups, such as george, are in both train and test" in note for note in samples.notes)


def test_recordings_named_in_a_table() -> None:
    samples = open_samples(shared("yesno") / "transcripts.csv", options=ReadOptions(target="text"))
    assert (len(samples), samples.modality, samples.inline) == (60, "audio", False)


def test_an_unlabelled_table_of_three_languages() -> None:
    samples = open_samples(shared("multi30k"), options=ReadOptions(labelled=False, input="de"))
    assert {part: len(samples.part(part)) for part in samples.parts} == {"train": 29000, "val": 1014, "test": 1000}
