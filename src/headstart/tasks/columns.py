"""Target columns: what they hold, and label names as tasks want them."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int

from headstart.core.errors import DataError, suggest
from headstart.data.targets import are_few, are_whole


def _kind(column: pa.ChunkedArray) -> pa.DataType:
    return column.type.value_type if pa.types.is_dictionary(column.type) else column.type


def holds_names(column: pa.ChunkedArray) -> bool:
    """Whether the column holds strings or truth values."""
    kind = _kind(column)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind))


def holds_lists(column: pa.ChunkedArray) -> bool:
    """Whether the column holds lists of strings, or of anything else."""
    return bool(
        pa.types.is_list(column.type) or pa.types.is_large_list(column.type) or pa.types.is_fixed_size_list(column.type)
    )


def holds_numbers(column: pa.ChunkedArray) -> bool:
    """Whether the column holds numbers of any width."""
    kind = _kind(column)
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def holds_few_whole_numbers(column: pa.ChunkedArray) -> bool:
    """Whether the column holds whole numbers, few enough to be labels rather than values."""
    present = column.drop_null()
    if not holds_numbers(column) or not len(present):
        return False
    values = np.asarray(pc.cast(present, pa.float64(), safe=False))
    return bool(np.isfinite(values).all()) and are_whole(values) and are_few(values)


def as_names(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray:
    """Label names as strings; whole numbers lose a trailing `.0`, so that 1 and 1.0 are one label.

    Raises:
        DataError: a value is missing, NaN or an empty name; says how many there are.
    """
    column = pa.chunked_array([column]) if isinstance(column, pa.Array) else column
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    missing = pc.is_null(column, nan_is_null=True)
    if not pc.any(missing).as_py():
        if pa.types.is_floating(column.type):
            values = np.asarray(column)
            column = (
                pc.cast(column, pa.int64())
                if np.all(values == np.round(values)) and np.abs(values).max() < 2**53
                else column
            )
        names = pc.cast(column, pa.string())
        missing = pc.equal(pc.utf8_trim_whitespace(names), "")
        if not pc.any(missing).as_py():
            return names
    count = int(pc.sum(missing).as_py())
    raise DataError(
        f"a label was expected for each sample, and {count} of {len(column)} are missing, NaN or empty: fill them in or leave out those samples"
    )


def index_of(names: pa.ChunkedArray, labels: tuple[str, ...]) -> Int[np.ndarray, "n"]:
    """The position of each name among `labels`.

    Raises:
        DataError: some names are not among them; names up to five.
    """
    index = pc.index_in(names, value_set=pa.array(labels, pa.string()))
    if index.null_count:
        unknown = sorted(pc.unique(names.filter(pc.is_null(index))).to_pylist())
        shown = ", ".join(repr(name) for name in unknown[:5]) + (
            f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        )
        raise DataError(f"the labels {shown} are not among the {len(labels)} known ones.{suggest(unknown[0], labels)}")
    return np.asarray(index, dtype=np.int64)
