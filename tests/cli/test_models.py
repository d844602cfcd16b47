"""`headstart models`: the table, one model, and forgetting it."""

import json
from pathlib import Path

import pytest

from headstart.backbones import records
from headstart.backbones.backbone import Speed
from headstart.cli.main import main


@pytest.fixture(autouse=True)
def _empty_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))


def _said(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    capsys.readouterr()
    assert main(["models", *arguments]) == status
    captured = capsys.readouterr()
    return captured.out if status == 0 else captured.err


@pytest.mark.usefixtures("built_catalogue")
def test_the_table_shows_figures_and_marks_licences(capsys: pytest.CaptureFixture[str]) -> None:
    table = _said(capsys, "--modality", "image")
    row = next(line for line in table.splitlines() if "timm:resnet50.a1_in1k" in line)
    assert row.split()[1:4] == ["23.5", "M", "2048"]
    assert "224 x 224 pixels" in row
    marked = table.count("no commercial use")
    entries = json.loads(_said(capsys, "--modality", "image", "--json"))["models"]
    assert marked == sum(entry["commercial"] is False for entry in entries) > 2


def test_one_model_is_shown_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    said = _said(capsys, "timm:convnextv2_tiny.fcmae")
    assert "CC-BY-NC-4.0, no commercial use" in said
    assert "https://huggingface.co/timm/convnextv2_tiny.fcmae" in said
    assert "known once 64 samples have been extracted here" in said
    speed = Speed(12.5, 64, "eager", "float32", "cpu")
    from headstart.backbones.first_use import machine

    name = "timm:convnextv2_tiny.fcmae"
    records.update(name, lambda _: records.Record(name, digest="ab" * 32, speeds={machine(): speed}))
    said = _said(capsys, name)
    assert "12.5/s, 64 samples with eager, float32, cpu" in said
    assert "ab" * 32 in said
    assert json.loads(_said(capsys, name, "--json"))["models"][0]["speed"]["per_second"] == 12.5


def test_a_model_can_be_forgotten(capsys: pytest.CaptureFixture[str]) -> None:
    name = "timm:resnet18.a1_in1k"
    records.update(name, lambda _: records.Record(name, digest="ab" * 32))
    assert json.loads(_said(capsys, "timm:resnet18", "--forget", "--json")) == {"forgotten": True}
    assert records.read(name) is None
    assert "nothing was remembered" in _said(capsys, name, "--forget")
    assert "--forget needs the model" in _said(capsys, "--forget", status=2)


def test_what_is_misspelt_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Did you mean resnet50" in _said(capsys, "timm:resnet5", status=1)
    assert "there is no backbone source called 'tim'" in _said(capsys, "tim:resnet50", status=2)
