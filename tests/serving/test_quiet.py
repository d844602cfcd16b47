"""What reaches the log: our own sentences, and nothing of what was sent, whatever the decoders write to standard error by themselves."""

import io
import logging
import os
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import headstart as hs
from headstart.serving.quiet import unheard
from support import media
from support.made import photos, sounds
from support.serving import running


def damaged(content: bytes, n: int, *, seed: int = 0) -> list[bytes]:
    """A file with many of its bytes changed, with its end cut off, and with noise in the place of its rest."""
    rng = np.random.default_rng(seed)
    found = [content[: len(content) // 3], content[:64] + rng.integers(0, 256, 2000, np.uint8).tobytes()]
    for _ in range(n):
        one = bytearray(content)
        for at in rng.integers(4, len(one), 40):
            one[at] = rng.integers(0, 256)
        found.append(bytes(one))
    return found


def tiff(**save: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)).save(buffer, "TIFF", **save)
    return buffer.getvalue()


def test_damaged_files_write_nothing_into_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    hs.fit(photos(tmp_path / "photos"), backbone="toy:image").save(tmp_path / "pictures")
    hs.fit(sounds(tmp_path / "sounds"), backbone="toy:audio").save(tmp_path / "recordings")
    tagged = b"ID3\x03\0\0\0\0\x0f\x76TXXX" + b"secret" * 330 + media.sound(0.5, form="MP3")
    recordings = [each for form in ("MP3", "FLAC", "OGG", "AIFF") for each in damaged(media.sound(0.5, form=form), 12)]
    pictures = [each for way in ("tiff_lzw", "jpeg", "tiff_deflate") for each in damaged(tiff(compression=way), 12)]
    with running(tmp_path / "pictures", tmp_path / "recordings") as found:
        for content in [*recordings, *damaged(tagged, 6)]:
            answer = found.client.post("/predict?model=recordings", content=content)
            assert answer.status_code in {200, 413, 422}
            assert " at 0x" not in answer.text
        for content in pictures:
            assert found.client.post("/predict?model=pictures", content=content).status_code in {200, 413, 422}
        status, errors = found.stop()
    assert (status, errors) == (0, "")


# It fails at a request, and a decoder writes by itself.
_FAILS = """
import os, warnings
from headstart.serving.served import Served
def fails(self, content, *given):
    os.write(2, b"a decoder's secret")
    warnings.warn("secret")
    raise RuntimeError("secret")
Served.prepare = fails
"""


def test_what_fails_is_still_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    hs.fit(sounds(tmp_path / "sounds"), backbone="toy:audio").save(tmp_path / "recordings")
    with running(tmp_path / "recordings", prelude=_FAILS) as found:
        assert found.client.post("/predict", content=media.sound()).status_code == 500
        status, errors = found.stop()
    assert status == 0
    assert errors.startswith("headstart: RuntimeError in <string>")
    assert "secret" not in errors


def test_standard_error_is_as_it_was_afterwards(capfd: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("headstart.serving")
    with unheard():
        os.write(2, b"lost")
        log.warning("kept")
    os.write(2, b"seen")
    errors = capfd.readouterr().err
    assert "lost" not in errors
    assert "seen" in errors
    assert logging.getLogger("PIL").level == logging.NOTSET


def test_two_that_overlap_may_leave_in_any_order(capfd: pytest.CaptureFixture[str]) -> None:
    before = logging.lastResort
    first, second = ExitStack(), ExitStack()
    for each in (first, second):
        each.enter_context(unheard())
    first.close()
    os.write(2, b"lost")
    second.close()
    os.write(2, b"seen")
    errors = capfd.readouterr().err
    assert ("lost" in errors, "seen" in errors) == (False, True)
    assert logging.lastResort is before
    assert logging.getLogger("PIL").level == logging.NOTSET
