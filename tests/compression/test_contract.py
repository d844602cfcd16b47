"""What a compressed model may lose, and which one is kept."""

from dataclasses import replace

import numpy as np
import pytest

from headstart.compression import METHODS
from headstart.compression.contract import Contract, Measured, chosen, front, verdict
from headstart.compression.matching import matched
from headstart.evaluation.calibration import probabilities

PLAIN = Measured("", "", 0.9, 0.88, 0.92, 0.0, 0.0, 100.0, 4, 0.01, 0.02, 1000, 2.0, None)
RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("drop", "error", "kept"),
    [
        (0.004, 0.0, True),
        (0.005, 0.0, True),
        (0.0051, 0.0, False),
        (0.0051, 0.006, True),
        (0.0061, 0.006, False),
        (-0.1, 0.0, True),
    ],
)
def test_half_a_point_or_one_standard_error_may_be_lost(drop: float, error: float, kept: bool) -> None:
    said = verdict(replace(PLAIN, drop=drop, error=error), Contract())
    assert (said == "") is kept
    assert kept or said.startswith("it loses 0.")


def test_what_is_not_faster_is_refused() -> None:
    assert (
        verdict(replace(PLAIN, speedup=1.19), Contract())
        == "it is 1.19 times as fast as float32, and 1.2 times is asked for"
    )
    assert verdict(replace(PLAIN, speedup=1.2), Contract()) == ""
    assert verdict(replace(PLAIN, speedup=1.9), Contract(min_speedup=2.0)).startswith("it is 1.90 times")


def test_the_fastest_that_keeps_the_contract_is_chosen() -> None:
    table = [
        replace(PLAIN, throughput=50.0, refused="it is what has to be beaten"),
        replace(PLAIN, throughput=300.0, refused="it loses 2.00 points, and 0.50 are allowed"),
        replace(PLAIN, throughput=120.0),
        replace(PLAIN, throughput=200.0),
    ]
    assert chosen(table) == 3
    assert chosen(table[:2]) is None


def test_the_front_is_what_nothing_is_better_than() -> None:
    table = [
        replace(PLAIN, figure=0.9, throughput=100.0, bytes=100),
        replace(PLAIN, figure=0.9, throughput=90.0, bytes=100),
        replace(PLAIN, figure=0.8, throughput=90.0, bytes=50),
        replace(PLAIN, figure=0.8, throughput=90.0, bytes=50),
    ]
    assert front(table) == (True, False, True, True)


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_the_temperature_is_that_of_the_known_probabilities(link: str) -> None:
    scores = RNG.normal(size=(200, 3)) * 4
    known = probabilities(scores, temperature=1.5, link=link)
    assert matched(2.0 * scores, known, temperature=1.5, link=link) == pytest.approx(3.0, rel=1e-3)
    assert matched(0.5 * scores, known, temperature=1.5, link=link) == pytest.approx(0.75, rel=1e-3)
    noisy = 2.0 * scores + RNG.normal(size=scores.shape)
    assert 2.0 < matched(noisy, known, temperature=1.5, link=link) < 5.0


def test_values_have_no_temperature() -> None:
    assert matched(np.ones((3, 1)), np.ones((3, 1)), temperature=1.0, link="identity") == 1.0


def test_listing_the_methods_imports_none() -> None:
    assert set(METHODS.names()) >= {"half", "int8", "depth"}
    assert all(METHODS.catalogue().values())
