"""A feature store of its own for what is made once for several tests: each test has another, which ends with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def cache_in(folder: Path) -> Iterator[None]:
    """Rows of what is fitted meanwhile go into this folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(folder))
        yield
