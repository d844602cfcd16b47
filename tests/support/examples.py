"""Small made-up data with the names that the documentation uses, so that its commands run as they stand.

photos/train/{ants,bees}/NN.png, photos/val/{ants,bees}/NN.png    images, two classes
new/N.jpg                                                         images without a label
reviews.csv (text,label), new.csv (text)                          texts, two classes
tags.csv (text,tags)                                              texts, several labels each, separated by |
prices.csv (text,price)                                           texts, a number each
sounds/{high,low}/NN.wav, new.wav                                 recordings, two classes
"""

import csv
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

SUBJECTS = ("film", "plot", "cast", "music", "ending", "script", "camera", "dialogue", "pacing", "story")
PRAISE = ("a joy from start to finish", "warm, funny and moving", "brilliant", "a delight to watch")
BLAME = ("dull and far too long", "a tedious mess", "awful", "a waste of an evening")
RATE = 16_000


def write_examples(folder: Path) -> None:
    """Write everything that the documentation's commands read into `folder`."""
    rng = np.random.default_rng(0)
    _write_photos(folder, rng)
    _write_texts(folder)
    _write_sounds(folder, rng)


def _write_photos(folder: Path, rng: np.random.Generator) -> None:
    from PIL import Image

    for part, count in (("train", 12), ("val", 6)):
        for name, number in itertools.product(("ants", "bees"), range(count)):
            path = folder / "photos" / part / name / f"{number:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(_photo(name, rng)).save(path)
    (folder / "new").mkdir()
    for number, name in enumerate(("ants", "bees", "ants"), 1):
        Image.fromarray(_photo(name, rng)).save(folder / "new" / f"{number}.jpg", quality=95)


def _photo(name: str, rng: np.random.Generator) -> np.ndarray:
    """(96, 96, 3) uint8: dark discs on sand for ants, yellow and black stripes for bees, both noisy."""
    rows, columns = np.mgrid[0:96, 0:96]
    if name == "bees":
        stripes = (rows // rng.integers(6, 12)) % 2
        colour = np.where(stripes[..., None] == 0, [230, 190, 30], [30, 25, 20])
    else:
        centre = rng.integers(30, 66, 2)
        disc = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < rng.integers(12, 24) ** 2
        colour = np.where(disc[..., None], [60, 30, 20], [200, 180, 150])
    return np.clip(colour + rng.normal(0, 12, (96, 96, 3)), 0, 255).astype(np.uint8)


def _write_texts(folder: Path) -> None:
    pairs = list(itertools.product(SUBJECTS, range(4)))
    good = [(f"The {subject} is {PRAISE[i]}.", "positive") for subject, i in pairs]
    bad = [(f"The {subject} is {BLAME[i]}.", "negative") for subject, i in pairs]
    _write_csv(folder / "reviews.csv", ("text", "label"), [row for both in zip(good, bad, strict=True) for row in both])
    _write_csv(folder / "new.csv", ("text",), [("A brilliant film.",), ("What a tedious mess.",)])
    texts = [text for text, _ in (*good, *bad)]
    tags = [
        ("praise" if i < 40 else "blame") + ("|music" if "music" in t or i % 3 == 0 else "")
        for i, t in enumerate(texts)
    ]
    _write_csv(folder / "tags.csv", ("text", "tags"), list(zip(texts, tags, strict=True)))
    prices = [round((30 if i < 40 else 10) + 0.5 * (i % 7), 2) for i in range(len(texts))]
    _write_csv(folder / "prices.csv", ("text", "price"), list(zip(texts, prices, strict=True)))


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def _write_sounds(folder: Path, rng: np.random.Generator) -> None:
    import soundfile

    for name, number in itertools.product(("high", "low"), range(6)):
        path = folder / "sounds" / name / f"{number:02d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, _tone(name, rng), RATE)
    soundfile.write(folder / "new.wav", _tone("high", rng), RATE)


def _tone(name: str, rng: np.random.Generator) -> np.ndarray:
    """(8000,) float64: half a second of a tone around 1200 or 200 Hz, with noise."""
    pitch = (1200 if name == "high" else 200) * rng.uniform(0.9, 1.1)
    seconds = np.arange(RATE // 2) / RATE
    return 0.3 * np.sin(2 * np.pi * pitch * seconds) + 0.02 * rng.normal(size=seconds.size)
