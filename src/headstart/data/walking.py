"""Going through folders: what is hidden or left behind by other programs is passed over, and links never lead in circles."""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from headstart.core.errors import DataError, Skipped, UsageError
from headstart.data.decoding import repair

# What file managers, archivers and notebooks leave behind, in lower case.
_LITTER = frozenset(
    {".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "icon\r"}
)
# Tables, the suffix being what a person sees of them.
TABLE_SUFFIXES = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".parquet", ".pq")


@dataclass
class Walk:
    """What lies under a folder. A collector: `walk` fills it and hands it over.

    Attributes:
        files: paths below the root, with forward slashes, sorted.
        folders: folders below the root, likewise, also those without any file.
        ignored: how often each ignored name was met.
        skipped: entries that could not be followed, with the reason.
    """

    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    skipped: list[Skipped] = field(default_factory=list)


def is_ignored(name: str) -> bool:
    """Whether an entry is hidden or was left behind by another program, such as `.ipynb_checkpoints` or `Thumbs.db`."""
    return name.startswith(".") or name.lower() in _LITTER


def walk(root: Path) -> Walk:
    """Every file and folder below `root`, through links that lead outside it, each real folder once.

    A link to a folder above, inside or already read is skipped with its reason, so that no chain of links is endless.
    """
    found = Walk()
    home = os.path.realpath(root)
    _descend(str(root), "", found, home=home, seen={home})
    found.files.sort()
    found.folders.sort()
    return found


def list_folder(folder: Path) -> tuple[list[str], list[str]]:
    """The names of the folders and of the files in a folder, ignored ones apart, sorted.

    Raises:
        DataError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            kinds = [(entry.name, entry.is_dir()) for entry in entries if not is_ignored(entry.name)]
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror}): check its permissions") from error
    folders = sorted(name for name, is_folder in kinds if is_folder)
    return folders, sorted(name for name, is_folder in kinds if not is_folder)


def is_plain(path: str) -> bool:
    """Whether a path is text that can be written down; names made on other systems are sometimes other bytes."""
    return path.isascii() or not any("\ud800" <= character <= "\udfff" for character in path)


def printable(path: str) -> str:
    """The path with what cannot be written down replaced by U+FFFD."""
    return repair(path)


def is_table(name: str) -> bool:
    """Whether a file's suffix is that of a table."""
    return name.lower().endswith(TABLE_SUFFIXES)


def ignored_note(ignored: Mapping[str, int]) -> tuple[str, ...]:
    """One sentence on what was passed over, or none."""
    if not ignored:
        return ()
    named = ", ".join(f"{name} ({count})" for name, count in sorted(ignored.items())[:8])
    more = f" and {len(ignored) - 8} more names" if len(ignored) > 8 else ""
    return (f"{sum(ignored.values())} hidden or left-over entries were ignored: {named}{more}",)


def groups_of_files(paths: Sequence[str], option: str) -> list[str]:
    """The group of each file: the name of its folder for `parent`, else what the expression's one group matches in its name.

    Raises:
        UsageError: the option is no regular expression with one group.
        DataError: a file's name is not matched; a file without its group could lie on both sides of a split.
    """
    if option == "parent":
        return [os.path.basename(os.path.dirname(path)) for path in paths]  # noqa: PTH119, PTH120  (100,000 strings)
    try:
        pattern = re.compile(option)
    except re.error as error:
        raise UsageError(f"the group {option!r} is neither 'parent' nor a regular expression: {error}") from error
    if pattern.groups != 1:
        raise UsageError(
            f"the group's expression has to have one group in parentheses, such as ^([a-z]+)_, and {option!r} has {pattern.groups}"
        )
    found = [pattern.search(path.rsplit("/", 1)[-1]) for path in paths]
    missing = [path for path, match in zip(paths, found, strict=True) if match is None or match.group(1) is None]
    if missing:
        raise DataError(
            f"the group's expression {option!r} does not match {len(missing)} of {len(paths)} names, such as {missing[0]}"
        )
    return [match.group(1) for match in found if match is not None]


def _descend(folder: str, below: str, found: Walk, *, home: str, seen: set[str]) -> None:
    """Collect one folder after another; a stack of our own, as folders may lie deeper than Python's."""
    stack = [(folder, below)]
    while stack:
        folder, below = stack.pop()
        try:
            with os.scandir(folder) as entries:
                listed = list(entries)
        except OSError as error:
            found.skipped.append(
                Skipped(
                    below.rstrip("/") or ".", f"cannot be read as a folder ({error.strerror}): check its permissions"
                )
            )
            continue
        for entry in listed:
            path = f"{below}{entry.name}"
            if not is_plain(entry.name):
                found.skipped.append(Skipped(printable(path), "has a name that is not UTF-8 text: rename it"))
            elif is_ignored(entry.name):
                found.ignored[entry.name if entry.name.lower() in _LITTER or entry.is_dir() else ".*"] += 1
            elif _is_folder(entry):
                reason = _no_way(entry, home=home, seen=seen)
                if reason:
                    found.skipped.append(Skipped(path, reason))
                else:
                    found.folders.append(path)
                    stack.append((entry.path, f"{path}/"))
            else:
                found.files.append(path)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _no_way(entry: "os.DirEntry[str]", *, home: str, seen: set[str]) -> str | None:
    """Why a folder is not entered, or None. Only links can lead to a folder twice."""
    if not entry.is_symlink():
        return None
    real = os.path.realpath(entry.path)
    if real == home or home.startswith(real.rstrip(os.sep) + os.sep):
        return "is a link to a folder that holds it, which would go round in circles: remove the link"
    inside = real.startswith(home.rstrip(os.sep) + os.sep)
    if inside or any(real == other or real.startswith(other + os.sep) for other in seen - {home}):
        return "is a link to a folder that is read already: remove the link"
    seen.add(real)
    return None
