"""Every reader keeps the contract that `headstart.testing.check_reader` states."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest

from headstart.core.errors import DataError
from headstart.data.readers import READERS
from headstart.data.reading import ReadOptions
from headstart.testing import check_reader
from support import archives, media

Example = tuple[tuple[Path, ...], ReadOptions, int]


def _folder(root: Path) -> Example:
    for part, count in (("train", 3), ("val", 2)):
        for name in ("ants", "bees"):
            (root / "photos" / part / name).mkdir(parents=True)
            for number in range(count):
                (root / "photos" / part / name / f"a_{number}.png").write_bytes(media.image(seed=number))
    (root / "photos" / "train" / "bees" / "broken.png").write_bytes(b"")
    return (root / "photos",), ReadOptions(group="^(a)_"), 10


def _table(root: Path) -> Example:
    (root / "reviews.csv").write_text("text,label\ngreat film,good\nbad film,bad\n,bad\n", encoding="utf-8")
    return (root / "reviews.csv",), ReadOptions(), 2


def _files(root: Path) -> Example:
    paths = tuple(root / f"{number}.wav" for number in range(3))
    for path in paths:
        path.write_bytes(media.sound())
    return (*paths, root / "missing.wav"), ReadOptions(labelled=False), 3


def _idx(root: Path) -> Example:
    archives.mnist(root / "mnist")
    (root / "mnist" / "t10k-labels-idx1-ubyte").unlink()
    return (root / "mnist",), ReadOptions(), 20


def _cifar(root: Path) -> Example:
    archives.cifar(root / "cifar")
    (root / "cifar" / "data_batch_4").unlink()
    return (root / "cifar",), ReadOptions(), 50


def _imagenet(root: Path) -> Example:
    for synset in ("n01440764", "n02012849"):
        (root / "imagenet" / "train" / synset).mkdir(parents=True)
        for number in range(3):
            content = media.image(form="JPEG", seed=number) if number else b""
            (root / "imagenet" / "train" / synset / f"{number}.JPEG").write_bytes(content)
    (root / "imagenet" / "train" / "n02012849" / "0.JPEG").unlink()
    return (root / "imagenet",), ReadOptions(), 4


def _arrays(root: Path) -> Example:
    np.savez(root / "a.npz", x=np.zeros((4, 8, 8), np.uint8), y=np.arange(4) % 2, extra=np.zeros(3))
    return (root / "a.npz",), ReadOptions(), 4


def _huggingface(root: Path) -> Example:
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["ants", "bees"])}
    pictures = [{"bytes": media.image(seed=number), "path": None} for number in range(4)]
    rows = {"image": pictures, "label": [0, 1, -1, 1]}
    datasets.Dataset.from_dict(rows, features=datasets.Features(kinds)).save_to_disk(root / "pets")
    return (root / "pets",), ReadOptions(), 3


def _webdataset(root: Path) -> Example:
    with tarfile.open(root / "train-0.tar", "w") as shard:
        for number in range(4):
            for suffix, content in (("png", media.image(seed=number)), ("cls", b"ab"[number % 2 :][:1])):
                entry = tarfile.TarInfo(f"{number}.{suffix}")
                entry.size = len(content)
                if number or suffix == "cls":
                    shard.addfile(entry, io.BytesIO(content))
    return (root / "train-0.tar",), ReadOptions(), 3


EXAMPLES: dict[str, Callable[[Path], Example]] = {
    "folder": _folder,
    "table": _table,
    "files": _files,
    "idx": _idx,
    "cifar": _cifar,
    "imagenet": _imagenet,
    "arrays": _arrays,
    "huggingface": _huggingface,
    "webdataset": _webdataset,
}


@pytest.mark.parametrize("name", READERS.names())
def test_every_reader_keeps_its_contract(name: str, tmp_path: Path) -> None:
    source, options, n = EXAMPLES[name](tmp_path)
    samples = check_reader(READERS.get(name), source, options=options)
    assert len(samples) == n
    assert len(samples.skipped) == 1


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_one_reader_accepts_each_source(name: str, tmp_path: Path) -> None:
    source, _, _ = EXAMPLES[name](tmp_path)
    readers = {one: READERS.get(one) for one in READERS.names()}
    accepting = [one for one, reader in readers.items() if reader.accepts(source)]
    special = [one for one in accepting if not readers[one].fallback]
    assert (special or accepting) == [name]


def test_every_reader_has_a_catalogue_entry() -> None:
    assert all(len(entry) > 20 and entry.endswith(".") for entry in READERS.catalogue().values())


def test_the_check_finds_a_reader_that_writes(tmp_path: Path) -> None:
    source, options, _ = _table(tmp_path)
    good = READERS.get("table")

    class Writing(type(good)):  # type: ignore[misc]
        def read(self, source: tuple[Path, ...], options: ReadOptions) -> object:
            samples = super().read(source, options)
            source[0].write_text("text,label\nother,x\n", encoding="utf-8")
            return samples

    with pytest.raises(AssertionError, match="never writes"):
        check_reader(Writing(), source, options=options)


def test_the_check_finds_a_reader_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no files"):
        check_reader(READERS.get("folder"), (tmp_path / "empty",))
