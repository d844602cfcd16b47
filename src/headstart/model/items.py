"""What a model is asked about: files, folders, tables and texts as `Samples`, read as the model's training data was."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from headstart.data.opening import open_samples, texts_as_samples
from headstart.data.readers import READERS
from headstart.data.reading import ReadOptions
from headstart.data.samples import Samples, make_samples

Items = str | Path | Sequence[str | Path] | Samples


def to_predict(items: Items, *, modality: str, reading: ReadOptions) -> Samples:
    """Samples without labels. Files that are named one by one stay in order, each as often as it is named, readable or not.

    Args:
        items: for a text model a `str` is the text itself and a `Path` is a file; for others both are paths.
        modality: the model's.
        reading: how the training data was read.

    Raises:
        DataError: a folder or table cannot be used.
    """
    if isinstance(items, Samples):
        return items
    several = [items] if isinstance(items, str | Path) else list(items)
    if modality == "text" and all(isinstance(item, str) for item in several):
        return texts_as_samples([str(item) for item in several])
    paths = [Path(item) for item in several]
    if several and all(_is_one_file(path, modality) for path in paths):
        inputs = [os.path.abspath(path.expanduser()) for path in paths]  # noqa: PTH100  (resolve() would follow links)
        ids = [path.as_posix() for path in paths]
        source = ids[0] if len(ids) == 1 else f"{len(ids)} files"
        return make_samples(ids, inputs, modality=modality, inline=False, source=source)
    options = replace(reading, labelled=False, modality=modality, target=None, group=None, separator=None, task=None)
    return open_samples(items, options=options)


def to_evaluate(
    items: Items, *, modality: str, reading: ReadOptions, target: str | None, grouped: bool = False
) -> Samples:
    """Labelled samples. Column names that the training data had are looked for in tables only, and groups are not needed to evaluate.

    Args:
        items: labelled data; texts as a table or as files.
        modality: the model's.
        reading: how the training data was read.
        target: the column with the labels, where it has another name than in the training data.
        grouped: whether the groups are read that the training data had, as something is fitted on the samples again.

    Raises:
        DataError: the data cannot be used, or has no such column.
    """
    if isinstance(items, Samples):
        return items
    several = [items] if isinstance(items, str | Path) else list(items)
    columns = reading if _is_table(several) else replace(reading, target=None, input=None)
    group = reading.group if grouped else None
    return open_samples(
        items, options=replace(columns, modality=modality, group=group, target=target or columns.target)
    )


def _is_one_file(path: Path, modality: str) -> bool:
    """Whether a path stands for one item: not for a folder, a table, a list of files or a pattern."""
    if path.is_dir() or _is_table([path]):
        return False
    if modality != "text" and path.suffix.lower() in {".txt", ".lst"}:
        return False
    return path.exists() or not any(mark in str(path) for mark in "*?[")


def _is_table(items: Sequence[str | Path]) -> bool:
    return READERS.get("table").accepts(tuple(Path(item) for item in items))
