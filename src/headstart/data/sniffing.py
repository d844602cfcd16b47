"""Which modality files are of: found from what they hold, not only from what they are called."""

import os
import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from headstart.core.errors import DataError, Skipped, UsageError, suggest
from headstart.data.modalities import MODALITIES
from headstart.data.places import file_of, read_place, size_of
from headstart.data.walking import is_plain, printable

_HEAD = 4096
# Up to this many files are all looked into; of more, some of each usual suffix, and all whose suffix says nothing.
_ALL = 2000
_PER_SUFFIX = 5
# Stands for the suffix of what lies inside larger files.
_INSIDE = "#"
_FOREIGN = (
    (0, b"%PDF", "a PDF document"),
    (4, b"ftypheic", "an HEIC photo"),
    (4, b"ftypmif1", "an HEIF photo"),
    (4, b"ftypavif", "an AVIF image"),
    (4, b"ftyp", "an MP4, M4A or MOV file"),
    (0, b"PK\x03\x04", "a ZIP archive or Office document"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"PAR1", "a Parquet table"),
    (0, b"\x93NUMPY", "a NumPy array"),
)


@dataclass(frozen=True)
class Sorted:
    """Files sorted by whether they can be used.

    Attributes:
        modality: what the usable ones are.
        kept: positions of the usable files, rising.
        skipped: the others, with their reasons.
    """

    modality: str
    kept: np.ndarray
    skipped: tuple[Skipped, ...]


def sort_files(paths: Sequence[str], names: Sequence[str], *, wanted: str | None, source: str) -> Sorted:
    """Find the modality of files, and put aside those that are missing, unreadable, empty or of no modality.

    Args:
        paths: n files.
        names: n names to call them by in reasons.
        wanted: the modality that a person asked for, or None; with one, files of others are skipped rather than refused.
        source: what to call the whole.

    Raises:
        UsageError: there is no such modality.
        DataError: no file can be used, or files of several modalities are mixed.
    """
    if wanted is not None and wanted not in MODALITIES.names():
        raise UsageError(f"there is no modality {wanted!r}.{suggest(wanted, MODALITIES.names())}")
    reasons: dict[int, str] = {row: reason for row, path in enumerate(paths) if (reason := unusable(path))}
    kinds = _kinds(paths, reasons)
    modality = wanted or _the_one(paths, kinds, reasons, source=source)
    for row, kind in enumerate(kinds):
        if row not in reasons and kind != modality:
            reasons[row] = f"is named like {_article(modality)} but holds {_article(kind or 'nothing that is known')}"
            if wanted is not None:
                reasons[row] = (
                    f"holds {_article(kind or 'nothing that is known')}, not {_article(modality)} as asked for"
                )
    kept = np.array([row for row in range(len(paths)) if row not in reasons], dtype=np.int64)
    skipped = tuple(Skipped(printable(names[row]), reasons[row]) for row in sorted(reasons))
    if paths and not len(kept):
        raise DataError(
            f"no file of {source} can be used: all {len(paths)} were skipped, the first, {_say(skipped[0])}"
        )
    return Sorted(modality, kept, skipped)


def unusable(path: str) -> str | None:
    """Why a path is no file that can be read, or None. Opens nothing."""
    if not is_plain(path):
        return "has a name that is not UTF-8 text: rename it"
    return _unusable(path)


def _unusable(path: str) -> str | None:
    try:
        status = os.stat(file_of(path))  # noqa: PTH116  (100,000 of them)
    except FileNotFoundError:
        link = os.path.islink(path)  # noqa: PTH114
        return (
            "is a link that leads nowhere: remove it or restore the file"
            if link
            else "is missing: there is no such file; correct its path or take it out"
        )
    except (OSError, ValueError) as error:
        return f"cannot be read ({getattr(error, 'strerror', None) or error})"
    if not stat.S_ISREG(status.st_mode):
        return (
            "is a folder, not a file" if stat.S_ISDIR(status.st_mode) else "is no regular file; give a file of the disk"
        )
    if status.st_size == 0 or size_of(path) == 0:
        return "is an empty file (0 bytes): replace it or take it out"
    if not os.access(file_of(path), os.R_OK):
        return "cannot be read: check its permissions"
    return None


