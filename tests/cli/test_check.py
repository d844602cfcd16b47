"""`headstart check`: what a person sees, and the table of suspects."""

import csv
import shutil
from pathlib import Path

import pytest

from headstart.audit.findings import COLUMNS
from headstart.cli.main import main
from support.examples import write_examples


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The made photos with a copy across the split under a name that is no markup, in the current directory."""
    write_examples(tmp_path)
    folder = tmp_path / "photos"
    shutil.copy(folder / "train" / "ants" / "00.png", folder / "val" / "ants" / "[bold]ü 1.png")
    monkeypatch.chdir(tmp_path)
    return folder


def test_the_screen_tells_a_copy_across_the_split(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "photos", "--backbone", "toy:image", "--quiet"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "of val are copies of items in another part" in shown
    assert "val/ants/[bold]ü 1.png" in shown
    assert "the very content of train/ants/00.png" in shown
    assert "nothing was changed" in shown


def test_the_table_has_every_suspect_and_room_for_an_action(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "photos", "--backbone", "toy:image", "--quiet", "--csv", "suspects.csv"]) == 0
    rows = list(csv.DictReader(Path("suspects.csv").read_text(encoding="utf-8").splitlines()))
    assert list(rows[0]) == [*COLUMNS, "action"]
    planted = [row for row in rows if row["input"] == "val/ants/[bold]ü 1.png" and row["score"] == "1.0000"]
    assert [(row["kind"], row["other"], row["action"]) for row in planted] == [("leak", "train/ants/00.png", "")]


def test_clean_data_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (
        "amber",
        "basalt",
        "cedar",
        "dune",
        "ember",
        "fjord",
        "grove",
        "heath",
        "islet",
        "jetty",
        "knoll",
        "lagoon",
    )
    lines = [
        f"{word} by {other},{'ab'[i % 2]}" for i, (word, other) in enumerate(zip(words, reversed(words), strict=True))
    ]
    (tmp_path / "clean.csv").write_text("text,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
    main(["check", str(tmp_path / "clean.csv"), "--backbone", "toy:text", "--quiet"])
    assert "copies of items" not in capsys.readouterr().out


@pytest.mark.parametrize("place", ["photos/suspects.csv", "photos", "nowhere/suspects.csv"])
def test_a_table_goes_neither_into_the_data_nor_over_a_folder(
    photos: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    before = sorted(photos.rglob("*"))
    assert main(["check", "photos", "--backbone", "toy:image", "--quiet", "--csv", place]) == 2
    assert "--csv" in capsys.readouterr().err
    assert sorted(photos.rglob("*")) == before
