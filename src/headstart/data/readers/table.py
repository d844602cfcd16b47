"""A table, CSV, TSV, JSON lines or Parquet, of texts or of paths, or a folder with a train, a val and a test table."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headstart.core.errors import DataError, Skipped
from headstart.data.columns import PATHS, TEXTS, Columns, find_columns
from headstart.data.modalities import MODALITIES
from headstart.data.parts import part_of, parts_of
from headstart.data.places import file_of
from headstart.data.reading import Reader, ReadOptions
from headstart.data.samples import PARTS, Samples
from headstart.data.sniffing import sort_files
from headstart.data.tables import TableFile, read_table
from headstart.data.targets import Target, flags, to_target
from headstart.data.walking import is_table, list_folder

_LOOKED_AT = 20


@dataclass(frozen=True)
class _Input:
    """How the input column is meant.

    Attributes:
        column: its name.
        base: the folder that its paths start from, or None where it holds the texts themselves.
    """

    column: str
    base: str | None


class TableReader(Reader):
    """Tables whose rows are items."""

    def accepts(self, source: tuple[Path, ...]) -> bool:
        """Whether the source is one or several tables, or a folder that holds one a part, or one and nothing else."""
        if len(source) == 1 and source[0].is_dir():
            return bool(_tables_of(source[0]))
        return bool(source) and all(
            path.is_file() and (is_table(path.name) or path.suffix.lower() == ".json") for path in source
        )

    def read(self, source: tuple[Path, ...], options: ReadOptions) -> Samples:
        """Read tables into one.

        Raises:
            DataError: a table cannot be parsed, a column is not there, or no row can be used.
        """
        title = str(source[0]) if len(source) == 1 else f"{len(source)} tables"
        named, notes = _named(source)
        files = {name: read_table(path, name) for name, path in named.items()}
        return samples_of(files, options, title=title, notes=notes)


PLUGIN = TableReader()


def samples_of(
    files: dict[str, TableFile],
    options: ReadOptions,
    *,
    title: str,
    notes: tuple[str, ...] = (),
    parts: Mapping[str, str] | None = None,
) -> Samples:
    """Read the rows of tables as items.

    Args:
        files: the tables, by the names that their rows' ids begin with.
        options: what a person says about them.
        title: what to call the whole.
        notes: what was understood before.
        parts: the part of each table; None: told by the names, where every one of several is called after a part of its own.

    Raises:
        DataError: a column is not there, or no row can be used.
    """
    parts = _parts(list(files)) if parts is None else parts
    first = next((name for name in files if parts.get(name) == "train"), next(iter(files)))
    source = str(files[first].folder / first)
    columns = find_columns(files[first].table.column_names, options, source=source)
    meant, more = _meant(files[first], columns, source)
    used, unlabelled = _used(files, replace(columns, split=None if parts else columns.split), meant, first=first)
    rows = _aligned([_rows(files[name], columns, meant, parts.get(name)) for name in used])
    told = (f"the column {columns.target!r} holds the target",) if columns.target else ()
    notes = (*notes, *columns.notes, *more, *told, *(note for name in used for note in files[name].notes), *unlabelled)
    return _samples(_joined(rows, options, columns, meant), options, title=title, notes=notes)


def _tables_of(folder: Path) -> dict[str, Path]:
    """The tables of a folder that are its parts, by name; or its only entry, where that is a table."""
    try:
        folders, files = list_folder(folder)
    except DataError:
        return {}
    tables = [name for name in files if is_table(name)]
    of_parts = [name for name in tables if part_of(Path(name).stem)]
    chosen = of_parts or (tables if len(tables) == 1 and len(files) == 1 and not folders else [])
    return {name: folder / name for name in chosen}


def _named(source: tuple[Path, ...]) -> tuple[dict[str, Path], tuple[str, ...]]:
    """The tables by the names that their rows' ids begin with, and notes.

    Raises:
        DataError: two tables of a folder mean one part.
    """
    if len(source) == 1 and source[0].is_dir():
        tables = _tables_of(source[0])
        for part, stems in parts_of(Path(name).stem for name in tables).items():
            if len(stems) > 1:
                raise DataError(
                    f"{source[0]} has more than one table for the part {part}: keep one of {', '.join(tables)}"
                )
        left = [name for name in list_folder(source[0])[1] if is_table(name) and name not in tables]
        beside = (f"{', '.join(left)} beside the parts' tables is not read",) if left else ()
        return dict(sorted(tables.items(), key=lambda item: _rank(item[0]))), beside
    if len(source) == 1:
        return {source[0].name: source[0]}, ()
    paths = list(dict.fromkeys(path.resolve() for path in source))
    common = os.path.commonpath([path.parent for path in paths])
    return {path.relative_to(common).as_posix(): path for path in paths}, ()


def _rank(name: str) -> int:
    part = part_of(Path(name).stem)
    return PARTS.index(part) if part else len(PARTS)


def _parts(names: Sequence[str]) -> dict[str, str]:
    """The part of each table by its name, where every one of several is called after a part of its own."""
    parts = {name: part for name in names if (part := part_of(Path(name).stem))}
    return parts if len(names) > 1 and len(parts) == len(names) == len(set(parts.values())) else {}


def _meant(file: TableFile, columns: Columns, source: str) -> tuple[_Input, tuple[str, ...]]:
    """Which candidate is the input, and whether it holds texts or paths: paths are those of which some are there.

    Raises:
        DataError: the only candidates name files, and none of these is there.
    """
    absent: list[tuple[str, str]] = []
    for name in columns.inputs:
        few = _few(file.table.column(name))
        for base in dict.fromkeys((os.path.abspath(file.folder), os.getcwd())):  # noqa: PTH100, PTH109
            if any(_is_file(base, value) for value in few):
                inside = any(file_of(value) != value for value in few)
                told = f"the column {name!r} {'holds the items' if inside else f'names files, looked for in {base}'}"
                return _Input(name, base), (told,)
        if few and _looks_like_path(name, few):
            absent.append((name, few[0]))
            continue
        unused = tuple(
            f"the column {other!r} is not the input, as none of the files that it names is there" for other, _ in absent
        )
        return _Input(name, None), (f"the column {name!r} holds the texts", *unused)
    name, value = absent[0]
    raise DataError(
        f"{source}: the column {name!r} names files of which none is there, the first being {value!r}: "
        f"write paths relative to {file.folder}, or say which column holds the input with the input option"
    )


def _few(column: pa.ChunkedArray) -> list[str]:
    """The first values that are not empty."""
    if not pa.types.is_string(column.type):
        return []
    texts = column.slice(0, 50 * _LOOKED_AT).to_pylist()
    return [text for text in texts if text and text.strip()][:_LOOKED_AT]


def _is_file(base: str, value: str) -> bool:
    try:
        return len(value) < 4096 and os.path.isfile(file_of(os.path.join(base, value)))  # noqa: PTH113, PTH118
    except ValueError:
        return False


def _looks_like_path(name: str, values: Sequence[str]) -> bool:
    plain = name.strip().lower()
    if plain in PATHS or plain in TEXTS:
        return plain in PATHS
    suffixes = tuple(suffix for modality in MODALITIES.names() for suffix in MODALITIES.get(modality).suffixes)
    return sum(value.lower().endswith(suffixes) and "\n" not in value for value in values) > len(values) / 2


def _used(
    files: dict[str, TableFile], columns: Columns, meant: _Input, *, first: str
) -> tuple[list[str], tuple[str, ...]]:
    """The tables that have the columns of the first; one that lacks only the target is left out with a note.

    Raises:
        DataError: one lacks another column.
    """
    used, notes = [], []
    for name, file in files.items():
        have = set(file.table.column_names)
        missing = [column for column in (meant.column, columns.group, columns.split) if column and column not in have]
        if missing:
            raise DataError(
                f"{name} has no column {missing[0]!r}, which {first} has: its columns are {', '.join(sorted(have))}"
            )
        if columns.target and columns.target not in have:
            notes.append(f"{name} has no column {columns.target!r}, so its rows have no target and are not read")
        else:
            used.append(name)
    return used, tuple(notes)


def _rows(file: TableFile, columns: Columns, meant: _Input, part: str | None) -> pa.Table:
    """The columns that are used, under their roles: `id`, `input` and, where known, `raw`, `group`, `split`.

    Raises:
        DataError: the input column holds neither text nor numbers.
    """
    table = file.table
    numbers = pa.array(file.rows, pa.int64()).cast(pa.string())
    ids = pc.binary_join_element_wise(pa.scalar(f"{file.name}:"), numbers, "") if file.ids is None else file.ids
    made = {"id": ids, "input": _as_strings(table.column(meant.column), meant.column, file.name)}
    if columns.target:
        made["raw"] = table.column(columns.target)
    if columns.group:
        groups = pc.utf8_trim_whitespace(_as_strings(table.column(columns.group), columns.group, file.name))
        made["group"] = pc.if_else(pc.fill_null(pc.equal(groups, ""), fill_value=True), ids, groups)
    if part:
        made["split"] = pa.repeat(pa.scalar(part), table.num_rows)
    elif columns.split:
        made["split"] = _as_strings(table.column(columns.split), columns.split, file.name)
    made = {
        role: pa.chunked_array([values]) if isinstance(values, pa.Array) else values for role, values in made.items()
    }
    return pa.table(made)


def _aligned(tables: Sequence[pa.Table]) -> pa.Table:
    """One table below the other; targets whose types differ become numbers where all are, else text."""
    kinds = [table.schema.field("raw").type for table in tables if "raw" in table.column_names]
    if len(set(kinds)) < 2:
        return pa.concat_tables(tables)
    numeric = all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in kinds)
    common = pa.float64() if numeric else pa.string()
    try:
        cast = [
            table.set_column(table.column_names.index("raw"), "raw", table.column("raw").cast(common))
            for table in tables
        ]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"the target column holds {' and '.join(map(str, kinds))} in different tables: write it alike in all"
        ) from error
    return pa.concat_tables(cast)


def _as_strings(column: pa.ChunkedArray, name: str, file: str) -> pa.ChunkedArray:
    try:
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"{file}: the column {name!r} holds {column.type}, and text was expected") from error


@dataclass(frozen=True)
class _Joined:
    """All rows of all tables, not yet checked.

    Attributes:
        rows: `id`, `input`, `group`, `split` as they stand in the tables.
        target: the target, or None.
        target_name: what its column is called.
        base: the folder that paths start from, or None for texts.
        split_notes: what the split column was taken for.
    """

    rows: pa.Table
    target: Target | None
    target_name: str | None
    base: str | None
    split_notes: tuple[str, ...]


def _joined(rows: pa.Table, options: ReadOptions, columns: Columns, meant: _Input) -> _Joined:
    rows, notes = _split(rows, columns.split)
    if columns.target is None:
        return _Joined(rows, None, None, meant.base, notes)
    ids = rows.column("id")
    target = to_target(rows.column("raw"), options=options, where=lambda row: str(ids[row].as_py()))
    return _Joined(rows.drop_columns(["raw"]), target, columns.target, meant.base, (*notes, *target.notes))


def _split(rows: pa.Table, name: str | None) -> tuple[pa.Table, tuple[str, ...]]:
    """The rows with `split` as part names, where the column means parts; else without it."""
    if "split" not in rows.column_names:
        return rows, ()
    values = pc.utf8_trim_whitespace(rows.column("split"))
    present = [value for value in pc.unique(values).to_pylist() if value]
    parts = {value: part_of(value) for value in present}
    column = rows.column_names.index("split")
    if not present or None in parts.values():
        return rows.remove_column(column), (
            f"the column {name!r} is no split, as it holds other values than train, val and test",
        )
    at = pc.index_in(values, pa.array(list(parts)))
    named = pa.chunked_array([pc.take(pa.array(list(parts.values())), chunk) for chunk in at.chunks], pa.string())
    told = () if len(set(present)) == 0 or name is None else (f"the column {name!r} says which part a row belongs to",)
    return rows.set_column(column, "split", named), told


def _samples(joined: _Joined, options: ReadOptions, *, title: str, notes: tuple[str, ...]) -> Samples:
    """The rows that can be used, and the reasons for the others."""
    rows = joined.rows
    blank = flags(pc.equal(pc.utf8_trim_whitespace(rows.column("input")), ""))
    bad = [(blank, "holds no text: its cell is empty" if joined.base is None else "names no file: its cell is empty")]
    if joined.target is not None:
        bad.append(
            (
                joined.target.missing,
                f"has no target: its cell of {joined.target_name!r} is empty or NaN; fill it in or take the row out",
            )
        )
        rows = rows.append_column("target", joined.target.values)
    if "split" in rows.column_names:
        bad.append((flags(pc.is_null(rows.column("split"))), "belongs to no part: its cell is empty"))
    keep = ~np.logical_or.reduce([mask for mask, _ in bad])
    skipped = _reasons(rows.column("id"), bad)
    rows = rows.filter(pa.array(keep))
    if not rows.num_rows:
        detail = f", the first, {skipped[0].input}, {skipped[0].reason}" if skipped else " below the column names"
        raise DataError(f"{title} has no row that can be used: {len(skipped)} of {len(keep)} were skipped{detail}")
    modality = "text"
    if joined.base is not None:
        rows, modality, more = _with_files(rows, joined.base, options, title)
        skipped = (*skipped, *more)
    return Samples(
        rows,
        modality=modality,
        inline=joined.base is None,
        source=title,
        target_name=joined.target_name,
        skipped=skipped,
        notes=(*notes, *joined.split_notes),
    )


def _reasons(ids: pa.ChunkedArray, bad: list[tuple[np.ndarray, str]]) -> tuple[Skipped, ...]:
    """The first reason of each bad row, in the order of the rows. Only bad rows become Python objects."""
    found: dict[int, str] = {}
    for mask, reason in bad:
        for row in np.flatnonzero(mask):
            found.setdefault(int(row), reason)
    return tuple(Skipped(str(ids[row].as_py()), found[row]) for row in sorted(found))


def _with_files(
    rows: pa.Table, base: str, options: ReadOptions, title: str
) -> tuple[pa.Table, str, tuple[Skipped, ...]]:
    """The rows whose file can be used, with the whole path as input, and the files' modality."""
    written = rows.column("input").to_pylist()
    paths = [os.path.normpath(os.path.join(base, value.strip())) for value in written]  # noqa: PTH118
    usable = sort_files(paths, rows.column("id").to_pylist(), wanted=options.modality, source=title)
    of_id = dict(zip(rows.column("id").to_pylist(), written, strict=True)) if usable.skipped else {}
    skipped = tuple(_named_skip(one, of_id[one.input]) for one in usable.skipped)
    index = rows.column_names.index("input")
    rows = rows.set_column(index, "input", pa.array(paths, pa.string())).take(pa.array(usable.kept))
    return rows, usable.modality, skipped


def _named_skip(one: Skipped, written: str) -> Skipped:
    """With the file that the row names; what lies in a larger file has no name of its own."""
    return one if file_of(written) != written else Skipped(one.input, f"names {written}, which {one.reason}")
