"""`curve`: will more data help?"""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import headstart as hs
from headstart.core.errors import FitError, UsageError
from headstart.evaluation.intervals import Estimate
from headstart.evaluation.learning_curve import Extrapolation, PowerLaw
from headstart.verbs.curve import CurveOptions, _sentence, curve
from support.made import photos, reviews

TOY = CurveOptions(backbone="toy:text", points=6)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 texts whose class is told by many weak hints, so that more labels help."""
    path = tmp_path_factory.mktemp("texts") / "texts.csv"
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrst"))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "group"])
        for i in range(240):
            tilt = np.where(np.arange(20) < 10, 1.0, 1.6 if i % 2 else 1.0 / 1.6)
            text = "".join(rng.choice(letters, 60, p=tilt / tilt.sum()))
            writer.writerow([f"{text} {i}", ("up", "down")[i % 2], f"g{i // 8}"])
    return path


def test_more_labels_help_and_the_curve_says_how_much(texts: Path) -> None:
    found = curve(texts, options=replace(TOY, hold_out=0.4))
    assert found.metric == "accuracy"
    assert (found.head, found.scored_on, found.scored, found.n) == ("lda", "test", 96, 144)
    assert [point.n for point in found.points] == sorted(point.n for point in found.points)
    assert found.points[-1].n == 144
    assert found.points[-1].value > found.points[0].value
    assert all(0 <= point.low <= point.value <= point.high <= 1 for point in (*found.points, *found.forecast))
    assert [point.n for point in found.forecast] == [288, 576]
    assert found.fitted is not None
    assert found.forecast[0].value == pytest.approx(found.fitted["a"] - found.fitted["b"] * 288 ** -found.fitted["c"])
    assert [point.n for point in found.band] == sorted({point.n for point in found.band})
    assert "twice the labels (288)" in found.sentence


def test_without_a_part_to_score_on_it_is_out_of_fold_and_keeps_groups_together(texts: Path) -> None:
    reading = hs.ReadOptions(group="group")
    found = curve(texts, options=replace(TOY, reading=reading, metric="log_loss"))
    assert (found.scored_on, found.scored, found.n) == ("train, out of fold", 240, 240)
    assert found.points[-1].n == 192
    assert found.fitted is not None
    assert found.fitted["b"] <= 0
    assert found.points[-1].value < found.points[0].value


def test_the_last_point_is_what_the_same_head_comes_to_in_a_fit(texts: Path) -> None:
    found = curve(texts, options=replace(TOY, hold_out=0.4))
    fitted = hs.fit(texts, backbone="toy:text", options=hs.FitOptions(head="lda", hold_out=0.4))
    assert found.points[-1].value == pytest.approx(fitted.report.metrics["accuracy"].value)


def test_numbers_and_several_labels_have_curves_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    texts = [f"{'a' * int(rng.integers(1, 30))} {'b' * int(rng.integers(1, 30))} {i}" for i in range(90)]
    with (tmp_path / "numbers.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text", "price"], *[[text, text.count("a") + 0.5] for text in texts]])
    numbers = hs.ReadOptions(target="price", task="regression")
    found = curve(tmp_path / "numbers.csv", options=replace(TOY, reading=numbers))
    assert (found.metric, found.head) == ("mae", "ridge")
    tags = [["many" if text.count("a") > 15 else "few", "long"][: 1 + (len(text) > 30)] for text in texts]
    samples = hs.read(tmp_path / "numbers.csv", options=numbers).with_column("target", pa.array(tags))
    assert curve(samples, options=TOY).metric == "map"


@pytest.mark.parametrize(
    ("gain", "start"),
    [
        (Estimate(0.012, 0.004, 0.02), "yes: twice the labels (200) would change accuracy by +1.2 points [+0.4, +2.0]"),
        (Estimate(0.001, 0.0, 0.002), "hardly, the curve is flat: twice the labels (200)"),
        (Estimate(0.02, -0.01, 0.04), "perhaps: twice the labels (200)"),
    ],
)
def test_the_sentence_goes_by_the_interval(gain: Estimate, start: str) -> None:
    found = Extrapolation(PowerLaw(0.9, 1.0, 0.5), (gain, gain), (gain, gain))
    assert _sentence("accuracy", found, 100, now=0.9).startswith(start)


def test_a_falling_loss_is_a_gain() -> None:
    gain = Estimate(-0.2, -0.3, -0.1)
    found = Extrapolation(PowerLaw(0.1, -1.0, 0.5), (gain, gain), (gain, gain))
    assert _sentence("log_loss", found, 100, now=0.5).startswith(
        "yes: twice the labels (200) would change log-loss by -0.2"
    )


def test_what_no_curve_can_be_drawn_of_is_one_sentence(tmp_path: Path) -> None:
    few = reviews(tmp_path / "few.csv", n=12)
    with pytest.raises(FitError, match="needs at least 20 training samples, and there are 12: label more first"):
        curve(few, options=TOY)
    with pytest.raises(UsageError, match=r"has no metric 'acuracy' to follow. Did you mean 'accuracy'"):
        curve(reviews(tmp_path / "many.csv", n=60), options=replace(TOY, metric="acuracy"))
    with pytest.raises(hs.DataError, match="takes text input, and the data holds image"):
        curve(photos(tmp_path / "photos"), options=TOY)


def test_the_command_shows_the_curve_and_the_answer(texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from headstart.cli.main import main

    arguments = ["curve", str(texts), "--backbone", "toy:text", "--hold-out", "0.4", "--points", "6", "--quiet"]
    assert main(arguments) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Will more data help?" in shown
    assert "forecast" in shown
