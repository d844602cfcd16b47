"""Folds and parts: their number, who is where, and what is refused."""

import warnings
from collections import Counter

import numpy as np
import pytest

from headstart.core.errors import DataError, FitError
from headstart.data.samples import Samples, make_samples
from headstart.data.splits import check_groups, check_label_sets, folds, hold_out


def samples(labels: list[object], **columns: list[str]) -> Samples:
    ids = [str(row) for row in range(len(labels))]
    return make_samples(ids, ids, modality="text", inline=True, source="made", target=labels, **columns)  # type: ignore[arg-type]


def test_folds_are_stratified() -> None:
    y = np.array(["a"] * 50 + ["b"] * 10)
    fold = folds(y, task="single_label", groups=None)
    for index in range(5):
        assert Counter(y[fold == index]) == {"a": 10, "b": 2}


def test_a_rare_class_does_not_take_rows_from_the_others() -> None:
    y = np.array([0] * 20 + [1] * 3 + [2])
    fold = folds(y, task="single_label", groups=None)
    assert fold.max() + 1 == 5
    assert np.bincount(fold[y == 0]).tolist() == [4] * 5
    assert len(set(fold[y == 1])) == 3, "each row of the rare class in a fold of its own"


def test_copies_share_a_fold_and_the_rest_is_stratified() -> None:
    y = np.array([0, 1] * 50)
    groups = np.arange(100)
    groups[[10, 12, 14]] = 10
    fold = folds(y, task="single_label", groups=groups)
    assert len(set(fold[[10, 12, 14]])) == 1
    assert np.bincount(fold[y == 1]).tolist() == [10] * 5


