"""Data sets of Hugging Face, saved on disk or named: the same pixels and labels as the library gives, and damage by name."""

import io
import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from datasets.arrow_writer import ArrowWriter
from PIL import Image

import headstart as hs
from headstart.cli.main import main
from headstart.core.errors import DataError, ExtraMissing
from headstart.data.modalities.image import picture
from headstart.data.opening import open_samples
from headstart.data.readers import huggingface
from headstart.data.reading import ReadOptions
from headstart.features.contents import content_of
from support.made import photos

datasets.disable_progress_bars()

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 9, 11, 3)).astype(np.uint8)
NAMES = ["cat", "dog"]


def _png(pixels: np.ndarray) -> dict[str, Any]:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


def pictures(n: int = 24) -> datasets.Dataset:
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)}
    rows = {"image": [_png(each) for each in PIXELS[:n]], "label": [i % 2 for i in range(n)]}
    return datasets.Dataset.from_dict(rows, features=datasets.Features(kinds))


def write(whole: datasets.Dataset, path: Path) -> None:
    """As the library's cache does it: files are not put into the table."""
    with ArrowWriter(path=str(path), features=whole.features) as writer:
        for batch in whole.with_format("arrow").iter(10):
            writer.write_table(batch)
        writer.finalize()


def texts(labels: list[Any], kind: Any) -> datasets.Dataset:
    rows = {"text": [f"text number {i}" for i in range(len(labels))], "label": labels}
    return datasets.Dataset.from_dict(
        rows, features=datasets.Features({"text": datasets.Value("string"), "label": kind})
    )


def test_pictures_are_read_in_place_from_all_shards(tmp_path: Path) -> None:
    whole = pictures()
    parts = {"validation": whole.select(range(4)), "train": whole.shuffle(seed=1).select(range(20)), "extra": whole}
    saved = datasets.DatasetDict(parts)
    saved.save_to_disk(tmp_path / "pets", num_shards={"train": 3, "validation": 1, "extra": 1})
    samples = open_samples(tmp_path / "pets")
    assert samples.parts == ("train", "val")
    assert "the split extra is neither train, val nor test, and is not read" in samples.notes
    for split, part in (("train", "train"), ("validation", "val")):
        rows, read = samples.part(part), content_of(samples.part(part))
        assert rows.table.column("target").to_pylist() == [NAMES[i] for i in saved[split]["label"]]
        for row, shown in enumerate(saved[split]["image"]):
            np.testing.assert_array_equal(np.asarray(picture(read(row))), np.asarray(shown))
    assert all("#at=" in place for place in samples.inputs)


def test_one_data_set_without_splits_is_one(tmp_path: Path) -> None:
    pictures().save_to_disk(tmp_path / "pets")
    samples = open_samples(tmp_path / "pets")
    assert (samples.parts, len(samples)) == ((), 24)
    assert samples.ids[:2] == ["all:1", "all:2"]


def test_a_fit_reads_it_as_it_is(tmp_path: Path) -> None:
    pictures().save_to_disk(tmp_path / "pets")
    assert sorted(hs.fit(tmp_path / "pets", backbone="toy:image").labels) == NAMES


def test_texts_with_names_numbers_or_several_labels(tmp_path: Path) -> None:
    texts([0, 1, -1, 1], datasets.ClassLabel(names=NAMES)).save_to_disk(tmp_path / "one")
    samples = open_samples(tmp_path / "one")
    assert (samples.modality, samples.inline) == ("text", True)
    assert samples.inputs == ["text number 0", "text number 1", "text number 3"]
    assert samples.table.column("target").to_pylist() == ["cat", "dog", "dog"]
    assert [each.input for each in samples.skipped] == ["all:3"]
    several = datasets.Sequence(datasets.ClassLabel(names=["a", "b", "c"]))
    texts([[0], [1, 2], []], several).save_to_disk(tmp_path / "several")
    samples = open_samples(tmp_path / "several", options=ReadOptions(task="multi_label"))
    assert samples.table.column("target").to_pylist() == [["a"], ["b", "c"], []]
    texts([0.5, 1.5, 2.5], datasets.Value("float64")).save_to_disk(tmp_path / "number")
    samples = open_samples(tmp_path / "number", options=ReadOptions(task="regression"))
    assert samples.table.column("target").to_pylist() == [0.5, 1.5, 2.5]


