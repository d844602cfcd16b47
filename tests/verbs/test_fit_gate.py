"""The data gate within a fit: near copies stay together, what it finds is kept with the model, and it can be left away."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import headstart as hs
from headstart.core.errors import ModelError
from headstart.features.extraction import extract
from headstart.verbs.fit_data import FitOptions, prepare
from headstart.verbs.fit_gate import open_gate
from headstart.verbs.rows import RowOptions, opened
from support.made import photos, reviews

COPIES = 15
TOY = "toy:image"


def twins(folder: Path) -> Path:
    """40 smooth pictures in two classes, 15 of which are there again as smaller JPEG files."""
    for i in range(40):
        rng = np.random.default_rng(i)
        label = ("left", "right")[i % 2]
        cells = rng.integers(0, 200, (10, 10, 3)).astype(np.uint8)
        cells[:, :5] += 55 if label == "left" else 0
        picture = Image.fromarray(cells).resize((80, 80), Image.Resampling.BICUBIC)
        (folder / label).mkdir(parents=True, exist_ok=True)
        picture.save(folder / label / f"{i}.png")
        if i < COPIES:
            picture.resize((56, 56), Image.Resampling.BILINEAR).save(folder / label / f"{i}.jpg", quality=85)
    return folder


def sides(data: Path, options: FitOptions) -> tuple[Any, dict[str, str]]:
    """The gate of a fit, and the part of each sample."""
    prepared = prepare(data, options)
    extraction = extract(prepared.samples, opened("image", RowOptions(backbone=TOY)))
    gate, prepared = open_gate(prepared, extraction, options=options)
    parts = prepared.samples.table.column("split").to_pylist() if prepared.samples.parts else []
    return gate, dict(zip(prepared.samples.ids, parts, strict=False))


def stem(name: str) -> str:
    return name.rsplit("/", 1)[-1].split(".", maxsplit=1)[0]


def test_near_copies_share_a_fold(tmp_path: Path) -> None:
    gate, _ = sides(twins(tmp_path / "t"), FitOptions())
    together = gate.together(np.ones(len(gate.samples), bool))
    assert together is not None
    numbers: dict[str, set[int]] = {}
    for name, number in zip(gate.samples.ids, together, strict=True):
        numbers.setdefault(stem(name), set()).add(int(number))
    assert sum(len(own) == 1 for own in numbers.values()) == 40
    assert len(set(map(int, together))) == 40


@pytest.mark.parametrize("seed", range(4))
def test_near_copies_lie_on_one_side_of_hold_out(tmp_path: Path, seed: int) -> None:
    data = twins(tmp_path / "t")

    def torn(check: bool) -> int:
        _, parts = sides(data, FitOptions(hold_out=0.3, seed=seed, check=check))
        assert {"train", "test"} == set(parts.values())
        where: dict[str, set[str]] = {}
        for name, part in parts.items():
            where.setdefault(stem(name), set()).add(part)
        return sum(len(own) > 1 for own in where.values())

    assert torn(True) == 0
    assert torn(False) > 0, "without the gate some are torn apart, so that the test can fail"


def test_a_template_of_all_texts_is_still_fitted_and_held_out(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    words = [f"{a}{b}" for a in "abcdefgh" for b in "klmnopqr"]
    lines = [f"please tell me all about the {word} that is {'up' if i % 2 else 'down'},{i % 2}" for i, word in enumerate(words)]  # fmt: skip
    table.write_text("text,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
    report = hs.fit(table, backbone="toy:text", options=FitOptions(hold_out=0.25)).report
    assert report.n["test"] == 16
    assert any(each["kind"] == "leak" for each in report.findings)


@pytest.fixture
def leaky(tmp_path: Path) -> Path:
    data = photos(tmp_path / "photos")
    for i in range(3):
        (data / "val" / "red" / f"copy{i}.png").write_bytes((data / "train" / "red" / f"{i}.png").read_bytes())
    return data


def test_findings_are_reported_saved_and_read_back(leaky: Path, tmp_path: Path) -> None:
    model = hs.fit(leaky, backbone=TOY)
    assert model.report.findings[0]["kind"] == "leak"
    assert model.report.findings[0]["severity"] == "error"
    assert "3 of 27 items of val" in model.report.findings[0]["sentence"]
    assert model.report.seconds["check"] > 0
    assert str(tmp_path) not in json.dumps(model.report.findings)
    model.save(tmp_path / "model")
    assert hs.load(tmp_path / "model").report.findings == model.report.findings


def test_without_the_gate_there_are_no_findings(leaky: Path) -> None:
    assert hs.fit(leaky, backbone=TOY, options=FitOptions(check=False)).report.findings == ()


def test_a_fit_from_stored_rows_finds_and_fits_the_same(leaky: Path, tmp_path: Path) -> None:
    cold, warm = (hs.fit(leaky, backbone=TOY) for _ in range(2))
    assert warm.report.cached > 0
    assert warm.report.findings == cold.report.findings
    cold.save(tmp_path / "cold")
    warm.save(tmp_path / "warm")
    heads = [sorted((tmp_path / name).rglob("*.safetensors")) for name in ("cold", "warm")]
    assert heads[0]
    assert [each.read_bytes() for each in heads[0]] == [each.read_bytes() for each in heads[1]]


@pytest.mark.parametrize(
    "change",
    [
        lambda fit: fit.update(findings={}),
        lambda fit: fit.update(findings=["leak"]),
        lambda fit: fit["findings"][0].update(count="3"),
        lambda fit: fit["findings"][0].update(count=-1),
        lambda fit: fit["findings"][0].update(sentence=None),
        lambda fit: fit["findings"][0].update(more=1),
        lambda fit: fit["findings"][0].pop("kind"),
    ],
    ids=["object", "strings", "text count", "negative", "no sentence", "unknown key", "missing key"],
)
def test_malformed_findings_are_refused(leaky: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    rewritten(leaky, tmp_path / "model", change)
    with pytest.raises(ModelError, match="fit cannot be read: findings hold something else than a fit writes"):
        hs.load(tmp_path / "model")


def test_a_model_from_before_the_gate_loads(leaky: Path, tmp_path: Path) -> None:
    rewritten(leaky, tmp_path / "model", lambda fit: fit.pop("findings"), number=0)
    assert hs.load(tmp_path / "model").report.findings == ()


def rewritten(data: Path, model: Path, change: Callable[[dict[str, Any]], None], *, number: int = 1) -> None:
    """A saved model with its manifest's fit changed, as one of a format."""
    hs.fit(data, backbone=TOY).save(model)
    manifest = json.loads((model / "manifest.json").read_text("utf-8"))
    assert manifest["fit"]["findings"]
    change(manifest["fit"])
    manifest["format"] = number
    (model / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def test_several_labels_and_numbers_are_checked_for_copies(tmp_path: Path) -> None:
    table = reviews(tmp_path / "r.csv")
    lines = table.read_text("utf-8").splitlines()
    numbers = [lines[0], *(f"{line.rsplit(',', 1)[0]},{i / 7}" for i, line in enumerate(lines[1:])), "the same,1.5", "the same,2.5"]  # fmt: skip
    table.write_text("\n".join(numbers) + "\n", encoding="utf-8")
    reading = hs.ReadOptions(task="regression")
    report = hs.fit(table, backbone="toy:text", options=FitOptions(reading=reading)).report
    assert "exact_duplicate" in {each["kind"] for each in report.findings}
    assert "label_error" not in {each["kind"] for each in report.findings}
