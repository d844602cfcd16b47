"""Preparation, host half: from a sample as it lies on disk to the arrays that a backbone takes.

It runs on NumPy, Pillow, tokenizers, soundfile and soxr, never torch, and ends in uint8 pixels, token ids or float32 samples. The
device half (mean and deviation, mel spectrogram) is the first operation of the backbone's module, so no runtime can forget it.
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

Fact = float | int | str


@dataclass(frozen=True)
class Prepared:
    """One sample, prepared.

    Attributes:
        views: one array, or several where a long sample was cut into windows: (h, w, 3) uint8 pixels, (t,) int64 token ids, or
            (s,) float32 audio samples.
        weights: a positive weight for each view; a sample's row is the weighted mean of its views' rows.
        facts: what was met on the way, such as pixel size, duration in seconds, tokens, unknown tokens.
    """

    views: tuple[np.ndarray, ...]
    weights: tuple[float, ...]
    facts: Mapping[str, Fact] = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """Views of equal bucket, stacked: what a backbone takes.

    Attributes:
        values: (n, h, w, 3) uint8 pixels, (n, t) int64 token ids padded with 0, or (n, s) float32 audio samples padded with 0.
        lengths: (n,) int64, the number of tokens or samples that are not padding; for pixels n times 1.
    """

    values: np.ndarray
    lengths: np.ndarray

    def __len__(self) -> int:
        return int(self.values.shape[0])


class Preparation(ABC):
    """The host half of preparation for one backbone: a recipe string and assets, and nothing else, decide what it does.

    Attributes:
        modality: `image`, `text` or `audio`.
        recipe: the string form, part of the backbone's spec.
        assets: file contents that the recipe needs, such as `tokenizer.json`; saved beside the model.
    """

    modality: str
    recipe: str
    assets: Mapping[str, bytes]

    @abstractmethod
    def prepare(self, content: bytes | str) -> Prepared:
        """Prepare one sample from its file's bytes, or from the text itself.

        Raises:
            SampleError: the content cannot be read; the sentence says what was expected and what was found.
        """

    @abstractmethod
    def bucket(self, view: np.ndarray) -> Hashable:
        """Views of one bucket may share a batch, and their rows do not depend on which others are in it."""

    @abstractmethod
    def cost(self, view: np.ndarray) -> float:
        """How much of a batch's budget of 1.0 this view takes, at least 1/64 or so: batches are filled up to the budget."""

    @abstractmethod
    def collate(self, views: Sequence[np.ndarray]) -> Batch:
        """Stack views of one bucket, padded to the longest."""

    @abstractmethod
    def probes(self, n: int, seed: int) -> Batch:
        """`n` synthetic prepared inputs, the same for the same seed: what a saved model is checked with. No training item."""


class Modality(ABC):
    """A plug-in of `data.modalities`.

    Attributes:
        name: the file's stem.
        suffixes: lower-case file suffixes that are usual for it, with the dot. The content decides, not the suffix.
        unit: what `extent` counts: `pixels`, `seconds` or `characters`.
    """

    name: str
    suffixes: tuple[str, ...]
    unit: str

    @abstractmethod
    def recognises(self, head: bytes) -> bool:
        """Whether a file that begins with these (up to 4096) bytes is of this modality."""

    @abstractmethod
    def extent(self, content: bytes | str) -> float:
        """How much a sample says that it holds, in `unit`: of a file by its header alone, so that nothing large is decoded to find out.

        Raises:
            SampleError: the content is not of this modality, or its header is damaged.
        """

    @abstractmethod
    def preparation(self, recipe: str, assets: Mapping[str, bytes]) -> Preparation:
        """The preparation that a recipe string and its assets stand for.

        Raises:
            UsageError: the recipe has unknown or missing options, or needs an asset that is not given.
        """
