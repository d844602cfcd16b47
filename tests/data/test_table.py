"""Tables: formats, columns, targets, splits, encodings, and the row numbers that a person sees."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from headstart.core.errors import DataError
from headstart.data.opening import open_samples
from headstart.data.reading import ReadOptions
from headstart.data.samples import Samples
from support import media

ROWS = [("great film", "good"), ("bad film", "bad"), ("the film", "good")]


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def csv(path: Path, *lines: str) -> Path:
    return write(path, "\n".join(lines) + "\n")


def read(path: Path, **options: object) -> Samples:
    return open_samples(path, options=ReadOptions(**options))  # type: ignore[arg-type]


def column(samples: Samples, name: str = "target") -> list[object]:
    return list(samples.table.column(name).to_pylist())


def reasons(samples: Samples) -> dict[str, str]:
    return {one.input: one.reason for one in samples.skipped}


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"])
def test_every_format_says_the_same(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"reviews{suffix}"
    if suffix == ".parquet":
        parquet.write_table(pa.table({"text": [text for text, _ in ROWS], "label": [label for _, label in ROWS]}), path)
    elif "j" in suffix:
        write(path, "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in ROWS))
    else:
        mark = "\t" if suffix == ".tsv" else ","
        csv(path, f"text{mark}label", *(f"{text}{mark}{label}" for text, label in ROWS))
    samples = open_samples(path)
    first = 2 if suffix in {".csv", ".tsv"} else 1
    assert samples.ids == [f"reviews{suffix}:{row}" for row in range(first, first + 3)]
    assert samples.inputs == [text for text, _ in ROWS]
    assert column(samples) == [label for _, label in ROWS]
    assert (samples.modality, samples.inline, samples.target_name) == ("text", True, "label")


def test_missing_labels_and_texts_are_skipped_by_row(tmp_path: Path) -> None:
    samples = read(
        csv(
            tmp_path / "r.csv",
            "text,label",
            "a film,good",
            "b film,",
            "c film,NaN",
            "  ,bad",
            "d film,bad",
            "e film, null ",
        )
    )
    assert samples.ids == ["r.csv:2", "r.csv:6"]
    assert reasons(samples) == {
        "r.csv:3": "has no target: its cell of 'label' is empty or NaN; fill it in or take the row out",
        "r.csv:4": "has no target: its cell of 'label' is empty or NaN; fill it in or take the row out",
        "r.csv:5": "holds no text: its cell is empty",
        "r.csv:7": "has no target: its cell of 'label' is empty or NaN; fill it in or take the row out",
    }


def test_a_label_that_is_nan_or_null_in_other_formats(tmp_path: Path) -> None:
    path = write(
        tmp_path / "r.jsonl",
        '{"text": "a", "label": 1}\n\n{"text": "b", "label": NaN}\n{"text": "c"}\n{"text": "d", "label": 2}\n',
    )
    samples = open_samples(path)
    assert samples.ids == ["r.jsonl:1", "r.jsonl:5"]
    assert column(samples) == ["1", "2"]
    assert set(reasons(samples)) == {"r.jsonl:3", "r.jsonl:4"}
    parquet.write_table(pa.table({"text": ["a", "b", None], "label": [1.0, float("nan"), 2.0]}), tmp_path / "r.parquet")
    samples = open_samples(tmp_path / "r.parquet")
    assert column(samples) == ["1"]
    assert set(reasons(samples)) == {"r.parquet:2", "r.parquet:3"}


def test_names_of_classes_that_look_like_nothing_stay(tmp_path: Path) -> None:
    assert column(read(csv(tmp_path / "r.csv", "text,label", "a,None", "b,NA", "c,007"))) == ["None", "NA", "007"]


def test_all_rows_bad(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"r.csv has no row that can be used: 1 of 1 were skipped, the first, r.csv:2, has no target"
    ):
        read(csv(tmp_path / "r.csv", "text,label", "a,"))
    with pytest.raises(DataError, match="has no row that can be used"):
        read(csv(tmp_path / "r.csv", "text,label"))


def test_a_wrong_column_name(tmp_path: Path) -> None:
    path = csv(tmp_path / "r.csv", "text,label,speaker", "a,b,c")
    with pytest.raises(
        DataError,
        match=r"has no column 'lable' for the target. The columns are 'text', 'label', 'speaker'. Did you mean 'label'",
    ):
        read(path, target="lable")
    with pytest.raises(DataError, match=r"has no column 'zzz' for the input. There are: label, speaker, text."):
        read(path, input="zzz")
    with pytest.raises(DataError, match="for the group"):
        read(path, group="spaeker")
    with pytest.raises(DataError, match="cannot be both the input and the target"):
        read(path, input="text", target="text")


def test_no_known_column_name(tmp_path: Path) -> None:
    path = csv(tmp_path / "r.csv", "one,two,three", "a,b,c")
    with pytest.raises(
        DataError,
        match=r"no column with a usual name for the target.* but 'one', 'two', 'three': say which with the target",
    ):
        read(path)
    with pytest.raises(
        DataError, match=r"no column with a usual name for the input.*: say which with the input option"
    ):
        read(path, target="three")
    samples = read(path, target="three", input="one")
    assert (samples.inputs, column(samples)) == (["a"], ["c"])
    samples = read(csv(tmp_path / "s.csv", "one,Label", "a,b"))
    assert samples.inputs == ["a"]
    assert "the input is taken from the only other column, 'one'" in samples.notes


def test_an_unlabelled_table(tmp_path: Path) -> None:
    samples = read(csv(tmp_path / "r.csv", "text,label", "a,", "b,x"), labelled=False)
    assert samples.inputs == ["a", "b"]
    assert samples.table.column_names == ["id", "input"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    for name, text in (
        ("r.csv", 'text,label\r\n"schön, 好\r\nzwei",gut\r\n'),
        ("r.jsonl", '{"text": "schön, 好\\r\\nzwei", "label": "gut"}\n'),
    ):
        samples = open_samples(write(tmp_path / name, text, encoding))
        assert samples.inputs == ["schön, 好\r\nzwei"]
        assert column(samples) == ["gut"]


def test_another_encoding_is_refused_by_line(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", "text,label\ngut,a\nschön,b\n", "latin-1")
    with pytest.raises(
        DataError, match=r"r.csv, line 3, is not UTF-8 text: save it as UTF-8, or convert it with  iconv"
    ):
        open_samples(path)


def test_broken_rows_are_refused_by_row(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"r.csv, row 3, has 3 cells where the header has 2: check for a separator outside quotation"
    ):
        read(csv(tmp_path / "r.csv", "text,label", "a,b", "c,d,e", "f,g"))
    with pytest.raises(DataError, match=r"r.jsonl, line 2, is no JSON \(.*\): expected one object a line"):
        read(write(tmp_path / "r.jsonl", '{"text": "a", "label": "b"}\n{"text": \n'))
    with pytest.raises(DataError, match=r"line 1, is list: expected one JSON object a line"):
        read(write(tmp_path / "r.jsonl", "[1]\n"))
    with pytest.raises(DataError, match=r"r.json is one JSON array: write one object a line"):
        read(write(tmp_path / "r.json", '[{"text": "a"}]'))
    with pytest.raises(DataError, match=r"is no Parquet file that can be read"):
        read(write(tmp_path / "r.parquet", "PAR1 or not"))
    with pytest.raises(DataError, match=r"is empty: expected a table with a row of column names"):
        read(write(tmp_path / "r.csv", ""))
    with pytest.raises(DataError, match=r"more than one column called 'text': rename all but one"):
        read(csv(tmp_path / "r.csv", "text,text,label", "a,b,c"))


def test_blank_rows_keep_the_numbers(tmp_path: Path) -> None:
    samples = read(csv(tmp_path / "r.csv", "text,label", "a,x", "", "b,y", ""))
    assert samples.ids == ["r.csv:2", "r.csv:4"]
    assert samples.skipped == ()
    assert "2 blank rows of r.csv were passed over" in samples.notes


def test_semicolons_are_seen(tmp_path: Path) -> None:
    samples = read(csv(tmp_path / "r.csv", "text;label", "a, b;x"))
    assert (samples.inputs, column(samples)) == (["a, b"], ["x"])
    assert "r.csv is separated by semicolons" in samples.notes


def test_json_values_of_changing_types_and_dates(tmp_path: Path) -> None:
    lines = [{"text": "2020-01-01", "label": 1}, {"text": "2020-01-02", "label": "two"}]
    samples = read(write(tmp_path / "r.jsonl", "".join(json.dumps(line) + "\n" for line in lines)))
    assert (samples.inputs, column(samples)) == (["2020-01-01", "2020-01-02"], ["1", "two"])
    lines = [{"text": "2020-01-01", "label": "b"}, {"text": "2020-01-02", "label": "a"}]
    assert read(write(tmp_path / "r.jsonl", "".join(json.dumps(line) + "\n" for line in lines))).inputs == [
        "2020-01-01",
        "2020-01-02",
    ]


def test_json_with_half_a_surrogate(tmp_path: Path) -> None:
    samples = read(
        write(tmp_path / "r.json", '{"text": "a \\ud83d b", "label": "x"}\n{"text": "\\ud83d\\ude00", "label": "y"}\n')
    )
    assert samples.inputs == ["a \ufffd b", "\U0001f600"]


def test_regression(tmp_path: Path) -> None:
    path = csv(tmp_path / "r.csv", "text,price", "a,1", "b,2.5", "c,NA", "d,inf", "e,-1e3")
    samples = read(path, target="price", task="regression")
    assert samples.table.column("target").type == pa.float64()
    assert column(samples) == [1.0, 2.5, -1000.0]
    assert set(reasons(samples)) == {"r.csv:4", "r.csv:5"}
    with pytest.raises(
        DataError,
        match=r"the target of r.csv:3 is '2,5', and regression takes a number with a decimal point, such as 3.14",
    ):
        read(csv(tmp_path / "r.csv", "text;price", "a;1", "b;2,5"), target="price", task="regression")


def test_measured_numbers_are_seen_and_codes_stay_names(tmp_path: Path) -> None:
    measured = read(csv(tmp_path / "m.csv", "text,target", *(f"t{row},{row * 0.37:.2f}" for row in range(40))))
    assert measured.table.column("target").type == pa.float64()
    codes = read(csv(tmp_path / "c.csv", "text,target", *(f"t{row},{row % 3}" for row in range(40))))
    assert sorted(set(column(codes))) == ["0", "1", "2"]
    halves = read(csv(tmp_path / "h.csv", "text,target", *(f"t{row},{row % 4 / 2}" for row in range(40))))
    assert halves.table.column("target").type == pa.string()
    names = read(
        csv(tmp_path / "m.csv", "text,target", *(f"t{row},{row * 0.37:.2f}" for row in range(40))), task="single_label"
    )
    assert names.table.column("target").type == pa.string()


def test_several_labels(tmp_path: Path) -> None:
    path = csv(tmp_path / "r.csv", "text,tags", "a,x|y", "b, y | z ", "c,", "d,nan")
    samples = read(path, separator="|")
    assert column(samples) == [["x", "y"], ["y", "z"], []]
    assert "1 items have no label" in samples.notes
    assert set(reasons(samples)) == {"r.csv:5"}
    guessed = read(path, task="multi_label")
    assert column(guessed) == column(samples)
    assert "labels of one cell are taken to be separated by '|'" in guessed.notes


def test_lists_are_several_labels(tmp_path: Path) -> None:
    path = write(
        tmp_path / "r.jsonl",
        '{"text": "a", "tags": ["x", "y"]}\n{"text": "b", "tags": []}\n{"text": "c", "tags": null}\n',
    )
    samples = read(path)
    assert column(samples) == [["x", "y"], []]
    assert set(reasons(samples)) == {"r.jsonl:3"}
    with pytest.raises(DataError, match="holds lists, which are several labels an item, and the task is single_label"):
        read(path, task="single_label")


def test_several_labels_here_and_one_there(tmp_path: Path) -> None:
    samples = read(write(tmp_path / "r.jsonl", '{"text": "a", "tags": ["x", "y"]}\n{"text": "b", "tags": "y"}\n'))
    assert column(samples) == [["x", "y"], ["y"]]


def test_bytes_that_are_no_table(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_bytes(bytes(range(256)) * 10)
    with pytest.raises(DataError, match=r"r.csv, line 2, is not UTF-8 text"):
        read(tmp_path / "r.csv")


def test_groups_and_their_gaps(tmp_path: Path) -> None:
    gaps = read(csv(tmp_path / "g.csv", "text,label,who", "a,x,", "b,y, ", "c,x,bob"), group="who")
    assert column(gaps, "group") == ["g.csv:2", "g.csv:3", "bob"]
    samples = read(csv(tmp_path / "r.csv", "text,label,who", "a,x,ann", "b,y,ann", "c,x,bob"), group="who")
    assert column(samples, "group") == ["ann", "ann", "bob"]
    parquet.write_table(pa.table({"text": ["a", "b"], "label": ["x", "y"], "who": [7, None]}), tmp_path / "r.parquet")
    assert column(read(tmp_path / "r.parquet", group="who"), "group") == ["7", "r.parquet:2"]


def test_a_split_column(tmp_path: Path) -> None:
    samples = read(csv(tmp_path / "r.csv", "text,label,split", "a,x,Train", "b,x,dev", "c,x,test", "d,x,"))
    assert column(samples, "split") == ["train", "val", "test"]
    assert reasons(samples) == {"r.csv:5": "belongs to no part: its cell is empty"}
    assert "the column 'split' says which part a row belongs to" in samples.notes
    folds = read(csv(tmp_path / "r.csv", "text,label,fold", "a,x,1", "b,x,2"))
    assert folds.parts == ()
    assert "the column 'fold' is no split, as it holds other values than train, val and test" in folds.notes


def test_a_folder_of_tables(tmp_path: Path) -> None:
    csv(tmp_path / "d" / "train.csv", "text,label", "a,x", "b,y")
    csv(tmp_path / "d" / "dev.csv", "text,label", "c,x")
    csv(tmp_path / "d" / "other.csv", "text,label", "z,x")
    csv(tmp_path / "d" / "test.csv", "text", "e")
    samples = read(tmp_path / "d")
    assert samples.ids == ["train.csv:2", "train.csv:3", "dev.csv:2"]
    assert samples.parts == ("train", "val")
    assert "other.csv beside the parts' tables is not read" in samples.notes
    assert "test.csv has no column 'label', so its rows have no target and are not read" in samples.notes
    csv(tmp_path / "d" / "valid.tsv", "text\tlabel", "c\tx")
    with pytest.raises(DataError, match="has more than one table for the part val: keep one of"):
        read(tmp_path / "d")


def test_tables_with_other_columns_or_types(tmp_path: Path) -> None:
    csv(tmp_path / "train.csv", "text,label", "a,1")
    csv(tmp_path / "test.csv", "sentence,label", "c,1")
    with pytest.raises(DataError, match=r"test.csv has no column 'text', which train.csv has"):
        read(tmp_path)
    (tmp_path / "test.csv").unlink()
    parquet.write_table(pa.table({"text": ["c"], "label": [1]}), tmp_path / "test.parquet")
    assert column(read(tmp_path)) == ["1", "1"]


def test_several_tables(tmp_path: Path) -> None:
    one, two = csv(tmp_path / "x" / "a.csv", "text,label", "a,1"), csv(tmp_path / "y" / "a.csv", "text,label", "b,2")
    samples = open_samples([one, two])
    assert samples.ids == ["x/a.csv:2", "y/a.csv:2"]
    assert samples.parts == ()


def test_a_label_of_test_that_train_lacks(tmp_path: Path) -> None:
    csv(tmp_path / "train.csv", "text,label", "a,pos", "b,neg", "c,neutral")
    csv(tmp_path / "test.csv", "text,label", "c,pos", "d,positive", "e,negative")
    with pytest.raises(
        DataError, match=r"the part test of .* has the labels 'negative', 'positive', which the part train lacks"
    ):
        read(tmp_path)
    csv(tmp_path / "test.csv", "text,label", "c,pos")
    assert "the part test has no 'neg', 'neutral', so nothing is measured for them" in read(tmp_path).notes


def test_paths_in_a_table(tmp_path: Path) -> None:
    (tmp_path / "img").mkdir()
    for name in ("1.png", "2.png"):
        (tmp_path / "img" / name).write_bytes(media.image())
    (tmp_path / "img" / "empty.png").write_bytes(b"")
    path = csv(
        tmp_path / "r.csv",
        "image,text,label",
        "img/1.png,one,a",
        "img/gone.png,two,a",
        "img/empty.png,three,a",
        ",four,b",
        f"{tmp_path}/img/2.png,five,b",
    )
    samples = read(path)
    assert (samples.modality, samples.inline) == ("image", False)
    assert samples.ids == ["r.csv:2", "r.csv:6"]
    assert samples.path(1).name == "2.png"
    assert reasons(samples) == {
        "r.csv:3": "names img/gone.png, which is missing: there is no such file; correct its path or take it out",
        "r.csv:4": "names img/empty.png, which is an empty file (0 bytes): replace it or take it out",
        "r.csv:5": "names no file: its cell is empty",
    }
    assert read(path, input="text").inputs == ["one", "two", "three", "four", "five"]
    assert read(path, modality="text").inline


def test_paths_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "1.png").write_bytes(media.image())
    path = csv(tmp_path / "deep" / "r.csv", "path,label", "1.png,a")
    monkeypatch.chdir(tmp_path)
    samples = read(path)
    assert len(samples) == 1
    assert any("looked for in" in note for note in samples.notes)


def test_paths_none_of_which_is_there(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"the column 'image' names files of which none is there, the first being 'img/1.png': write paths relative to",
    ):
        read(csv(tmp_path / "r.csv", "image,label", "img/1.png,a"))
    samples = read(csv(tmp_path / "r.csv", "file,text,label", "a1.xml,words,a"))
    assert samples.inputs == ["words"]
    assert any("the column 'file' is not the input" in note for note in samples.notes)


def test_a_column_of_another_kind(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"image": [{"bytes": b"x"}], "label": ["a"]}), tmp_path / "r.parquet")
    with pytest.raises(DataError, match=r"the column 'image' holds struct.*, and text was expected"):
        read(tmp_path / "r.parquet")
    parquet.write_table(pa.table({"text": ["x"], "label": [{"a": 1}]}), tmp_path / "r.parquet")
    with pytest.raises(
        DataError, match=r"the target column holds struct.*: expected names, numbers, or lists of names"
    ):
        read(tmp_path / "r.parquet")


def test_dictionary_columns_and_booleans(tmp_path: Path) -> None:
    table = pa.table({"text": pa.array(["a", "b"]).dictionary_encode(), "label": [True, False]})
    parquet.write_table(table, tmp_path / "r.parquet")
    samples = read(tmp_path / "r.parquet")
    assert (samples.inputs, column(samples)) == (["a", "b"], ["true", "false"])


def test_many_whole_numbers_are_quantities_and_it_is_said(tmp_path: Path) -> None:
    rows = "".join(f"text {i},{1000 + 137 * i}\n" for i in range(200))
    (tmp_path / "t.csv").write_text("text,label\n" + rows, encoding="utf-8")
    found = open_samples(tmp_path / "t.csv")
    assert pa.types.is_floating(found.table.column("target").type)
    assert (
        "the 200 different whole numbers of the target are taken as quantities: say --task single_label if they are names"
        in found.notes
    )
    named = open_samples(tmp_path / "t.csv", options=ReadOptions(task="single_label"))
    assert named.table.column("target")[0].as_py() == "1000"
    (tmp_path / "codes.csv").write_text(
        "text,label\n" + "".join(f"t {i},{i:05d}\n" for i in range(200)), encoding="utf-8"
    )
    assert open_samples(tmp_path / "codes.csv").table.column("target")[7].as_py() == "00007"