def test_a_test_part_whose_labels_are_secret_is_left_out(tmp_path: Path) -> None:
    kind = datasets.ClassLabel(names=NAMES)
    datasets.DatasetDict({"train": texts([0, 1] * 4, kind), "test": texts([-1] * 3, kind)}).save_to_disk(
        tmp_path / "glue"
    )
    samples = open_samples(tmp_path / "glue")
    assert samples.parts == ("train",)
    assert any("test has no column 'label'" in note for note in samples.notes)


def test_a_row_may_name_a_file(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(_png(PIXELS[0])["bytes"])
    kinds = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})
    rows = {"image": [{"bytes": None, "path": str(path)}, _png(PIXELS[1])], "label": [0, 1]}
    root = tmp_path / "pets"
    root.mkdir()
    write(datasets.Dataset.from_dict(rows, features=kinds), root / "a.arrow")
    (root / "state.json").write_text(json.dumps({"_data_files": [{"filename": "a.arrow"}]}))
    samples = open_samples(root)
    assert samples.inputs[0] == str(path)
    for row in range(2):
        np.testing.assert_array_equal(np.asarray(picture(content_of(samples)(row))), PIXELS[row])


def test_what_is_damaged_is_named(tmp_path: Path) -> None:
    root = tmp_path / "pets"
    pictures().save_to_disk(root, num_shards=2)
    second = root / "data-00001-of-00002.arrow"
    content = second.read_bytes()
    second.write_bytes(content[:2000])
    with pytest.raises(DataError, match=r"data-00001-of-00002\.arrow is no Arrow file that can be read"):
        open_samples(root)
    second.unlink()
    with pytest.raises(DataError, match=r"data-00001-of-00002\.arrow is missing, and state\.json names it"):
        open_samples(root)
    second.write_bytes(content)
    state = json.loads((root / "state.json").read_text())
    state["_data_files"][0]["filename"] = "../../etc/passwd"
    (root / "state.json").write_text(json.dumps(state))
    with pytest.raises(DataError, match="files beside it were expected"):
        open_samples(root)
    (root / "state.json").write_text("{")
    with pytest.raises(DataError, match=r"state\.json cannot be read"):
        open_samples(root)


def test_two_splits_of_one_part_are_refused_and_a_test_split_stays_one(tmp_path: Path) -> None:
    whole = pictures()
    parts = {"train": whole, "validation": whole.select(range(4)), "dev": whole.select(range(4)), "test": whole}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "mmlu")
    with pytest.raises(DataError, match="more than one split for the part val: keep one of validation, dev"):
        open_samples(tmp_path / "mmlu")
    datasets.DatasetDict({"test": whole, "corpus": whole}).save_to_disk(tmp_path / "test")
    assert open_samples(tmp_path / "test").parts == ("test",)
    empty = {"train": whole, "test": whole.select([])}
    datasets.DatasetDict(empty).save_to_disk(tmp_path / "empty")
    samples = open_samples(tmp_path / "empty")
    assert samples.parts == ("train",)
    assert "the split test has no rows" in samples.notes
    told = json.loads((tmp_path / "empty" / "dataset_dict.json").read_text())
    told["splits"] = ["../test/test"]
    (tmp_path / "empty" / "dataset_dict.json").write_text(json.dumps(told))
    with pytest.raises(DataError, match="folders beside it were expected"):
        open_samples(tmp_path / "empty")


