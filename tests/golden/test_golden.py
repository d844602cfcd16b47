"""Models that earlier versions saved load, and answer as they did."""

import json
from pathlib import Path

import pytest

import headstart as hs
from headstart.model.manifest import FORMAT
from support.golden import TEXTS

HERE = Path(__file__).resolve().parent
GOLDEN = sorted(path.parent for path in HERE.glob("format-*/*/manifest.json"))


def test_there_is_a_golden_model_of_the_present_format() -> None:
    assert any(path.parent.name == f"format-{FORMAT}" for path in GOLDEN)


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_golden_model_answers_as_it_did(golden: Path) -> None:
    expected = json.loads(golden.with_name(f"{golden.name}.expected.json").read_text(encoding="utf-8"))
    picture = golden.with_name(f"{golden.name}.png")
    answers = hs.predict(golden, [picture] if picture.exists() else TEXTS)
    assert len(answers) == len(expected)
    for answer, before in zip(answers, expected, strict=True):
        assert answer["label"] == before["label"]
        for label, probability in before["probabilities"].items():
            assert answer["probabilities"][label] == pytest.approx(probability, abs=1e-4)
