"""A .npz of images and labels: the right ones, and damaged or unfit arrays by name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import headstart as hs
from headstart.core.errors import DataError
from headstart.data.modalities.image import picture
from headstart.data.opening import open_samples
from headstart.features.contents import content_of

RNG = np.random.default_rng(0)
COLOURED = RNG.integers(0, 256, (12, 9, 7, 3)).astype(np.uint8)
LABELS = np.arange(12) % 2


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_medmnist_is_read_by_parts(tmp_path: Path, save: Callable[..., None]) -> None:
    parts = {"train": COLOURED, "val": COLOURED[:4], "test": COLOURED[4:]}
    arrays = {f"{part}_images": values for part, values in parts.items()}
    arrays |= {f"{part}_labels": LABELS[: len(values), None] for part, values in parts.items()}
    save(tmp_path / "medmnist.npz", **arrays)
    samples = open_samples(tmp_path / "medmnist.npz")
    assert samples.parts == ("train", "val", "test")
    for part, values in parts.items():
        rows = samples.part(part)
        assert rows.table.column("target").to_pylist() == [str(label) for label in LABELS[: len(values)]]
        np.testing.assert_array_equal(np.asarray(picture(content_of(rows)(1))), values[1])


@pytest.mark.parametrize(("x", "y"), [("x", "y"), ("data", "targets"), ("x_train", "y_train")])
def test_other_names_and_grey_images(tmp_path: Path, x: str, y: str) -> None:
    np.savez(tmp_path / "a.npz", **{x: COLOURED[..., 0], y: np.array(["no", "yes"])[LABELS]})
    samples = open_samples(tmp_path / "a.npz")
    assert samples.table.column("target").to_pylist() == ["no", "yes"] * 6
    np.testing.assert_array_equal(np.asarray(picture(content_of(samples)(11)))[..., 1], COLOURED[11, ..., 0])


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    for arrays, sentence in (
        ({"x": COLOURED, "y": np.array([None] * 12)}, r"y\.npy holds Python objects"),
        ({"x": COLOURED / 255, "y": LABELS}, r"x\.npy holds float64 of the shape"),
        ({"x": COLOURED, "y": LABELS[:5]}, r"y\.npy holds int64 of the shape \(5,\): expected 12"),
        ({"a": COLOURED, "b": LABELS}, r"holds a\.npy, b\.npy: expected images and labels"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(DataError, match=sentence):
            open_samples(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"a\.npz is a damaged archive of arrays"):
        open_samples(path)


def test_a_fit_reads_it_as_it_is(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=COLOURED, y=LABELS)
    assert sorted(hs.fit(tmp_path / "a.npz", backbone="toy:image").labels) == ["0", "1"]
