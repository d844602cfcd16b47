"""`Features`: the rows that a backbone made of samples."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from headstart.core.spec import BackboneSpec

# Rows that are looked at together.
_STEP = 4096


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
        """Refuse rows that do not belong together or are not finite, and keep read-only views; the caller's arrays stay as they are."""
        n = len(self.ids)
        if self.values.shape != (n, self.spec.dim) or self.digests.shape[:1] != (n,):
            raise ValueError(f"{n} ids, values {self.values.shape}, digests {self.digests.shape}, d = {self.spec.dim}")
        for start in range(0, n, _STEP):
            finite = np.isfinite(self.values[start : start + _STEP]).all(axis=1)
            if not finite.all():
                raise ValueError(f"the row of {self.ids[start + int(finite.argmin())]} is not finite")
        for name in ("values", "digests"):
            view = getattr(self, name).view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the spec that made the rows."""
        return self.spec.fingerprint

    def __len__(self) -> int:
        return len(self.ids)
