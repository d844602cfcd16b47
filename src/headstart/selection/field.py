"""What candidates are compared on: labelled samples in an order of which every beginning is a fair subset."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from headstart.data.samples import Samples
from headstart.data.splits import join_groups
from headstart.evaluation.learning_curve import nested_order
from headstart.tasks.task import Targets

_LEAST_GROUPS = 5


@dataclass(frozen=True)
class Field:
    """The samples that candidates are compared on.

    Attributes:
        samples: labelled, all of them for training.
        y: their targets.
        groups: names of what shares a fold; None where each stands alone.
        order: positions; every beginning of them is a fair subset.
    """

    samples: Samples
    y: Targets
    groups: Int[np.ndarray, "n"] | None
    order: Int[np.ndarray, "n"]

    @classmethod
    def of(cls, samples: Samples, y: Targets, *, digests: np.ndarray, seed: int) -> "Field":
        """The field of samples with their content digests."""
        groups = join_groups(samples.groups, digests)
        given = None if samples.groups is None else np.asarray(samples.groups, dtype=object)
        classes = y.values if y.task == "single_label" else None
        if given is None and classes is None:
            order = np.random.default_rng(seed).permutation(len(y))
        else:
            order = nested_order(classes, None if given is None else given.astype(str), seed=seed)
        return cls(samples, y, groups, order)

    def __len__(self) -> int:
        return len(self.samples)

    def fair(self, n: int) -> int:
        """So many samples of the order, or more where groups are so large that the first n are too few groups or labels to fold."""
        n = min(n, len(self))
        while n < len(self) and not self._folds(self.order[:n]):
            n = min(len(self), 2 * n)
        return n

    def _folds(self, at: Int[np.ndarray, "m"]) -> bool:
        """Whether each label that there is comes in two groups."""
        if self.groups is None:
            return True
        if self.y.task != "single_label":
            return len(np.unique(self.groups[at])) >= _LEAST_GROUPS
        pairs = np.unique(np.stack([self.y.values[at], self.groups[at]]), axis=1)
        counts = np.bincount(pairs[0], minlength=len(self.y.labels))
        wanted = np.bincount(np.unique(np.stack([self.y.values, self.groups]), axis=1)[0], minlength=len(self.y.labels))
        return bool((counts >= np.minimum(2, wanted)).all())
