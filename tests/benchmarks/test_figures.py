"""What is kept of figures when only some of them are measured again."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.data import ROOT


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import figures

    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    yield figures
    sys.modules.pop("figures", None)


def test_a_set_that_is_measured_anew_keeps_none_of_its_older_figures(figures: Any, tmp_path: Path) -> None:
    def kept(*measured: tuple[str, float], **how: Any) -> dict[str, float]:
        figures.show("some", [figures.Figure(name, value, "share") for name, value in measured], keep=True, **how)
        lines = (tmp_path / "some.jsonl").read_text(encoding="utf-8").splitlines()
        return {each["figure"]: each["value"] for each in map(json.loads, lines)}

    assert kept(("a/x", 1.0), ("a/old", 2.0), ("b/x", 3.0)) == {"a/x": 1.0, "a/old": 2.0, "b/x": 3.0}
    assert kept(("a/x", 4.0), merge=True) == {"a/x": 4.0, "a/old": 2.0, "b/x": 3.0}
    assert kept(("a/x", 5.0), merge=True, anew=["a", "b"]) == {"a/x": 5.0, "b/x": 3.0}, "b was not come to"
    assert kept(("b/x", 6.0)) == {"b/x": 6.0}
