"""The command line, run as a person runs it: a process of its own."""

import contextlib
import csv
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from support.cache import cache_in
from support.made import photos, reviews
from support.weights import need_embedded


def run(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "headstart.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=cwd, timeout=300, check=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made with a space")
    photos(folder / "photos")
    reviews(folder / "reviews.csv", n=40)
    for data, kind, name in (("photos", "image", "m1"), ("reviews.csv", "text", "m2")):
        with cache_in(folder / "cache"):
            done = run("fit", folder / data, "--backbone", f"toy:{kind}", "--out", folder / name, "--offline")
        assert done.returncode == 0, done.stderr
    return folder


def test_fit_tells_what_it_did_and_where_the_model_lies(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(made / "cache"))
    done = run("fit", made / "photos", "--backbone", "toy:image", "--out", made / "m1")
    assert done.returncode == 0
    for part in (
        "toy:image",
        "accuracy",
        "val (24)",
        "train, out of fold (24)",
        "m1",
        "README.md",
        "0 extracted, 48 from the store",
    ):
        assert part in done.stdout, part
    assert (made / "m1" / "README.md").exists()


def test_fit_as_json_is_one_object_and_nothing_else(made: Path) -> None:
    done = run("fit", made / "photos", "--backbone", "toy:image", "--json")
    report = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert {
        "model",
        "task",
        "backbone",
        "engine",
        "head",
        "n",
        "extracted",
        "cached",
        "skipped",
        "seconds",
        "metrics",
    } <= set(report)
    assert report["n"] == {"train": 24, "val": 24, "test": 0}
    assert set(report["metrics"]["accuracy"]) == {"value", "low", "high"}


def test_predict_in_three_forms(made: Path) -> None:
    files = [made / "photos/val/red/0.png", made / "photos/val/blue/1.png"]
    table = run("predict", made / "m1", *files)
    assert table.returncode == 0
    assert "red" in table.stdout
    lines = run("predict", made / "m1", *files, "--json").stdout.splitlines()
    assert [json.loads(line)["label"] for line in lines] == ["red", "blue"]
    rows = list(csv.DictReader(io.StringIO(run("predict", made / "m1", *files, "--csv").stdout)))
    assert [row["label"] for row in rows] == ["red", "blue"]
    assert float(rows[0]["p(red)"]) + float(rows[0]["p(blue)"]) == pytest.approx(1, abs=1e-5)