def modality_of(path: str) -> str | None:
    """The modality of one file by its first bytes, or None where it is of none.

    Raises:
        OSError: the file cannot be read.
    """
    return _modality_of_head(_head(path))


def _head(path: str) -> bytes:
    if size_of(path) is not None:
        return read_place(path, most=_HEAD)
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123  (100,000 of them)
        return file.read(_HEAD) or b""


def _modality_of_head(head: bytes) -> str | None:
    return next((name for name in MODALITIES.names() if MODALITIES.get(name).recognises(head)), None)


def _kinds(paths: Sequence[str], reasons: dict[int, str]) -> list[str | None]:
    """The modality of each file; where all looked into of a usual suffix agree, the others of that suffix are taken to be the same.

    Files that turn out unreadable or of no modality get their reason.
    """
    by_suffix: dict[str, list[int]] = {}
    for row, path in enumerate(paths):
        if row not in reasons:
            inside = size_of(path) is not None
            by_suffix.setdefault(_INSIDE if inside else os.path.splitext(path)[1].lower(), []).append(row)  # noqa: PTH122
    usual = {_INSIDE, *(suffix for name in MODALITIES.names() for suffix in MODALITIES.get(name).suffixes)}
    kinds: list[str | None] = [None] * len(paths)
    for suffix, rows in by_suffix.items():
        few = rows if suffix not in usual or len(paths) <= _ALL else _spread(rows)
        for row in few:
            kinds[row] = _look(paths[row], row, reasons)
        agreed = {kinds[row] for row in few}
        rest = sorted(set(rows) - set(few)) if len(few) < len(rows) else []
        for row in rest:
            kinds[row] = (
                next(iter(agreed)) if len(agreed) == 1 and None not in agreed else _look(paths[row], row, reasons)
            )
    return kinds


def _spread(rows: list[int]) -> list[int]:
    """The first, the last and some between."""
    return sorted({rows[round(at)] for at in np.linspace(0, len(rows) - 1, _PER_SUFFIX)})


def _look(path: str, row: int, reasons: dict[int, str]) -> str | None:
    try:
        head = _head(path)
    except OSError as error:
        reasons[row] = f"cannot be read ({error.strerror or error}): check its permissions"
        return None
    kind = _modality_of_head(head)
    if kind is None:
        foreign = next((what for at, magic, what in _FOREIGN if head[at : at + len(magic)] == magic), None)
        held = f"is {foreign}" if foreign else "is damaged or of another kind"
        reasons[row] = (
            f"{held}: expected {_listed(_article(name) for name in MODALITIES.names())}; convert or remove it"
        )
    return kind


def _the_one(paths: Sequence[str], kinds: Sequence[str | None], reasons: dict[int, str], *, source: str) -> str:
    """The modality that all usable files share, but for files whose suffix claims it and whose content is something else."""
    counts = Counter(kind for row, kind in enumerate(kinds) if kind is not None and row not in reasons)
    if not counts:
        first = next(iter(sorted(reasons)), None)
        detail = f": the first, {os.path.basename(paths[first])}, {reasons[first]}" if first is not None else ""  # noqa: PTH119
        raise DataError(f"no file of {source} can be used{detail}")
    main = counts.most_common(1)[0][0]
    claims = MODALITIES.get(main).suffixes
    honest = Counter(
        kind
        for row, kind in enumerate(kinds)
        if kind is not None and row not in reasons and (kind == main or not paths[row].lower().endswith(claims))
    )
    if len(honest) > 1:
        counted = _listed(f"{count} of {kind}" for kind, count in sorted(honest.items()))
        stray = next(row for row, kind in enumerate(kinds) if kind not in {main, None} and row not in reasons)
        raise DataError(
            f"{source} mixes modalities: {counted}, such as {os.path.basename(paths[stray])}; "  # noqa: PTH119
            f"keep one, or say which with the modality option, such as {main}, and the others are skipped"
        )
    return main


def _article(noun: str) -> str:
    if noun.startswith("nothing") or noun in {"audio", "text"}:
        return noun
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _listed(words: Iterable[str]) -> str:
    names = list(words)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _say(skipped: Skipped) -> str:
    return f"{skipped.input}, {skipped.reason}"
