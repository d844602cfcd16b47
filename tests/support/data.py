"""Where the real data of the development machines lies, and what to do where it does not."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"


def shared(name: str) -> Path:
    """The folder of one real data set; the test skips where this checkout has none."""
    folder = SHARED / name
    if not folder.exists():
        pytest.skip(f"the real data set {name} lies in ../shared/data, which this checkout does not have")
    return folder
