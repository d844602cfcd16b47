"""Files and directories that are either whole or not there."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_root() -> Path:
    """Where headstart keeps features: `HEADSTART_CACHE`, else the system's place for caches."""
    if given := os.environ.get("HEADSTART_CACHE"):
        return Path(given)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "headstart"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "headstart" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headstart"


@contextmanager
def whole_directory(target: Path) -> Iterator[Path]:
    """Yield a sibling directory to write into; it becomes `target` when the block ends well, and vanishes when it does not.

    A directory already at `target` is first renamed aside and removed last, so that one of the two is always there.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    try:
        yield staging
        _open_to_readers(staging)
        aside = None
        if target.exists():
            aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent)) / target.name
            target.rename(aside)
        try:
            staging.rename(target)
        except OSError:
            if aside is not None:
                aside.rename(target)
            raise
        if aside is not None:
            shutil.rmtree(aside.parent, ignore_errors=True)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def write_whole(target: Path, content: bytes) -> None:
    """Write a file beside `target` and rename it, so that `target` is never half written."""
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(target)
    finally:
        Path(name).unlink(missing_ok=True)


def _open_to_readers(folder: Path) -> None:
    """Give a folder and what is in it the rights that new files usually have; temporary ones are made for their owner alone."""
    rights = 0o777 & ~_umask()
    for path in [folder, *folder.rglob("*")]:
        path.chmod(rights if path.is_dir() else rights & 0o666)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
