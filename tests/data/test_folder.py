"""Class folders: trees with and without parts, what is ignored, what is refused."""

from pathlib import Path

import pyarrow as pa
import pytest

from headstart.core.errors import DataError, UsageError
from headstart.data.opening import open_samples
from headstart.data.reading import ReadOptions
from support import media

PNG = media.image()


def tree(root: Path, *paths: str, content: bytes = PNG) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


def columns(root: Path, options: ReadOptions = ReadOptions()) -> dict[str, list[object]]:
    return dict(open_samples(root, options=options).table.to_pydict())


def test_class_folders_without_parts(tmp_path: Path) -> None:
    samples = open_samples(tree(tmp_path / "p", "ants/1.png", "ants/deep/2.png", "bees/1.png"))
    assert samples.ids == ["ants/1.png", "ants/deep/2.png", "bees/1.png"]
    assert samples.table.column("target").to_pylist() == ["ants", "ants", "bees"]
    assert samples.parts == ()
    assert samples.target_name == "label"
    assert samples.path(0).read_bytes() == PNG
    assert "ants (2), bees (1)" in samples.notes[0]


@pytest.mark.parametrize("word", ["val", "valid", "validation", "dev", "Val"])
def test_part_folders_in_all_their_words(tmp_path: Path, word: str) -> None:
    root = tree(tmp_path, "train/a/1.png", "train/b/1.png", f"{word}/a/1.png", "test/b/9.png")
    samples = open_samples(root)
    assert samples.parts == ("train", "val", "test")
    assert samples.part("val").ids == [f"{word}/a/1.png"]
    assert samples.part("test").table.column("target").to_pylist() == ["b"]
    assert any("the part val has no 'b'" in note for note in samples.notes)


def test_a_wrapping_folder_is_seen_through(tmp_path: Path) -> None:
    samples = open_samples(tree(tmp_path, "data/train/a/1.png", "data/train/b/1.png", "data/val/a/1.png"))
    assert samples.parts == ("train", "val")
    assert samples.ids[0] == "data/train/a/1.png"
    assert set(samples.table.column("target").to_pylist()) == {"a", "b"}


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    samples = open_samples(tree(tmp_path, "train/1.png", "car/1.png", "bus/1.png"))
    assert sorted(samples.table.column("target").to_pylist()) == ["bus", "car", "train"]


def test_two_folders_for_one_part_are_refused(tmp_path: Path) -> None:
    root = tree(tmp_path, "train/a/1.png", "val/a/1.png", "dev/a/1.png")
    with pytest.raises(DataError, match="the folders dev and val, which both mean the part val: keep one"):
        open_samples(root)


def test_a_test_folder_without_classes_is_named(tmp_path: Path) -> None:
    samples = open_samples(tree(tmp_path, "train/a/1.png", "train/b/1.png", "test/1.png"))
    assert len(samples) == 2
    assert "test/ has no class folders, so its files have no labels and are not read" in samples.notes


def test_a_train_folder_without_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="train has no class folders: expected one folder per class in it"):
        open_samples(tree(tmp_path, "train/1.png", "val/a/1.png"))


def test_files_beside_the_classes_are_counted(tmp_path: Path) -> None:
    samples = open_samples(tree(tmp_path, "a/1.png", "b/1.png", "README.txt", "stray.png"))
    assert len(samples) == 2
    assert "2 files outside the class folders are not read, such as README.txt" in samples.notes


def test_left_over_files_are_ignored_and_counted(tmp_path: Path) -> None:
    litter = [
        "a/Thumbs.db",
        "a/.DS_Store",
        "desktop.ini",
        "a/.ipynb_checkpoints/1-checkpoint.png",
        "__MACOSX/a/._1.png",
        ".git/x",
    ]
    samples = open_samples(tree(tree(tmp_path, "a/1.png", "b/1.png"), *litter, content=b"x"))
    assert samples.ids == ["a/1.png", "b/1.png"]
    assert samples.skipped == ()
    (note,) = [note for note in samples.notes if "ignored" in note]
    assert note.startswith("6 hidden or left-over entries were ignored")
    assert all(name in note for name in ("Thumbs.db (1)", ".DS_Store (1)", ".ipynb_checkpoints (1)", "__MACOSX (1)"))


def test_an_unlabelled_folder(tmp_path: Path) -> None:
    root = tree(tmp_path, "1.png", "deep/2.png")
    samples = open_samples(root, options=ReadOptions(labelled=False))
    assert samples.ids == ["1.png", "deep/2.png"]
    assert not samples.has_target


