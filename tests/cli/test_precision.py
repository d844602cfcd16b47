"""--precision and --engine: one spelling with Python, and what they change is told on standard error, never among the answers."""

import json
from pathlib import Path

import pytest

from headstart.cli.main import main
from support.made import reviews
from support.networks import save_tiny


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A folder with a tiny network, data, and a model fitted in bfloat16."""
    save_tiny("bert", tmp_path)
    reviews(tmp_path / "reviews.csv")
    return tmp_path


def _fit(folder: Path, *more: str) -> int:
    network = next(path.parent for path in folder.rglob("config.json"))
    return main(["fit", str(folder / "reviews.csv"), "--backbone", f"transformers:{network}", *more])


def test_a_model_fitted_narrow_says_so_and_tells_what_float32_changes(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(tiny / "model")
    assert _fit(tiny, "--precision", "bfloat16", "--engine", "eager", "--out", model) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "precision bfloat16; in float32 " in shown
    assert "(eager)" in shown
    assert _fit(tiny, "--precision", "bfloat16", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["precision"]) == {"fitted", "other", "n", "labels", "probability", "value"}
    assert (report["precision"]["fitted"], report["precision"]["other"]) == ("bfloat16", "float32")
    assert report["engine"] == "none"

    assert main(["predict", model, "some text", "--json", "--precision", "bfloat16"]) == 0
    assert "fitted at" not in capsys.readouterr().err
    for form in ("--json", "--csv", "--quiet"):
        assert main(["predict", model, "some text", form, "--precision", "float32", "--engine", "eager"]) == 0
        told = capsys.readouterr()
        assert "headstart: this model was fitted at bfloat16 and runs at float32: no label of 30" in told.err
        assert "fitted at" not in told.out
    assert main(["predict", model, "some text", "--json", "--precision", "float16"]) == 0
    assert "what that changes was not measured" in capsys.readouterr().err


def test_evaluate_tells_it_among_its_warnings(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, data = str(tiny / "model"), str(tiny / "reviews.csv")
    assert _fit(tiny, "--precision", "bfloat16", "--out", model) == 0
    capsys.readouterr()
    assert main(["evaluate", model, data, "--precision", "float32", "--engine", "eager", "--json"]) == 0
    warnings = json.loads(capsys.readouterr().out)["warnings"]
    assert any(each.startswith("this model was fitted at bfloat16 and runs at float32: ") for each in warnings)
    assert main(["evaluate", model, data, "--precision", "float32"]) == 0
    assert "! this model was fitted at bfloat16 and runs at float32" in " ".join(capsys.readouterr().out.split())
