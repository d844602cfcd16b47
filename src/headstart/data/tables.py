"""Tables as they lie on disk, CSV, TSV, JSON lines and Parquet, with the row numbers that a person sees."""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headstart.core.errors import DataError, SampleError
from headstart.data.decoding import UTF16_MARKS, decode_text, repair

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_UTF8_MARK = b"\xef\xbb\xbf"
_LEAST_BLOCK, _LARGEST_BLOCK = 1 << 20, 1 << 30


@dataclass(frozen=True)
class TableFile:
    """One table.

    Attributes:
        table: its columns; of CSV and TSV all are strings, as they stand there.
        rows: (n,) the number of each row: of CSV and TSV as a spreadsheet shows it, the header being row 1; of JSON lines the line;
            of Parquet from 1.
        name: what to call the file in ids.
        folder: where it lies, for paths in it.
        notes: what was decided while reading.
        ids: of the rows, where they have names of their own; else they are `NAME:ROW`.
    """

    table: pa.Table
    rows: np.ndarray
    name: str
    folder: Path
    notes: tuple[str, ...] = ()
    ids: pa.Array | None = None


def read_table(path: Path, name: str) -> TableFile:
    """Read one table, by its suffix.

    Raises:
        DataError: it cannot be read or parsed; names the file and the row.
    """
    suffix = path.suffix.lower()
    try:
        if suffix in {".parquet", ".pq"}:
            return _parquet(path, name)
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}): check that it is there and its permissions"
        ) from error
    content = _utf8(content, path)
    _check_utf8(content, path)
    if not content.strip():
        raise DataError(f"{path} is empty: expected a table with a row of column names and rows below it")
    if suffix in {".jsonl", ".ndjson", ".json"}:
        if suffix == ".json" and content.lstrip().startswith(b"["):
            raise DataError(f"{path} is one JSON array: write one object a line, for example with  jq -c '.[]'")
        return _json_lines(content, path, name)
    return _separated(content, path, name)


def _utf8(content: bytes, path: Path) -> bytes:
    """The content as UTF-8 without its mark."""
    if content.startswith(UTF16_MARKS):
        try:
            return decode_text(content).encode("utf-8", "surrogatepass")
        except SampleError as error:
            raise DataError(f"{path} {error}") from error
    return content.removeprefix(_UTF8_MARK)


def _check_utf8(content: bytes, path: Path) -> None:
    """Refuse another encoding, by the line where it shows.

    Raises:
        DataError: as said.
    """
    try:
        pa.array([content], pa.large_binary()).cast(pa.large_string())
    except pa.ArrowInvalid:
        try:
            content.decode("utf-8")
        except UnicodeDecodeError as wrong:
            line = content.count(b"\n", 0, wrong.start) + 1
            raise DataError(
                f"{path}, line {line}, is not UTF-8 text: save it as UTF-8, or convert it with  iconv -f ENCODING -t UTF-8"
            ) from wrong


def _separated(content: bytes, path: Path, name: str) -> TableFile:
    """CSV or TSV. All columns stay strings: 007 is a label, and what a number means is the target's affair."""
    header, separator = _header(content, path)
    doubled = sorted({column for column in header if header.count(column) > 1})
    if doubled:
        raise DataError(f"{path} has more than one column called {', '.join(map(repr, doubled))}: rename all but one")
    from pyarrow import csv as arrow_csv

    wrong: list[Any] = []

    def note(row: Any) -> str:
        wrong.append(row)
        return "skip"

    block = min(max(len(content) + 1, _LEAST_BLOCK), _LARGEST_BLOCK)
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(content),
            # One thread, as only then does pyarrow know the numbers of the rows.
            read_options=arrow_csv.ReadOptions(use_threads=False, block_size=block),
            parse_options=arrow_csv.ParseOptions(
                delimiter=separator, newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=note
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} is no CSV or TSV table that can be read: {error}") from error
    if wrong:
        row = wrong[0]
        raise DataError(
            f"{path}, row {row.number}, has {row.actual_columns} cells where the header has {row.expected_columns}: "
            "check for a separator outside quotation marks, or a quotation mark that is not closed"
        )
    usual = "\t" if path.suffix.lower() in {".tsv", ".tab"} else ","
    notes = () if separator == usual else (f"{name} is separated by {_SEPARATORS[separator]}",)
    return _without_blanks(TableFile(table, np.arange(2, table.num_rows + 2), name, path.parent, notes))


