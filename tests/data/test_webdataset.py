"""WebDataset shards: the right pixels, texts and labels, read in place, and damage by the member's name."""

import gzip
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import headstart as hs
from headstart.core.errors import DataError
from headstart.data import places
from headstart.data.modalities.image import picture
from headstart.data.opening import open_samples
from headstart.data.reading import ReadOptions
from headstart.features.contents import content_of

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 9, 11, 3)).astype(np.uint8)


def png(row: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS[row]).save(file, "PNG")
    return file.getvalue()


def shard(path: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def pets(rows: Iterable[int]) -> Iterable[tuple[str, bytes]]:
    for row in rows:
        yield f"some/{row:04}.png", png(row)
        yield f"some/{row:04}.cls", [b"cat\n", b"dog"][row % 2]


def described(rows: Iterable[int], **more: object) -> Iterable[tuple[str, bytes]]:
    for row in rows:
        yield f"{row}.input.png", png(row)
        value: Mapping[str, object] = {"species": "ab"[row % 2], "patient": f"p{row // 4}", "box": {"x": 1}, **more}
        yield f"{row}.json", json.dumps(value).encode()


def test_shards_are_read_in_place_by_part(tmp_path: Path) -> None:
    shard(tmp_path / "train-000000.tar", pets(range(10)))
    shard(tmp_path / "train-000001.tar", pets(range(10, 16)))
    shard(tmp_path / "val-000000.tar", pets(range(16, 20)))
    samples = open_samples(tmp_path)
    assert samples.parts == ("train", "val")
    assert samples.ids[0] == "train-000000.tar:some/0000"
    assert samples.table.column("target").to_pylist() == ["cat", "dog"] * 10
    for row in range(20):
        np.testing.assert_array_equal(np.asarray(picture(content_of(samples)(row))), PIXELS[row])
    assert sorted(hs.fit(tmp_path, backbone="toy:image").labels) == ["cat", "dog"]


def test_parts_may_be_folders_and_shards_may_be_packed(tmp_path: Path) -> None:
    for part, rows in (("train", range(12)), ("test", range(12, 18))):
        path = shard(tmp_path / part / "0.tar", pets(rows))
        (tmp_path / part / "0.tar.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    samples = open_samples(tmp_path)
    assert samples.parts == ("train", "test")
    np.testing.assert_array_equal(np.asarray(picture(content_of(samples)(17))), PIXELS[17])


def test_a_key_of_the_json_is_a_label_or_a_group(tmp_path: Path) -> None:
    path = shard(tmp_path / "a.tar", described(range(8)))
    samples = open_samples(path, options=ReadOptions(target="species", group="patient"))
    assert samples.table.column("target").to_pylist() == ["a", "b"] * 4
    assert samples.table.column("group").to_pylist() == ["p0"] * 4 + ["p1"] * 4
    with pytest.raises(DataError, match="no column with a usual name for the target"):
        open_samples(path)


def test_texts_and_their_classes(tmp_path: Path) -> None:
    members = [
        (f"{i}.{suffix}", text.encode())
        for i in range(6)
        for suffix, text in (("txt", f"text {i}"), ("cls", str(i % 3)))
    ]
    samples = open_samples(shard(tmp_path / "a.tar", members))
    assert samples.modality == "text"
    assert [content_of(samples)(row) for row in range(2)] == [b"text 0", b"text 1"]
    assert samples.table.column("target").to_pylist() == ["0", "1", "2"] * 2


def test_several_pictures_a_sample_ask_which(tmp_path: Path) -> None:
    members = [(f"{i}.{name}", png(i)) for i in range(4) for name in ("photo.png", "mask.png")]
    members = sorted([*members, *((f"{i}.cls", b"ab"[i % 2 : i % 2 + 1]) for i in range(4))])
    path = shard(tmp_path / "a.tar", members)
    with pytest.raises(
        DataError, match=r"the sample a\.tar:0 has mask\.png, photo\.png: say which with the input option"
    ):
        open_samples(path)
    assert len(open_samples(path, options=ReadOptions(input="photo.png"))) == 4
    with pytest.raises(DataError, match=r"no files with the suffix \.phto\.png.*Did you mean 'photo\.png'"):
        open_samples(path, options=ReadOptions(input="phto.png"))


def test_what_is_missing_is_listed(tmp_path: Path) -> None:
    members = [
        *pets(range(4)),
        ("some/8.cls", b"cat"),
        ("some/9.png", png(9)),
        ("some/10.png", b""),
        ("some/10.cls", b"cat"),
    ]
    shard(tmp_path / "train.tar", members)
    shard(tmp_path / "more.tar", pets(range(4)))
    samples = open_samples(tmp_path)
    assert len(samples) == 4
    assert {each.input: each.reason.split(":")[0] for each in samples.skipped} == {
        "more.tar": "is called after no part, and is not read",
        "train.tar:some/8": "has no input in its shard",
        "train.tar:some/9": "has no target",
        "train.tar:some/10": "is an empty file (0 bytes)",
    }


def test_a_damaged_shard_names_the_member(tmp_path: Path) -> None:
    path = shard(tmp_path / "a.tar", pets(range(6)))
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"some/0003.png") + 600])
    with pytest.raises(DataError, match=r"a\.tar: the member some/0003\.png is cut off"):
        open_samples(path)
    at = content.index(b"some/0003.png")
    path.write_bytes(content[:at] + b"\xff" * 300 + content[at + 300 :])
    with pytest.raises(DataError, match=r"a\.tar is a damaged archive at or after its member some/0002\.cls"):
        open_samples(path)
    shard(path, [*pets(range(2)), *pets([1])])
    with pytest.raises(DataError, match=r"the member some/0001\.png is there twice in one sample"):
        open_samples(path)
    shard(path, [("1.png", png(1)), ("1.json", b"{")])
    with pytest.raises(DataError, match=r"the member 1\.json is no JSON"):
        open_samples(path)
    shard(path, [("1.npy", b"x"), ("1.cls", b"0")])
    with pytest.raises(DataError, match=r"a\.tar holds \.npy, \.cls, and no pictures, recordings or texts"):
        open_samples(path)


