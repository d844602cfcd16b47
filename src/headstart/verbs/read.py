"""`read`: from what a person has to `Samples`."""

from collections.abc import Sequence
from pathlib import Path

from headstart.data.opening import open_samples
from headstart.data.reading import ReadOptions
from headstart.data.samples import Samples


def read(source: str | Path | Sequence[str | Path], *, options: ReadOptions = ReadOptions()) -> Samples:
    """Read a folder, a table, a list of files or a folder of tables; nothing is decoded yet, and nothing is ever written to.

    Args:
        source: what to read.
        options: target, input and group columns, task, modality.

    Raises:
        DataError: the source cannot be used; one sentence says what was expected, what was found and what to do.
    """
    return open_samples(source, options=options)
