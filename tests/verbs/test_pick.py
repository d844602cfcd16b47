"""`pick`: what to label next."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import headstart as hs
from headstart.core.errors import UsageError
from headstart.heads.selection import fit_alone, parse
from headstart.tasks.task import Targets
from headstart.verbs.pick import PickOptions, pick, write_csv
from support.data import shared
from support.made import photos, reviews
from support.weights import need_embedded


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A flat folder of 48 unlabelled photos, half of them reddish, with one that is there twice."""
    folder = tmp_path_factory.mktemp("pool")
    made = photos(folder / "made", n=24, parts=("",))
    (folder / "flat").mkdir()
    for path in made.rglob("*.png"):
        shutil.copyfile(path, folder / "flat" / f"{path.parent.name}-{path.name}")
    shutil.copyfile(folder / "flat" / "red-0.png", folder / "flat" / "red-0 copy.png")
    return folder / "flat"


def test_a_cold_start_takes_some_of_each_kind_and_no_copy_twice(pool: Path) -> None:
    found = pick(pool, backbone="toy:image", options=PickOptions(n=10))
    names = [one.id for one in found.picks]
    assert len(set(names)) == 10
    assert {name.split("-")[0] for name in names} == {"red", "blue"}
    assert (found.strategy, found.pool, found.labelled, found.uncertain) == ("k-means", 48, 0, None)
    assert [one.rank for one in found.picks] == list(range(1, 11))
    assert found.picks[0].reason.startswith("in the middle of ")
    everything = pick(pool, backbone="toy:image", options=PickOptions(n=48))
    assert not {"red-0.png", "red-0 copy.png"} <= {one.id for one in everything.picks}


def test_a_filled_table_comes_back_as_what_is_labelled(pool: Path, tmp_path: Path) -> None:
    table = tmp_path / "to_label.csv"
    first = pick(pool, backbone="toy:image", options=PickOptions(n=10))
    write_csv(first, table)
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == [""] * 10
    for row in rows:
        row["label"] = row["id"].split("-")[0]
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    second = pick(pool, labelled=table, backbone="toy:image", options=PickOptions(n=10))
    assert (second.strategy, second.labelled, second.pool) == ("DropQuery", 10, 38)
    assert not {one.id for one in first.picks} & {one.id for one in second.picks}
    assert all(one.guess == one.id.split("-")[0] for one in second.picks)
    with pytest.raises(UsageError, match="is there already and may hold labels: name another file"):
        write_csv(second, table)


def test_a_table_with_some_labels_and_a_model_for_the_rest(tmp_path: Path) -> None:
    table = reviews(tmp_path / "reviews.csv", n=40)
    samples = hs.read(table)
    labels = [label if i < 20 else None for i, label in enumerate(samples.table.column("target").to_pylist())]
    partly = samples.with_column("target", pa.array(labels, pa.string()))
    found = pick(partly, backbone="toy:text", options=PickOptions(n=5))
    assert (found.strategy, found.labelled, found.pool) == ("DropQuery", 20, 20)
    assert all(int(one.id.rsplit(":", 1)[1]) > 21 for one in found.picks)
    model = hs.fit(samples.take(np.arange(20)), backbone="toy:text")
    bare = replace(samples, table=samples.table.drop_columns(["target"]))
    again = pick(bare, labelled=model, options=PickOptions(n=5))
    assert (again.strategy, again.pool) == ("DropQuery", 20)
    write_csv(again, tmp_path / "to_label.csv")
    with (tmp_path / "to_label.csv").open(encoding="utf-8", newline="") as file:
        assert [row["text"] for row in csv.DictReader(file)] == [one.input for one in again.picks]
    with pytest.raises(UsageError, match="a model brings its own backbone"):
        pick(bare, labelled=model, backbone="toy:text")


def test_rows_of_a_table_whose_label_is_empty_are_the_pool(tmp_path: Path) -> None:
    rows = list(csv.reader(reviews(tmp_path / "whole.csv", n=40).read_text(encoding="utf-8").splitlines()))
    with (tmp_path / "partly.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([text, label if i < 13 else ""] for i, (text, label) in enumerate(rows))
    found = pick(tmp_path / "partly.csv", backbone="toy:text", options=PickOptions(n=6))
    assert (found.strategy, found.labelled, found.pool, len(found.picks)) == ("DropQuery", 12, 28, 6)
    assert {one.guess for one in found.picks} <= {"good", "bad"}
    with (tmp_path / "none.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([text, label if not i else ""] for i, (text, label) in enumerate(rows))
    cold = pick(tmp_path / "none.csv", backbone="toy:text", options=PickOptions(n=6))
    assert (cold.strategy, cold.pool) == ("k-means", 40)
    with pytest.raises(hs.DataError, match="has no column 'lable' for the target"):
        pick(
            tmp_path / "partly.csv",
            backbone="toy:text",
            options=PickOptions(n=2, reading=hs.ReadOptions(target="lable")),
        )


def test_what_cannot_be_picked_is_one_sentence(pool: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"49 items to label were asked for, and .* has 48 unlabelled ones of different"
    ):
        pick(pool, backbone="toy:image", options=PickOptions(n=49))
    table = reviews(tmp_path / "reviews.csv")
    with pytest.raises(hs.DataError, match=r"every item of .* has a label already: give unlabelled items"):
        pick(table, backbone="toy:text", options=PickOptions(n=2))
    with pytest.raises(hs.DataError, match="was given as labelled, and no item of it has a label"):
        pick(pool, labelled=pool, backbone="toy:image", options=PickOptions(n=2))
    (tmp_path / "empty").mkdir()
    with pytest.raises(hs.DataError, match="empty has no files"):
        pick(tmp_path / "empty", backbone="toy:image")
    with pytest.raises(UsageError, match="at least one item is to be picked, and n is 0"):
        pick(pool, backbone="toy:image", options=PickOptions(n=0))


def test_the_command_writes_the_table(pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from headstart.cli.main import main

    table = tmp_path / "to label.csv"
    arguments = ["pick", str(pool), "--n", "4", "--backbone", "toy:image", "--csv", str(table), "--quiet"]
    assert main(arguments) == 0
    assert "4 to label of 48 unlabelled items, by k-means" in " ".join(capsys.readouterr().out.split())
    assert len(table.read_text(encoding="utf-8").splitlines()) == 5


@pytest.mark.slow
def test_picked_labels_beat_random_ones_on_real_recordings() -> None:
    need_embedded("audio")
    train = hs.read(shared("spoken_digits") / "train")
    rows = hs.extract(train).features[0]
    names, y = np.unique(train.table.column("target").to_pylist(), return_inverse=True)
    bare = replace(train, table=train.table.drop_columns(["target"]))
    place = {name: i for i, name in enumerate(rows.ids)}

    def accuracy(chosen: np.ndarray) -> float:
        head = fit_alone(
            rows.values[chosen],
            Targets(y[chosen], tuple(names), "single_label"),
            recipe=parse("lda"),
            groups=None,
            seed=0,
        )
        rest = np.setdiff1d(np.arange(len(y)), chosen)
        return float((head.scores(rows.values[rest]).argmax(axis=1) == y[rest]).mean())

    picked, random = [], []
    for seed in range(3):
        chosen = pick(bare, options=PickOptions(n=100, seed=seed)).picks
        picked.append(accuracy(np.array([place[one.id] for one in chosen])))
        random.append(accuracy(np.random.default_rng(seed).permutation(len(y))[:100]))
    assert np.mean(picked) > np.mean(random)
