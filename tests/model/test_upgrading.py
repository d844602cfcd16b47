"""A manifest of format 0 is brought into the form of format 1, and one of format 1 is not excused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import headstart as hs
from headstart.core.errors import ModelError
from headstart.model.upgrading import upgraded
from support.made import reviews

LACKS: dict[str, Callable[[dict[str, Any]], object]] = {
    "deployment_prior": lambda m: m.pop("deployment_prior"),
    "graph": lambda m: m["backbone"].pop("graph"),
    "findings": lambda m: m["fit"].pop("findings"),
    "tuning": lambda m: m["fit"].pop("tuning"),
    "rule": lambda m: m.update(rule="most probable"),
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return hs.fit(reviews(tmp_path / "reviews.csv"), backbone="toy:text").save(tmp_path / "model")


@pytest.mark.parametrize("what", LACKS)
@pytest.mark.parametrize("number", [0, 1])
def test_what_format_0_may_lack_format_1_may_not(model: Path, what: str, number: int) -> None:
    manifest = json.loads((model / "manifest.json").read_text(encoding="utf-8"))
    LACKS[what](manifest)
    manifest["format"] = number
    (model / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    if number == 0:
        assert hs.load(model).predict("a warm film")[0]["label"] in {"good", "bad"}
        return
    with pytest.raises(ModelError, match=r"lacks the keys|differs|wrong type"):
        hs.load(model)


def test_what_is_no_object_is_left_to_the_checks() -> None:
    odd = {"format": 0, "backbone": [1], "fit": None, "rule": 3}
    assert upgraded(odd) == {**odd, "deployment_prior": None}
    assert upgraded({"format": 1, "rule": "most probable"}) == {"format": 1, "rule": "most probable"}
