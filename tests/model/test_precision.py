"""What another precision changes is measured rightly, and a model that runs at another one than it was fitted at says so."""

import csv
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

import headstart as hs
from headstart.backbones.backbone import Architecture, Backbone, TorchBackbone
from headstart.backbones.choice import open_backbone
from headstart.backbones.precision import Device
from headstart.core.errors import DataError, UsageError
from headstart.core.spec import BackboneSpec
from headstart.data.preparation import Batch, Preparation
from headstart.model.precision import MOST, PrecisionChange, is_change, spread
from support.cache import cache_in
from support.data import shared
from support.made import photos, reviews
from support.networks import save_tiny
from support.weights import need_embedded

TEXTS = ["Who wrote Hamlet ?", "What is the capital of Peru ?", "How many feet are in a mile ?"]
NARROW, PLAIN = Device("cpu", frozenset({"float32", "bfloat16"})), Device("cpu", frozenset({"float32"}))


def units(patch: pytest.MonkeyPatch, device: Device) -> None:
    patch.setattr("headstart.backbones.precision.device", lambda: device)


@dataclass(frozen=True)
class Planted(TorchBackbone):
    """A toy that does something known in bfloat16."""

    toy: Backbone
    harm: str
    precision: str = "float32"

    @property
    def specs(self) -> tuple[BackboneSpec, ...]:  # type: ignore[override]
        return tuple(replace(spec, name=f"planted-{self.harm}", precision=self.precision) for spec in self.toy.specs)

    @property
    def preparation(self) -> Preparation:  # type: ignore[override]
        return self.toy.preparation

    @property
    def architecture(self) -> Architecture:  # type: ignore[override]
        return self.toy.architecture

    def embed(self, batch: Batch) -> tuple[np.ndarray, ...]:
        rows = self.toy.embed(batch)
        if self.precision != "bfloat16" or self.harm == "none":
            return rows
        if self.harm == "raises":
            raise RuntimeError("no kernel for this\nand a long trace")
        if self.harm == "zero":
            return tuple(np.zeros_like(each) for each in rows)
        odd = batch.values.sum(axis=tuple(range(1, batch.values.ndim))) % 2 == 1
        bad = odd if self.harm == "some not finite" else np.ones_like(odd)
        return tuple(np.where(bad[:, None], np.float32(np.nan), each) for each in rows)

    def tensors(self) -> dict[str, np.ndarray]:
        return self.toy.tensors()

    def at(self, precision: str) -> "Planted":
        return replace(self, precision=precision)


