"""`headstart cache`: what it prints, its exit status, and that its JSON is what docs/json.md states."""

import json
from pathlib import Path

import numpy as np
import pytest

from headstart.cli.main import main
from headstart.core.spec import BackboneSpec
from headstart.features.store import Shelf
from support.data import ROOT
from support.markdown import blocks

SPEC = BackboneSpec("toy", "rows", "", "0" * 32, "", "mean", "text()", "text", 8, "float32")


@pytest.fixture
def segment(own_cache: Path) -> Path:
    """A segment of ten stored rows."""
    with Shelf(SPEC) as shelf:
        shelf.append([bytes([i]) * 16 for i in range(10)], np.ones((10, 8), np.float32), facts=[{}] * 10)
        [found] = shelf.folder.glob("*.npy")
        return found


def harm(segment: Path) -> None:
    content = bytearray(segment.read_bytes())
    content[-1] ^= 1
    segment.write_bytes(content)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    capsys.readouterr()
    assert main(["cache", *arguments]) == status
    return capsys.readouterr().out


@pytest.mark.parametrize("action", [["list"], ["verify"], ["prune", "--to", "0B"]])
def test_its_json_has_the_keys_that_are_stated(
    segment: Path, capsys: pytest.CaptureFixture[str], action: list[str]
) -> None:
    harm(segment)
    text = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    section = text.split(f"\n## cache {action[0]}\n", 1)[1].split("\n## ", 1)[0]
    [stated] = [json.loads(block.text) for block in blocks("docs/json.md", section) if block.language == "json"]
    answer = json.loads(printed(capsys, *action, "--json", status=int(action == ["verify"])))
    assert answer.keys() == stated.keys()
    [name] = [key for key in ("features", "removed") if key in stated]
    assert [each.keys() for each in answer[name]] == [stated[name][0].keys()]
    if action == ["verify"]:
        assert answer[name][0]["damage"][0].keys() == stated[name][0]["damage"][0].keys()


def test_a_person_reads_what_is_there_and_what_goes(segment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed = printed(capsys, "list")
    assert "toy:rows" in listed
    assert "now" in listed
    assert "10 rows of 1 backbones checked" in printed(capsys, "verify")
    assert "would be freed" in printed(capsys, "prune", "--to", "0B", "--dry-run")
    assert segment.exists()
    assert "toy:rows" not in printed(capsys, "prune", "--older-than", "30d")
    assert "toy:rows: 10 rows" in printed(capsys, "prune", "--backbone", "toy:rows")
    assert not segment.parent.exists()


def test_damage_is_status_1_with_a_sentence_until_it_is_mended(
    segment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    harm(segment)
    assert main(["cache", "verify"]) == 1
    told = capsys.readouterr()
    assert "the bytes are not those that were written" in told.out
    assert "1 of 1 backbones" in told.err
    assert "--mend" in told.err
    assert "10 rows were dropped" in printed(capsys, "verify", "--mend")
    printed(capsys, "verify")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["prune"], "--older-than 30d"),
        (["prune", "--older-than", "30"], "an age with its unit"),
        (["prune", "--to", "5 apples"], "a size with its unit"),
        (["prune", "--backbone", "toy:row"], "toy:rows"),
        (["tidy"], "invalid choice"),
    ],
)
def test_wrong_usage_is_status_2_and_one_sentence(
    segment: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    try:
        status = main(["cache", *arguments])
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    assert status == 2
    assert sentence in capsys.readouterr().err
    assert segment.exists()