def test_a_folder_with_other_files_is_no_folder_of_shards(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        for row in range(3):
            path = tmp_path / label / f"{row}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(png(row))
    shard(tmp_path / "cat" / "old.tar", pets(range(2)))
    assert len(open_samples(tmp_path)) == 6


def test_ids_are_unique_over_folders_and_names_within_a_shard(tmp_path: Path) -> None:
    for part in ("train", "test"):
        shard(tmp_path / part / "0.tar", pets(range(4)))
    samples = open_samples(tmp_path)
    assert len(set(samples.ids)) == len(samples) == 8
    assert samples.ids[0] == "train/0.tar:some/0000"
    path = shard(tmp_path / "a.tar", [*pets(range(2)), ("else.png", png(3)), *pets([0])])
    with pytest.raises(DataError, match="the sample some/0000 is there twice"):
        open_samples(path)


def test_links_are_followed_within_the_archive_and_others_refused(tmp_path: Path) -> None:
    def linked(kind: bytes, to: str) -> Path:
        path = tmp_path / "links.tar"
        with tarfile.open(path, "w") as archive:
            for name, content in (("1.png", png(1)), ("1.cls", b"a"), ("2.cls", b"b")):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            info = tarfile.TarInfo("2.png")
            info.type, info.linkname = kind, to
            archive.addfile(info)
        return path

    samples = open_samples(linked(tarfile.LNKTYPE, "1.png"))
    assert len(samples) == 2
    np.testing.assert_array_equal(np.asarray(picture(content_of(samples)(1))), PIXELS[1])
    for kind, to in ((tarfile.SYMTYPE, "1.png"), (tarfile.LNKTYPE, "/etc/passwd")):
        with pytest.raises(DataError, match=r"the member 2\.png is no plain file"):
            open_samples(linked(kind, to))


def test_an_archive_that_does_not_end_is_refused(tmp_path: Path) -> None:
    path = shard(tmp_path / "a.tar", pets(range(6)))
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"some/0003.png")])
    with pytest.raises(DataError, match="ends without the block that ends an archive"):
        open_samples(path)


def test_labels_are_text_or_refused(tmp_path: Path) -> None:
    marked = [("1.png", png(1)), ("1.cls", b"\xef\xbb\xbfcat"), ("2.png", png(2)), ("2.cls", b"cat")]
    samples = open_samples(shard(tmp_path / "a.tar", marked))
    assert samples.table.column("target").to_pylist() == ["cat", "cat"]
    path = shard(tmp_path / "b.tar", [("1.png", png(1)), ("1.cls", "caf\u00e9".encode("latin-1"))])
    with pytest.raises(DataError, match=r"b\.tar: the member 1\.cls"):
        open_samples(path)


def test_many_packed_shards_are_unpacked_once_each(tmp_path: Path) -> None:
    for number in range(7):
        path = shard(tmp_path / f"train-{number}.tar", pets(range(3 * number, 3 * number + 3)))
        path.with_suffix(".tar.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    samples = open_samples(tmp_path)
    before = places._unpacked.cache_info().misses
    read = content_of(samples)
    for row in np.random.default_rng(0).permutation(21):
        np.testing.assert_array_equal(np.asarray(picture(read(int(row)))), PIXELS[row])
    assert places._unpacked.cache_info().misses == before


def test_a_suffix_is_asked_for_with_or_without_its_dot(tmp_path: Path) -> None:
    members = [
        (f"{i}.{suffix}", content)
        for i in range(4)
        for suffix, content in (("png", png(i)), ("Kind.cls", b"ab"[i % 2 :][:1]))
    ]
    path = shard(tmp_path / "a.tar", members)
    for asked in ("Kind.cls", ".kind.cls"):
        assert (
            open_samples(path, options=ReadOptions(target=asked)).table.column("target").to_pylist() == ["a", "b"] * 2
        )
