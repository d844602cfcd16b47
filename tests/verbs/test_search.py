"""`search`: the nearest items of a collection."""

from pathlib import Path

import pytest

import headstart as hs
from headstart.core.errors import UsageError
from headstart.verbs.search import SearchOptions, search
from support.made import photos, reviews, sounds


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos(tmp_path_factory.mktemp("photos"), parts=("",))


def test_a_photo_finds_those_of_its_kind_and_not_itself(collection: Path) -> None:
    query = collection / "red" / "3.png"
    result = search(collection, query, backbone="toy:image", options=SearchOptions(k=5))
    [found] = result.found
    assert [hit.label for hit in found.hits] == ["red"] * 5
    assert [hit.rank for hit in found.hits] == [1, 2, 3, 4, 5]
    assert found.copies == 1
    assert "red/3.png" not in {hit.id for hit in found.hits}
    assert found.hits[0].score >= found.hits[-1].score
    assert (result.n, result.whitened) == (24, True)
    assert set(result.figures) == {"whitened", "cosine"}
    assert result.figures["cosine"]["recall_at_1"].value == 1.0
    assert result.asked == 24


def test_texts_find_texts_one_by_one_and_from_a_table(tmp_path: Path) -> None:
    table = reviews(tmp_path / "reviews.csv")
    options = SearchOptions(k=3, evaluate=False, whiten=False)
    result = search(table, ["film 7 was dull , cold and grim", "film 2 was warm"], backbone="toy:text", options=options)
    assert [found.query for found in result.found] == ["text:1", "text:2"]
    assert all(len(found.hits) == 3 for found in result.found)
    assert result.figures == {}
    again = search(table, Path(table), backbone="toy:text", options=options)
    assert len(again.found) == 30
    assert all(found.copies >= 1 for found in again.found)


def test_without_labels_there_is_a_search_and_no_figure(collection: Path) -> None:
    flat = collection / "red"
    result = search(flat, flat / "0.png", backbone="toy:image")
    assert result.figures == {}
    assert result.found[0].hits[0].label is None
    many = search(flat, flat / "0.png", backbone="toy:image", options=SearchOptions(k=50))
    assert "50 items were asked for, and the collection has 12" in many.notes
    assert len(many.found[0].hits) == 11
    with pytest.raises(hs.DataError, match="has no labels to find again"):
        search(flat, backbone="toy:image", options=SearchOptions(evaluate=True))


def test_figures_alone(collection: Path) -> None:
    result = search(collection, backbone="toy:image")
    assert result.found == ()
    assert result.figures


def test_what_cannot_be_searched_is_one_sentence(collection: Path, tmp_path: Path) -> None:
    wave = sounds(tmp_path / "sounds", n=1) / "low" / "0.wav"
    with pytest.raises(hs.DataError, match=r"holds image, and no query could be read as that: .*0.wav"):
        search(collection, wave, backbone="toy:image")
    with pytest.raises(
        hs.DataError, match=r"the queries of .*reviews.csv are text: a collection is searched with its own"
    ):
        search(collection, reviews(tmp_path / "reviews.csv"), backbone="toy:image")
    (tmp_path / "empty").mkdir()
    with pytest.raises(hs.DataError, match="empty has no files"):
        search(tmp_path / "empty", wave, backbone="toy:image")
    with pytest.raises(UsageError, match="at least one item is to be found, and k is 0"):
        search(collection, wave, backbone="toy:image", options=SearchOptions(k=0))


def test_the_command_shows_items_and_figures(
    collection: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from headstart.cli.main import main

    query = str(collection / "red" / "3.png")
    assert main(["search", str(collection), query, "--backbone", "toy:image", "--k", "2", "--quiet"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("red/") >= 2
    assert "recall at 1" in shown
    table = str(reviews(tmp_path / "reviews.csv"))
    assert main(["search", table, "a dull film", table, "--backbone", "toy:text", "--quiet"]) == 2
    assert "give either files or texts" in capsys.readouterr().err
