"""MNIST's own format: the right labels and pixels, and damaged files by name."""

import gzip
from pathlib import Path

import numpy as np
import pytest

import headstart as hs
from headstart.core.errors import DataError
from headstart.data.modalities.image import picture
from headstart.data.opening import open_samples
from headstart.features.contents import content_of
from support import archives

FILE = "train-images-idx3-ubyte"


@pytest.mark.parametrize(("packed", "mark"), [(False, "-"), (True, "-"), (False, ".")])
@pytest.mark.parametrize("below", ["", "raw", "MNIST/raw"])
def test_labels_and_pixels_are_right(tmp_path: Path, packed: bool, mark: str, below: str) -> None:
    made = archives.mnist(tmp_path / "data" / below, packed=packed, mark=mark)
    samples = open_samples(tmp_path / "data")
    assert samples.parts == ("train", "test")
    for part, (images, labels) in made.items():
        rows = samples.part(part)
        assert rows.table.column("target").to_pylist() == [str(label) for label in labels]
        content = content_of(rows)
        for row in (0, len(rows) - 1):
            np.testing.assert_array_equal(np.asarray(picture(content(row))), np.stack([images[row]] * 3, axis=-1))


def test_fashion_has_the_names_of_clothes(tmp_path: Path) -> None:
    archives.mnist(tmp_path / "FashionMNIST" / "raw")
    samples = open_samples(tmp_path / "FashionMNIST")
    assert samples.table.column("target")[9].as_py() == "Ankle boot"
    assert any("fashion" in note for note in samples.notes)


@pytest.mark.parametrize("packed", [False, True])
def test_a_truncated_file_is_named(tmp_path: Path, packed: bool) -> None:
    archives.mnist(tmp_path / "mnist", packed=packed)
    path = tmp_path / "mnist" / (FILE + (".gz" if packed else ""))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=rf"{FILE}.*{'damaged gzip' if packed else 'its head says 14576'}"):
        open_samples(tmp_path / "mnist")


def test_a_packed_file_that_is_short_inside_is_named(tmp_path: Path) -> None:
    archives.mnist(tmp_path / "mnist", packed=True)
    path = tmp_path / "mnist" / f"{FILE}.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1]))
    with pytest.raises(DataError, match=rf"{FILE}.gz holds 14575 bytes unpacked, and its head says 14576"):
        open_samples(tmp_path / "mnist")


def test_another_magic_is_refused(tmp_path: Path) -> None:
    archives.mnist(tmp_path / "mnist")
    (tmp_path / "mnist" / FILE).write_bytes(b"\0\0\x0d\x03" + bytes(12))
    with pytest.raises(DataError, match=f"{FILE} begins with 00000d03: expected the IDX magic"):
        open_samples(tmp_path / "mnist")


def test_counts_and_labels_are_checked(tmp_path: Path) -> None:
    archives.mnist(tmp_path / "mnist")
    labels = tmp_path / "mnist" / "train-labels-idx1-ubyte"
    labels.write_bytes(archives.idx(np.zeros(19)))
    with pytest.raises(DataError, match=r"holds 19 labels and .* 20 images"):
        open_samples(tmp_path / "mnist")
    labels.write_bytes(archives.idx(np.full(20, 10)))
    with pytest.raises(DataError, match="holds the label 10 at 0: expected 0 to 9"):
        open_samples(tmp_path / "mnist")


def test_a_fit_reads_it_as_it_is(tmp_path: Path) -> None:
    archives.mnist(tmp_path / "mnist", n=60, packed=True)
    model = hs.fit(tmp_path / "mnist", backbone="toy:image")
    assert sorted(model.labels) == list("0123456789")
