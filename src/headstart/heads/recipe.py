"""What a head recipe is: options in, a fitted head out."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from headstart.heads.fitted import Head
from headstart.tasks.task import Targets


class HeadRecipe(ABC):
    """A plug-in of `heads`: a frozen dataclass of literals. `PLUGIN` is the instance with the defaults.

    Attributes:
        tasks: the names of the tasks that it can fit.
    """

    tasks: ClassVar[tuple[str, ...]]

    @abstractmethod
    def fit(self, x: Float[np.ndarray, "n d"], y: Targets, *, groups: np.ndarray | None = None, seed: int = 0) -> Head:
        """Fit on raw rows; an option left at its automatic value is chosen by cross-validation within these rows.

        Args:
            x: rows, in memory or mapped from disk.
            y: n targets.
            groups: (n,) names; samples of one group are never on both sides of a fold.
            seed: decides the folds.

        Raises:
            FitError: no head can be fitted from these rows, such as one class only.
        """
