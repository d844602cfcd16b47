"""Files that are made to cost a decoder its time or its memory, or to make it write or say what it should not."""

import io
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from headstart.core.errors import SampleError
from headstart.core.recipes import to_string
from headstart.data import jpeg
from headstart.data.modalities import MODALITIES, audio, preparation
from headstart.data.modalities import image as images
from headstart.data.modalities.audio import AudioRecipe, waveform
from headstart.data.modalities.image import ImageRecipe, picture
from support import media


def repeated(times: int, size: tuple[int, int] = (64, 48)) -> bytes:
    """A progressive JPEG whose last scan is there so often."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (200, 10, 10)).save(buffer, "JPEG", progressive=True)
    content = buffer.getvalue()
    last = content[content.rfind(b"\xff\xda") : -2]
    return content[:-2] + last * times + content[-2:]


def test_a_jpeg_that_repeats_its_scans_is_not_decoded() -> None:
    preparing, large = preparation(to_string("image", ImageRecipe()), {}), repeated(400, (5000, 5000))
    began = time.thread_time()
    for read in (preparing.prepare, picture):
        with pytest.raises(SampleError, match="is a JPEG image in 410 scans, where 80 are safe"):
            read(large)
        with pytest.raises(SampleError, match="where 100 are safe"):
            read(repeated(120))
    assert time.thread_time() - began < 1.0


def test_a_progressive_jpeg_is_decoded_whatever_lies_beside_its_scans() -> None:
    plain = repeated(0)
    thumbnail = b"\xff\xe1" + (60_002).to_bytes(2, "big") + b"\xff\xda" * 30_000
    film = np.random.default_rng(0).integers(0, 256, 200_000, np.uint8).tobytes() + b"\xff\xda" * 500
    expected = np.asarray(picture(plain))
    for content in (plain[:2] + thumbnail + plain[2:], plain + film):
        assert np.array_equal(np.asarray(picture(content)), expected)
    assert jpeg._scans(plain[:2] + thumbnail + plain[2:] + film) == 10
    assert jpeg._scans(repeated(7)) == 17


@pytest.mark.parametrize("mode", ["I;16", "I", "F", "RGBA", "LA", "PA", "P"])
def test_an_image_is_converted_strip_by_strip_as_it_is_whole(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = (
        media.image(mode, form="TIFF" if mode in {"F", "I", "PA"} else "PNG") if mode != "PA" else media.image("RGBA")
    )
    whole = np.asarray(picture(content))
    monkeypatch.setattr(images, "_STRIP_PIXELS", 100)
    assert np.array_equal(np.asarray(picture(content)), whole)


_PEAK = """
import sys
from headstart.data.modalities.image import picture
import numpy, PIL.PngImagePlugin
def peak():
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith("VmHWM"))
content = sys.stdin.buffer.read()
before = peak()
picture(content)
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="it tells the peak of one process")
@pytest.mark.parametrize("clear", [False, True], ids=["16 bits", "RGBA"])
def test_a_deep_image_takes_no_more_memory_than_a_coloured_one(*, clear: bool) -> None:
    buffer = io.BytesIO()
    made = Image.new("RGBA", (5000, 5000)) if clear else Image.fromarray(np.zeros((5000, 5000), np.uint16))
    made.save(buffer, "PNG", compress_level=1)
    done = subprocess.run([sys.executable, "-c", _PEAK], input=buffer.getvalue(), capture_output=True, check=True)
    assert 25_000_000 < int(done.stdout) < 12 * 25_000_000, "bytes a pixel"


def open_ended(seconds: float, *, rate: int = 16_000, quiet: bool = False) -> bytes:
    """A FLAC file that leaves its length open."""
    buffer = io.BytesIO()
    times = np.arange(round(seconds * rate)) / rate
    soundfile.write(buffer, 0 * times if quiet else 0.5 * np.sin(1400 * times), rate, format="FLAC")
    content = bytearray(buffer.getvalue())
    fields = int.from_bytes(content[18:26], "big") >> 36 << 36
    content[18:26] = fields.to_bytes(8, "big")
    return bytes(content)


def test_a_recording_that_leaves_its_length_open_is_read_to_its_end() -> None:
    content = open_ended(70.0)
    assert MODALITIES.get("audio").extent(content) == 70.0
    sound, rate = waveform(content)
    assert (len(sound), rate) == (70 * 16_000, 16_000)
    expected = 0.5 * np.sin(1400 * np.arange(70 * 16_000) / 16_000)
    assert np.abs(sound - expected).max() < 1e-4
    one = preparation(to_string("audio", AudioRecipe()), {}).prepare(content)
    assert one.facts["seconds"] == 70.0


def test_a_recording_without_end_is_counted_no_further_than_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "_COUNTED_SECONDS", 100)
    monkeypatch.setattr(audio, "_LONGEST_SECONDS", 3600)
    content = open_ended(4000.0, rate=8_000, quiet=True)
    assert 100 < MODALITIES.get("audio").extent(content) < 300
    with pytest.raises(SampleError, match="is longer than 1 hours"):
        waveform(content)


def damaged(form: str) -> list[bytes]:
    rng = np.random.default_rng(0)
    content = media.sound(1.0, form=form)
    found = [content[:64] + rng.integers(0, 256, 500, np.uint8).tobytes(), content[: len(content) // 3]]
    for _ in range(30):
        one = bytearray(content)
        for at in rng.integers(4, len(one), 40):
            one[at] = rng.integers(0, 256)
        found.append(bytes(one))
    return found


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
def test_what_is_said_of_a_damaged_recording_has_no_address(form: str, capfd: pytest.CaptureFixture[str]) -> None:
    for content in damaged(form):
        for read in (waveform, MODALITIES.get("audio").extent):
            try:
                read(content)
            except SampleError as error:
                assert " at 0x" not in str(error)  # noqa: PT017  (those that can be read are no matter)
    assert "Traceback" not in capfd.readouterr().err


def test_what_is_said_of_a_damaged_image_has_no_address(tmp_path: Path) -> None:
    del tmp_path
    for form in ("PNG", "TIFF", "WEBP", "GIF", "BMP", "JPEG"):
        content = media.image(form=form)
        for cut in (20, 40, len(content) // 2):
            try:
                picture(content[:cut])
            except SampleError as error:
                assert " at 0x" not in str(error)  # noqa: PT017
