"""`headstart check`: what a person sees, and the table of suspects."""

import csv
import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from headstart.audit.findings import COLUMNS, heading
from headstart.cli.check import _cell
from headstart.cli.main import main
from support.examples import write_examples
from support.made import reviews


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


def test_a_heading_counts_pairs_where_rows_are_pairs(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = photos / "train" / "ants"
    for name in ("first", "second"):
        shutil.copy(own / "01.png", own / f"{name}.png")
    assert main(["check", "photos", "--backbone", "toy:image", "--quiet"]) == 0
    shown = capsys.readouterr().out
    assert "the very same content: 2 pairs" in shown
    assert "copies across parts: " in shown
    assert "copies across parts: 1 pairs" not in shown
    assert heading("leak", 1) == "copies across parts: 1 pair"
    assert heading("outlier", 1200) == "unlike all others: 1,200"


FORMULAS = ["=HYPERLINK(1)", "+cmd", "-2+3", "@SUM(1)", "\uff1d1+1"]


def test_no_cell_of_the_table_is_run_as_a_formula(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    labels = [*FORMULAS, "-5", "a;=1+1", "plain"]
    lines = [{"text": f"the same text of row {i} again", "label": label} for i, label in enumerate(labels) for _ in range(3)]  # fmt: skip
    Path("data.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert main(["check", "data.jsonl", "--backbone", "toy:text", "--quiet", "--csv", "s.csv"]) == 0
    text = Path("s.csv").read_text(encoding="utf-8")
    rows = [row for row in csv.DictReader(text.splitlines()) if row["kind"] == "exact_duplicate"]
    assert {row["label"] for row in rows} == {*(f"'{label}" for label in FORMULAS), "-5", "a;=1+1", "plain"}
    assert '"a;=1+1"' in text
    assert {row["score"] for row in rows} == {"1.0000"}


@pytest.mark.parametrize("text", ["\t=1", "\r=1", "\n=1", "-", "-1+1", "+1e5x", "=1", "-\u0661", "-1\n"])
def test_what_begins_like_a_formula_and_is_no_number_is_quoted(text: str) -> None:
    assert _cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "-1", "+2.5", "-1e-05", "a=1", " =1", "'=1"])
def test_what_is_a_number_or_no_formula_stays(text: str) -> None:
    assert _cell(text) == text


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


@pytest.mark.parametrize("option", ["--csv", "--page"])
@pytest.mark.parametrize("place", ["photos/suspects.csv", "photos", "nowhere/suspects.csv"])
def test_neither_table_nor_page_goes_into_the_data_or_over_a_folder(
    photos: Path, capsys: pytest.CaptureFixture[str], place: str, option: str
) -> None:
    before = sorted(photos.rglob("*"))
    assert main(["check", "photos", "--backbone", "toy:image", "--quiet", option, place]) == 2
    assert option in capsys.readouterr().err
    assert sorted(photos.rglob("*")) == before


def test_the_data_itself_is_replaced_by_no_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = reviews(tmp_path / "reviews.csv")
    before = data.read_bytes()
    assert main(["check", str(data), "--backbone", "toy:text", "--quiet", "--page", str(data)]) == 2
    assert "which is never written to; name a place outside it" in capsys.readouterr().err
    assert data.read_bytes() == before


def test_table_and_page_are_two_files(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "photos", "--backbone", "toy:image", "--quiet", "--csv", "a", "--page", "./a"]) == 2
    assert "--csv and --page both name ./a: name two files" in capsys.readouterr().err
    assert not Path("a").exists()


def test_the_page_shows_the_suspects_and_the_screen_names_it(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "photos", "--backbone", "toy:image", "--quiet", "--page", "suspects.html"]) == 0
    assert re.search(r"page  suspects\.html \(\d+ kB\)", capsys.readouterr().out)
    text = Path("suspects.html").read_text(encoding="utf-8")
    assert 'alt="the photo val/ants/[bold]ü 1.png"' in text
    assert "headstart check photos --backbone toy:image --page suspects.html" in text


def test_with_json_only_json_is_printed_and_the_page_is_written(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = ["check", "photos", "--backbone", "toy:image", "--quiet", "--json"]
    assert main(plain) == 0
    without = json.loads(capsys.readouterr().out)
    assert main([*plain, "--page", "suspects.html"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert Path("suspects.html").is_file()
    assert {**shown, "seconds": {}} == {**without, "seconds": {}}


def test_a_page_without_jinja2_is_refused_before_the_work(
    photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert main(["check", "photos", "--backbone", "none:none", "--quiet", "--page", "suspects.html"]) == 1
    told = capsys.readouterr().err
    assert "the page of suspects needs jinja2, which is not installed" in told
    assert "headstart[report]" in told
    assert not Path("suspects.html").exists()