def test_lists_of_classes_of_every_kind(tmp_path: Path) -> None:
    names = datasets.ClassLabel(names=["a", "b", "c"])
    for kind in (datasets.Sequence(names), datasets.LargeList(names)):
        texts([[0], None, [1, 2]], kind).save_to_disk(tmp_path / type(kind).__name__)
        samples = open_samples(tmp_path / type(kind).__name__, options=ReadOptions(task="multi_label"))
        assert samples.table.column("target").to_pylist() == [["a"], ["b", "c"]]
        assert [each.input for each in samples.skipped] == ["all:2"]
    texts([[0, 1], [2, 2]], datasets.Sequence(names, length=2)).save_to_disk(tmp_path / "two")
    samples = open_samples(tmp_path / "two", options=ReadOptions(task="multi_label"))
    assert samples.table.column("target").to_pylist()[0] == ["a", "b"]


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A data set in the cache of the library, as it lies there once it was fetched; returns its name."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "someone___pets" / "default" / "0.0.0" / "abc"
    folder.mkdir(parents=True)
    whole = pictures()
    write(whole, folder / "pets-train.arrow")
    split = datasets.SplitInfo("train", 1, len(whole), dataset_name="pets")
    splits = datasets.splits.SplitDict({"train": split}, dataset_name="pets")
    named = {"dataset_name": "pets", "builder_name": "parquet", "config_name": "default", "version": "0.0.0"}
    datasets.DatasetInfo(features=whole.features, splits=splits, **named).write_to_directory(str(folder))
    return "hf:someone/pets"


def test_a_name_is_looked_for_in_the_cache_first(cached: str) -> None:
    samples = open_samples(cached)
    assert samples.source == cached
    assert samples.parts == ("train",)
    assert "hf:someone/pets is read in the configuration default" in samples.notes
    np.testing.assert_array_equal(np.asarray(picture(content_of(samples)(23))), PIXELS[23])
    assert len(open_samples(f"{cached}:default")) == 24


def test_what_is_not_here_is_refused_without_a_socket(cached: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="hf:someone/dogs is not on this machine, and no socket is to be opened"):
        open_samples("hf:someone/dogs", options=ReadOptions(offline=True))
    with pytest.raises(DataError, match="is not on this machine"):
        hs.fit("hf:someone/dogs", options=hs.FitOptions(backbone="toy:image", offline=True))
    assert not datasets.config.HF_HUB_OFFLINE
    with pytest.raises(DataError, match="hf: is followed by the name"):
        open_samples("hf:")
    monkeypatch.setattr(huggingface.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ExtraMissing, match=r"needs datasets, which is not installed: .*headstart\[huggingface\]"):
        open_samples(cached)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """How the library is asked for a data set that is not here: whether offline, once for each time."""
    found: list[bool] = []

    def load_dataset(*_given: object) -> None:
        found.append(bool(datasets.config.HF_HUB_OFFLINE))
        raise ConnectionError("there is no such data set")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.delenv("HEADSTART_OFFLINE")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return found


@pytest.mark.parametrize("name", ["HEADSTART_OFFLINE", "HF_HUB_OFFLINE"])
def test_nothing_is_fetched_where_the_environment_says_so(
    name: str, asked: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="cannot be fetched or read"):
        open_samples("hf:someone/dogs")
    assert asked == [True, False], "where nothing says so"
    asked.clear()
    monkeypatch.setenv(name, "1")
    with pytest.raises(DataError, match="is not on this machine, and no socket is to be opened"):
        open_samples("hf:someone/dogs")
    assert asked == [True]


def test_every_verb_that_reads_data_fetches_nothing_where_it_is_told_so(
    asked: list[bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also those that read as the model was fitted: how it was fitted is kept, but not whether offline."""
    fitted = hs.fit(photos(tmp_path / "photos"), options=hs.FitOptions(backbone="toy:image", check=False))
    model, out, data = str(fitted.save(tmp_path / "model")), ["--out", str(tmp_path / "out")], "hf:someone/dogs"
    export = ["export", model, "--to", "torch", "--with-data", data, *out]
    for line in (
        ["evaluate", model, data],
        ["compare", model, model, data],
        export,
        ["compress", model, data, *out],
        ["fit", data, "--backbone", "toy:image"],
    ):
        monkeypatch.delenv("HEADSTART_OFFLINE", raising=False)
        asked.clear()
        assert main([*line, "--offline"]) == 1, line
        assert "hf:someone/dogs is not on this machine, and no socket" in capsys.readouterr().err, line
        assert asked == [True], line
