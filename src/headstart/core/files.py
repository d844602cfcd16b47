"""Files and directories that are either whole or not there."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from headstart.core.errors import UsageError

# Characters of a target's name that show in its temporary sibling's: of four bytes at most, they leave room in 255 bytes.
_SHOWN = 40
# Seconds between tries to rename over a file that a reader may hold open.
_PAUSES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4) if os.name == "nt" else ()


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
def whole_directory(target: Path, check: Callable[[Path], None] | None = None) -> Iterator[Path]:
    """Yield a directory beside `target` to write into; it becomes `target` when the block ends well, and vanishes when it does not.

    What is already at `target` is first renamed aside and removed last, so that one of the two is always there. Where `target` is a
    link, what it leads to is replaced.

    Args:
        target: the directory.
        check: raises where what lies at a place must not be replaced. It is asked directly before `target` is, as something may have
            appeared there while the block worked; what it raises leaves that as it is.

    Raises:
        OSError: it cannot be made, written or renamed. What was at `target` is there again, or the error names where it lies now.
    """
    target = target.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=_prefix(target), suffix=".part", dir=target.parent))
    staging, aside = work / "new", work / "old"
    try:
        staging.mkdir()
        yield staging
        _open_to_readers(staging)
        if check is not None:
            check(target)
        if target.exists():
            target.rename(aside)
        staging.rename(target)
    finally:
        if aside.exists() and not target.exists():
            _put_back(aside, target)
        _remove(work)


def write_whole(target: Path, content: bytes) -> None:
    """Write a file beside `target` and rename it, so that `target` is never half written."""
    handle, name = tempfile.mkstemp(prefix=_prefix(target), suffix=".part", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(_RIGHTS & 0o666)
        _replace(Path(name), target)
    finally:
        Path(name).unlink(missing_ok=True)


def lies_in(target: Path, place: str | Path) -> bool:
    """Whether a file or folder is, or lies below, a place that is never written to: data, or a saved model."""
    there = Path(place)
    if there.is_dir():
        return there.resolve() in (target.resolve(), *target.resolve().parents)
    return there.exists() and target.exists() and target.samefile(there)


def refuse_inside_data(out: Path, data: str | Path) -> None:
    """Refuse a directory to write that is, or lies below, the data, which is never written to.

    Raises:
        UsageError: as said.
    """
    if lies_in(out, data):
        raise UsageError(
            f"--out {out} lies inside the data folder {data}, which is never written to; name a place outside it"
        )


def check_apart(folder: Path, *others: str | Path) -> None:
    """Refuse a folder to write that is, lies in or holds one of others.

    Raises:
        UsageError: as said.
    """
    own = folder.resolve()
    for other in (Path(each).resolve() for each in others):
        if own == other or own in other.parents or other in own.parents:
            raise UsageError(
                f"{folder} and {other} have to be apart, as one is written and removed: name another place"
            )


def check_place(target: Path, *, outside: str | Path, what: str) -> None:
    """Refuse a file to write that would lie in the data, which is never written to, or in no folder that is there.

    Args:
        target: the file.
        outside: the data: a folder or a file.
        what: the option or thing that asks for it.

    Raises:
        UsageError: one sentence that says which.
    """
    data = Path(outside)
    if target.is_dir() or not target.absolute().parent.is_dir():
        raise UsageError(f"{what} takes a file in a folder that is there, and got {target}")
    if lies_in(target, data):
        raise UsageError(
            f"{what} {target} lies inside the data {data}, which is never written to; name a place outside it"
        )


def _prefix(target: Path) -> str:
    """The beginning of a temporary sibling's name: short, so that a name as long as the system allows has siblings too."""
    return f".{target.name[:_SHOWN]}."


def is_part_of(path: Path, targets: Iterable[str]) -> bool:
    """Whether a path is what a kill left of one of some files while it was written."""
    return path.suffix == ".part" and any(path.name.startswith(_prefix(Path(each))) for each in targets)


def _replace(source: Path, target: Path) -> None:
    """Rename over `target`, and try again where it is held open for a moment, which Windows does not allow."""
    for pause in _PAUSES:
        try:
            source.replace(target)
        except PermissionError:
            time.sleep(pause)
        else:
            return
    source.replace(target)


def _put_back(aside: Path, target: Path) -> None:
    try:
        aside.rename(target)
    except OSError as error:
        # Not removed: it is the only one there is.
        raise OSError(error.errno, f"{error.strerror}; what was there before lies in {aside}") from error


def _remove(folder: Path) -> None:
    """Remove a directory, also where folders in it (on Windows: files) may not be written to."""
    for base, folders, files in os.walk(folder):
        for name in [*folders, *(files if os.name == "nt" else ())]:
            path = Path(base) / name
            if not path.is_symlink():
                with suppress(OSError):
                    path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _open_to_readers(folder: Path) -> None:
    """Give a folder and what is in it the rights that new files usually have; temporary ones are made for their owner alone."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(_RIGHTS if path.is_dir() else _RIGHTS & 0o666)


def _usual_rights() -> int:
    """The rights that new folders have. The mask can only be read by setting it, which every thread sees: so once, on import."""
    current = os.umask(0)
    os.umask(current)
    return 0o777 & ~current


_RIGHTS = _usual_rights()
