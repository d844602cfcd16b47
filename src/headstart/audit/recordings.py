"""Whether two recordings are one, also louder, at another rate or shifted: the peak of the cross-correlation of their waveforms."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

RATE = 4000
"""Samples a second at which waveforms are compared, Hz: what any recording of speech has."""
CORRELATION = 0.95
"""The peak from which two recordings are one."""

_LENGTHS = 0.8


def copies(
    pairs: Int[np.ndarray, "m 2"], wave: Callable[[int], Float[np.ndarray, "s"]], *, seconds: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "m"]:
    """The peak of the normalised cross-correlation of each pair, which no gain changes; 0 below `CORRELATION`.

    Pairs whose lengths differ by more than a fifth are no copies.

    Args:
        pairs: positions of two recordings each.
        wave: the waveform of a recording by its position, at `RATE`.
        seconds: the length of each.
    """
    found = np.zeros(len(pairs))
    lengths = np.sort(np.maximum(seconds[pairs], 1e-9), axis=1)
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    for row in order[lengths[order, 0] >= _LENGTHS * lengths[order, 1]]:
        peak = correlation(wave(int(pairs[row, 0])), wave(int(pairs[row, 1])))
        found[row] = peak if peak >= CORRELATION else 0.0
    return found


def correlation(a: Float[np.ndarray, "s"], b: Float[np.ndarray, "t"]) -> float:
    """The largest normalised cross-correlation over all shifts, by the fast Fourier transform."""
    from scipy.fft import irfft, next_fast_len, rfft

    size = next_fast_len(len(a) + len(b), real=True)
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    if norm <= 0:
        return 0.0
    return float(np.abs(irfft(rfft(a, size) * np.conj(rfft(b, size)), size)).max() / norm)
