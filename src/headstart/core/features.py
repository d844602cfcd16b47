"""`Features`: the rows that a backbone made of samples."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from headstart.core.spec import BackboneSpec


@dataclass(frozen=True)
class Features:
    """Rows of one backbone for n samples, read-only and finite, with the ids of the rows and what made them.

    Attributes:
        values: (n, d) float32, in memory or mapped from disk.
        ids: n sample ids, in the order of the rows.
        digests: (n, 16) uint8, the content digest of each row's sample.
        spec: what made the rows; its fingerprint is theirs.
    """

    values: Float[np.ndarray, "n d"]
    ids: tuple[str, ...]
    digests: np.ndarray
    spec: BackboneSpec

    def __post_init__(self) -> None:
        """Refuse rows that do not belong together, and make the values read-only."""
        n = len(self.ids)
        if self.values.shape != (n, self.spec.dim) or self.digests.shape[:1] != (n,):
            raise ValueError(f"{n} ids, values {self.values.shape}, digests {self.digests.shape}, d = {self.spec.dim}")
        self.values.flags.writeable = False
        self.digests.flags.writeable = False

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the spec that made the rows."""
        return self.spec.fingerprint

    def __len__(self) -> int:
        return len(self.ids)
