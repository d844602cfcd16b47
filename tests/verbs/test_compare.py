"""`compare`: two models on the same samples, none of which either was fitted on."""

import csv
from pathlib import Path

import numpy as np
import pytest

import headstart as hs
from headstart.core.errors import UsageError
from support.data import shared
from support.made import reviews
from support.weights import need_embedded


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of thirty reviews, half of which the fits below set aside."""
    return reviews(tmp_path_factory.mktemp("reviews") / "reviews.csv")


def fitted(data: Path, head: str = "auto") -> hs.Model:
    return hs.fit(data, backbone="toy:text", options=hs.FitOptions(head=head, hold_out=0.5))


def test_a_model_beside_itself_cannot_be_told_apart(data: Path) -> None:
    model = fitted(data)
    found = hs.compare(model, model, data=data)
    assert {name: each.difference.value for name, each in found.figures.items()} == {"accuracy": 0.0, "log_loss": 0.0}
    assert found.verdict.startswith("A and B cannot be told apart: accuracy ")
    assert found.n + found.left_out == 30
    assert found.left_out == model.report.n["train"]
    assert not found.in_sample


def test_the_figures_are_those_of_evaluate(data: Path) -> None:
    a, b = fitted(data, "prototype"), fitted(data, "ridge(penalty=1000.0)")
    found = hs.compare(a, b, data=data)
    for model, side in ((a, "a"), (b, "b")):
        evaluated = hs.evaluate(model, data)
        assert evaluated.n == found.n
        for name, each in found.figures.items():
            assert getattr(each, side) == pytest.approx(evaluated.metrics[name].value)


def test_what_either_was_fitted_on_is_left_out(data: Path, tmp_path: Path) -> None:
    half = fitted(data)
    whole = hs.fit(data, backbone="toy:text")
    found = hs.compare(half, whole, data=data)
    assert found.in_sample
    assert found.verdict.startswith("no evidence: the models were fitted on all of these samples")
    more = tmp_path / "more.csv"
    rows = list(csv.reader(data.read_text(encoding="utf-8").splitlines()))
    with more.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([*rows, *[[*(f"{cell} indeed" for cell in row[:-1]), row[-1]] for row in rows[1:5]]])
    found = hs.compare(half, whole, data=more)
    assert (found.n, found.left_out, found.in_sample) == (4, 30, False)


def test_the_screen_explains_its_numbers(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from headstart.cli.main import main

    folder = str(fitted(data).save(tmp_path / "mein modell ä"))
    assert main(["compare", folder, folder, str(data), "--quiet"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "p: how often chance alone gives so large a difference" in shown
    assert "cannot be told apart: accuracy" in shown


def test_models_that_cannot_be_compared_are_refused(data: Path, tmp_path: Path) -> None:
    model = fitted(data)
    text = data.read_text(encoding="utf-8").replace("good", "fine")
    (tmp_path / "other.csv").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="of the same labels were expected, and only one of these knows fine, good"):
        hs.compare(model, fitted(tmp_path / "other.csv"), data=data)
    numbers = tmp_path / "numbers.csv"
    with numbers.open("w", encoding="utf-8", newline="") as file:
        rng = np.random.default_rng(0)
        csv.writer(file).writerows([["text", "score"], *[[f"word {i}", f"{rng.normal():.4f}"] for i in range(20)]])
    with pytest.raises(UsageError, match="of the tasks single_label and regression"):
        hs.compare(model, hs.fit(numbers, target="score", backbone="toy:text"), data=data)


def test_a_worse_model_is_told_from_a_better_one_on_real_data() -> None:
    need_embedded("text")
    source = shared("trec")
    good = hs.fit(source)
    poor = hs.fit(source, options=hs.FitOptions(head="prototype"))
    found = hs.compare(good, poor, data=source)
    assert found.part == "test"
    assert found.figures["accuracy"].better == found.figures["log_loss"].better == "a"
    assert found.verdict.startswith("A is better than B: accuracy 0.9")
    assert good.report.metrics["accuracy"].value == pytest.approx(found.figures["accuracy"].a)
