"""Small real inputs that the tests make themselves: photos, texts and recordings of two or three kinds."""

import csv
import io
import wave
from pathlib import Path

import numpy as np
from PIL import Image

WORDS = {
    "good": ["splendid", "warm", "clever", "lovely", "moving", "bright"],
    "bad": ["dull", "cold", "stupid", "tedious", "grim", "flat"],
}


def photos(
    folder: Path, *, n: int = 12, parts: tuple[str, ...] = ("train", "val"), size: int = 40, seed: int = 0
) -> Path:
    """Class folders of reddish and bluish noise as PNG files: `folder/PART/red/0.png`."""
    rng = np.random.default_rng(seed)
    for part in parts:
        for name, channel in (("red", 0), ("blue", 2)):
            here = folder / part / name if part else folder / name
            here.mkdir(parents=True, exist_ok=True)
            for i in range(n):
                pixels = rng.integers(0, 90, (size, size + 8, 3))
                pixels[..., channel] += 120
                Image.fromarray(pixels.astype(np.uint8)).save(here / f"{i}.png")
    return folder


def reviews(path: Path, *, n: int = 30, seed: int = 0) -> Path:
    """A CSV table of made-up reviews, `text,label`."""
    rng = np.random.default_rng(seed)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for i in range(n):
            label = ("good", "bad")[i % 2]
            words = rng.choice(WORDS[label], 3)
            writer.writerow([f"film {i} was {words[0]} , {words[1]} and {words[2]}", label])
    return path


def noise(seconds: float) -> bytes:
    """A WAV file of noise, 8,000 samples of 8 bits a second."""
    file = io.BytesIO()
    with wave.open(file, "wb") as made:
        made.setnchannels(1)
        made.setsampwidth(1)
        made.setframerate(8000)
        made.writeframes(np.random.default_rng(0).integers(0, 256, int(8000 * seconds), np.uint8).tobytes())
    return file.getvalue()


def sounds(folder: Path, *, n: int = 8, rate: int = 8000, seconds: float = 0.4) -> Path:
    """Class folders of low and high tones as 16-bit WAV files."""
    rng = np.random.default_rng(1)
    for name, pitch in (("low", 220.0), ("high", 1760.0)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            times = np.arange(int(rate * seconds)) / rate
            wave_form = 0.4 * np.sin(
                2 * np.pi * pitch * (1 + 0.02 * rng.standard_normal()) * times
            ) + 0.02 * rng.standard_normal(len(times))
            with wave.open(str(folder / name / f"{i}.wav"), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(rate)
                file.writeframes((wave_form * 32767).astype("<i2").tobytes())
    return folder
