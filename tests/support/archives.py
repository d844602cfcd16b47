"""Data sets in the formats in which they are handed out, byte by byte as their publishers write them."""

import gzip
from pathlib import Path

import numpy as np


def idx(values: np.ndarray) -> bytes:
    """An IDX file of unsigned bytes."""
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes((0, 0, 8, values.ndim)) + sizes + values.astype(np.uint8).tobytes()


def mnist(
    folder: Path, *, n: int = 20, packed: bool = False, mark: str = "-"
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The four files; a digit's pixels are brighter the larger it is. Gives images and labels by part."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    made = {}
    for part, stem, count in (("train", "train", n), ("test", "t10k", n // 2)):
        labels = np.arange(count) % 10
        images = (20 * labels[:, None, None] + rng.integers(0, 40, (count, 28, 26))).astype(np.uint8)
        made[part] = images, labels
        for kind, values in (("images", images), ("labels", labels)):
            content = idx(values)
            name = f"{stem}-{kind}{mark}idx{values.ndim}-ubyte{'.gz' if packed else ''}"
            (folder / name).write_bytes(gzip.compress(content) if packed else content)
    return made
