"""The small grey images that are compared: decoded once, and kept in the cache by what the images hold."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Int, UInt8

from headstart.audit import pictures
from headstart.core.digests import of_bytes
from headstart.core.errors import SampleError
from headstart.data.modalities import MODALITIES
from headstart.data.samples import Samples
from headstart.features.contents import content_of
from headstart.features.sketches import keep, recall

MAKER = "small-image-1"
"""What is kept, and how it is made: the number goes up with every change of `small_images`, `pictures.grey` or how images are decoded."""

_RECIPE = f"image(size={pictures.SIDE}, crop=1.0, resize='squash', interpolation='bilinear')"
_SIDE_BYTES = 4
_T = TypeVar("_T")


@dataclass(frozen=True)
class Small:
    """A small image, and what it was made of.

    Attributes:
        grey: `pictures.SIDE` pixels a side, squashed to a square.
        shortest: the shorter side of the original, pixels.
    """

    grey: UInt8[np.ndarray, "s s"]
    shortest: int

    def to_bytes(self) -> bytes:
        """What is kept."""
        return self.shortest.to_bytes(_SIDE_BYTES, "little") + self.grey.tobytes()

    @classmethod
    def from_bytes(cls, kept: bytes) -> "Small":
        """What was kept."""
        side = (pictures.SIDE, pictures.SIDE)
        return cls(
            np.frombuffer(kept, np.uint8, offset=_SIDE_BYTES).reshape(side),
            int.from_bytes(kept[:_SIDE_BYTES], "little"),
        )


def small_images(
    samples: Samples, order: Int[np.ndarray, "m"], *, digests: UInt8[np.ndarray, "n 16"]
) -> dict[int, Small]:
    """The small images of the samples at some positions, without those that cannot be decoded.

    Args:
        samples: n images.
        order: the positions.
        digests: their content digests. A file that holds something else by now is decoded, and not kept under the old digest.
    """
    known = recall(MAKER, digests[order])
    content = content_of(samples)
    prepare = MODALITIES.get("image").preparation(_RECIPE, {})

    def small(position: int) -> tuple[Small, bool] | None:
        try:
            held = content(position)
            prepared = prepare.prepare(held)
        except (SampleError, OSError):
            return None
        sides = (float(prepared.facts["width"]), float(prepared.facts["height"]))
        same = isinstance(held, bytes) and of_bytes(held) == digests[position].tobytes()
        return Small(pictures.grey(prepared.views[0]), int(min(sides))), same

    keys = {int(position): digests[position].tobytes() for position in order}
    made = each_of(np.array([position for position, key in keys.items() if key not in known], np.int64), small)
    keep(MAKER, {keys[position]: one[0].to_bytes() for position, one in made.items() if one is not None and one[1]})
    found = {position: Small.from_bytes(known[key]) for position, key in keys.items() if key in known}
    return found | {position: one[0] for position, one in made.items() if one is not None}


def each_of(order: Int[np.ndarray, "m"], work: Callable[[int], _T]) -> dict[int, _T]:
    """What the work gives for each position, by threads: decoders let others run."""
    positions = [int(position) for position in order]
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="headstart-check") as pool:
        return dict(zip(positions, pool.map(work, positions), strict=True))
