"""A `.npz` of arrays: images and labels, with or without train, val and test in their names, as MedMNIST is handed out."""

import os
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headstart.core.errors import DataError, Skipped, UsageError
from headstart.data.parts import WORDS, part_of
from headstart.data.places import places
from headstart.data.reading import Reader, ReadOptions
from headstart.data.samples import PARTS, Samples

_KINDS = {"x": "images", "images": "images", "data": "images", "y": "labels", "labels": "labels", "targets": "labels"}
_NAME = re.compile(rf"(?:({'|'.join(WORDS)})_)?({'|'.join(_KINDS)})(?:_({'|'.join(WORDS)}))?")


@dataclass(frozen=True)
class _Array:
    """One array of the archive.

    Attributes:
        member: its name in the archive.
        dtype: of its values.
        shape: of it.
        packed: the member's name where it is compressed, else empty.
        begin: where its values begin, in the file or in the compressed member.
    """

    member: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    packed: str
    begin: int


class ArraysReader(Reader):
    """One `.npz` file. Nothing in it is unpickled."""

    def accepts(self, source: tuple[Path, ...]) -> bool:
        """Whether the source is one `.npz` file."""
        return len(source) == 1 and source[0].is_file() and source[0].suffix.lower() == ".npz"

    def read(self, source: tuple[Path, ...], options: ReadOptions) -> Samples:
        """Read the parts that are there. Images are 8-bit, of the shape (n, h, w) or (n, h, w, 3).

        Raises:
            DataError: an array is damaged, or of another shape or kind.
            UsageError: a column, a group or another modality is asked for.
        """
        (path,) = source
        for role in ("input", "target", "group"):
            if name := getattr(options, role):
                raise UsageError(f"{path} holds arrays, which have no columns or groups, and got the {role} {name!r}")
        if options.modality not in {None, "image"}:
            raise UsageError(f"{path} is read as images, and got the modality {options.modality!r}")
        try:
            with zipfile.ZipFile(path) as archive:
                return _read(path, archive, options)
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(f"{path} is a damaged archive of arrays ({error}): download it again") from error


PLUGIN = ArraysReader()


def _read(path: Path, archive: zipfile.ZipFile, options: ReadOptions) -> Samples:
    found: dict[str, dict[str, zipfile.ZipInfo]] = {}
    skipped = []
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy").lower()
        match = _NAME.fullmatch(name)
        if match is None:
            skipped.append(Skipped(info.filename, "is called after neither images nor labels, and is not read"))
            continue
        found.setdefault(part_of(match[1] or match[3] or "") or "", {})[_KINDS[match[2]]] = info
    rows = []
    for part in sorted(found, key=("", *PARTS).index):
        images, labels = found[part].get("images"), found[part].get("labels")
        if images is None or (labels is None and options.labelled):
            alone = labels if images is None else images
            lacking = "images" if images is None else "labels"
            skipped.append(Skipped(alone.filename if alone else part, f"has no {lacking} beside it, and is not read"))
            continue
        rows.append(_part(path, archive, part, images, labels if options.labelled else None))
    if not rows or len({tuple(table.column_names) for table in rows}) > 1:
        names = ", ".join(archive.namelist())
        raise DataError(
            f"{path} holds {names}: expected images and labels, such as train_images and train_labels, or x and y"
        )
    return Samples(
        pa.concat_tables(rows),
        modality="image",
        inline=False,
        source=str(path),
        target_name="label" if options.labelled else None,
        skipped=tuple(skipped),
        notes=(f"{path} holds arrays of images{'; the labels are their numbers' if options.labelled else ''}",),
    )


def _part(
    path: Path, archive: zipfile.ZipFile, part: str, images: zipfile.ZipInfo, labels: zipfile.ZipInfo | None
) -> pa.Table:
    array = _array(path, archive, images)
    if (
        array.dtype != np.uint8
        or len(array.shape) not in {3, 4}
        or (len(array.shape) == 4 and array.shape[3] not in {1, 3})
    ):
        raise DataError(
            f"{path}: {images.filename} holds {array.dtype} of the shape {array.shape}: "
            "expected 8-bit images, (n, height, width) or (n, height, width, 3)"
        )
    n, height, width = array.shape[:3]
    channels = array.shape[3] if len(array.shape) == 4 else 1
    size = height * width * channels
    numbers = pa.array(np.arange(n)).cast(pa.string())
    home = os.path.abspath(path)  # noqa: PTH100
    shape = f"rows={height}x{width}x{channels}"
    table = {
        "id": pc.binary_join_element_wise(pa.scalar(f"{images.filename.removesuffix('.npy')}:"), numbers, ""),
        "input": places(home, array.begin + size * np.arange(n), length=size, member=array.packed, pixels=shape),
    }
    table |= {"split": pa.repeat(pa.scalar(part), n)} if part else {}
    if labels is not None:
        table["target"] = _labels(path, archive, labels, n)
    return pa.table(table)


def _labels(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, n: int) -> pa.Array:
    _array(path, archive, info)
    try:
        with archive.open(info) as file:
            values = np.lib.format.read_array(file, allow_pickle=False)
    except ValueError as error:
        raise DataError(f"{path}: {info.filename} cannot be read as labels ({error})") from error
    if values.shape not in {(n,), (n, 1)} or values.dtype.kind not in "iuUb":
        raise DataError(
            f"{path}: {info.filename} holds {values.dtype} of the shape {values.shape}: expected {n} whole numbers or names"
        )
    return pa.array(values.reshape(n)).cast(pa.string())


def _array(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Array:
    """The head of one array, its size checked."""
    try:
        with archive.open(info) as file:
            shape, by_columns, dtype = _head(file)
            head = file.tell()
    except (ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: {info.filename} is no array that can be read ({error}): download it again") from error
    if dtype.hasobject:
        raise DataError(f"{path}: {info.filename} holds Python objects, which only a pickle can hold: expected numbers")
    size = head + dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    if by_columns or size != info.file_size:
        raise DataError(
            f"{path}: {info.filename} has {info.file_size} bytes and not the {size} of its shape {shape} by rows"
        )
    stored = info.compress_type == zipfile.ZIP_STORED
    return _Array(
        info.filename, dtype, shape, "" if stored else info.filename, head + (_begin(path, info) if stored else 0)
    )


def _head(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


def _begin(path: Path, info: zipfile.ZipInfo) -> int:
    """Where a stored member begins: behind its local head, whose length stands in it."""
    with path.open("rb") as file:
        file.seek(info.header_offset + 26)
        sizes = file.read(4)
    return info.header_offset + 30 + int.from_bytes(sizes[:2], "little") + int.from_bytes(sizes[2:], "little")
