"""One at a time, whichever of the processes that share out the tests has it."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from filelock import FileLock


@contextmanager
def one_cluster(factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hold back until no other test starts a cluster of Ray: two that begin side by side on one machine take each other's ports."""
    with FileLock(factory.getbasetemp().parent / "cluster.lock"):
        yield
