"""When two answers count as the same."""

from pathlib import Path
from typing import Any

import pytest

import headstart as hs
from headstart.exporting import parity
from headstart.exporting.parity import alike
from support.made import photos
from support.tunable import network


def tagged(**shares: float) -> dict[str, Any]:
    return {"labels": [label for label, p in shares.items() if p >= 0.5], "probabilities": shares}


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        (tagged(a=0.9, b=0.1, c=0.7), tagged(a=0.9, b=0.1, c=0.7), True),
        (tagged(a=0.9, b=0.5004, c=0.7), tagged(a=0.9, b=0.4996, c=0.7), True),
        (tagged(a=0.4999, b=0.5004, c=0.7), tagged(a=0.5001, b=0.4996, c=0.7), True),
        (tagged(a=0.9, b=0.52, c=0.7), tagged(a=0.9, b=0.4999, c=0.7), False),
        (tagged(a=0.5001, b=0.6, c=0.7), tagged(a=0.4999, b=0.4, c=0.7), False),
        ({"label": "a"}, {"label": "a"}, True),
        ({"label": "a"}, {"label": "b"}, False),
        ({"value": 1.0}, {"value": 1.0}, True),
    ],
)
def test_a_label_that_lies_at_its_threshold_may_flip(ours: dict[str, Any], theirs: dict[str, Any], same: bool) -> None:
    assert alike(ours, theirs) is same


def test_an_export_with_one_near_tie_among_several_labels_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = photos(tmp_path / "photos", n=24, parts=("",))
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))
    tags = [f"{name.split('/')[0]}|{('odd', 'even')[number % 2]}" for number, name in enumerate(names)]
    table = folder / "tags.csv"
    table.write_text("\n".join(["image,tags", *map(",".join, zip(names, tags, strict=True))]) + "\n", encoding="utf-8")
    reading = hs.ReadOptions(target="tags", task="multi_label", separator="|")
    asked = hs.FitOptions(check=False, backbone=network(alike=False), reading=reading, hold_out=0.4)
    model = hs.fit(table, options=asked)
    samples, _ = model.labelled(table, part=None, target=None)
    ours = model.predict(samples)

    def told(flip: float) -> list[dict[str, Any]]:
        """The model's answers, one probability of the first moved to so much below one half, and the label gone."""
        first = ours[0] | {"probabilities": ours[0]["probabilities"] | {"odd": 0.5 - flip}}
        first["labels"] = [label for label in ours[0]["labels"] if label != "odd"]
        return [first, *ours[1:]]

    # The model itself says as much above it.
    raised = [told(-0.0004)[0] | {"labels": sorted({*ours[0]["labels"], "odd"})}, *ours[1:]]
    monkeypatch.setattr(type(model), "predict", lambda *_given, **_more: raised)
    for flip, agreement in ((0.0004, 1.0), (0.2, 1 - 1 / len(ours))):
        theirs = told(flip)
        monkeypatch.setattr(parity, "answers", lambda *_given, theirs=theirs: theirs)
        found = parity.prove(tmp_path, model, samples=samples)
        assert found.agreement == pytest.approx(agreement)
        if agreement == 1.0:
            found.check()
