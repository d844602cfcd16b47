"""The main job on real data with real weights, no option but the data: the floors that plain logistic regression reaches."""

import shutil
from pathlib import Path

import pytest

import headstart as hs
from support.data import shared
from support.weights import need_embedded

FLOORS = [
    ("ants_bees", "image", "accuracy", 0.94, "val"),
    ("trec", "text", "accuracy", 0.89, "test"),
    ("sst2", "text", "accuracy", 0.805, "test"),
    ("spoken_digits", "audio", "accuracy", 0.99, "test"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "modality", "figure", "floor", "part"), FLOORS, ids=[floor[0] for floor in FLOORS])
def test_the_floors_hold_and_evaluate_repeats_them(
    name: str, modality: str, figure: str, floor: float, part: str, tmp_path: Path
) -> None:
    need_embedded(modality)
    data = shared(name)
    model = hs.fit(str(data))
    report = model.report
    assert report.evaluated_on == part
    assert report.metrics[figure].value >= floor
    assert report.metrics[figure].low <= report.metrics[figure].value <= report.metrics[figure].high
    model.save(tmp_path / "model")
    loaded = hs.load(tmp_path / "model")
    separate = next(path for path in (data / part, data / f"{part}.csv") if path.exists())
    again = hs.evaluate(loaded, separate)
    assert again.n == report.n[part]
    for each, estimate in report.metrics.items():
        assert again.metrics[each].value == pytest.approx(estimate.value, abs=1e-6), each


@pytest.mark.slow
def test_a_second_fit_extracts_nothing_and_an_added_file_one(tmp_path: Path) -> None:
    need_embedded("image")
    source = shared("ants_bees") / "train"
    data = tmp_path / "photos with a space"
    for name in ("ants", "bees"):
        (data / name).mkdir(parents=True)
        for path in sorted((source / name).iterdir())[:20]:
            shutil.copyfile(path, data / name / path.name)
    first = hs.fit(data)
    assert (first.report.extracted, first.report.cached) == (40, 0)
    second = hs.fit(data)
    assert (second.report.extracted, second.report.cached) == (0, 40)
    assert second.report.metrics == first.report.metrics
    shutil.copyfile(sorted((source / "ants").iterdir())[30], data / "ants" / "größer.jpg")
    third = hs.fit(data)
    assert (third.report.extracted, third.report.cached) == (1, 40)


@pytest.mark.slow
def test_a_tokenizer_that_does_not_know_the_language_is_a_warning(tmp_path: Path) -> None:
    need_embedded("text")
    lines = (shared("thucnews") / "train.csv").read_text(encoding="utf-8").splitlines()[:600]
    (tmp_path / "titles.csv").write_text("\n".join(lines), encoding="utf-8")
    model = hs.fit(tmp_path / "titles.csv")
    assert any("multilingual" in warning for warning in model.report.warnings)
    english = (shared("sst2") / "train.csv").read_text(encoding="utf-8").splitlines()[:400]
    (tmp_path / "english.csv").write_text("\n".join(english), encoding="utf-8")
    assert not any("multilingual" in warning for warning in hs.fit(tmp_path / "english.csv").report.warnings)
