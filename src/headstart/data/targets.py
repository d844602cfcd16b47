"""From a column as somebody wrote it to a target: names, lists of names, or numbers."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headstart.core.errors import DataError
from headstart.data.reading import ReadOptions

# How programs spell a missing value, in lower case. "None" and "NA" are names that people give to classes, and stay.
_MISSING = ("", "nan", "null", "<na>", "n/a", "#n/a")
_USUAL_SEPARATORS = ("|", ";", ",")

MOST_LABELS = 50
"""Whole numbers are taken for labels where at most so many are distinct, and at most half of the values."""


@dataclass(frozen=True)
class Target:
    """A target column.

    Attributes:
        values: n strings, lists of strings, or float64 numbers.
        missing: (n,) whether the row has no target: null, empty, NaN.
        notes: what was decided.
    """

    values: pa.Array | pa.ChunkedArray
    missing: np.ndarray
    notes: tuple[str, ...] = ()


def to_target(column: pa.ChunkedArray, *, options: ReadOptions, where: Callable[[int], str]) -> Target:
    """A target for a column of any type that tables have.

    Args:
        column: n values.
        options: `task` and `separator` decide where they are given.
        where: what to call a row in an error, `FILE:ROW`.

    Raises:
        DataError: a value is no target of the task.
    """
    kind = column.type
    if pa.types.is_null(kind):
        return Target(column.cast(pa.string()), np.ones(len(column), dtype=bool))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _lists(column, options)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _numbers(column.cast(pa.float64()), options)
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        column = column.cast(pa.string())
    elif not pa.types.is_string(kind):
        raise DataError(f"the target column holds {kind}: expected names, numbers, or lists of names")
    return _strings(column, options, where)


def flags(mask: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """The mask in NumPy; a null counts as true."""
    return np.asarray(pc.fill_null(mask, fill_value=True).to_numpy(zero_copy_only=False), dtype=bool)


def _strings(column: pa.ChunkedArray, options: ReadOptions, where: Callable[[int], str]) -> Target:
    trimmed = pc.utf8_trim_whitespace(column)
    missing = flags(pc.is_in(pc.utf8_lower(trimmed), pa.array(_MISSING))) | flags(pc.is_null(trimmed))
    if options.task == "regression":
        return _parsed(trimmed, missing, where)
    if options.separator or options.task == "multi_label":
        return _separated(trimmed, missing, options)
    if options.task is None and (notes := _measured(_spelled(trimmed.filter(pa.array(~missing))))) is not None:
        return replace(_parsed(trimmed, missing, where), notes=notes)
    return Target(trimmed, missing)


def _parsed(trimmed: pa.ChunkedArray, missing: np.ndarray, where: Callable[[int], str]) -> Target:
    """Numbers from text; "na", too, is a missing number.

    Raises:
        DataError: a text is no number.
    """
    missing = missing | flags(pc.equal(pc.utf8_lower(trimmed), "na"))
    present = pc.if_else(pa.array(missing), pa.scalar(None, pa.string()), trimmed)
    try:
        numbers = pc.cast(present, pa.float64())
    except pa.ArrowInvalid as error:
        row, text = next(
            (row, text) for row, text in enumerate(present.to_pylist()) if text is not None and not _is_number(text)
        )
        raise DataError(
            f"the target of {where(row)} is {text!r}, and regression takes a number with a decimal point, such as 3.14"
        ) from error
    return Target(numbers, ~np.isfinite(_floats(numbers)))


def _numbers(column: pa.ChunkedArray, options: ReadOptions) -> Target:
    """A float column: a number for regression, or whole numbers, which a missing value made floats of, as names."""
    values = _floats(column)
    missing = ~np.isfinite(values)
    notes = _measured(values[~missing]) if options.task is None else None
    if options.task == "regression" or notes is not None:
        return Target(column, missing, notes or ())
    present = values[~missing]
    if np.all(present == np.rint(present)) and np.all(np.abs(present) < 2**53):
        whole = pa.array(np.where(missing, 0, values).astype(np.int64))
        return Target(whole.cast(pa.string()), missing)
    return Target(column.cast(pa.string()), missing)


def _floats(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    return np.asarray(pc.fill_null(column, math.nan).to_numpy(zero_copy_only=False), dtype=np.float64)


def are_whole(values: np.ndarray) -> bool:
    """Whether there are numbers, and all are whole."""
    return bool(len(values) and np.all(values == np.rint(values)))


def are_few(values: np.ndarray) -> bool:
    """Whether whole numbers are few enough to be labels rather than quantities."""
    return len(np.unique(values)) <= min(MOST_LABELS, max(2, len(values) // 2))


def _measured(values: np.ndarray) -> tuple[str, ...] | None:
    """Notes where finite numbers look measured rather than chosen from a few, else None."""
    if not len(values):
        return None
    if not are_whole(values):
        return () if len(np.unique(values)) > min(20, len(values) / 2) else None
    if are_few(values):
        return None
    note = (
        f"the {len(np.unique(values))} different whole numbers of the target are taken as quantities: "
        "say --task single_label if they are names"
    )
    return (note,)


def _spelled(texts: pa.ChunkedArray) -> np.ndarray:
    """The finite numbers that texts spell; none where one of them spells no number, or is written as names are, such as 007."""
    try:
        values = _floats(pc.cast(texts, pa.float64()))
    except pa.ArrowInvalid:
        return np.zeros(0)
    if pc.any(pc.match_substring_regex(texts, r"^[+-]?0[0-9]")).as_py():
        return np.zeros(0)
    return np.asarray(values[np.isfinite(values)])


def _is_number(text: str) -> bool:
    try:
        pa.scalar(text).cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _separated(trimmed: pa.ChunkedArray, missing: np.ndarray, options: ReadOptions) -> Target:
    """Lists from cells; an empty cell of a multi-label table is an item without any label, which is a fact and not a gap."""
    notes: list[str] = []
    separator = options.separator
    if not separator:
        found = (mark for mark in _USUAL_SEPARATORS if pc.any(pc.match_substring(trimmed, mark)).as_py())
        separator = next(found, _USUAL_SEPARATORS[0])
        notes.append(f"labels of one cell are taken to be separated by {separator!r}")
    empty = np.asarray(pc.fill_null(pc.equal(trimmed, ""), fill_value=False).to_numpy(zero_copy_only=False), dtype=bool)
    if count := int(empty.sum()):
        notes.append(f"{count} items have no label")
    values, _ = _clean(pc.split_pattern(trimmed, separator))
    return Target(values, missing & ~empty, tuple(notes))


def _lists(column: pa.ChunkedArray, options: ReadOptions) -> Target:
    if options.task in {"single_label", "regression"}:
        raise DataError(
            f"the target column holds lists, which are several labels an item, and the task is {options.task}"
        )
    values, gaps = _clean(column)
    return Target(values, flags(pc.is_null(column)) | gaps)


def _clean(lists: pa.ChunkedArray | pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Lists of trimmed, non-empty strings, and (n,) whether a list held a null."""
    plain = lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
    parents = np.asarray(pc.list_parent_indices(plain).to_numpy(zero_copy_only=False), dtype=np.int64)
    flat = pc.list_flatten(plain)
    if pa.types.is_nested(flat.type) or pa.types.is_binary(flat.type):
        raise DataError(f"the target column holds lists of {flat.type}: expected lists of names")
    flat = pc.utf8_trim_whitespace(flat.cast(pa.string()))
    gaps = np.zeros(len(plain), dtype=bool)
    gaps[parents[flags(pc.is_null(flat))]] = True
    kept = ~flags(pc.equal(flat, ""))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(parents[kept], minlength=len(plain)))])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat.filter(pa.array(kept))), gaps
