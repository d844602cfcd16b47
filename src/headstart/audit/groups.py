"""Groups that a split should keep together, guessed from the names of files: speakers, patients, slides, videos."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

_WORDS = re.compile(r"[_\-. ]+")
_MOST_TOKENS = 6
_LEAST_SHARE = 0.95


@dataclass(frozen=True)
class Guess:
    """Groups that the names suggest.

    Attributes:
        names: (n,) the group of each item, None for one whose name has another form.
        how: where in the name the group was read, for a person.
    """

    names: np.ndarray
    how: str


def guess_groups(ids: Sequence[str], labels: Sequence[str | None]) -> Guess | None:
    """The coarsest grouping that most names suggest, or None.

    Names are cut at `_`, `-`, `.` and spaces. A word in one place, such as `jackson` in `3_jackson_14.wav`, or all that stands before
    the last pieces, such as `BloodImage_00012` in `BloodImage_00012_7.jpg`, is a group where it recurs, where it does not just say the
    label, and where nearly all names have it. A number alone in one place is a counter and no group.

    Args:
        ids: n ids of samples, paths or `FILE:ROW`.
        labels: their labels.
    """
    stems = [PurePosixPath(name).stem for name in ids]
    pieces = [tuple(_WORDS.split(stem)) for stem in stems]
    usual, count = Counter(map(len, pieces)).most_common(1)[0] if pieces else (0, 0)
    if not 2 <= usual <= _MOST_TOKENS or count < _LEAST_SHARE * len(pieces):
        return None
    regular = [piece if len(piece) == usual else None for piece in pieces]
    for how, key in _keys(usual):
        names = np.array([None if piece is None else key(piece) for piece in regular], dtype=object)
        if _plausible(names, labels):
            example = next(name for name in names if name is not None)
            return Guess(names, f"{how} such as {example!r}")
    return None


Key = Callable[[tuple[str, ...]], str | None]


def _keys(usual: int) -> list[tuple[str, Key]]:
    """Ways to read a group: words in one place first, then what names begin with, the shortest first."""

    def word(place: int) -> Key:
        return lambda piece: piece[place].casefold() if not piece[place].isdigit() else None

    def start(length: int) -> Key:
        return lambda piece: "_".join(piece[:length])

    words = [(f"the {_ordinal(place + 1)} word of the names", word(place)) for place in range(usual)]
    return words + [("what names begin with", start(length)) for length in range(1, usual)]


def _plausible(names: np.ndarray, labels: Sequence[str | None]) -> bool:
    known = [(name, label) for name, label in zip(names, labels, strict=True) if name is not None]
    if len(known) < _LEAST_SHARE * len(names):
        return False
    sizes = Counter(name for name, _ in known)
    recurring = sum(size for size in sizes.values() if size > 1)
    if not 2 <= len(sizes) <= len(known) / 2 or recurring < 0.8 * len(known):
        return False
    return not _says_the_label(known)


def _says_the_label(known: Sequence[tuple[str, str | None]]) -> bool:
    """Whether each group has one label only, as where the names spell it."""
    by_group: dict[str, set[str | None]] = {}
    for name, label in known:
        by_group.setdefault(name, set()).add(label)
    one = sum(len(labels) == 1 for labels in by_group.values())
    return one > 0.9 * len(by_group) and len({label for _, label in known}) > 1


def straddling(names: np.ndarray, parts: np.ndarray) -> dict[str, tuple[str, ...]]:
    """The groups that lie in several parts, with these."""
    found: dict[str, set[str]] = {}
    for name, part in zip(names, parts, strict=True):
        if name is not None:
            found.setdefault(str(name), set()).add(str(part))
    return {name: tuple(sorted(where)) for name, where in sorted(found.items()) if len(where) > 1}


def _ordinal(number: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(number, f"{number}th")
