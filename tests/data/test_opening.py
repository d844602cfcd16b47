"""Opening: lists, patterns, lists in files, texts at hand."""

from pathlib import Path

import pytest

from headstart.core.errors import DataError, UsageError
from headstart.data.opening import open_samples, texts_as_samples
from headstart.data.reading import ReadOptions
from headstart.data.samples import make_samples
from support import media

PREDICT = ReadOptions(labelled=False)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("1.png", "2.png", "deep/3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(media.image())
    return tmp_path


def test_samples_are_returned_as_they_are() -> None:
    samples = make_samples(["a"], ["a"], modality="text", inline=True, source="here")
    assert open_samples(samples) is samples


def test_one_file_and_several(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    assert open_samples("1.png", options=PREDICT).ids == ["1.png"]
    samples = open_samples(["1.png", Path("deep/3.png"), "gone.png", "1.png"], options=PREDICT)
    assert samples.ids == ["1.png", "deep/3.png"]
    assert samples.path(1) == photos / "deep" / "3.png"
    assert [(one.input, one.reason) for one in samples.skipped] == [
        ("gone.png", "is missing: there is no such file; correct its path or take it out"),
        ("1.png", "is listed more than once: it is read once"),
    ]


def test_patterns(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    assert open_samples("*.png", options=PREDICT).ids == ["1.png", "2.png"]
    assert open_samples(["**/*.png"], options=PREDICT).ids == ["1.png", "2.png", "deep/3.png"]
    (photos / "[1].png").write_bytes(media.image())
    assert open_samples("[1].png", options=PREDICT).ids == ["[1].png"]


def test_a_folder_among_files(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    samples = open_samples(["1.png", "deep"], options=PREDICT)
    assert samples.ids == ["1.png", "deep/3.png"]
    assert "deep stands for 1 files below it" in samples.notes


def test_a_list_in_a_file(photos: Path) -> None:
    (photos / "list.txt").write_text("1.png\n\n# a remark\ndeep/3.png\ngone.png\n", encoding="utf-8")
    samples = open_samples(photos / "list.txt", options=PREDICT)
    assert samples.ids == ["1.png", "deep/3.png"]
    assert [one.input for one in samples.skipped] == ["gone.png"]
    (photos / "list.lst").write_text("gone.png\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"is to be a list of files, one a line: the first, gone.png, is not there"):
        open_samples(photos / "list.lst", options=PREDICT)


def test_a_text_file_is_a_text(tmp_path: Path) -> None:
    (tmp_path / "review.txt").write_text("A great film.\nReally.\n", encoding="utf-8")
    samples = open_samples(tmp_path / "review.txt", options=PREDICT)
    assert (samples.modality, samples.inline, len(samples)) == ("text", False, 1)


def test_texts_at_hand() -> None:
    samples = texts_as_samples(["great film", " ", "half \ud83d a pair", "whole \ud83d\ude00 pair"])
    assert samples.ids == ["text:1", "text:3", "text:4"]
    assert samples.inputs == ["great film", "half \ufffd a pair", "whole \U0001f600 pair"]
    assert [one.input for one in samples.skipped] == ["text:2"]
    assert samples.notes == ("2 texts held half of a surrogate pair, which became U+FFFD",)
    assert texts_as_samples("one").inputs == ["one"]
    with pytest.raises(DataError, match="none of the 2 texts holds any text"):
        texts_as_samples(["", " "])
    with pytest.raises(UsageError, match="texts are strings, and 1 of 2 are not, the first being 3"):
        texts_as_samples(["a", 3])  # type: ignore[list-item]
