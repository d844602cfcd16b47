"""From whatever a person hands over to `Samples`: the reader that fits is found, and where none does, one sentence says why."""

import glob
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from headstart.core.errors import DataError, Skipped, UsageError, suggest
from headstart.data.decoding import repair
from headstart.data.readers import READERS
from headstart.data.reading import Reader, ReadOptions
from headstart.data.samples import Samples
from headstart.data.splits import check_groups, check_label_sets

_DEFAULTS = ReadOptions()


def open_samples(source: str | Path | Sequence[str | Path] | Samples, *, options: ReadOptions = _DEFAULTS) -> Samples:
    """Open a folder, a table, a pattern such as `new/*.jpg`, or a list of files. Samples are returned as they are.

    The label sets of given parts are compared, and notes say what was understood.

    Raises:
        DataError: there is nothing at the path, or it cannot be used; says what was expected and what to do.
    """
    if isinstance(source, Samples):
        return source
    paths = _paths(source)
    samples = _reader(paths).read(paths, options)
    if not len(samples):
        raise DataError(f"{samples.source} has no sample that can be used: {len(samples.skipped)} were skipped")
    if not options.labelled:
        return samples
    return replace(samples, notes=(*samples.notes, *check_label_sets(samples), *check_groups(samples)))


def texts_as_samples(texts: Sequence[str]) -> Samples:
    """Samples of texts that are at hand, with the ids `text:1`, `text:2`, ...; an empty one is skipped.

    Raises:
        UsageError: one of them is no text.
        DataError: none of them holds any text.
    """
    if isinstance(texts, str):
        texts = [texts]
    wrong = [repr(text) for text in texts if not issubclass(type(text), str)]
    if wrong:
        raise UsageError(f"texts are strings, and {len(wrong)} of {len(texts)} are not, the first being {wrong[0]}")
    rows = [row for row, text in enumerate(texts) if text.strip()]
    empty = tuple(
        Skipped(f"text:{row + 1}", "holds no text: it is empty or white space only")
        for row, text in enumerate(texts)
        if not text.strip()
    )
    if not rows:
        raise DataError(f"none of the {len(texts)} texts holds any text")
    whole = [repair(texts[row]) for row in rows]
    mended = sum(text != texts[row] for row, text in zip(rows, whole, strict=True))
    notes = (f"{mended} texts held half of a surrogate pair, which became U+FFFD",) if mended else ()
    table = pa.table({"id": pa.array([f"text:{row + 1}" for row in rows]), "input": pa.array(whole, pa.string())})
    return Samples(table, modality="text", inline=True, source=f"{len(texts)} texts", skipped=empty, notes=notes)


def _paths(source: str | Path | Sequence[str | Path]) -> tuple[Path, ...]:
    """The paths that a source stands for: `~` and patterns are expanded.

    Raises:
        DataError: a single path, or everything that a pattern could match, is not there.
    """
    if isinstance(source, str | Path):
        return _found(source)
    if not source:
        raise DataError("an empty list of files was given: expected at least one path")
    expanded: list[Path] = []
    for entry in source:
        if not isinstance(entry, str | Path):
            raise UsageError(
                f"a source is a path or a list of paths, and the list holds {type(entry).__name__}: {entry!r}"
            )
        path = _home(entry)
        matched = [] if _there(path) or not glob.has_magic(str(path)) else _matched(str(path))
        expanded += matched or [path]
    return tuple(expanded)


def _found(source: str | Path) -> tuple[Path, ...]:
    path = _home(source)
    if not str(source).strip():
        raise DataError("an empty path was given: expected a folder, a table or a list of files")
    if _there(path):
        return (path,)
    text = str(source)
    if text.startswith(tuple(prefix for name in READERS.names() if (prefix := READERS.get(name).prefix))):
        return (Path(text),)
    if "://" in text:
        raise DataError(f"{text} is an address: download the data first, and give the folder or the file")
    if glob.has_magic(text):
        if matched := _matched(str(path)):
            return tuple(matched)
        raise DataError(f"no file matches {text}: check the pattern and the folder that it starts from ({Path.cwd()})")
    raise DataError(_missing(path, text))


def _home(source: str | Path) -> Path:
    try:
        return Path(source).expanduser()
    except RuntimeError:  # no such user
        return Path(source)


def _matched(pattern: str) -> list[Path]:
    return [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207  (Path.glob takes no absolute pattern)


def _there(path: Path) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:  # a NUL character
        return False


def _missing(path: Path, text: str) -> str:
    """The sentence for a path that is not there, with what lies nearby."""
    if "\n" in text or "\0" in text or len(text) > 1000:
        return f"{text[:60]!r}... is no path: expected a folder, a table or a list of files"
    parent = path.parent
    while not parent.is_dir() and parent != parent.parent:
        path, parent = parent, parent.parent
    try:
        names = [name for name in os.listdir(parent) if not name.startswith(".")]  # noqa: PTH208
    except OSError:
        names = []
    where = "here" if parent == Path() else f"in {parent}"
    return f"{text} is not there: expected a folder, a table or a file, and {where} is no {path.name!r}.{suggest(path.name, names)}"


def _reader(paths: tuple[Path, ...]) -> Reader:
    """The one reader for a source; those that accept nearly anything are asked last.

    Raises:
        DataError: several readers, or none, accept it.
    """
    readers = {name: READERS.get(name) for name in READERS.names()}
    for fallback in (False, True):
        fitting = [name for name, reader in readers.items() if reader.fallback is fallback and reader.accepts(paths)]
        if len(fitting) > 1:
            raise DataError(f"{paths[0]} could be read as {' or as '.join(fitting)}: give the files of one of them")
        if fitting:
            return readers[fitting[0]]
    raise DataError(f"{paths[0]} fits no reader: expected a folder, a table or a list of files")
