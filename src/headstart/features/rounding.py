"""How a row is kept: as float16 where that loses next to nothing, else as float32. The rule looks at one row alone."""

import numpy as np
from jaxtyping import Bool, Float

# Largest magnitude that is kept as float16: below its maximum of 65,504, so that no rounding can reach infinity.
_LARGEST = 6.0e4
# Largest relative error of a row, in Euclidean norm, that rounding to float16 may cause. Half a unit in the last place is 4.9e-4 of a
# value of ordinary size; rows of tiny values, which float16 keeps with fewer digits, exceed the bound and stay float32.
_RELATIVE_ERROR = 5.0e-4


def fits_half(rows: Float[np.ndarray, "n d"]) -> Bool[np.ndarray, "n"]:
    """Which rows are kept as float16: finite ones of moderate size whose rounding error is under 0.05 % of their norm."""
    moderate = np.abs(rows).max(axis=1, initial=0.0) < _LARGEST
    with np.errstate(over="ignore"):
        error = np.linalg.norm(rows - rows.astype(np.float16).astype(np.float32), axis=1)
    return np.asarray(moderate & (error <= _RELATIVE_ERROR * np.linalg.norm(rows, axis=1)))


def as_stored(rows: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """Rows as the feature store would hand them back: rounded to float16 and widened again where the store keeps float16.

    Every path that scores a row goes through here or through the store, so that a cache hit equals a miss.
    """
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    half = fits_half(rows)
    with np.errstate(over="ignore"):
        rounded = rows.astype(np.float16).astype(np.float32)
    return np.where(half[:, None], rounded, rows)
