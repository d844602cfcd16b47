"""Prepared samples, kept: the host half of preparation runs once for each, however many times it is trained on."""

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int

from headstart.core.errors import DataError, SampleError
from headstart.core.progress import Progress, silent
from headstart.data.preparation import Batch, Preparation
from headstart.data.samples import Samples
from headstart.features.contents import content_of
from headstart.features.pipeline import Content

_AT_ONCE = 256


@dataclass(frozen=True)
class Views:
    """The views of n samples, one after the other in a temporary file, mapped: memory holds what it has room for.

    Attributes:
        values: all of them, flat.
        shapes: of each view.
        begins: where each view begins in `values`.
        first: (n + 1,) the views of sample i are first[i] to first[i + 1].
        kept: (n,) positions of the samples among those that were asked for: the others cannot be read.
        preparation: what made them.
    """

    values: np.ndarray
    shapes: tuple[tuple[int, ...], ...]
    begins: Int[np.ndarray, "v"]
    first: Int[np.ndarray, "n1"]
    kept: Int[np.ndarray, "n"]
    preparation: Preparation = field(repr=False)

    def __len__(self) -> int:
        return len(self.kept)

    @cached_property
    def distinct(self) -> np.ndarray:
        """Every value that occurs, once: of texts the ids of their tokens."""
        return np.unique(self.values)

    def view(self, number: int) -> np.ndarray:
        """One view."""
        shape, begin = self.shapes[number], int(self.begins[number])
        return np.asarray(self.values[begin : begin + int(np.prod(shape))]).reshape(shape)

    def batch(self, numbers: Sequence[int] | np.ndarray) -> Batch:
        """Views of one bucket, stacked."""
        return self.preparation.collate([self.view(int(number)) for number in numbers])

    @classmethod
    def of(
        cls,
        samples: Samples,
        preparation: Preparation,
        *,
        content: Content | None = None,
        folder: Path | None = None,
        progress: Progress = silent,
    ) -> "Views":
        """Prepare samples.

        Args:
            samples: n samples.
            preparation: of the backbone.
            content: from a position to what is prepared; None: the sample's own.
            folder: where the temporary file lies; None: where the system has its own.
            progress: stage `prepare`, in samples.

        Raises:
            DataError: none of them can be read.
        """
        read = content or content_of(samples)

        def one(position: int) -> tuple[np.ndarray, ...]:
            try:
                return preparation.prepare(read(position)).views
            except (SampleError, OSError):
                return ()

        shapes: list[tuple[int, ...]] = []
        counts: list[int] = []
        dtype = np.dtype(np.uint8)
        with tempfile.TemporaryFile(dir=folder) as file, ThreadPoolExecutor() as pool:
            for start in range(0, len(samples), _AT_ONCE):
                positions = range(start, min(len(samples), start + _AT_ONCE))
                for views in pool.map(one, positions):
                    counts.append(len(views))
                    for view in views:
                        shapes.append(view.shape)
                        dtype = view.dtype
                        file.write(np.ascontiguousarray(view).data)
                progress("prepare", positions.stop, len(samples))
            kept = np.flatnonzero(np.array(counts))
            if not len(kept):
                raise DataError(f"none of the {len(samples)} samples of {samples.source} can be read")
            file.flush()
            values = np.memmap(file, dtype=dtype, mode="r")
        sizes = np.array([int(np.prod(shape)) for shape in shapes])
        begins = np.concatenate([[0], np.cumsum(sizes)])[:-1]
        first = np.concatenate([[0], np.cumsum(np.array(counts)[kept])])
        return cls(values, tuple(shapes), begins, first, kept, preparation)