def test_classes_of_one_row_do_not_limit_the_folds_or_warn() -> None:
    y = np.array(["a"] * 20 + ["b"] * 20 + ["only", "alone", "single"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fold = folds(y, task="single_label", groups=None)
        grouped = folds(y, task="single_label", groups=np.arange(43) // 2)
    assert fold.max() + 1 == 5
    assert len(set(fold[-3:].tolist())) == 3
    assert grouped.max() + 1 == 5


def test_only_classes_of_one_row() -> None:
    assert set(folds(np.array(["a", "b", "c", "d"]), task="single_label", groups=None, n_folds=2).tolist()) == {0, 1}


def test_groups_are_whole_and_classes_still_spread() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 5).astype(str)
    y = np.repeat(rng.integers(0, 3, 60), 5)
    fold = folds(y, task="single_label", groups=groups)
    for group in np.unique(groups):
        assert len(set(fold[groups == group].tolist())) == 1
    for index in range(5):
        assert set(y[fold == index].tolist()) == {0, 1, 2}


def test_groups_in_other_tasks() -> None:
    groups = np.repeat(np.arange(10), 3)
    for task, y in (("regression", np.arange(30.0)), ("multi_label", np.ones((30, 4), dtype=bool))):
        fold = folds(y, task=task, groups=groups)
        assert all(len(set(fold[groups == group].tolist())) == 1 for group in range(10))
        assert sorted(set(fold.tolist())) == [0, 1, 2, 3, 4]


def test_groups_of_one_row_are_no_groups() -> None:
    y = np.array([0, 1] * 20)
    one, other = (folds(y, task="single_label", groups=groups) for groups in (None, np.arange(40)))
    assert np.array_equal(one, other)


def test_too_little_to_fold() -> None:
    with pytest.raises(FitError, match="at least two samples, and got 1"):
        folds(np.zeros(1), task="single_label", groups=None)
    with pytest.raises(FitError, match="all samples are of one group, and cross-validation needs at least two"):
        folds(np.zeros(4), task="single_label", groups=np.zeros(4))


def test_hold_out_is_stratified_and_leaves_every_class() -> None:
    made = hold_out(samples(["a"] * 80 + ["b"] * 20 + ["c"]), fraction=0.2, part="test", seed=0, task="single_label")
    counts = Counter(zip(made.table.column("split").to_pylist(), made.table.column("target").to_pylist(), strict=True))
    assert counts == {("train", "a"): 64, ("test", "a"): 16, ("train", "b"): 16, ("test", "b"): 4, ("train", "c"): 1}


def test_hold_out_touches_only_train() -> None:
    made = samples(["a", "b"] * 20, split=["train"] * 30 + ["test"] * 10)
    after = hold_out(made, fraction=0.5, part="val", seed=3, task="single_label").table.column("split").to_pylist()
    assert hold_out(made, fraction=0.5, part="val", seed=3, task="single_label").notes == (
        "15 of 30 samples of train are set aside as the part val (seed 3)",
    )
    assert after[30:] == ["test"] * 10
    assert Counter(after[:30]) == {"train": 15, "val": 15}


def test_hold_out_takes_whole_groups() -> None:
    groups = [f"g{row // 4}" for row in range(80)]
    made = hold_out(samples(["a", "b"] * 40, group=groups), fraction=0.25, part="test", seed=0, task="single_label")
    parts: dict[str, set[str]] = {}
    for group, part in zip(groups, made.table.column("split").to_pylist(), strict=True):
        parts.setdefault(group, set()).add(part)
    assert all(len(names) == 1 for names in parts.values())
    assert 12 <= len(made.part("test")) <= 28


@pytest.mark.parametrize(("task", "labels"), [("regression", [0.5, 1.5] * 10), ("multi_label", [["a"], []] * 10)])
def test_hold_out_in_other_tasks(task: str, labels: list[object]) -> None:
    assert len(hold_out(samples(labels), fraction=0.2, part="val", seed=0, task=task).part("val")) == 4


def test_hold_out_refuses() -> None:
    made = samples(["a", "b"], split=["train", "test"])
    with pytest.raises(DataError, match="'test' cannot be set aside from made, which has train, test"):
        hold_out(made, fraction=0.2, part="test", seed=0, task="single_label")
    with pytest.raises(DataError, match="lies between 0 and 1, and got 2"):
        hold_out(made, fraction=2, part="val", seed=0, task="single_label")
    with pytest.raises(DataError, match=r"made has too few samples in train, 1, to set a share of 0\.2 aside"):
        hold_out(made, fraction=0.2, part="val", seed=0, task="single_label")
    with pytest.raises(DataError, match="no group of made can be set aside"):
        hold_out(samples(["a", "b"] * 3, group=["g"] * 6), fraction=0.2, part="val", seed=0, task="single_label")


def test_label_sets() -> None:
    assert check_label_sets(samples(["a", "b"])) == ()
    assert check_label_sets(samples([1.0, 2.0], split=["train", "test"])) == ()
    notes = check_label_sets(samples(["a", "b", "a"], split=["train", "train", "val"]))
    assert notes == ("the part val has no 'b', so nothing is measured for it",)
    with pytest.raises(
        DataError, match=r"the part val of made has the label 'c', which the part train lacks: name the labels alike"
    ):
        check_label_sets(samples(["a", "b", "c"], split=["train", "train", "val"]))
    with pytest.raises(DataError, match=r"the part test of made has the label 'y'"):
        check_label_sets(samples([["a"], ["a", "y"]], split=["train", "test"]))


def test_shared_groups() -> None:
    assert check_groups(samples(["a", "b"], split=["train", "test"], group=["x", "y"])) == ()
    (note,) = check_groups(samples(["a", "b"], split=["train", "test"], group=["x", "x"]))
    assert note == "1 groups, such as x, are in both train and test: figures on test are too good"


def test_a_held_out_share_of_groups_is_met_and_no_class_leaves_train() -> None:
    labels = [label for label in "abcd" for _ in range(25)]
    groups = [f"{label}{row // 5}" for label in "abc" for row in range(25)] + ["all of d"] * 25
    for fraction in (0.1, 0.2, 0.4, 0.6):
        made = samples(labels, group=groups)
        split = hold_out(made, fraction=fraction, part="test", seed=0, task="single_label")
        test, train = split.part("test"), split.part("train")
        assert set(train.table.column("target").to_pylist()) == set("abcd")
        assert not set(test.groups) & set(train.groups)
        assert abs(len(test) - 100 * fraction) <= 2.5


def test_groups_that_are_whole_labels_cannot_be_held_out() -> None:
    made = samples(["a"] * 5 + ["b"] * 5, group=["x"] * 5 + ["y"] * 5)
    with pytest.raises(DataError, match="each holds all samples that train has of a label"):
        hold_out(made, fraction=0.5, part="test", seed=0, task="single_label")


def test_shared_groups_are_found_in_every_pair_of_parts_and_nulls_are_none() -> None:
    made = samples(
        ["a"] * 6, split=["train", "train", "val", "val", "test", "test"], group=["x", None, "y", None, "y", None]
    )
    (note,) = check_groups(made)
    assert note == "1 groups, such as y, are in both val and test: figures on test are too good"
