"""A map is brightest where the evidence was planted."""

import csv
import wave
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import headstart as hs
from headstart.core.errors import SampleError, UsageError
from headstart.model.saliency import overlay, saliency


def corner_photo(name: str, rng: np.random.Generator) -> Image.Image:
    """Grey noise of 96 x 64 with a red or a blue patch in the upper right corner of its central square."""
    pixels = rng.integers(90, 160, (64, 96, 3)).astype(np.uint8)
    pixels[0:12, 68:80] = [250, 0, 0] if name == "red" else [0, 0, 250]
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("corner"), np.random.default_rng(0)
    for name in ("red", "blue"):
        (folder / name).mkdir()
        for i in range(20):
            corner_photo(name, rng).save(folder / name / f"{i}.png")
    return folder


def test_the_patch_that_decides_is_the_brightest(photos: Path) -> None:
    model = hs.fit(photos, backbone="toy:image")
    content = (photos / "red" / "0.png").read_bytes()
    found = saliency(model, content)
    assert (found.unit, found.label, found.grid, found.left_out) == ("patches", "red", (8, 12), 0)
    assert found.whole > 0.9
    best = found.parts[int(found.scores.argmax())]
    assert best.box is not None
    left, top, right, bottom = best.box
    assert 68 / 96 - 0.09 < left < right < 80 / 96 + 0.09
    assert (top, bottom) == (0.0, 0.125)
    assert best.score > 0.3
    assert found.scores.reshape(8, 12)[5:].max() < best.score / 2
    other = saliency(model, content, label="blue")
    assert other.whole == pytest.approx(1 - found.whole)
    assert other.scores.argmin() == found.scores.argmax()
    drawn = np.asarray(overlay(found, content)).astype(int)
    assert drawn.shape == (64, 96, 3)
    assert (np.abs(drawn - np.asarray(Image.open(BytesIO(content))).astype(int)).sum(axis=2)[40:] < 90).all()


def test_the_word_that_decides_is_the_brightest(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = ["the", "plot", "of", "this", "film", "and", "its", "cast"]
    with (tmp_path / "films.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for i in range(60):
            text = [str(word) for word in rng.choice(words, 6)]
            text.insert(int(rng.integers(0, 7)), ("zzzzzz", "qqqqqq")[i % 2])
            writer.writerow([" ".join(text), ("good", "bad")[i % 2]])
    model = hs.fit(tmp_path / "films.csv", backbone="toy:text")
    found = saliency(model, "the cast of this zzzzzz film")
    best = found.parts[int(found.scores.argmax())]
    assert (found.unit, found.label, best.text) == ("words", "good", "zzzzzz")
    assert (best.start, best.end) == (17, 23)
    assert len(found.parts) == 6
    assert [part.text for part in saliency(model, "电影 is good").parts] == ["电", "影", "is", "good"]
    assert len(saliency(model, "film").parts) == 1
    assert len(saliency(model, "film " * 1000).parts) == 200


def test_the_second_that_decides_is_the_brightest(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("rain", "calm"):
        (tmp_path / name).mkdir()
        for i in range(12):
            sound = 0.003 * rng.standard_normal(24_000)
            start = int(rng.integers(0, 3)) * 8000
            if name == "rain":
                sound[start : start + 8000] += 0.1 * rng.standard_normal(8000)
            with wave.open(str(tmp_path / name / f"{i}-{start}.wav"), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(8000)
                file.writeframes((sound * 32767).astype("<i2").tobytes())
    model = hs.fit(tmp_path, backbone="toy:audio")
    for path in sorted((tmp_path / "rain").iterdir())[:4]:
        second = int(path.stem.split("-")[1]) / 8000
        found = saliency(model, path.read_bytes())
        assert (found.unit, found.label, len(found.parts)) == ("seconds", "rain", 32)
        inside = np.array([second <= (part.start + part.end) / 2 <= second + 1 for part in found.parts])
        assert found.scores[inside].min() > found.scores[~inside].max()


def test_what_cannot_be_mapped_is_one_sentence(photos: Path) -> None:
    model = hs.fit(photos, backbone="toy:image")
    with pytest.raises(SampleError, match="is no JPEG, PNG"):
        saliency(model, b"rubbish")
    with pytest.raises(UsageError, match=r"has no label 'rde' to explain. Did you mean 'red'"):
        saliency(model, (photos / "red" / "0.png").read_bytes(), label="rde")