def _header(content: bytes, path: Path) -> tuple[list[str], str]:
    """The column names, and the separator that makes the most of them."""
    begin = content[:_LEAST_BLOCK].decode("utf-8", "replace")
    usual = "\t" if path.suffix.lower() in {".tsv", ".tab"} else ","
    headers = {}
    for separator in (usual, *(other for other in _SEPARATORS if other != usual)):
        try:
            headers[separator] = next(csv.reader(io.StringIO(begin, newline=""), delimiter=separator), [])
        except csv.Error as error:
            raise DataError(
                f"{path}, row 1, is no row of column names ({error}): expected a CSV or TSV table"
            ) from error
    best = max(headers, key=lambda separator: len(headers[separator]))
    if not any(column.strip() for column in headers[best]):
        raise DataError(f"{path} has no column names: the first row has to name the columns")
    return headers[best], best


def _without_blanks(file: TableFile) -> TableFile:
    """Rows in which every cell is empty are blank lines, not items."""
    blank = np.ones(file.table.num_rows, dtype=bool)
    for column in file.table.columns:
        blank &= pc.equal(column, "").to_numpy(zero_copy_only=False)
        if not blank.any():
            return file
    count = int(blank.sum())
    note = f"{count} blank row{'s' if count > 1 else ''} of {file.name} {'were' if count > 1 else 'was'} passed over"
    kept = pa.array(np.flatnonzero(~blank))
    return TableFile(file.table.take(kept), file.rows[~blank], file.name, file.folder, (*file.notes, note))


def _json_lines(content: bytes, path: Path, name: str) -> TableFile:
    """JSON lines; what pyarrow refuses is read line by line, which finds the line at fault or a label that is now 1, now "one"."""
    from pyarrow import json as arrow_json

    block = min(max(len(content) + 1, _LEAST_BLOCK), _LARGEST_BLOCK)
    options = arrow_json.ReadOptions(block_size=block)
    try:
        table = arrow_json.read_json(pa.BufferReader(content), read_options=options)
        dates = [field for field in table.schema if pa.types.is_temporal(field.type)]
        if dates:  # a text that looks like a date is a text
            schema = pa.schema([pa.field(field.name, pa.string()) for field in dates])
            parse = arrow_json.ParseOptions(explicit_schema=schema)
            table = arrow_json.read_json(pa.BufferReader(content), read_options=options, parse_options=parse)
    except pa.ArrowInvalid:
        table = _line_by_line(content, path)
    lines = np.arange(1, table.num_rows + 1)
    if content.count(b"\n") + (not content.endswith(b"\n")) != table.num_rows:
        filled = [number for number, line in enumerate(content.split(b"\n"), 1) if line.strip()]
        if len(filled) == table.num_rows:
            lines = np.array(filled)
    return TableFile(table, lines, name, path.parent)


def _line_by_line(content: bytes, path: Path) -> pa.Table:
    """Columns of JSON lines whose values differ in type from line to line, as text where they do.

    Raises:
        DataError: a line is no JSON object.
    """
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number}, is no JSON ({error}): expected one object a line") from error
        if not isinstance(value, dict):
            raise DataError(f"{path}, line {number}, is {type(value).__name__}: expected one JSON object a line")
        rows.append(value)
    names = list(dict.fromkeys(key for row in rows for key in row))
    return pa.table({name: column_of([row.get(name) for row in rows]) for name in names})


def column_of(values: list[Any]) -> pa.Array:
    """A column of whatever JSON holds: as text where the types differ."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError, OverflowError):
        if any(isinstance(value, list) for value in values):  # several labels here, one there
            listed = [value if value is None or isinstance(value, list) else [value] for value in values]
            return pa.array([None if row is None else [repair(str(value)) for value in row] for row in listed])
        written = (value if value is None or isinstance(value, str) else json.dumps(value) for value in values)
        return pa.array([None if value is None else repair(value) for value in written])


def _parquet(path: Path, name: str) -> TableFile:
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"{path} is no Parquet file that can be read ({error}): replace it by an intact copy"
        ) from error
    columns = [plain(column) for column in table.columns]
    return TableFile(pa.table(columns, names=table.column_names), np.arange(1, table.num_rows + 1), name, path.parent)


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column without dictionary encoding and large or view types of strings."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_large_string(column.type) or column.type == pa.string_view():
        column = column.cast(pa.string())
    return column
