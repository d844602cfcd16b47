"""Arrow files as Hugging Face's `datasets` writes them: tables whose pictures and recordings are places in the file, read in place."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from headstart.core.errors import DataError
from headstart.data.places import places
from headstart.data.tables import TableFile, plain

_FILES = {"Image", "Audio"}
_NO_LABEL = -1


def read_arrow(files: Sequence[Path], name: str) -> TableFile:
    """The rows of one split. A picture or a recording becomes its place, or its path where only that is stored; a class its name.

    Args:
        files: its Arrow files, in order.
        name: of the split, which the rows' ids begin with.

    Raises:
        DataError: a file is missing, damaged, compressed, or says nothing of its columns.
    """
    tables = [_mapped(path) for path in files]
    if any(not table.schema.equals(tables[0].schema) for table in tables):
        raise DataError(f"the Arrow files of {name} have different columns: make the data set again")
    whole = pa.concat_tables(tables)
    return TableFile(whole, np.arange(1, whole.num_rows + 1), name, files[0].parent)


def _mapped(path: Path) -> pa.Table:
    """One file, its columns as they are used."""
    try:
        file = pa.memory_map(str(path))
        batches = pa.ipc.open_stream(file)
        table = batches.read_all()
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} is no Arrow file that can be read ({error}): make the data set again") from error
    features = _features(table.schema.metadata, path)
    home = os.path.abspath(path)  # noqa: PTH100
    file.seek(0)
    base = file.read_buffer(file.size()).address
    columns = {}
    for column in table.column_names:
        values, feature = table.column(column), _feature(features.get(column))
        kind = feature.get("_type")
        if kind in _FILES:
            chunks = [_placed(chunk, home, base, size=file.size()) for chunk in values.chunks]
            columns[column] = pa.chunked_array(chunks, pa.string())
        elif kind == "ClassLabel":
            columns[column] = _named(values, _names(feature, path, column))
        elif _is_list(values.type) and _feature(feature.get("feature")).get("_type") == "ClassLabel":
            columns[column] = _lists(values, _names(_feature(feature["feature"]), path, column))
        else:
            columns[column] = plain(values)
    return pa.table(columns)


def _features(metadata: Mapping[bytes, bytes] | None, path: Path) -> dict[str, Any]:
    """What the file says of its columns."""
    try:
        found = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} does not say what its columns are, as Hugging Face's data sets do: save it with save_to_disk, or as Parquet"
        ) from error
    return dict(found) if isinstance(found, dict) else {}


def _feature(value: Any) -> Mapping[str, Any]:
    """What is said of a column; a list of one thing is how lists were written once."""
    if isinstance(value, list):
        return {"_type": "List", "feature": value[0] if value else None}
    return value if isinstance(value, dict) else {}


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _names(feature: Mapping[str, Any], path: Path, column: str) -> pa.Array:
    names = feature.get("names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{path}: the classes of the column {column!r} have no names")
    return pa.array(names, pa.string())


def _placed(chunk: pa.Array, home: str, base: int, *, size: int) -> pa.Array:
    """Where the bytes of each row lie in the file; the row's path where it has no bytes, null where it has neither."""
    content, paths = chunk.field("bytes"), chunk.field("path")
    present = np.asarray(content.is_valid()) & np.asarray(chunk.is_valid())
    written = pa.compute.if_else(chunk.is_valid(), paths.cast(pa.string()), pa.scalar(None, pa.string()))
    if not present.any():
        return written
    wide = pa.types.is_large_binary(content.type)
    _, offsets, values = content.buffers()
    ends = np.frombuffer(offsets, np.int64 if wide else np.int32)[content.offset : content.offset + len(content) + 1]
    begin = 0 if values is None or not values.size else values.address - base
    if values is not None and not 0 <= begin <= size - values.size:
        raise DataError(f"{home} is compressed: save the data set again with save_to_disk, which does not")
    found = places(home, begin + ends[:-1].astype(np.int64), length=np.diff(ends))
    return pa.compute.if_else(pa.array(present), found, written)


def _named(values: pa.ChunkedArray, names: pa.Array) -> pa.ChunkedArray:
    """Names for numbers; null for the number that stands for no label."""
    return pa.chunked_array([_taken(chunk, names) for chunk in values.chunks], pa.string())


def _taken(numbers: pa.Array, names: pa.Array) -> pa.Array:
    at = pa.compute.if_else(pa.compute.equal(numbers, _NO_LABEL), pa.scalar(None, numbers.type), numbers)
    try:
        return names.take(at)
    except (pa.ArrowIndexError, pa.ArrowInvalid) as error:
        raise DataError(f"a label is none of the {len(names)} classes ({error}): make the data set again") from error


def _lists(values: pa.ChunkedArray, names: pa.Array) -> pa.ChunkedArray:
    chunks = []
    for chunk in values.cast(pa.list_(values.type.value_type)).chunks:
        flat = _taken(chunk.flatten(), names)
        lengths = pa.compute.fill_null(pa.compute.list_value_length(chunk), 0)
        offsets = pa.array(np.concatenate([[0], np.cumsum(np.asarray(lengths))]).astype(np.int32))
        chunks.append(pa.ListArray.from_arrays(offsets, flat, mask=chunk.is_null()))
    return pa.chunked_array(chunks, pa.list_(pa.string()))
