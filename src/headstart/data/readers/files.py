"""A list of files without labels: given one by one, as what a pattern matches, or a line each in a .txt or .lst file."""

import os
from pathlib import Path

import pyarrow as pa

from headstart.core.errors import DataError, SampleError, Skipped
from headstart.data.decoding import decode_text
from headstart.data.reading import Reader, ReadOptions
from headstart.data.samples import Samples
from headstart.data.sniffing import sort_files
from headstart.data.walking import groups_of_files, ignored_note, walk


class FilesReader(Reader):
    """An explicit list of files; a folder among them stands for every file below it."""

    fallback = True

    def accepts(self, source: tuple[Path, ...]) -> bool:
        """Whether the source is anything but one folder."""
        return bool(source) and not (len(source) == 1 and source[0].is_dir())

    def read(self, source: tuple[Path, ...], options: ReadOptions) -> Samples:
        """Read a list of files, without labels.

        Raises:
            DataError: no file can be used, or their modalities are mixed.
        """
        title = str(source[0]) if len(source) == 1 else f"{len(source)} files"
        names, paths, notes = _listed_in(source[0]) if len(source) == 1 else _expanded(source)
        names, paths, doubles = _once(names, paths)
        usable = sort_files(paths, names, wanted=options.modality, source=title)
        kept = [paths[row] for row in usable.kept]
        table = {"id": pa.array([names[row] for row in usable.kept], pa.string()), "input": pa.array(kept, pa.string())}
        if options.group is not None:
            groups = groups_of_files([path.replace(os.sep, "/") for path in kept], options.group)
            table["group"] = pa.array(groups, pa.string())
        return Samples(
            pa.table(table),
            modality=usable.modality,
            inline=False,
            source=title,
            skipped=(*usable.skipped, *doubles),
            notes=notes,
        )


PLUGIN = FilesReader()


def _listed_in(path: Path) -> tuple[list[str], list[str], tuple[str, ...]]:
    """The files that a list names, or the one file itself where it is no list."""
    if path.suffix.lower() not in {".txt", ".lst"}:
        return _expanded((path,))
    try:
        lines = [line.strip() for line in decode_text(path.read_bytes()).splitlines()]
    except (OSError, SampleError) as error:
        if path.suffix.lower() == ".lst":
            raise DataError(f"{path} cannot be read as a list of files, one a line: it {error}") from error
        return _expanded((path,))
    names = [line for line in lines if line and not line.startswith("#")]
    for base in (path.parent, Path()):
        if names and any(_exists(base / name) for name in names[:20]):
            notes = (f"{path} is read as a list of {len(names)} files, looked for in {os.path.abspath(base)}",)  # noqa: PTH100
            return [Path(name).as_posix() for name in names], [_absolute(base / name) for name in names], notes
    if path.suffix.lower() == ".lst":
        first = f"the first, {names[0]}, is not there" if names else "it has no lines"
        raise DataError(f"{path} is to be a list of files, one a line: {first}")
    return _expanded((path,))


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a text that is no path at all
        return False


def _expanded(source: tuple[Path, ...]) -> tuple[list[str], list[str], tuple[str, ...]]:
    names, paths, notes = [], [], []
    for path in source:
        if not path.is_dir():
            names.append(path.as_posix())
            paths.append(_absolute(path))
            continue
        found = walk(path)
        names += [f"{path.as_posix()}/{below}" for below in found.files]
        paths += [_absolute(path / below) for below in found.files]
        notes += [f"{path} stands for {len(found.files)} files below it", *ignored_note(found.ignored)]
        notes += [f"{path / entry.input} {entry.reason}" for entry in found.skipped]
    given = len(source) == 1 and not source[0].is_dir()
    return names, paths, (f"{'one file was' if given else f'{len(names)} files were'} given, without labels", *notes)


def _absolute(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100  (resolve() would follow links, and ids would no longer tell them apart)


def _once(names: list[str], paths: list[str]) -> tuple[list[str], list[str], tuple[Skipped, ...]]:
    """Each name once, as names are ids."""
    first = dict(zip(reversed(names), reversed(paths), strict=True))
    seen: set[str] = set()
    doubles = []
    for name in names:
        if name in seen:
            doubles.append(Skipped(name, "is listed more than once: it is read once"))
        seen.add(name)
    kept = list(dict.fromkeys(names))
    return kept, [first[name] for name in kept], tuple(doubles)
