"""When two answers count as the same."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import headstart as hs
from headstart.core.errors import ExportError
from headstart.exporting import parity
from headstart.exporting.directory import difference_of
from headstart.exporting.parity import alike, answers
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


@pytest.fixture
def seen(tmp_path: Path) -> hs.Samples:
    return hs.read(photos(tmp_path / "photos", n=2, parts=("",)))


# It reads what is there, and writes to standard error as decoders do, in no encoding at all.
PROGRAM = """
import json, pathlib, sys
sys.stderr.buffer.write(b"\\xff of a decoder\\n")
for line in open(sys.argv[2], encoding="utf-8"):
    name = json.loads(line)
    print(json.dumps({"value": 1.0} if pathlib.Path(name).is_file() else {"error": "No such file"}))
sys.exit(3)
"""


def test_a_file_that_is_gone_is_one_that_neither_can_read(seen: hs.Samples, tmp_path: Path) -> None:
    (tmp_path / "predict.py").write_text(PROGRAM, encoding="utf-8")
    assert ["error" in each for each in answers(tmp_path, seen)] == [False] * 4
    Path(seen.path(2)).unlink()
    assert ["error" in each for each in answers(tmp_path, seen)] == [False, False, True, False]


def test_nothing_is_proved_on_no_sample(seen: hs.Samples, tmp_path: Path) -> None:
    model: Any = SimpleNamespace()
    with pytest.raises(ExportError, match="there is no sample to prove the export on"):
        parity.prove(tmp_path, model, samples=seen.take(np.arange(0)))


def test_what_the_precision_of_the_fit_cannot_answer_is_not_compared_in_it(seen: hs.Samples) -> None:
    exact: list[dict[str, Any]] = [{"label": "red"}, {"error": "is damaged"}]

    def fitted(*own: dict[str, Any]) -> Any:
        narrow = SimpleNamespace(predict=lambda *_given, **_more: list(own))
        return SimpleNamespace(fitted_precision="bfloat16", backbone=None, at=lambda _precision: narrow)

    def silent(*_told: Any) -> None:
        """Nothing is shown."""

    good = [{"label": "blue"}, {"error": "is damaged"}]
    assert parity._as_fitted(fitted(*good), seen, exact, silent) == (good, "bfloat16")
    bad = fitted({"error": "gave a row that is not finite"}, {"error": "is damaged"})
    assert parity._as_fitted(bad, seen, exact, silent) == (exact, "float32")


@pytest.mark.parametrize("row", [0, 1])
def test_rows_that_are_no_numbers_are_not_the_networks(row: int) -> None:
    rows = np.ones((2, 3))
    spoilt = rows.copy()
    spoilt[row] = np.nan
    probes = SimpleNamespace(probes=lambda _n, _seed: None)
    exact = SimpleNamespace(preparation=probes, embed=lambda _batch: (rows,))
    model: Any = SimpleNamespace(at=lambda _precision: SimpleNamespace(backbone=exact), predicted=lambda _rows: rows)
    session = SimpleNamespace(run=lambda _given, _names: (rows,))

    def opened(found: np.ndarray) -> Any:
        return SimpleNamespace(embed=lambda _batch: (found,), given=lambda batch: batch, session=session)

    assert difference_of(model, opened(rows)) == 0.0
    with pytest.raises(ExportError, match="gives other rows than the network"):
        difference_of(model, opened(spoilt))
