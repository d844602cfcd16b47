"""CIFAR in both versions, unpacked or not: the right labels and pixels, damaged members by name, and pickles that run nothing."""

import os
import pickle  # noqa: TID251  (to write what the reader has to read, and what it has to refuse)
import tarfile
from pathlib import Path

import numpy as np
import pytest

import headstart as hs
from headstart.core.errors import DataError
from headstart.data.modalities.image import picture
from headstart.data.opening import open_samples
from headstart.data.pickled import plain_values
from headstart.features.contents import content_of
from support import archives


def packed(folder: Path, name: str) -> Path:
    path = folder.parent / name
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, arcname=folder.name)
    return path


@pytest.mark.parametrize("hundred", [False, True])
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("form", ["folder", "archive", "folder of the archive"])
def test_labels_and_pixels_are_right(tmp_path: Path, hundred: bool, binary: bool, form: str) -> None:
    folder = tmp_path / "here" / "batches"
    made = archives.cifar(folder, hundred=hundred, binary=binary)
    source = folder
    if form != "folder":
        version = "binary" if binary else "python"
        source = packed(folder, f"cifar-{100 if hundred else 10}-{version}.tar.gz")
        if form == "folder of the archive":
            source = source.rename(tmp_path / "here" / source.name).parent
            (folder).rename(tmp_path / "elsewhere")
    samples = open_samples(source)
    assert samples.parts == ("train", "test")
    assert samples.skipped == ()
    names = archives.CIFAR100[::-1][:10] if hundred else archives.CIFAR10
    assert samples.table.column("target").to_pylist() == list(names) * len(made)
    content = content_of(samples)
    for row in (0, len(samples) - 1):
        batch, number = samples.ids[row].split(":")
        np.testing.assert_array_equal(np.asarray(picture(content(row))), made[batch.removesuffix(".bin")][int(number)])


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_of_other_protocols_are_read_or_refused(protocol: int) -> None:
    values = {"labels": list(range(300)), "data": np.arange(600, dtype=np.uint8).reshape(2, 300)}
    content = pickle.dumps(values, protocol=protocol)
    if protocol in {2, 5}:  # bytes and arrays are then made by a call that no handed-out file makes
        with pytest.raises(DataError, match=r"asks for (_codecs\.encode|numpy.*_frombuffer), which could run code"):
            plain_values(content, source="a file")
        return
    found = plain_values(content, source="a file")
    assert found["labels"] == values["labels"]
    where = found["data"].state[4]
    assert content[where.offset : where.offset + where.length] == values["data"].tobytes()


def test_a_malicious_pickle_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "owned"),)

    folder = tmp_path / "cifar"
    archives.cifar(folder)
    for protocol in range(6):
        (folder / "data_batch_3").write_bytes(pickle.dumps({"data": Evil()}, protocol=protocol))
        with pytest.raises(DataError, match=r"data_batch_3 is a pickle (that asks for|with the instruction)"):
            open_samples(folder)
    assert not (tmp_path / "owned").exists()


def test_a_damaged_member_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "cifar"
    archives.cifar(folder)
    whole = (folder / "data_batch_2").read_bytes()
    (folder / "data_batch_2").write_bytes(whole[:-1000])
    with pytest.raises(DataError, match="data_batch_2 is a damaged pickle"):
        open_samples(folder)
    with pytest.raises(DataError, match="the member cifar/data_batch_2 is a damaged pickle"):
        open_samples(packed(folder, "cifar-10-python.tar.gz"))
    (folder / "data_batch_2").write_bytes(archives.pickle_2({"labels": [0], "data": np.zeros((2, 3072), np.uint8)}))
    with pytest.raises(DataError, match=r"data_batch_2 holds an array of the shape \(2, 3072\)"):
        open_samples(folder)


def test_a_cut_archive_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "cifar"
    archives.cifar(folder, binary=True)
    path = packed(folder, "cifar-10-binary.tar.gz")
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(DataError, match=r"cifar-10-binary.tar.gz is a damaged gzip file after \d+ unpacked bytes"):
        open_samples(path)
    (folder / "data_batch_1.bin").write_bytes(bytes(3074))
    with pytest.raises(DataError, match=r"data_batch_1.bin holds 3074 bytes, expected a multiple of 3073"):
        open_samples(folder)


def test_a_missing_batch_is_said(tmp_path: Path) -> None:
    archives.cifar(tmp_path / "cifar")
    (tmp_path / "cifar" / "data_batch_4").unlink()
    assert [one.input for one in open_samples(tmp_path / "cifar").skipped] == ["data_batch_4"]


def test_a_fit_reads_the_archive_in_place(tmp_path: Path) -> None:
    archives.cifar(tmp_path / "cifar")
    model = hs.fit(packed(tmp_path / "cifar", "cifar-10-python.tar.gz"), backbone="toy:image")
    assert sorted(model.labels) == sorted(archives.CIFAR10)