def test_a_model_says_that_it_does_not_know(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from headstart.cli.main import main

    def said(*arguments: str) -> str:
        capsys.readouterr()
        assert main(["predict", str(made / "m2"), "zz qq 99 vv", *arguments]) == 0
        return capsys.readouterr().out

    assert "unlike the training data" in said()
    assert "I don't know: unlike the training data" in said("--abstain")
    answer = json.loads(said("--abstain", "--json"))
    assert answer["label"] is None
    assert answer["abstain"].startswith("unlike the training data: further from it than")
    assert answer["outlier"]["is"] is True
    assert json.loads(said("--json"))["label"] in {"good", "bad"}
    assert json.loads(said("--abstain-when", "unsure", "--by-label", "--json"))["outlier"]["is"] is True
    (row,) = csv.DictReader(io.StringIO(said("--abstain", "--csv")))
    assert (row["label"], row["abstain"]) == ("", answer["abstain"])
    assert float(row["outlier"]) == pytest.approx(answer["outlier"]["score"], abs=1e-4)
    assert row["set"].split(";") == answer["set"]


def test_fit_and_evaluate_tell_what_the_judge_is_worth(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from headstart.cli.main import main

    data = str(made / "reviews.csv")
    assert main(["fit", data, "--backbone", "toy:text", "--coverage", "0.8", "--quiet"]) == 0
    assert "sets of labels hold the truth in 80 % of cases, ± 6.1 % for 40 calibration samples" in " ".join(
        capsys.readouterr().out.split()
    )
    assert main(["evaluate", str(made / "m2"), data]) == 0
    shown = capsys.readouterr().out
    for part in ("truths in the set or interval", "mean labels in a set", "abstained"):
        assert part in shown


def test_an_unreadable_input_is_told_and_the_status_says_so(made: Path, tmp_path: Path) -> None:
    (tmp_path / "not ä photo.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    done = run("predict", made / "m1", made / "photos/val/red/0.png", tmp_path / "not ä photo.png", "--json")
    assert done.returncode == 3
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert answers[0]["label"] == "red"
    assert answers[1]["input"].endswith("not ä photo.png")
    assert answers[1]["error"]


def test_texts_and_files_of_texts(made: Path) -> None:
    done = run("predict", made / "m2", "a splendid , warm and clever film", "--json")
    assert json.loads(done.stdout)["label"] == "good"
    table = run("predict", made / "m2", made / "reviews.csv", "--json")
    assert len(table.stdout.splitlines()) == 40
    mixed = run("predict", made / "m2", made / "reviews.csv", "some text")
    assert mixed.returncode == 2
    assert "either files or texts" in mixed.stderr


def test_evaluate_gives_the_figures_of_the_fit(made: Path) -> None:
    fitted = json.loads(run("fit", made / "photos", "--backbone", "toy:image", "--json").stdout)
    separate = json.loads(run("evaluate", made / "m1", made / "photos" / "val", "--json").stdout)
    whole = json.loads(run("evaluate", made / "m1", made / "photos", "--json").stdout)
    assert separate["metrics"] == fitted["metrics"] == whole["metrics"]
    assert separate["n"] == 24
    shown = run("evaluate", made / "m1", made / "photos")
    assert "24 samples" in shown.stdout


@pytest.mark.usefixtures("built_catalogue")
def test_models_lists_what_is_here(made: Path) -> None:
    entries = json.loads(run("models", "--json").stdout)["models"]
    known = {
        "backbone",
        "modality",
        "description",
        "licence",
        "size_bytes",
        "installed",
        "weights",
        "digest",
        "commercial",
    }
    assert known | {"parameters", "width", "input", "speed"} == set(entries[0])
    names = [entry["backbone"] for entry in entries]
    assert "embedded:efficientnet-lite0" in names
    assert run("models", "--modality", "audio").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["fit", "nowhere"], 1, "nowhere"),
        (["fit", "photos", "--backbone", "resnet50"], 2, "SOURCE:NAME"),
        (["fit", "photos", "--layer", "-2"], 2, "--backbone"),
        (["fit", "photos", "--out", "photos/model"], 2, "never written to"),
        (["fit", "photos", "--out", "photos"], 1, "something else than a headstart model"),
        (["fit", "photos", "--out", "reviews.csv"], 1, "is a file"),
        (["fit", "photos", "--hold-out", "2"], 2, "between 0 and 1"),
        (["fit", "reviews.csv", "--target", "lable"], 1, "label"),
        (["fit", "reviews.csv", "--backbone", "toy:text", "--head", "ridge(penalt=1)"], 2, "penalt"),
        (["predict", "photos", "x.png"], 1, "is no headstart model"),
        (["evaluate", "m1", "reviews.csv"], 1, "image"),
        (["frobnicate"], 2, "invalid choice"),
        (["predict", "m1", "x.png", "--json", "--csv"], 2, "choose one"),
        (["predict", "m1", "x.png", "--top", "0"], 2, "from 1"),
        (["fit", "reviews.csv", "--seed", "-1"], 2, "from 0"),
        (["fit", "reviews.csv", "--backbone", "toy:text", "--engine", "eagr"], 2, "Did you mean 'eager'"),
        (["fit", "reviews.csv", "--precision", "float23"], 2, "Did you mean 'float32'"),
        (["fit", "reviews.csv", "--backbone", "toy:text", "--precision", "bfloat16"], 2, "float32"),
        (["predict", "m2", "some text", "--engine", "openvin"], 2, "Did you mean 'openvino'"),
        (["predict", "m2", "some text", "--engine", "openvino"], 2, "cannot be used"),
        (["predict", "m2", "some text", "--precision", "bfloat16"], 2, "runs in float32 only"),
        (["evaluate", "m2", "reviews.csv", "--precision", "bf16"], 2, "bfloat16"),
        (["evaluate", "m2", "reviews.csv", "--engine", "cud"], 2, "Did you mean 'cuda'"),
        (["fit", "reviews.csv", "--backbone", "toy:text", "--out", "reviews.csv/m"], 1, "reviews.csv"),
    ],
)
def test_what_is_refused_is_one_sentence_and_a_status(
    made: Path, arguments: list[str], status: int, sentence: str
) -> None:
    done = run(*arguments, cwd=made)
    assert done.returncode == status, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_what_a_label_or_a_name_holds_moves_no_cursor(tmp_path: Path) -> None:
    labels = ("[bold]b[/]", "\x1b[31mred:smile:")
    rows = "".join(f"{'up' if i % 2 else 'down'} {i},{labels[i % 2]}\n" for i in range(30))
    (tmp_path / "odd.csv").write_text("text,label\n" + rows, encoding="utf-8")
    done = run("fit", tmp_path / "odd.csv", "--backbone", "toy:text")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert ":smile:" in done.stdout
    assert "[bold]b[/]" in done.stdout


def test_standard_output_that_is_closed_or_takes_ascii_only(made: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "headstart.cli.main",
        "predict",
        str(made / "m2"),
        "ein schöner Film 电影",
        "--json",
    ]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.decode("utf-8"))["input"]
    if os.name == "posix":
        closed = subprocess.run(["sh", "-c", '"$0" "$@" >&-', *command], capture_output=True, timeout=120, check=False)
        assert closed.returncode == 0, closed.stderr
        assert b"Traceback" not in closed.stderr


@pytest.mark.skipif(os.name == "nt", reason="this system has no SIGINT for other processes")
def test_ctrl_c_leaves_no_half_written_directory_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_embedded("image")
    photos(tmp_path / "photos", n=200, parts=("",))
    arguments = ["fit", str(tmp_path / "photos"), "--out", str(tmp_path / "model")]
    command = [sys.executable, "-m", "headstart.cli.main", *arguments]
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # two threads on two busy cores wait for each other most of the time
    # Whoever started the tests in the background of a script has them ignore SIGINT, and a child would inherit that.
    listening = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=listening)  # noqa: PLW1509
    deadline = time.monotonic() + 60
    features = Path(os.environ["HEADSTART_CACHE"]) / "features"
    while not _committed(features) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]
    again = json.loads(run("fit", tmp_path / "photos", "--json").stdout)
    assert 0 < again["cached"] < 400
    assert again["cached"] + again["extracted"] == 400


def _committed(features: Path) -> int:
    """Rows that the store would hand out now."""
    rows = 0
    for index in features.glob("*/index.sqlite"):
        db = sqlite3.connect(index, timeout=60)
        with contextlib.suppress(sqlite3.OperationalError):  # the tables are not there yet
            rows += db.execute("SELECT count(*) FROM rows").fetchone()[0]
        db.close()
    return rows
