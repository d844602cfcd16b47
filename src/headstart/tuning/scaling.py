"""The unit of values: a network learns them at mean 0 and spread 1, whatever they are measured in.

Rates, clipping and float32 suit numbers of that size. Of values about a million that differ by ones, a bias in float32 keeps but a digit.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from headstart.heads.fitted import Linear


@dataclass(frozen=True)
class Scale:
    """What values are brought to: (value - mean) / spread; as it stands, what they are.

    Attributes:
        mean: of the training samples' values.
        spread: their standard deviation.
    """

    mean: float = 0.0
    spread: float = 1.0

    @classmethod
    def of(cls, values: Float[np.ndarray, "n"]) -> "Scale":
        """That of some values; those that are NaN, which stand for none, are left out."""
        spread = float(np.nanstd(values))
        return cls(float(np.nanmean(values)), spread if spread > 0 else 1.0)

    def inward(self, values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Values in this unit."""
        return (np.asarray(values, np.float64) - self.mean) / self.spread

    def head_inward(self, head: Linear) -> Linear:
        """A head whose scores are in this unit."""
        return Linear((head.weight / self.spread).astype(np.float32), self.inward(head.bias), head.link)

    def head_outward(self, head: Linear) -> Linear:
        """A head whose scores are the values again."""
        weight = (head.weight * self.spread).astype(np.float32)
        return Linear(weight, np.asarray(head.bias, np.float64) * self.spread + self.mean, head.link)
