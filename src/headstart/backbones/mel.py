"""Mel filter banks, as Whisper (Slaney's scale, unit area) and Kaldi (triangles in mel space) use them."""

import numpy as np
from jaxtyping import Float

# Slaney's scale is linear below 1 kHz (15 mel) and logarithmic above, 27 steps to 6.4 times the frequency.
_BREAK_HERTZ, _BREAK_MEL, _STEP = 1000.0, 15.0, np.log(6.4) / 27.0


def slaney(*, bins: int, bands: int, rate: int) -> Float[np.ndarray, "bands bins"]:
    """Triangles of unit area, equally spaced on Slaney's mel scale from 0 Hz to half the rate.

    Source: M. Slaney, Auditory Toolbox, 1998; what Whisper's own `mel_filters.npz` holds.

    Args:
        bins: frequencies of the spectrum, from 0 to half the rate.
        bands: mel bands.
        rate: samples a second.
    """
    top = _to_slaney(rate / 2)
    edges = _from_slaney(np.linspace(0.0, top, bands + 2))
    filters = _triangles(np.linspace(0.0, rate / 2, bins), edges)
    return np.asarray(filters * (2.0 / (edges[2:] - edges[:-2]))[:, None], dtype=np.float32)


def kaldi(*, bins: int, bands: int, rate: int, low: float = 20.0) -> Float[np.ndarray, "bands bins"]:
    """Triangles of unit height, straight in mel space, from `low` Hz to half the rate: Kaldi's `compute-fbank-feats`."""
    frequencies = _to_kaldi(np.arange(bins) * rate / (2 * (bins - 1)))
    ends = _to_kaldi(np.array([low, rate / 2]))
    return np.asarray(_triangles(frequencies, np.linspace(ends[0], ends[1], bands + 2)), dtype=np.float32)


def _triangles(points: np.ndarray, edges: np.ndarray) -> np.ndarray:
    rising = (points - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - points) / (edges[2:] - edges[1:-1])[:, None]
    return np.asarray(np.maximum(0.0, np.minimum(rising, falling)))


def _to_slaney(hertz: float) -> float:
    if hertz < _BREAK_HERTZ:
        return hertz * _BREAK_MEL / _BREAK_HERTZ
    return float(_BREAK_MEL + np.log(hertz / _BREAK_HERTZ) / _STEP)


def _from_slaney(mel: np.ndarray) -> np.ndarray:
    linear = mel * _BREAK_HERTZ / _BREAK_MEL
    return np.where(mel < _BREAK_MEL, linear, _BREAK_HERTZ * np.exp(_STEP * (mel - _BREAK_MEL)))


def _to_kaldi(hertz: np.ndarray) -> np.ndarray:
    return np.asarray(1127.0 * np.log(1.0 + hertz / 700.0))
