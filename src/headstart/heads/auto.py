"""Chooses among all heads by cross-validated log-loss (squared error for values); it ships a vote of neighbours only where that clearly wins.

One temperature for each candidate from its out-of-fold scores, then the lowest out-of-fold loss among the heads that become linear; a
tie within one paired standard error goes to the one that is faster to fit.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from headstart.heads.fitted import Head
from headstart.heads.recipe import HeadRecipe
from headstart.heads.selection import fit_alone
from headstart.tasks.task import Targets


@dataclass(frozen=True)
class Auto(HeadRecipe):
    """The choice among all heads."""

    name: ClassVar[str] = "auto"
    tasks: ClassVar[tuple[str, ...]] = ("single_label", "multi_label", "regression")

    def fit(self, x: Float[np.ndarray, "n d"], y: Targets, *, groups: np.ndarray | None = None, seed: int = 0) -> Head:
        """Choose and fit on raw rows."""
        return fit_alone(x, y, recipe=self, groups=groups, seed=seed)


PLUGIN = Auto()
