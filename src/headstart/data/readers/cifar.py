"""CIFAR-10 and CIFAR-100 as they are handed out: the python or the binary version, as a folder or as the .tar.gz itself."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headstart.core.errors import DataError, Skipped, UsageError
from headstart.data.archives import members_of
from headstart.data.pickled import Bytes, Made, plain_values
from headstart.data.places import open_or_unpack, places
from headstart.data.reading import Reader, ReadOptions
from headstart.data.samples import Samples
from headstart.data.walking import list_folder

_PIXELS = 3072
_SHAPE = "planes=32x32x3"
_ARCHIVE = re.compile(r"cifar-100?-(python|binary)\.(tar\.gz|tgz|tar)")
_TEN = re.compile(r"data_batch_\d+(\.bin)?|test_batch(\.bin)?")
_FOLDERS = ("cifar-10-batches-py", "cifar-10-batches-bin", "cifar-100-python", "cifar-100-binary")


@dataclass(frozen=True)
class _Member:
    """One file of the data set: in a folder, or in an archive.

    Attributes:
        name: its name without folders.
        title: what to call it in an error.
        container: the absolute path of the file that holds it: itself, or the archive.
        gzipped: whether the container is packed.
        begin: where it begins in the container.
        size: in bytes.
    """

    name: str
    title: str
    container: str
    gzipped: bool
    begin: int
    size: int

    def content(self) -> bytes:
        """Its bytes."""
        whole = open_or_unpack(self.container, gzipped=self.gzipped)
        content = bytes(whole[self.begin : self.begin + self.size])
        if len(content) != self.size:
            raise DataError(f"{self.title} ends after {len(content)} of {self.size} bytes: download it again")
        return content


class CifarReader(Reader):
    """The batches of CIFAR. A pickle among them is read without unpickling."""

    def accepts(self, source: tuple[Path, ...]) -> bool:
        """Whether the source is a folder with CIFAR's batches, or its archive."""
        if len(source) != 1:
            return False
        if source[0].is_file():
            return _ARCHIVE.fullmatch(source[0].name) is not None
        return source[0].is_dir() and _place(source[0]) is not None

    def read(self, source: tuple[Path, ...], options: ReadOptions) -> Samples:
        """Read the batches that are there; CIFAR-100 by its fine labels.

        Raises:
            DataError: a file is damaged; says which.
            UsageError: a column, a group or another modality is asked for.
        """
        (root,) = source
        for role in ("input", "target", "group"):
            if name := getattr(options, role):
                raise UsageError(f"{root} holds CIFAR, which has no columns or groups, and got the {role} {name!r}")
        if options.modality not in {None, "image"}:
            raise UsageError(f"{root} holds images, and got the modality {options.modality!r}")
        members = _members(root)
        hundred = not any(_TEN.fullmatch(name) for name in members)
        names = _names(root, members, hundred=hundred)
        batches = [members[name] for name in sorted(members) if _is_batch(name, hundred=hundred)]
        if not batches:
            raise DataError(
                f"{root} holds no batch of CIFAR: expected data_batch_1 or train, and got {sorted(members)}"
            )
        rows = [_rows(batch, names, hundred=hundred, labelled=options.labelled) for batch in batches]
        wanted = {name.partition(".")[0] for name in members if _is_batch(name, hundred=hundred)}
        whole = {"train", "test"} if hundred else {*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"}
        return Samples(
            pa.concat_tables(rows),
            modality="image",
            inline=False,
            source=str(root),
            target_name="label" if options.labelled else None,
            skipped=tuple(Skipped(name, f"is missing in {root}") for name in sorted(whole - wanted)),
            notes=(
                f"{root} is CIFAR-{100 if hundred else 10} with {len(names)} {'fine ' if hundred else ''}labels",
                f"read from {', '.join(batch.name for batch in batches)}",
            ),
        )


PLUGIN = CifarReader()


def _is_batch(name: str, *, hundred: bool) -> bool:
    return name.partition(".")[0] in {"train", "test"} if hundred else _TEN.fullmatch(name) is not None


def _place(root: Path) -> Path | None:
    """The folder of the batches or the archive in it: the root, the folder that the archive unpacks to, or one archive."""
    try:
        folders, files = list_folder(root)
    except DataError:
        return None
    hundred = {"train", "test"} & set(files) and "meta" in files
    binary = {"train.bin", "test.bin"} & set(files) and "fine_label_names.txt" in files
    if hundred or binary or (any(_TEN.fullmatch(name) for name in files)):
        return root
    inside = [name for name in folders if name in _FOLDERS] or [name for name in files if _ARCHIVE.fullmatch(name)]
    return root / inside[0] if len(inside) == 1 else None


def _members(root: Path) -> dict[str, _Member]:
    """The files of the data set by name, none of them opened but an archive.

    Raises:
        DataError: the archive is damaged.
    """
    place = root if root.is_file() else _place(root)
    if place is None:
        raise DataError(f"{root} holds no batches of CIFAR")
    home = os.path.abspath(place)  # noqa: PTH100
    if place.is_file():
        return _archived(home)
    return {
        name: _Member(
            name, f"{place}/{name}", f"{home}/{name}", gzipped=False, begin=0, size=(place / name).stat().st_size
        )
        for name in list_folder(place)[1]
    }


def _archived(path: str) -> dict[str, _Member]:
    found: dict[str, _Member] = {}
    for one in members_of(path):
        name = one.name.rsplit("/", 1)[-1]
        title = f"{path}: the member {one.name}"
        found[name] = _Member(name, title, path, gzipped=one.gzipped, begin=one.begin, size=one.size)
    return found


def _names(root: Path, members: dict[str, _Member], *, hundred: bool) -> tuple[str, ...]:
    """The names of the classes.

    Raises:
        DataError: they are not there, or damaged.
    """
    listed = members.get("fine_label_names.txt" if hundred else "batches.meta.txt")
    meta = members.get("meta" if hundred else "batches.meta")
    if listed is not None:
        lines = listed.content().decode("utf-8", "replace").splitlines()
        names = [line.strip() for line in lines if line.strip()]
    elif meta is not None:
        key = "fine_label_names" if hundred else "label_names"
        names = [_text(name) for name in _dictionary(meta, meta.content()).get(key, [])]
    else:
        raise DataError(
            f"{root} lacks the names of the classes: expected {'meta' if hundred else 'batches.meta'} in it"
        )
    if len(names) != (100 if hundred else 10):
        raise DataError(f"{(listed or meta).title} names {len(names)} classes, expected {100 if hundred else 10}")  # type: ignore[union-attr]
    return tuple(names)


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _dictionary(member: _Member, content: bytes) -> dict[str, Any]:
    values = plain_values(content, source=member.title)
    if not isinstance(values, dict):
        raise DataError(f"{member.title} holds a {type(values).__name__}, and a dictionary was expected")
    return {_text(key): value for key, value in values.items()}


def _rows(batch: _Member, names: tuple[str, ...], *, hundred: bool, labelled: bool) -> pa.Table:
    """The samples of one batch.

    Raises:
        DataError: it is damaged.
    """
    read = _binary if batch.name.endswith(".bin") else _python
    offsets, labels = read(batch, hundred=hundred)
    if len(labels) and (labels.min() < 0 or labels.max() >= len(names)):
        raise DataError(f"{batch.title} holds the label {labels.max()}: expected 0 to {len(names) - 1}")
    n = len(offsets)
    numbers = pa.array(np.arange(n)).cast(pa.string())
    table = {
        "id": pc.binary_join_element_wise(pa.scalar(f"{batch.name}:"), numbers, ""),
        "input": places(batch.container, batch.begin + offsets, length=_PIXELS, gzipped=batch.gzipped, pixels=_SHAPE),
        "split": pa.repeat(pa.scalar("test" if batch.name.startswith("test") else "train"), n),
    }
    if labelled:
        table["target"] = pa.array(names, pa.string()).take(pa.array(labels))
    return pa.table(table)


def _binary(batch: _Member, *, hundred: bool) -> tuple[np.ndarray, np.ndarray]:
    """Where the pixels of each record begin, and its label: CIFAR-100's fine label stands second."""
    head = 2 if hundred else 1
    size = head + _PIXELS
    content = batch.content()
    if not content or len(content) % size:
        raise DataError(f"{batch.title} holds {len(content)} bytes, expected a multiple of {size}: download it again")
    records = np.frombuffer(content, np.uint8).reshape(-1, size)
    return head + size * np.arange(len(records)), records[:, head - 1].astype(np.int64)


def _python(batch: _Member, *, hundred: bool) -> tuple[np.ndarray, np.ndarray]:
    """Where the pixels of each row of the pickled array begin, and its label."""
    values = _dictionary(batch, batch.content())
    key = "fine_labels" if hundred else "labels"
    data, labels = values.get("data"), values.get(key)
    state = data.state if isinstance(data, Made) else None
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise DataError(f"{batch.title} has no list of numbers called {key}: download it again")
    if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[4], Bytes):
        raise DataError(f"{batch.title} has no array called data: download it again")
    _, shape, dtype, by_columns, where = state
    kind = dtype.given[0] if isinstance(dtype, Made) and dtype.given else None
    if shape != (len(labels), _PIXELS) or kind != "u1" or by_columns or where.length != len(labels) * _PIXELS:
        raise DataError(
            f"{batch.title} holds an array of the shape {shape} and {where.length} bytes, "
            f"expected {len(labels)} rows of {_PIXELS} bytes"
        )
    return where.offset + _PIXELS * np.arange(len(labels)), np.array(labels, dtype=np.int64)
