"""`SplitRecord`: which samples a model was fitted on and evaluated on, by content and not by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, UInt8

from headstart.data.samples import PARTS

SET_ASIDE = 1 << len(PARTS)
"""With the bit of `train`: a tuning set it aside, so that it chose or decided, and the network was not trained on it."""


@dataclass(frozen=True)
class SplitRecord:
    """The split, as part of the model's record.

    Attributes:
        digests: (m, 16) distinct content digests, sorted bytewise. They tell nothing of a sample to one who does not have it.
        parts: (m,) a bit for each part that a sample of this content was in: 1 train, 2 val, 4 test; and 8, with 1, for what a tuning set
            aside.
    """

    digests: UInt8[np.ndarray, "m 16"]
    parts: UInt8[np.ndarray, "m"]

    @classmethod
    def of(
        cls, parts: Mapping[str, UInt8[np.ndarray, "n 16"]], *, aside: UInt8[np.ndarray, "m 16"] | None = None
    ) -> "SplitRecord":
        """The record of samples by part.

        Args:
            parts: their digests.
            aside: of those that a tuning set aside, which count as `train`.
        """
        seen: dict[bytes, int] = {} if aside is None else {digest.tobytes(): 1 | SET_ASIDE for digest in aside}
        for name, digests in parts.items():
            bit = 1 << PARTS.index(name)
            for digest in digests:
                key = digest.tobytes()
                seen[key] = seen.get(key, 0) | bit
        keys = sorted(seen)
        digests = np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), 16)
        return cls(digests, np.array([seen[key] for key in keys], np.uint8))

    def is_valid(self) -> bool:
        """Whether the digests are distinct and sorted, and each was in at least one of the parts that there are."""
        keys = [digest.tobytes() for digest in self.digests]
        apart = (self.parts & SET_ASIDE > 0) & (self.parts & 1 == 0)
        return (
            len(keys) == len(self.parts)
            and all(one < other for one, other in pairwise(keys))
            and bool(((self.parts > 0) & (self.parts < 2 * SET_ASIDE) & ~apart).all())
        )

    def parts_of(self, digests: UInt8[np.ndarray, "n 16"]) -> UInt8[np.ndarray, "n"]:
        """For each sample the bits of the parts that it was in; 0 for one that the model has never met."""
        known = dict(zip((digest.tobytes() for digest in self.digests), self.parts.tolist(), strict=True))
        return np.array([known.get(digest.tobytes(), 0) for digest in digests], np.uint8)

    def fitted_on(self, digests: UInt8[np.ndarray, "n 16"]) -> Bool[np.ndarray, "n"]:
        """Which samples the head was fitted on, and was not also evaluated on as part of the split that it was given."""
        return np.asarray(self.parts_of(digests) & ~np.uint8(SET_ASIDE) == 1)

    def in_train(self, digests: UInt8[np.ndarray, "n 16"]) -> Bool[np.ndarray, "n"]:
        """Which samples have a content that the head was fitted on."""
        return np.asarray(self.parts_of(digests) & 1 == 1)

    def taught_on(self, digests: UInt8[np.ndarray, "n 16"]) -> Bool[np.ndarray, "n"]:
        """Which samples have a content that the network was trained on, where it was tuned: they can neither choose nor decide any more."""
        return _taught(self.parts_of(digests))

    @property
    def taught(self) -> UInt8[np.ndarray, "k 16"]:
        """The digests of what a tuned network was trained on."""
        return np.asarray(self.digests[_taught(self.parts)])


def _taught(parts: UInt8[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
    """In the training part, and not set aside."""
    return np.asarray(parts & (1 | SET_ASIDE) == 1)