def planted(kind: str, harm: str) -> Planted:
    return Planted(open_backbone(f"toy:{kind}"), harm)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor with bfloat16 units."""
    units(monkeypatch, NARROW)


@pytest.mark.usefixtures("narrow")
def test_a_planted_change_is_found_with_its_size(tmp_path: Path) -> None:
    """In bfloat16 all rows are zero, so that all items get one label, which half of them have."""
    model = hs.fit(reviews(tmp_path / "r.csv", n=40), backbone=planted("text", "zero"))
    constant = model.at("bfloat16").predict(["any", "thing"])
    assert constant[0]["probabilities"] == constant[1]["probabilities"]
    fitted = [answer["probabilities"] for answer in model.predict(tmp_path / "r.csv")]
    largest = max(abs(each["good"] - constant[0]["probabilities"]["good"]) for each in fitted)
    change = model.report.precision
    assert change is not None
    assert change == PrecisionChange("float32", "bfloat16", 40, 20, pytest.approx(largest), None)
    assert f"the labels of 20 of 40 training items change, and probabilities by up to {largest:.2g}" in change.sentence
    assert model.report.seconds["precision"] > 0


@pytest.mark.usefixtures("narrow")
def test_where_nothing_changes_the_change_is_zero_whatever_was_left_out_or_evaluated(tmp_path: Path) -> None:
    """Rows and samples that were shifted against each other would show."""
    data = photos(tmp_path / "d", parts=("train", "test"))
    for name in ("blue/1.png", "red/7.png"):
        path = data / "train" / name
        path.write_bytes(path.read_bytes()[:400])
    change = hs.fit(data, backbone=planted("image", "none")).report.precision
    assert change == PrecisionChange("float32", "bfloat16", 22, 0, 0.0, None)
    assert change.sentence.startswith("no label of 22 training items changes")


@pytest.mark.usefixtures("narrow")
def test_of_more_items_than_are_compared_rows_and_samples_stay_together(tmp_path: Path) -> None:
    options = hs.FitOptions(head="ridge")
    change = hs.fit(
        reviews(tmp_path / "r.csv", n=620), backbone=planted("text", "none"), options=options
    ).report.precision
    assert change == PrecisionChange("float32", "bfloat16", MOST, 0, 0.0, None)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(
    ("harm", "note"),
    [
        ("raises", "what bfloat16 would change could not be measured: RuntimeError: no kernel for this"),
        ("all not finite", "in bfloat16 40 of 40 training items give no row"),
    ],
)
def test_a_measurement_that_fails_is_a_note_and_no_end_of_the_fit(harm: str, note: str, tmp_path: Path) -> None:
    report = hs.fit(reviews(tmp_path / "r.csv", n=40), backbone=planted("text", harm)).report
    assert report.precision is None
    assert any(each.startswith(note) for each in report.notes), report.notes
    assert not any("\n" in each for each in report.notes)


@pytest.mark.usefixtures("narrow")
def test_items_without_a_row_at_the_other_precision_are_told_and_the_rest_is_compared(tmp_path: Path) -> None:
    report = hs.fit(reviews(tmp_path / "r.csv", n=40), backbone=planted("text", "some not finite")).report
    assert report.precision is not None
    assert 0 < report.precision.n < 40
    assert (report.precision.labels, report.precision.probability) == (0, 0.0)
    assert any(
        note.startswith(f"in bfloat16 {40 - report.precision.n} of 40 training items give no row")
        for note in report.notes
    )


@pytest.mark.usefixtures("narrow")
def test_several_labels_and_numbers(tmp_path: Path) -> None:
    with (tmp_path / "both.csv").open("w", encoding="utf-8", newline="") as file:
        rows = [(f"item {i} {'laugh' if i % 2 else 'sigh'}", "fun|all" if i % 2 else "all", i % 2 * 40.0) for i in range(40)]  # fmt: skip
        csv.writer(file).writerows([("text", "tags", "price"), *rows])
    for target, task in (("tags", "multi_label"), ("price", "regression")):
        reading = hs.ReadOptions(target=target, separator="|" if target == "tags" else None, task=task)
        model = hs.fit(tmp_path / "both.csv", backbone=planted("text", "zero"), options=hs.FitOptions(reading=reading))
        change = model.report.precision
        assert change is not None
        constant = model.at("bfloat16").predict(["any"])[0]
        answers = model.predict(tmp_path / "both.csv")
        if task == "regression":
            largest = max(abs(each["value"] - constant["value"]) for each in answers)
            assert change == PrecisionChange("float32", "bfloat16", 40, 0, None, pytest.approx(largest))
            assert change.sentence == f"the values of 40 training items change by up to {largest:.3g}"
        else:
            assert change.labels == sum(each["labels"] != constant["labels"] for each in answers) == 20
        assert is_change(change.to_json())


def test_at_most_500_items_are_compared_evenly_spaced() -> None:
    assert spread(0).tolist() == []
    assert spread(3).tolist() == [0, 1, 2]
    assert spread(MOST).tolist() == list(range(500))
    chosen = spread(10_007)
    assert len(chosen) == 500
    assert (chosen[0], chosen[-1]) == (0, 10_007 - 21)
    assert set(np.diff(chosen).tolist()) <= {20, 21}


def test_a_device_without_narrow_units_and_a_backbone_of_one_precision_measure_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = reviews(tmp_path / "r.csv")
    units(monkeypatch, NARROW)
    assert hs.fit(data, backbone="toy:text").report.precision is None
    units(monkeypatch, PLAIN)
    model = hs.fit(data, backbone=planted("text", "zero"))
    assert model.report.precision is None
    assert model.at("bfloat16").warnings == (
        "this model was fitted at float32 and runs at bfloat16: what that changes was not measured",
    )


def test_a_precision_that_cannot_be_had(tmp_path: Path) -> None:
    data = reviews(tmp_path / "r.csv")
    toy = open_backbone("toy:text")
    with pytest.raises(UsageError, match=r"no precision 'bfloat'\. Did you mean 'bfloat16'"):
        hs.fit(data, backbone=toy, options=hs.FitOptions(precision="bfloat"))
    with pytest.raises(
        UsageError, match="toy:text runs in float32 only, and got the precision 'bfloat16': leave it out"
    ):
        hs.fit(data, backbone=toy, options=hs.FitOptions(precision="bfloat16"))
    with pytest.raises(UsageError, match="runs in float32 only"):
        hs.extract(data, backbone=toy, precision="float16")
    model = hs.fit(data, backbone=toy, options=hs.FitOptions(precision="float32"))
    model.save(tmp_path / "model")
    with pytest.raises(UsageError, match="runs in float32 only"):
        hs.load(tmp_path / "model", precision="bfloat16")
    with pytest.raises(UsageError, match="no precision 'fp8'"):
        hs.load(tmp_path / "model", precision="fp8")
    with pytest.raises(UsageError, match="runs in float32 only"):
        hs.predict(model, ["x"], precision="bfloat16")
    assert hs.predict(tmp_path / "model", ["x"], precision="float32") == hs.predict(model, ["x"])


def test_an_engine_that_cannot_be_had(tmp_path: Path, own_cache: Path) -> None:
    data = reviews(tmp_path / "r.csv")
    with pytest.raises(UsageError, match=r"no engine called 'eagr'\. Did you mean 'eager'"):
        hs.fit(data, backbone="toy:text", options=hs.FitOptions(engine="eagr"))
    with pytest.raises(UsageError, match=r"no engine called 'autos'\. Did you mean 'auto'"):
        hs.extract(data, backbone="toy:text", engine="autos")
    with pytest.raises(UsageError, match="the engine openvino cannot be used: it runs networks of torch"):
        hs.fit(data, backbone="toy:text", options=hs.FitOptions(engine="openvino"))
    assert not (own_cache / "features").exists(), "refused before anything is extracted"
    model = hs.fit(data, backbone="toy:text", options=hs.FitOptions(engine="eager"))
    assert model.report.engine == "eager"
    for call in (model.predict, model.evaluate):
        with pytest.raises(UsageError, match="no engine called"):
            call(data, engine="x")
        with pytest.raises(UsageError, match="cannot be used"):
            call(data, engine="openvino")
    assert hs.evaluate(model, data, engine="eager").n == 30


def test_rows_come_at_the_precision_that_is_asked_for(tmp_path: Path) -> None:
    request = hs.BackboneRequest.parse(f"transformers:{save_tiny('bert', tmp_path)}")
    data = reviews(tmp_path / "r.csv")
    opened = open_backbone(request)
    for backbone in (request, opened):
        (rows,) = hs.extract(data, backbone=backbone, precision="bfloat16", engine="eager").features
        assert rows.spec.precision == "bfloat16"
        assert hs.extract(data, backbone=backbone, precision="bfloat16").engine == "none", "stored under one key"
    (plain,) = hs.extract(data, backbone=request).features
    assert plain.spec == opened.specs[0]
    assert 0 < np.abs(plain.values - rows.values).max() < 0.1


def test_a_model_saved_by_reference_keeps_its_precision_on_another_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_embedded("text")
    units(monkeypatch, NARROW)
    data = reviews(tmp_path / "r.csv")
    options = hs.FitOptions(precision="float32")
    hs.fit(data, backbone="embedded:minilm-l6", options=options).save(tmp_path / "wide", by_reference=True)
    hs.fit(data, backbone="embedded:minilm-l6").save(tmp_path / "narrow", by_reference=True)
    assert not (tmp_path / "narrow" / "backbone.safetensors").exists()
    for device, runs in ((NARROW, "bfloat16"), (PLAIN, "float32")):
        units(monkeypatch, device)
        wide, narrow = hs.load(tmp_path / "wide"), hs.load(tmp_path / "narrow")
        assert (wide.precision, wide.fitted_precision, wide.warnings) == ("float32", "float32", ())
        assert (narrow.precision, narrow.fitted_precision) == (runs, "bfloat16")
        assert len(narrow.warnings) == (runs != "bfloat16")


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path, hs.Model]]:
    """300 real questions, a feature store, and the model of the default backbone on a processor with bfloat16 units."""
    need_embedded("text")
    folder = tmp_path_factory.mktemp("questions")
    with (shared("trec") / "train.csv").open(encoding="utf-8", newline="") as file:
        lines = list(itertools.islice(csv.reader(file), 301))
    with (folder / "trec.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(lines)
    with cache_in(folder / "cache"), pytest.MonkeyPatch.context() as patch:
        units(patch, NARROW)
        model = hs.fit(folder / "trec.csv", backbone="embedded:minilm-l6")
        model.save(folder / "model")
        yield folder / "trec.csv", folder, model


@pytest.mark.usefixtures("narrow")
def test_real_questions_cost_little_in_bfloat16_and_the_card_states_it(
    questions: tuple[Path, Path, hs.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, folder, model = questions
    change = model.report.precision
    assert change is not None
    assert (model.precision, change.fitted, change.other, change.n) == ("bfloat16", "bfloat16", "float32", 300)
    assert change.labels <= 9
    assert change.probability is not None
    assert 0 < change.probability < 0.2
    there = model.at("float32").predict(data)
    ours = model.predict(data)
    assert change.labels == sum(a["label"] != b["label"] for a, b in zip(ours, there, strict=True))
    by_hand = max(abs(a["probabilities"][k] - b["probabilities"][k]) for a, b in zip(ours, there, strict=True) for k in model.labels)  # fmt: skip
    # Batches of other sizes sum in another order, which in bfloat16 shows.
    assert change.probability == pytest.approx(by_hand, abs=0.02)
    card = (folder / "model" / "README.md").read_text(encoding="utf-8")
    assert f"* Precision: bfloat16. In float32 {change.sentence}" in card
    monkeypatch.setenv("HEADSTART_CACHE", str(folder / "cache"))
    stages = []
    again = hs.fit(data, backbone="embedded:minilm-l6", progress=lambda stage, *_: stages.append(stage))
    assert (again.report.engine, again.report.extracted, again.report.precision) == ("none", 0, change)
    assert not {"extract", "comparing precisions"} & set(stages), "a second fit runs the backbone for nothing"
    assert again.report.seconds["precision"] < 1


def test_on_a_device_without_the_units_it_runs_in_float32_and_says_so(
    questions: tuple[Path, Path, hs.Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, folder, fitted = questions
    change = fitted.report.precision
    assert change is not None
    units(monkeypatch, NARROW)
    assert hs.load(folder / "model").warnings == ()
    assert hs.load(folder / "model").precision == "bfloat16"
    units(monkeypatch, PLAIN)
    model = hs.load(folder / "model")
    assert (model.precision, model.fitted_precision) == ("float32", "bfloat16")
    sentence = f"this model was fitted at bfloat16 and runs at float32: {change.sentence}"
    assert model.warnings == (sentence,)
    assert sentence in model.evaluate(data).warnings
    assert model.predict(TEXTS) == fitted.at("float32").predict(TEXTS)
    rows = hs.extract(data, backbone=model.backbone).features
    assert model.probabilities(rows).shape == (300, len(model.labels))
    with pytest.raises(DataError, match=r"minilm-l6 in bfloat16, and got rows of .* in float32 made another way"):
        fitted.probabilities(rows)
    model.save(tmp_path / "again")
    before, after = (
        json.loads((each / "manifest.json").read_text(encoding="utf-8"))
        for each in (folder / "model", tmp_path / "again")
    )
    assert before["backbone"] == after["backbone"]
    assert before["fit"] == after["fit"]
    assert hs.load(tmp_path / "again").warnings == (sentence,)


@pytest.mark.usefixtures("narrow")
def test_asked_for_another_precision_it_says_what_was_measured_or_that_nothing_was(
    questions: tuple[Path, Path, hs.Model],
) -> None:
    _, folder, fitted = questions
    assert fitted.report.precision is not None
    asked = hs.load(folder / "model", precision="float32")
    assert asked.precision == "float32"
    assert fitted.report.precision.sentence in asked.warnings[0]
    half = asked.at("float16")
    assert half.warnings == (
        "this model was fitted at bfloat16 and runs at float16: what that changes was not measured",
    )
    assert half.at("bfloat16").warnings == ()
    assert hs.predict(folder / "model", TEXTS, precision="float32") == asked.predict(TEXTS)
    plain = hs.predict(fitted, TEXTS, precision="float32", engine="eager")
    assert [answer["label"] for answer in plain] == [answer["label"] for answer in asked.predict(TEXTS)]


def test_fitted_in_float32_the_price_of_bfloat16_is_measured_where_the_device_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = hs.BackboneRequest.parse(f"transformers:{save_tiny('bert', tmp_path)}")
    data = tmp_path / "animals.csv"  # in words that the tiny tokenizer knows
    with data.open("w", encoding="utf-8", newline="") as file:
        pairs = itertools.product(("big", "small", "the"), ("runs", "sleeps", "on", "mat", "!"), ("dog", "cat"))
        csv.writer(file).writerows([("text", "label"), *((f"{a} {c} {b}", c) for a, b, c in pairs)])
    units(monkeypatch, NARROW)
    change = hs.fit(data, backbone=request).report.precision
    assert change is not None
    assert (change.fitted, change.other, change.n) == ("float32", "bfloat16", 30)
    assert change.probability is not None
    assert 0 < change.probability < 1
    wide = hs.fit(data, backbone=request, options=hs.FitOptions(precision="bfloat16"))
    assert (wide.precision, wide.fitted_precision) == ("bfloat16", "bfloat16")
    assert wide.report.precision is not None
    assert wide.report.precision.other == "float32"
    opened = hs.fit(data, backbone=open_backbone(request), options=hs.FitOptions(precision="bfloat16"))
    assert opened.report.precision == wide.report.precision
    assert opened.report.engine == "none", "the same key, however it was asked for"
    units(monkeypatch, PLAIN)
    assert hs.fit(data, backbone=request).report.precision is None


@pytest.mark.parametrize(
    "change",
    [
        {"fitted": "float8"},
        {"other": "bfloat16"},
        {"other": None},
        {"n": 0, "labels": 0},
        {"n": 2.0},
        {"labels": 501},
        {"labels": -1},
        {"labels": True},
        {"probability": 1.5},
        {"probability": -0.1},
        {"probability": None},
        {"probability": "0"},
        {"value": 0.1},
        {"probability": None, "value": 0.1},
        {"probability": None, "value": -0.1, "labels": 0},
        {"more": 1},
    ],
)
def test_values_that_no_fit_writes(change: dict[str, object]) -> None:
    good = PrecisionChange("bfloat16", "float32", 500, 3, 0.021, None).to_json()
    assert is_change(good)
    assert not is_change({**good, **change})
    assert not is_change(None)
    assert not is_change({key: value for key, value in good.items() if key != "n"})
    assert is_change({**good, "labels": 0, "probability": None, "value": 12.5})
