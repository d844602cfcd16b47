"""MNIST and its kin as they are handed out: the IDX files of images and labels of the parts train and t10k, plain or gzip."""

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from headstart.core.errors import DataError, Skipped, UsageError
from headstart.data.places import open_or_unpack, places
from headstart.data.reading import Reader, ReadOptions
from headstart.data.samples import Samples
from headstart.data.walking import list_folder

_NAME = re.compile(r"(train|t10k|test)-(images|labels)[-.]idx([13])-ubyte(\.gz)?")
_PART = {"train": "train", "t10k": "test", "test": "test"}
_FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


@dataclass(frozen=True)
class _Idx:
    """One IDX file.

    Attributes:
        path: where it is.
        gzipped: whether it is packed.
        shape: of its array of bytes.
        begin: where the array begins, in unpacked bytes.
    """

    path: Path
    gzipped: bool
    shape: tuple[int, ...]
    begin: int


class IdxReader(Reader):
    """A folder of IDX files, or one with them in its `raw` folder, as torchvision lays them out."""

    def accepts(self, source: tuple[Path, ...]) -> bool:
        """Whether the source is one folder in which IDX files of images lie."""
        return len(source) == 1 and source[0].is_dir() and any(kind == "images" for _, kind in _files(source[0])[1])

    def read(self, source: tuple[Path, ...], options: ReadOptions) -> Samples:
        """Read the parts that are there.

        Raises:
            DataError: a file is damaged, or images and labels do not belong together.
            UsageError: a column, a group or another modality is asked for.
        """
        (root,) = source
        _check(root, options)
        folder, files = _files(root)
        names = _names(root)
        rows, skipped = [], []
        for part in sorted({part for part, _ in files}, key=("train", "test").index):
            images, labels = files.get((part, "images")), files.get((part, "labels"))
            if images is None or (labels is None and options.labelled):
                alone, lacking = (labels, "images") if images is None else (images, "labels")
                skipped.append(Skipped(str(alone), f"has no file of {lacking} beside it, so this part is not read"))
                continue
            rows.append(_part(root, part, images, labels if options.labelled else None, names))
        if not rows:
            raise DataError(f"{folder} has no part that can be read: {skipped[0].input} {skipped[0].reason}")
        digits = names is not _FASHION
        return Samples(
            pa.concat_tables(rows),
            modality="image",
            inline=False,
            source=str(root),
            target_name="label" if options.labelled else None,
            skipped=tuple(skipped),
            notes=(
                f"{folder} holds IDX files; t10k is the part test",
                "the labels are digits, 0 to 9: for Fashion-MNIST's names of clothes the folder's name has to say fashion"
                if digits
                else "the folder's name says fashion, so the labels are Fashion-MNIST's names of clothes",
            ),
        )


PLUGIN = IdxReader()


def _check(root: Path, options: ReadOptions) -> None:
    for role in ("input", "target", "group"):
        if name := getattr(options, role):
            raise UsageError(f"{root} holds IDX files, which have no columns or groups, and got the {role} {name!r}")
    if options.modality not in {None, "image"}:
        raise UsageError(f"{root} holds images, and got the modality {options.modality!r}")


def _files(root: Path) -> tuple[Path, dict[tuple[str, str], Path]]:
    """The IDX files by part and kind, and the folder that holds them; of a plain and a packed one the plain."""
    for folder in (root, root / "raw", root / "MNIST" / "raw", root / "FashionMNIST" / "raw"):
        if not folder.is_dir():
            continue
        try:
            names = list_folder(folder)[1]
        except DataError:
            continue
        found = [(match, folder / name) for name in reversed(names) if (match := _NAME.fullmatch(name))]
        if found:
            return folder, {(_PART[match[1]], match[2]): path for match, path in found}
    return root, {}


def _names(root: Path) -> tuple[str, ...]:
    words = os.path.abspath(_files(root)[0]).lower().replace("\\", "/").split("/")[-3:]  # noqa: PTH100
    return _FASHION if any("fashion" in word for word in words) else tuple("0123456789")


def _part(root: Path, part: str, images: Path, labels: Path | None, names: tuple[str, ...]) -> pa.Table:
    pixels, _ = _opened(images, (3, 4))
    n, (height, width) = pixels.shape[0], pixels.shape[1:3]
    channels = pixels.shape[3] if len(pixels.shape) == 4 else 1
    if channels not in {1, 3} or not height * width:
        raise DataError(f"{images} holds arrays of the shape {pixels.shape}: expected images of one or three colours")
    size = height * width * channels
    home = images.relative_to(root).as_posix()
    numbers = pa.array(np.arange(n)).cast(pa.string())
    table = {
        "id": pa.compute.binary_join_element_wise(pa.scalar(f"{home}:"), numbers, ""),
        "input": places(
            os.path.abspath(images),  # noqa: PTH100
            pixels.begin + size * np.arange(n),
            length=size,
            gzipped=pixels.gzipped,
            pixels=f"rows={height}x{width}x{channels}",
        ),
        "split": pa.repeat(pa.scalar(part), n),
    }
    if labels is not None:
        told, data = _opened(labels, (1,))
        if told.shape[0] != n:
            raise DataError(
                f"{labels} holds {told.shape[0]} labels and {images} {n} images: they do not belong together"
            )
        values = np.frombuffer(data, np.uint8, count=n, offset=told.begin)
        if n and values.max() >= len(names):
            row = int(values.argmax())
            raise DataError(f"{labels} holds the label {values[row]} at {row}: expected 0 to {len(names) - 1}")
        table["target"] = pa.array(names, pa.string()).take(pa.array(values))
    return pa.table(table)


def _opened(path: Path, dimensions: tuple[int, ...]) -> tuple[_Idx, memoryview]:
    """The head of an IDX file and its bytes, its size checked.

    Raises:
        DataError: it is no IDX file of bytes, or not as long as its head says.
    """
    gzipped = path.suffix == ".gz"
    data = memoryview(open_or_unpack(str(path), gzipped=gzipped))
    head = bytes(data[:4])
    if len(head) < 4 or head[:3] != b"\0\0\x08" or head[3] not in dimensions:
        raise DataError(
            f"{path} begins with {head.hex() or 'nothing'}: expected the IDX magic of bytes in "
            f"{' or '.join(map(str, dimensions))} dimensions, such as 0000080{dimensions[0]}; download it again"
        )
    begin = 4 + 4 * head[3]
    shape = tuple(int.from_bytes(data[at : at + 4], "big") for at in range(4, begin, 4))
    expected = begin + math.prod(shape)
    if len(data) != expected:
        raise DataError(
            f"{path} holds {len(data)} bytes{' unpacked' if gzipped else ''}, and its head says {expected} "
            f"({' x '.join(map(str, shape))}): download it again"
        )
    return _Idx(path, gzipped, shape, begin), data
