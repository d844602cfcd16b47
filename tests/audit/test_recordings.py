"""One recording, louder, shifted or at another rate, and other recordings."""

import numpy as np
import pytest
from scipy.signal import resample_poly

from headstart.audit import recordings


def speech(seed: int, n: int = 4000) -> np.ndarray:
    """Noise in the band of a voice that swells and fades: no two alike."""
    rng = np.random.default_rng(seed)
    noise = np.convolve(rng.standard_normal(n + 20), np.hanning(21), "valid")[:n]
    return (noise * (1.2 + np.sin(np.arange(n) / 300 + seed))).astype(np.float32)


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    waves = [one, other]
    seconds = np.array([len(wave) / recordings.RATE for wave in waves])
    return float(recordings.copies(np.array([[0, 1]]), lambda row: waves[row], seconds=seconds)[0])


@pytest.mark.parametrize("gain", [0.1, 3.0, -1.0])
def test_gain_makes_no_difference(gain: float) -> None:
    assert likeness(speech(0), np.float32(gain) * speech(0)) > 0.999


@pytest.mark.parametrize("shift", [1, 37, 400])
def test_silence_before_it_makes_no_difference(shift: int) -> None:
    assert likeness(speech(0), np.concatenate([np.zeros(shift, np.float32), speech(0)])) > 0.99


def test_a_cut_end_is_forgiven_and_a_cut_half_is_not() -> None:
    assert likeness(speech(0), speech(0)[:3900]) > recordings.CORRELATION
    assert likeness(speech(0), speech(0)[:2000]) == 0.0


@pytest.mark.parametrize(("up", "down"), [(441, 320), (2, 1)])
def test_another_rate_and_back_makes_no_difference(up: int, down: int) -> None:
    there_and_back = resample_poly(resample_poly(speech(0), up, down), down, up)
    assert likeness(speech(0), there_and_back.astype(np.float32)) > 0.99


def test_other_recordings_and_silence_are_no_copies() -> None:
    for seed in range(1, 8):
        assert likeness(speech(0), speech(seed)) == 0.0
    time = np.arange(4000) / recordings.RATE
    low, high = (np.sin(2 * np.pi * pitch * time).astype(np.float32) for pitch in (200, 1200))
    assert likeness(low, high) == 0.0
    silence = np.zeros(4000, np.float32)
    assert likeness(silence, silence) == 0.0
    assert likeness(silence, speech(0)) == 0.0
