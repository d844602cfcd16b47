"""Models that earlier versions saved load, and answer as they did."""

import json
from pathlib import Path

import pytest

import headstart as hs
from headstart.backbones.runtimes import SAFE
from headstart.data.modalities import MODALITIES
from headstart.model.judge import Judging
from headstart.model.manifest import FORMAT
from headstart.tasks import TASKS
from support.golden import TEXTS, asked

HERE = Path(__file__).resolve().parent
GOLDEN = sorted(path.parent for path in HERE.glob("format-*/*/manifest.json"))


def test_there_is_a_golden_model_of_the_present_format() -> None:
    assert any(path.parent.name == f"format-{FORMAT}" for path in GOLDEN)


def test_there_are_golden_models_with_a_judge_and_without_one() -> None:
    assert {hs.load(golden).judge is None for golden in GOLDEN} == {True, False}


def test_there_are_golden_models_of_format_1_with_a_graph_and_with_examples() -> None:
    ours = [golden for golden in GOLDEN if golden.parent.name == "format-1"]
    manifests = [json.loads((golden / "manifest.json").read_text(encoding="utf-8")) for golden in ours]
    assert {"value", "graph"} <= {each["backbone"]["by"] for each in manifests}
    assert any("examples.safetensors" in each["files"] for each in manifests)


def test_a_model_of_format_0_is_written_anew_as_format_1(tmp_path: Path) -> None:
    old = HERE / "format-0" / "text-linear"
    assert json.loads((old / "manifest.json").read_text(encoding="utf-8"))["format"] == 0
    again = hs.load(old).save(tmp_path / "again")
    assert json.loads((again / "manifest.json").read_text(encoding="utf-8"))["format"] == FORMAT
    assert hs.load(again).predict(TEXTS) == hs.load(old).predict(TEXTS)


def test_there_is_a_golden_model_of_every_kind_of_head() -> None:
    kinds = {json.loads((golden / "manifest.json").read_text(encoding="utf-8"))["head"]["kind"] for golden in GOLDEN}
    assert kinds == {"linear", "neighbours", "mlp"}


def test_there_is_a_golden_model_of_every_task_modality_and_way() -> None:
    """What the format can say is said by one of them: a later version that reads it otherwise is found."""
    ours = [golden for golden in GOLDEN if golden.parent.name == "format-1"]
    manifests = [json.loads((golden / "manifest.json").read_text(encoding="utf-8")) for golden in ours]
    assert {each["task"] for each in manifests} == set(TASKS.names())
    assert {each["inputs"][0]["modality"] for each in manifests} == set(MODALITIES.names())
    assert {each["backbone"]["by"] for each in manifests} == {"value", "reference", "graph"}
    graphs = [each["backbone"]["graph"] for each in manifests if each["backbone"]["graph"]]
    assert {each["runtime"] for each in graphs} == set(SAFE)
    assert {len(each["backbone"]["specs"]) for each in manifests} == {1, 2}
    for key in ("deployment_prior", "prior", "conformal", "outlier"):
        assert any(each[key] is not None for each in manifests), key
    assert any(each["rule"]["costs"] is not None for each in manifests)


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_golden_model_answers_as_it_did(golden: Path) -> None:
    expected = json.loads(golden.with_name(f"{golden.name}.expected.json").read_text(encoding="utf-8"))
    model = hs.load(golden)
    answers = model.predict(asked(golden), judging=Judging(abstain="any" if model.judge else ""))
    assert len(answers) == len(expected)
    for answer, before in zip(answers, expected, strict=True):
        for key in ("label", "labels", "set", "rule"):
            assert answer.get(key) == before.get(key), key
        assert (answer["abstain"] is None) == (before["abstain"] is None)
        assert answer["outlier"] == before["outlier"] or answer["outlier"]["score"] == pytest.approx(
            before["outlier"]["score"], abs=0.05
        )
        for key in ("value", "low", "high", "probability"):
            assert (answer.get(key) is None) == (before.get(key) is None), key
            assert answer.get(key) is None or answer[key] == pytest.approx(before[key], rel=1e-4, abs=1e-4), key
        assert answer.get("probabilities", {}) == pytest.approx(before.get("probabilities", {}), abs=1e-4)
