"""The content of samples: the text itself, or the bytes of the file or of its place in one."""

from headstart.core.digests import of_bytes
from headstart.core.errors import SampleError
from headstart.data.places import read_place
from headstart.data.samples import Samples
from headstart.features.hashing import Digested, stat_of
from headstart.features.pipeline import Content


def content_of(samples: Samples) -> Content:
    """A function from a position to the sample's content: the text itself, or the file's bytes."""
    inputs = samples.inputs
    if samples.inline:
        return lambda position: inputs[position]

    return lambda position: read_place(inputs[position])


def unchanged(samples: Samples, digested: Digested) -> Content:
    """The content of samples, refused where it is no longer what was hashed: its row would be stored as that of the old content.

    A file that had not been touched for a while when it was hashed, and has the same size and modification time after it was read, is
    the same; any other is hashed once more.
    """
    content, paths = content_of(samples), samples.inputs

    def read(position: int) -> bytes | str:
        found = content(position)
        if isinstance(found, bytes):
            stat = digested.stats[position]
            same = stat is not None and stat == stat_of(paths[position])
            if not same and of_bytes(found) != digested.digests[position].tobytes():
                raise SampleError("changed while it was read: run again")
        return found

    return read