def test_a_flat_folder_with_labels_wanted_is_refused(tmp_path: Path) -> None:
    tree(tmp_path, "1.png", "2.png")
    with pytest.raises(DataError, match="has 2 files and no class folders: expected one folder per class"):
        open_samples(tmp_path)
    (tmp_path / "labels.csv").write_text("image,label\n1.png,a\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"labels.csv is a table: give that one instead"):
        open_samples(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".hidden").write_bytes(b"x")
    with pytest.raises(
        DataError, match="has no files, only 1 hidden or left-over entries: expected one folder per class"
    ):
        open_samples(tmp_path)


def test_folders_have_no_columns(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder, which has no columns, and got the target column 'label'"):
        open_samples(tree(tmp_path, "a/1.png"), options=ReadOptions(target="label"))


def test_the_modality_is_found_from_the_content(tmp_path: Path) -> None:
    root = tree(tmp_path, "a/1.dat", "b/1", "b/2.wav")
    assert open_samples(root).modality == "image"
    tree(tmp_path / "t", "t/a/1", "t/b/2.foo", content=b"some words")
    assert open_samples(tmp_path / "t" / "t").modality == "text"
    tree(tmp_path / "s", "a/1.jpg", "b/1.jpg", content=media.sound(0.1))
    assert open_samples(tmp_path / "s").modality == "audio"


def test_mixed_modalities_are_counted(tmp_path: Path) -> None:
    root = tree(tree(tmp_path, "a/1.png", "a/2.png", "b/1.png"), "b/note.txt", content=b"a note")
    tree(root, "b/x.wav", content=media.sound(0.1))
    with pytest.raises(
        DataError,
        match=r"mixes modalities: 1 of audio, 3 of image and 1 of text, such as note.txt; keep one, or say which",
    ):
        open_samples(root)
    samples = open_samples(root, options=ReadOptions(modality="image"))
    assert len(samples) == 3
    assert [(one.input, one.reason) for one in samples.skipped] == [
        ("b/note.txt", "holds text, not an image as asked for"),
        ("b/x.wav", "holds audio, not an image as asked for"),
    ]


def test_an_unknown_modality_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no modality 'images'. Did you mean 'image'"):
        open_samples(tree(tmp_path, "a/1.png"), options=ReadOptions(modality="images"))


def test_a_page_that_is_named_like_a_photo_is_skipped(tmp_path: Path) -> None:
    root = tree(tree(tmp_path, "a/1.jpg", "b/1.jpg", "b/2.jpg"), "a/3.jpg", content=b"<html>404 not found</html>")
    samples = open_samples(root)
    assert len(samples) == 3
    assert [(one.input, one.reason) for one in samples.skipped] == [
        ("a/3.jpg", "is named like an image but holds text")
    ]


def test_many_files_are_not_all_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from headstart.data import sniffing

    tree(tmp_path, *(f"{name}/{number}.png" for name in "ab" for number in range(20)))
    opened: list[str] = []
    look = sniffing._head

    def counting(path: str) -> bytes:
        opened.append(path)
        return look(path)

    monkeypatch.setattr(sniffing, "_head", counting)
    monkeypatch.setattr(sniffing, "_ALL", 10)
    assert len(open_samples(tmp_path)) == 40
    assert len(opened) == 5


def test_groups_from_names_and_folders(tmp_path: Path) -> None:
    root = tree(tmp_path, "a/p1/s1_1.png", "a/p2/s1_2.png", "b/p1/s2_1.png")
    assert columns(root, ReadOptions(group="parent"))["group"] == ["p1", "p2", "p1"]
    assert columns(root, ReadOptions(group=r"^(s\d)_"))["group"] == ["s1", "s1", "s2"]
    with pytest.raises(DataError, match=r"does not match 1 of 3 names, such as b/p1/s2_1.png"):
        open_samples(root, options=ReadOptions(group="^(s1)_"))
    with pytest.raises(UsageError, match="has to have one group in parentheses"):
        open_samples(root, options=ReadOptions(group="^s1_"))
    with pytest.raises(UsageError, match="neither 'parent' nor a regular expression"):
        open_samples(root, options=ReadOptions(group="("))


def test_groups_in_several_parts_are_noted(tmp_path: Path) -> None:
    root = tree(tmp_path, "train/a/s1_1.png", "train/b/s2_1.png", "test/a/s1_2.png", "test/b/s3_1.png")
    notes = open_samples(root, options=ReadOptions(group="^(s.)_")).notes
    assert "1 groups, such as s1, are in both train and test: figures on test are too good" in notes


def test_folders_as_numbers_and_as_several_labels(tmp_path: Path) -> None:
    root = tree(tmp_path, "1.5/1.png", "2/1.png")
    assert columns(root, ReadOptions(task="regression"))["target"] == [1.5, 2.0]
    tree(tmp_path / "m", "a+b/1.png", "b/1.png")
    assert columns(tmp_path / "m", ReadOptions(separator="+"))["target"] == [["a", "b"], ["b"]]


def test_a_label_of_test_that_train_lacks_is_refused(tmp_path: Path) -> None:
    root = tree(tmp_path, "train/ants/1.png", "train/bees/1.png", "test/Ants/1.png", "test/bees/1.png")
    with pytest.raises(
        DataError, match=r"the part test of .* has the label 'Ants', which the part train lacks: .* Did you mean 'ants'"
    ):
        open_samples(root)


def test_class_folders_named_by_many_numbers_are_still_classes(tmp_path: Path) -> None:
    for number in range(60):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "a.txt").write_text(f"text {number}", encoding="utf-8")
    found = open_samples(tmp_path)
    assert pa.types.is_string(found.table.column("target").type)
    assert len(set(found.table.column("target").to_pylist())) == 60
