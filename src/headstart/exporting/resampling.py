"""The filters by which an export resamples recordings: those of soxr, read off from what it makes of single impulses.

A resampler by a ratio of whole numbers is linear, and the same after every `down` samples: sample m of what it makes is the sum over k of
x[k] h[m down - k up]. So its answers to one impulse at each of `down` places hold every h, and NumPy alone can do as it does.
"""

import math
from io import BytesIO
from typing import Any

import numpy as np
from jaxtyping import Float

RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 96000)
"""Those of nearly all recordings, in Hz."""

# Of full scale: smaller coefficients are below the rounding of 16 bits, all of them together as well.
_SMALL = 1e-8


def filters(rate: int) -> bytes:
    """A `.npz` with the filter from each usual rate to this one, (up, taps) float32, by the other rate's name."""
    held = BytesIO()
    made: dict[str, Any] = {str(each): _taps(each, rate) for each in RATES if each != rate}
    np.savez_compressed(held, **made)
    return held.getvalue()


def _taps(source: int, target: int) -> Float[np.ndarray, "up taps"]:
    """For each phase the weights of the samples around the one that it begins from."""
    import soxr

    common = math.gcd(source, target)
    up, down = target // common, source // common
    reach = 256 * math.ceil(max(1.0, source / target))
    half = 4 * reach
    taps = np.zeros((up, 2 * half + 1))
    for place in range(down):
        sound = np.zeros(4 * half + 2 * down, np.float64)
        at = 2 * half + place
        sound[at] = 1.0
        made = soxr.resample(sound, source, target, quality="HQ")
        for m in np.flatnonzero(np.abs(made) > _SMALL):
            begin, phase = divmod(int(m) * down, up)
            if abs(at - begin) <= half:
                taps[phase, at - begin + half] = made[m]
    used = np.flatnonzero(np.abs(taps).max(axis=0) > _SMALL)
    kept = max(half - int(used[0]), int(used[-1]) - half) if len(used) else 0
    return taps[:, half - kept : half + kept + 1].astype(np.float32)
