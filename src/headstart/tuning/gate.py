"""The gate: tuned weights are shipped only where they beat the frozen model on samples that had no part in choosing them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

# One item more of any number is one standard error exactly, and no more.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Gate:
    """What the gate saw.

    Attributes:
        n: samples that it looked at.
        frozen: the mean of the frozen model's figure on them; higher is better.
        tuned: of the tuned one.
        difference: tuned less frozen.
        error: the standard error of the paired difference.
    """

    n: int
    frozen: float
    tuned: float
    difference: float
    error: float

    @property
    def passed(self) -> bool:
        """Whether the tuned model is better by more than one standard error."""
        return bool(self.n > 1 and self.difference > self.error * (1 + _ROUNDING) and self.difference > 0)


def decide(frozen: Float[np.ndarray, "n"], tuned: Float[np.ndarray, "n"]) -> Gate:
    """Compare two models sample by sample.

    Args:
        frozen: what each sample adds to the figure of the frozen model, fitted on the training samples of the tuned one; higher is better.
        tuned: of the tuned one. Nothing about it may have been chosen on these samples.
    """
    each = np.asarray(tuned, dtype=np.float64) - np.asarray(frozen, dtype=np.float64)
    n = len(each)
    error = float(each.std(ddof=1) / np.sqrt(n)) if n > 1 else float("inf")
    return Gate(n, float(np.mean(frozen)), float(np.mean(tuned)), float(each.mean()), error)
