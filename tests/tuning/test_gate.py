"""The gate ships what is better, and seldom what is not."""

import numpy as np

from headstart.tuning.gate import decide

SETS, CANDIDATES, HALF = 200, 24, 150


def shipped(*, honest: bool) -> float:
    """The share of sets of candidates, none better than the frozen model, of which the best one is shipped."""
    rng = np.random.default_rng(0)
    passed = 0
    for _ in range(SETS):
        # Frozen and tuned models err on largely the same items, as they do.
        hard = rng.random(2 * HALF) < 0.15
        frozen = ~(hard ^ (rng.random(2 * HALF) < 0.05))
        tuned = ~(hard[None] ^ (rng.random((CANDIDATES, 2 * HALF)) < 0.05))
        best = tuned[tuned[:, :HALF].mean(axis=1).argmax()]
        rows = slice(HALF, None) if honest else slice(None, HALF)
        passed += decide(frozen[rows].astype(float), best[rows].astype(float)).passed
    return passed / SETS


def test_of_candidates_that_are_no_better_few_are_shipped() -> None:
    assert shipped(honest=True) <= 0.2


def test_chosen_and_gated_on_the_same_rows_most_would_be() -> None:
    assert shipped(honest=False) >= 0.5


def test_what_is_better_passes() -> None:
    frozen = np.repeat([1.0, 0.0], [80, 20])
    tuned = np.repeat([1.0, 0.0], [90, 10])
    assert decide(frozen, tuned).passed
    assert not decide(tuned, frozen).passed
    assert not decide(frozen, frozen).passed
    assert not decide(frozen[:1], tuned[:1]).passed


def test_one_standard_error_is_the_bar() -> None:
    frozen = np.zeros(100)
    one = np.zeros(100)
    one[:1] = 1.0
    gate = decide(frozen, one)
    assert gate.difference == 0.01
    assert not gate.passed, "one item of a hundred is exactly one standard error"
    one[:2] = 1.0
    assert decide(frozen, one).passed
