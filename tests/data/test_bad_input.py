"""Bad input: each kind gets one sentence that names the file, what was expected and what to do, and nothing is ever written to."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from headstart.core.digests import of_bytes
from headstart.core.errors import DataError, SampleError
from headstart.data.modalities import preparation
from headstart.data.opening import open_samples
from headstart.data.reading import ReadOptions
from support import media

PNG = media.image()
IMAGE = preparation("image(size=16)", {})
AUDIO = preparation("audio", {})
TOKENIZER = media.tokenizer()
DIGEST = of_bytes(TOKENIZER).hex()


def photos(root: Path, n: int = 2) -> Path:
    for name in ("ants", "bees"):
        (root / name).mkdir(parents=True)
        for number in range(n):
            (root / name / f"{number}.png").write_bytes(media.image(seed=number))
    return root


def only_skipped(root: Path) -> tuple[str, str]:
    samples = open_samples(root)
    assert len(samples) == 4
    (one,) = samples.skipped
    return one.input, one.reason


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_a_truncated_image(form: str) -> None:
    whole = media.image(size=(200, 150), form=form)
    with pytest.raises(
        SampleError, match=rf"is a damaged or truncated {form} image \(.+\): replace it by an intact copy"
    ):
        IMAGE.prepare(whole[: len(whole) // 2])


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_a_corrupt_image_is_read_or_refused_but_never_raises_anything_else(form: str) -> None:
    whole = bytearray(media.image(size=(64, 48), form=form))
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        broken = bytearray(whole)
        for at in rng.integers(8, len(whole), 12):
            broken[at] = rng.integers(0, 256)
        try:
            assert IMAGE.prepare(bytes(broken)).views[0].shape == (16, 16, 3)
        except SampleError:
            refused += 1
    assert refused > 0 or form in {"BMP", "JPEG", "TIFF", "GIF"}


@pytest.mark.parametrize("form", ["WAV", "FLAC"])
def test_a_truncated_recording(form: str) -> None:
    whole = media.sound(2.0, form=form)
    with pytest.raises(SampleError, match=f"is a (truncated|damaged) {form} recording"):
        AUDIO.prepare(whole[: len(whole) // 2])


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_corrupt_recording_is_read_or_refused_but_never_raises_anything_else(form: str) -> None:
    whole = media.sound(0.5, form=form)
    rng = np.random.default_rng(0)
    for _ in range(60):
        broken = bytearray(whole)
        for at in rng.integers(0, len(whole), 20):
            broken[at] = rng.integers(0, 256)
        try:
            prepared = AUDIO.prepare(bytes(broken))
        except SampleError:
            continue
        assert all(np.isfinite(view).all() and np.abs(view).max() <= 1 for view in prepared.views)


def test_bytes_of_no_kind() -> None:
    with pytest.raises(
        SampleError, match="is no JPEG, PNG, WebP, BMP, TIFF or GIF image: convert it to one of these, or remove it"
    ):
        IMAGE.prepare(b"\x00garbage")
    with pytest.raises(SampleError, match="is no WAV, FLAC, OGG, MP3 or AIFF recording"):
        AUDIO.prepare(b"\x00garbage")


def test_a_silent_recording() -> None:
    for wave in (np.zeros(8000), np.full(8000, 0.25), 5e-5 * np.sin(np.arange(8000))):
        with pytest.raises(SampleError, match="is silent: no sample rises above -80 dB; record it again or remove it"):
            AUDIO.prepare(media.wav(wave, subtype="FLOAT"))


def test_a_recording_without_samples_or_with_no_numbers() -> None:
    with pytest.raises(SampleError, match="zero length"):
        AUDIO.prepare(media.wav(np.zeros(0)))
    wave = np.sin(np.arange(8000.0))
    wave[5] = np.nan
    with pytest.raises(SampleError, match="not finite"):
        AUDIO.prepare(media.wav(wave, subtype="FLOAT"))


def test_a_file_of_no_modality(tmp_path: Path) -> None:
    (photos(tmp_path) / "ants" / "x.png").write_bytes(b"\x00\x01\x02")
    name, reason = only_skipped(tmp_path)
    assert name == "ants/x.png"
    assert reason == "is damaged or of another kind: expected audio, an image and text; convert or remove it"


def test_a_known_foreign_format_is_named(tmp_path: Path) -> None:
    (photos(tmp_path) / "ants" / "x.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0")
    assert only_skipped(tmp_path)[1].startswith("is an HEIC photo")


def test_an_empty_class(tmp_path: Path) -> None:
    (photos(tmp_path) / "wasps").mkdir()
    with pytest.raises(
        DataError, match=r"the class folder .*wasps is empty: put files of the class into it, or remove the folder"
    ):
        open_samples(tmp_path)
    (tmp_path / "wasps" / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"wasps holds 1 files, none of which can be used"):
        open_samples(tmp_path)


def test_an_empty_class_of_a_later_part_is_noted(tmp_path: Path) -> None:
    photos(tmp_path / "train")
    photos(tmp_path / "val")
    for path in (tmp_path / "val" / "ants").iterdir():
        path.unlink()
    assert any(
        "val/ants is empty, so the part val has no ants" in note.replace(os.sep, "/")
        for note in open_samples(tmp_path).notes
    )


def test_one_sample_in_a_class_is_read(tmp_path: Path) -> None:
    (photos(tmp_path) / "wasps").mkdir()
    (tmp_path / "wasps" / "a.png").write_bytes(PNG)
    assert open_samples(tmp_path).table.column("target").to_pylist().count("wasps") == 1


def test_a_zero_byte_file(tmp_path: Path) -> None:
    (photos(tmp_path) / "bees" / "empty.png").write_bytes(b"")
    assert only_skipped(tmp_path) == ("bees/empty.png", "is an empty file (0 bytes): replace it or take it out")
    for one in (IMAGE, AUDIO):
        with pytest.raises(SampleError, match="is an empty file"):
            one.prepare(b"")


def test_an_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = photos(tmp_path) / "bees" / "locked.png"
    target.write_bytes(PNG)
    access = os.access
    # Whoever runs the tests may be allowed to read everything, so the system's answer is stood in for.
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("locked.png") and access(path, mode))
    assert only_skipped(tmp_path) == ("bees/locked.png", "cannot be read: check its permissions")


@pytest.mark.skipif(
    sys.platform == "win32" or (hasattr(os, "geteuid") and os.geteuid() == 0), reason="the superuser reads everything"
)
def test_an_unreadable_file_of_this_system(tmp_path: Path) -> None:
    target = photos(tmp_path) / "bees" / "locked.png"
    target.write_bytes(PNG)
    target.chmod(0)
    assert only_skipped(tmp_path) == ("bees/locked.png", "cannot be read: check its permissions")


def test_an_unreadable_class_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path)
    scandir = os.scandir

    def refusing(path: str) -> object:
        if str(path).endswith("bees"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(
        DataError, match=r"bees cannot be read as a folder \(Permission denied\): check its permissions"
    ):
        open_samples(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes any bytes for a name")
def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    target = photos(tmp_path) / "bees" / os.fsdecode(b"\xff.png")
    target.write_bytes(PNG)
    assert only_skipped(tmp_path) == ("bees/\ufffd.png", "has a name that is not UTF-8 text: rename it")
    listed = open_samples([target, tmp_path / "bees" / "0.png"], options=ReadOptions(labelled=False))
    assert len(listed) == 1


@pytest.fixture
def links(tmp_path: Path) -> Path:
    try:
        (tmp_path / "probe").symlink_to(tmp_path)
    except OSError:
        pytest.skip("this system lets the tests make no links")
    (tmp_path / "probe").unlink()
    return photos(tmp_path / "data")


def test_a_symlink_loop(links: Path) -> None:
    (links / "ants" / "again").symlink_to(links, target_is_directory=True)
    assert only_skipped(links)[1].startswith("is a link to a folder that holds it, which would go round in circles")


def test_a_link_to_itself_and_a_link_to_nothing(links: Path) -> None:
    (links / "ants" / "self.png").symlink_to(links / "ants" / "self.png")
    (links / "ants" / "gone.png").symlink_to(links / "nowhere.png")
    samples = open_samples(links)
    assert len(samples) == 4
    reasons = {one.input: one.reason for one in samples.skipped}
    assert reasons["ants/gone.png"] == "is a link that leads nowhere: remove it or restore the file"
    assert reasons["ants/self.png"].startswith("cannot be read")


def test_loops_between_folders_outside(links: Path, tmp_path: Path) -> None:
    for one, other in (("x", "y"), ("y", "x")):
        (tmp_path / one).mkdir()
        (tmp_path / one / "to").symlink_to(tmp_path / other, target_is_directory=True)
    (tmp_path / "x" / "1.png").write_bytes(PNG)
    (links / "wasps").symlink_to(tmp_path / "x", target_is_directory=True)
    samples = open_samples(links)
    assert "wasps/1.png" in samples.ids
    assert len(samples) == 5
    assert [one.input for one in samples.skipped] == ["wasps/to/to"]


def test_links_to_files_and_folders_outside_are_followed(links: Path, tmp_path: Path) -> None:
    photos(tmp_path / "pool")
    (links / "wasps").symlink_to(tmp_path / "pool" / "ants", target_is_directory=True)
    (links / "bees" / "linked.png").symlink_to(tmp_path / "pool" / "bees" / "0.png")
    samples = open_samples(links)
    assert {"wasps/0.png", "bees/linked.png"} <= set(samples.ids)
    assert len(samples) == 7


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(photos(tmp_path) / "bees" / "pipe.png")
    assert only_skipped(tmp_path) == ("bees/pipe.png", "is no regular file; give a file of the disk")


def test_a_missing_path_names_what_is_near(tmp_path: Path) -> None:
    photos(tmp_path / "photos")
    with pytest.raises(
        DataError,
        match=r"photo is not there: expected a folder, a table or a file, and in .* is no 'photo'. Did you mean 'photos'",
    ):
        open_samples(tmp_path / "photo")
    with pytest.raises(DataError, match=r"is no 'nothing'"):
        open_samples(tmp_path / "nothing" / "at" / "all.csv")


def test_other_sources_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file matches .*: check the pattern"):
        open_samples(str(tmp_path / "*.jpg"))
    with pytest.raises(DataError, match="is an address: download the data first"):
        open_samples("https://example.org/photos.zip")
    with pytest.raises(DataError, match="an empty list of files was given"):
        open_samples([])
    with pytest.raises(DataError, match="an empty path was given"):
        open_samples("")
    with pytest.raises(DataError, match="is no path"):
        open_samples("a text\nof two lines")
    (tmp_path / "photos.zip").write_bytes(b"PK\x03\x04....")
    with pytest.raises(DataError, match="is a ZIP archive or Office document"):
        open_samples(tmp_path / "photos.zip")


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    for name, content in (("a", b"gut"), ("b", b"schlecht"), ("a", "sch\u00f6n und gut".encode("latin-1"))):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / f"{len(content)}.txt").write_bytes(content)
    samples = open_samples(tmp_path)
    assert len(samples) == 2
    assert samples.skipped[0].input == "a/13.txt"
    text = preparation(f"text(tokenizer='{DIGEST}')", {"tokenizer.json": TOKENIZER})
    with pytest.raises(
        SampleError, match=r"is not UTF-8 text \(at byte 3\): save it as UTF-8, or convert it with  iconv"
    ):
        text.prepare("sch\u00f6n".encode("latin-1"))


def test_a_huge_image_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    assert IMAGE.prepare(media.image(size=(30, 30))).views[0].shape == (16, 16, 3)
    with pytest.raises(
        SampleError,
        match=r"is an image of 48 x 32 pixels, more than the 1,000 that are safe to decode: make it smaller",
    ):
        IMAGE.prepare(media.image(size=(48, 32)))


def test_a_thin_strip_is_refused() -> None:
    with pytest.raises(SampleError, match="too thin a strip"):
        preparation("image(size=224)", {}).prepare(media.image("L", size=(60000, 1)))


def test_all_files_of_a_list_are_bad(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file of 2 files can be used: the first, .*a.png, is missing"):
        open_samples([tmp_path / "a.png", tmp_path / "b.png"], options=ReadOptions(labelled=False))


def test_the_source_is_never_written_to(tmp_path: Path) -> None:
    root = photos(tmp_path / "data")
    (root / "ants" / "broken.png").write_bytes(PNG[:40])
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in root.rglob("*") if path.is_file()}
    for row in range(len(samples := open_samples(root))):
        content = samples.path(row).read_bytes()
        if content != PNG[:40]:
            IMAGE.prepare(content)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in root.rglob("*") if path.is_file()} == before
