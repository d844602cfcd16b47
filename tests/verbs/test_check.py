"""`check`: what is planted in a folder or a table is found and named, and nothing of the data is touched."""

import csv
import hashlib
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.audit.findings import Audit
from headstart.core.errors import DataError, UsageError
from headstart.data.samples import make_samples
from headstart.verbs.check import CheckOptions, check
from support.data import shared
from support.made import photos, reviews, sounds


def digest(folder: Path) -> str:
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found.update(f"{path.relative_to(folder)} {path.stat().st_mtime_ns}".encode())
        found.update(path.read_bytes() if path.is_file() else b"")
    return found.hexdigest()


def kinds(audit: Audit) -> set[str]:
    return {finding.kind for finding in audit.findings}


def sentence(audit: Audit, kind: str) -> str:
    return next(finding.sentence for finding in audit.findings if finding.kind == kind)


def write(path: Path, rows: list[tuple[str, ...]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def smooth(seed: int, size: int = 64) -> Image.Image:
    rng = np.random.default_rng(seed)
    noise = Image.fromarray(rng.integers(0, 256, (10, 10, 3)).astype(np.uint8))
    return noise.resize((size, size), Image.Resampling.BICUBIC)


def test_clean_photos_have_no_copies_and_no_leaks(tmp_path: Path) -> None:
    audit = check(photos(tmp_path / "photos"), backbone="toy:image")
    assert audit.n == 48
    assert {part: dict(counts) for part, counts in audit.parts.items()} == {
        "train": {"blue": 12, "red": 12},
        "val": {"blue": 12, "red": 12},
    }
    assert kinds(audit).isdisjoint({"leak", "exact_duplicate", "near_duplicate", "label_error", "unreadable"})
    assert set(audit.shift) == {"train/val"}
    assert audit.sampled is None


def test_a_leak_is_found_and_named_and_the_data_stays_as_it_is(tmp_path: Path) -> None:
    data = photos(tmp_path / "some photos ü")
    (data / "val" / "red" / "a copy ü.png").write_bytes((data / "train" / "red" / "3.png").read_bytes())
    before = digest(data)
    audit = check(data, backbone="toy:image")
    assert digest(data) == before
    assert audit.findings[0].kind == "leak"
    assert audit.findings[0].severity == "error"
    assert "1 of 25 items of val are copies of items in another part (1 exactly)" in audit.findings[0].sentence
    [suspect] = [each for each in audit.suspects if each.kind == "leak"]
    assert (suspect.input, suspect.part) == ("val/red/a copy ü.png", "val")
    assert (suspect.other, suspect.other_part, suspect.score) == ("train/red/3.png", "train", 1.0)


def test_a_near_copy_across_a_split_is_a_leak_that_is_not_exact(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos", n=6)
    smooth(0).save(data / "train" / "red" / "smooth.png")
    smooth(0).resize((48, 48), Image.Resampling.BILINEAR).save(data / "val" / "red" / "smooth.jpg", quality=90)
    audit = check(data, backbone="toy:image")
    [suspect] = [each for each in audit.suspects if each.kind == "leak"]
    assert (suspect.input, suspect.other) == ("val/red/smooth.jpg", "train/red/smooth.png")
    assert 0.9 < suspect.score < 1
    assert "(0 exactly)" in sentence(audit, "leak")


def test_only_what_is_equal_has_a_likeness_of_one(tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    for i in range(4):
        smooth(i).save(folder / f"{i}.png")
    smooth(0).save(folder / "again.bmp")
    shutil.copy(folder / "1.png", folder / "same.png")
    whys = {each.kind: each.why for each in check(folder, backbone="toy:image").suspects if each.other}
    assert whys == {
        "exact_duplicate": "the very content of 1.png",
        "near_duplicate": "nearly the same as 0.png (likeness over 0.99)",
    }


def test_copies_with_two_labels_are_told(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos", parts=("",))
    shutil.copy(data / "red" / "3.png", data / "blue" / "twin.png")
    audit = check(data, backbone="toy:image")
    assert "1 pair of copies has two labels, such as " in sentence(audit, "label_error")
    [suspect] = [each for each in audit.suspects if each.kind == "exact_duplicate"]
    assert {suspect.label, suspect.other_label} == {"red", "blue"}
    assert suspect.why.endswith("under another label")
    [doubted] = [each for each in audit.suspects if each.kind == "label_error"]
    assert {doubted.input, doubted.other} == {"red/3.png", "blue/twin.png"}
    assert {doubted.label, doubted.other_label} == {"red", "blue"}
    assert doubted.score == 1.0


def test_an_item_that_is_doubted_already_gets_its_twin_and_no_second_row(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos", parts=("",), n=20)
    shutil.copy(data / "red" / "3.png", data / "blue" / "twin.png")
    audit = check(data, backbone="toy:image")
    told = [each.sentence for each in audit.findings if each.kind == "label_error"]
    assert told[0].startswith("1 pair of copies has two labels")
    assert told[1].startswith("1 label (2.4%) looks wrong; the most doubtful is blue/twin.png")
    [doubted] = [each for each in audit.suspects if each.kind == "label_error"]
    assert (doubted.input, doubted.label, doubted.suggestion) == ("blue/twin.png", "blue", "red")
    assert (doubted.other, doubted.other_label) == ("red/3.png", "red")
    assert doubted.why.endswith("its neighbours vote for red; the very content of red/3.png, under another label")


def test_a_copy_without_a_label_is_under_no_other_label() -> None:
    texts = [f"the film {'ab'[i % 2] * 3} number {i}" for i in range(12)] + ["the very same"] * 2
    labels = [*"ab" * 6, "a", None]
    ids = [f"row {i}" for i in range(14)]
    audit = check(
        make_samples(ids, texts, modality="text", inline=True, source="some", target=labels), backbone="toy:text"
    )
    assert [each.why for each in audit.suspects if each.kind == "exact_duplicate"] == ["the very content of row 12"]
    assert not [each for each in audit.suspects if each.kind == "label_error" and each.other]


def test_planted_wrong_labels_are_ranked_with_what_they_would_rather_be(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos", parts=("",), n=20)
    shutil.move(data / "red" / "7.png", data / "blue" / "wrong.png")
    audit = check(data, backbone="toy:image")
    [suspect] = [each for each in audit.suspects if each.kind == "label_error"]
    assert (suspect.input, suspect.label, suspect.suggestion) == ("blue/wrong.png", "blue", "red")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos", parts=("",))
    (data / "red" / "broken.png").write_bytes((data / "red" / "0.png").read_bytes()[:300])
    audit = check(data, backbone="toy:image")
    assert "red/broken.png" in sentence(audit, "unreadable")
    assert [each.input for each in audit.suspects if each.kind == "unreadable"] == ["red/broken.png"]
    assert audit.n == 24


def test_one_class_only_is_said_and_no_labels_are_checked(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos", parts=("",))
    shutil.rmtree(data / "blue")
    audit = check(data, backbone="toy:image")
    assert any("nothing to tell apart" in note or "no labels" in note for note in audit.understood)
    assert "label_error" not in kinds(audit)


def test_a_class_of_one_is_too_few(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos", parts=("",))
    for i in range(1, 12):
        (data / "red" / f"{i}.png").unlink()
    audit = check(data, backbone="toy:image")
    assert "the fewest has red: 1" in sentence(audit, "classes")


def test_nothing_but_duplicates(tmp_path: Path) -> None:
    data = write(tmp_path / "same.csv", [("text", "label"), *[("the same again", "ab"[i % 2]) for i in range(12)]])
    audit = check(data, backbone="toy:text")
    assert (
        sentence(audit, "exact_duplicate")
        == "11 items have the very content of another one; copies stay together in every fold"
    )
    assert "label_error" in kinds(audit)


def test_one_copy_is_told_in_good_grammar(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos")
    shutil.copy(data / "train" / "red" / "3.png", data / "train" / "red" / "twin.png")
    audit = check(data, backbone="toy:image")
    assert (
        sentence(audit, "exact_duplicate")
        == "1 item has the very content of another one of its part; copies stay together in every fold"
    )


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty"):
        check(tmp_path / "empty", backbone="toy:image")


def test_no_labels_are_needed(tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    for i in range(6):
        smooth(i).save(folder / f"{i}.png")
    buffer = io.BytesIO()
    smooth(0).save(buffer, "JPEG", quality=90)
    (folder / "again.jpg").write_bytes(buffer.getvalue())
    audit = check(folder, backbone="toy:image")
    assert {audit.suspects[0].input, audit.suspects[0].other} == {"0.png", "again.jpg"}
    assert "near_duplicate" in kinds(audit)
    assert any("no labels" in note for note in audit.understood)


def test_texts_and_recordings(tmp_path: Path) -> None:
    table = reviews(tmp_path / "reviews.csv")
    assert "exact_duplicate" not in kinds(check(table, backbone="toy:text"))
    with table.open("a", encoding="utf-8") as file:
        file.write("FILM 3 was never seen by anybody who likes films!,good\n")
        file.write("film 3 was never seen by anybody who likes films,good\n")
    audit = check(table, backbone="toy:text")
    assert "near_duplicate" in kinds(audit)
    near = [{each.input, each.other} for each in audit.suspects if each.kind == "near_duplicate"]
    assert {"reviews.csv:32", "reviews.csv:33"} in [{name.rsplit("/", 1)[-1] for name in pair} for pair in near], near
    assert check(sounds(tmp_path / "sounds"), backbone="toy:audio").modality == "audio"


def test_too_few_to_compare_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least two items, and got 1"):
        check(reviews(tmp_path / "r.csv"), backbone="toy:text", options=CheckOptions(most=1))


def test_of_many_a_part_is_compared_and_that_is_said(tmp_path: Path) -> None:
    audit = check(reviews(tmp_path / "r.csv"), backbone="toy:text", options=CheckOptions(most=10))
    assert audit.sampled == 10
    assert "among 10 of 30 items" in sentence(audit, "sampled")


def test_twice_is_the_same(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos")
    one, two = check(data, backbone="toy:image"), check(data, backbone="toy:image")
    assert one.findings == two.findings
    assert one.suspects == two.suspects


def test_real_photos(tmp_path: Path) -> None:
    data = Path(shutil.copytree(shared("ants_bees"), tmp_path / "ants_bees"))
    [first] = sorted((data / "train" / "ants").iterdir())[:1]
    with Image.open(first) as image:
        image.convert("RGB").resize((image.width // 2, image.height // 2)).save(
            data / "val" / "ants" / "planted.jpg", quality=75
        )
    audit = check(data, backbone="toy:image")
    assert ("val/ants/planted.jpg", f"train/ants/{first.name}") in {
        (each.input, each.other) for each in audit.suspects if each.kind == "leak"
    }


def test_one_item_is_all_that_there_is_to_look_at(tmp_path: Path) -> None:
    audit = check(write(tmp_path / "one.csv", [("text", "label"), ("the only one", "a")]), backbone="toy:text")
    assert audit.sampled is None
    assert "sampled" not in {finding.kind for finding in audit.findings}
