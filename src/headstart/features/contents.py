"""The content of samples: the text itself, or the file's bytes."""

import numpy as np

from headstart.core.digests import of_bytes
from headstart.core.errors import SampleError
from headstart.data.samples import Samples
from headstart.features.pipeline import Content


def content_of(samples: Samples) -> Content:
    """A function from a position to the sample's content: the text itself, or the file's bytes."""
    inputs = samples.inputs
    if samples.inline:
        return lambda position: inputs[position]

    def read(position: int) -> bytes:
        with open(inputs[position], "rb") as file:  # noqa: PTH123  (a Path per item is what `Samples` avoids)
            return file.read()

    return read


def unchanged(content: Content, digests: np.ndarray) -> Content:
    """The content of files, refused where it is no longer what was hashed: its row would be stored as that of the old content."""

    def read(position: int) -> bytes | str:
        found = content(position)
        if isinstance(found, bytes) and of_bytes(found) != digests[position].tobytes():
            raise SampleError("changed while it was read: run again")
        return found

    return read
