"""What the budget holds back for the looks that are to come."""

import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from headstart.data.opening import texts_as_samples
from headstart.data.samples import Samples
from headstart.tuning import ladder
from support.tunable import network

FIXED, EACH = 0.03, 0.001


@pytest.mark.parametrize("gain", [1.0, 4.0])
def test_looks_are_reckoned_by_what_grows_with_samples_and_what_does_not(
    monkeypatch: pytest.MonkeyPatch, gain: float
) -> None:
    def rows_of(_state: object, _frozen: object, *, samples: Samples) -> np.ndarray:
        time.sleep(FIXED + EACH * len(samples))
        return np.zeros((len(samples), 1))

    monkeypatch.setattr(ladder, "rows_of", rows_of)
    monkeypatch.setattr(ladder, "seconds_of_auto", lambda _backbone, *, now, seconds: seconds / gain)
    bench: Any = SimpleNamespace(frozen=network(), start=SimpleNamespace(backbone=lambda frozen: frozen))
    samples = texts_as_samples([f"text {i}" for i in range(132)])
    found = ladder._looking(bench, samples, after=1000)
    small, whole = FIXED + 32 * EACH, FIXED + 132 * EACH
    assert found == pytest.approx(ladder._LOOKS * whole + small + 1000 * EACH / gain, rel=0.1)
    few = ladder._looking(bench, samples.take(np.arange(10)), after=0)
    assert few == pytest.approx((ladder._LOOKS + 1) * (FIXED + 10 * EACH), rel=0.1)
