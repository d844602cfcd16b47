"""The words that people use for the parts of a data set."""

from collections.abc import Iterable

_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
WORDS = tuple(_WORDS)


def part_of(word: str) -> str | None:
    """`train`, `val` or `test` for a word that means it, in whatever case; else None."""
    return _WORDS.get(word.strip().lower())


def parts_of(words: Iterable[str]) -> dict[str, list[str]]:
    """The words among `words` that name a part, by part."""
    found: dict[str, list[str]] = {}
    for word in words:
        part = part_of(word)
        if part is not None:
            found.setdefault(part, []).append(word)
    return found
