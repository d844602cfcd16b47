"""What the benchmark of the data gate plants is what it says: flips, altered copies, and strangers."""

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
from PIL import Image

from headstart.data.samples import make_samples
from support.data import ROOT
from support.media import wav


@pytest.fixture
def plants(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("check")


def test_one_label_in_twenty_becomes_another_one(plants: ModuleType) -> None:
    labels = ["a", "b", "c", "d"] * 50
    samples = make_samples(
        [f"t:{i}" for i in range(200)], ["x"] * 200, modality="text", inline=True, source="made", target=labels
    )
    changed, wrong = plants.flipped(samples, 3)
    now = np.array(changed.table.column("target").to_pylist())
    assert wrong.sum() == 10
    assert ((now != np.array(labels)) == wrong).all()
    assert set(now) == set(labels)
    assert (plants.flipped(samples, 3)[1] == wrong).all()
    assert (plants.flipped(samples, 4)[1] != wrong).any()


def size(path: str) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_pictures_are_encoded_again_halved_and_cropped_in_turn(plants: ModuleType, tmp_path: Path) -> None:
    original = tmp_path / "original ü.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 100, 3)).astype(np.uint8)).save(original)
    rng = np.random.default_rng(0)
    made = [plants._picture(str(original), tmp_path / f"{number}", number, rng) for number in range(3)]
    assert [size(path) for path in made] == [(100, 80), (50, 40), (95, 76)]
    assert Path(made[0]).stat().st_size < original.stat().st_size / 2


def test_sentences_differ_in_case_and_punctuation_only(plants: ModuleType, tmp_path: Path) -> None:
    original = "a film , at last , that is worth it ."
    for number in range(6):
        changed = plants._text(original, tmp_path, number, np.random.default_rng(0))
        assert changed != original
        assert "".join(filter(str.isalpha, changed.lower())) == "".join(filter(str.isalpha, original))


def test_recordings_have_another_rate_and_gain_and_the_same_length(plants: ModuleType, tmp_path: Path) -> None:
    original = tmp_path / "original.wav"
    sound = 0.1 * np.sin(np.arange(8000) / 20)
    original.write_bytes(wav(sound, rate=8000))
    for number, rate in enumerate((11_025, 16_000, 22_050)):
        path = plants._sound(str(original), tmp_path / f"{number}", number, np.random.default_rng(0))
        found, given = soundfile.read(path)
        assert given == rate
        assert abs(len(found) / rate - 1) < 0.01
        assert np.abs(found).max() > 2 * np.abs(sound).max()


def test_strangers_are_marked_and_distinct(plants: ModuleType) -> None:
    own, other = (
        make_samples([f"{name}:{i}" for i in range(30)], [f"{name} {i}" for i in range(30)], modality="text", inline=True, source=name)
        for name in ("own", "other")
    )  # fmt: skip
    both = plants.mixed(own, other, 0)
    strange = [text for name, text in zip(both.ids, both.inputs, strict=True) if name.startswith("stranger/")]
    assert len(set(strange)) == plants.STRANGERS
    assert all(text.startswith("other ") for text in strange)
    assert both.inputs[:30] == own.inputs
