"""Properties of data: what goes in comes out, whatever it is."""

import csv
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from headstart.core.digests import of_bytes
from headstart.core.errors import SampleError
from headstart.core.recipes import to_string
from headstart.data.modalities import MODALITIES, preparation
from headstart.data.modalities.audio import AudioRecipe
from headstart.data.modalities.image import ImageRecipe
from headstart.data.modalities.text import TextRecipe
from headstart.data.opening import open_samples
from headstart.data.reading import ReadOptions
from headstart.data.splits import folds
from support import media

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TOKENIZER = media.tokenizer()
TEXT = preparation(
    to_string("text", TextRecipe(max_tokens=7, long="windows", tokenizer=of_bytes(TOKENIZER).hex())),
    {"tokenizer.json": TOKENIZER},
)

unicode_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
    lambda text: text.strip()
)


@QUICK
@given(texts=st.lists(unicode_text, min_size=1, max_size=8))
def test_any_unicode_text_goes_through_tables(texts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".csv", ".tsv", ".jsonl"):
            path = Path(folder) / f"t{suffix}"
            with path.open("w", encoding="utf-8", newline="") as file:
                if suffix == ".jsonl":
                    file.writelines(json.dumps({"text": text, "n": 1}, ensure_ascii=False) + "\n" for text in texts)
                else:
                    writer = csv.writer(file, delimiter="\t" if suffix == ".tsv" else ",", quoting=csv.QUOTE_ALL)
                    writer.writerow(["text", "n"])
                    writer.writerows([text, "1"] for text in texts)
            samples = open_samples(path, options=ReadOptions(labelled=False))
            kept = [(row, text) for row, text in enumerate(texts) if text.strip()]
            first = 1 if suffix == ".jsonl" else 2
            reasons = {one.input for one in samples.skipped}
            found = dict(zip(samples.ids, samples.inputs, strict=True))
            for row, text in kept:
                name = f"t{suffix}:{row + first}"
                assert found.get(name) == text or name in reasons
            assert len(found) + len(reasons) == len(texts)


@QUICK
@given(text=st.text(max_size=60))
def test_any_text_is_cut_into_windows_that_fit_or_is_refused(text: str) -> None:
    try:
        prepared = TEXT.prepare(text)
    except SampleError:
        assume(False)
    assert all(3 <= len(view) <= 7 for view in prepared.views)
    assert sum(len(view) - 2 for view in prepared.views) == prepared.facts["tokens"] == sum(prepared.weights)


@QUICK
@given(
    mode=st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I"]),
    form=st.sampled_from(["PNG", "TIFF"]),
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    size=st.integers(1, 64),
    crop=st.floats(0.2, 1.0),
    resize=st.sampled_from(["shortest", "squash"]),
)
def test_any_image_becomes_pixels_of_the_size(
    mode: str, form: str, width: int, height: int, size: int, crop: float, resize: str
) -> None:
    assume((mode, form) != ("I", "PNG"))  # Pillow writes no such file
    recipe = to_string("image", ImageRecipe(size=size, crop=crop, resize=resize))
    (view,) = preparation(recipe, {}).prepare(media.image(mode, (width, height), form=form)).views
    assert (view.shape, view.dtype) == ((size, size, 3), np.uint8)


@pytest.mark.parametrize(
    ("mode", "form"),
    [
        ("CMYK", "JPEG"),
        ("CMYK", "TIFF"),
        ("F", "TIFF"),
        ("YCbCr", "JPEG"),
        ("RGBA", "WEBP"),
        ("L", "BMP"),
        ("P", "GIF"),
    ],
)
def test_any_mode_of_other_formats(mode: str, form: str) -> None:
    assert preparation("image(size=16)", {}).prepare(media.image(mode, form=form)).views[0].shape == (16, 16, 3)


@QUICK
@given(
    n=st.integers(0, 30000),
    rate=st.sampled_from([1000, 8000, 11025, 16000, 22050, 44100, 48000, 96000]),
    channels=st.integers(1, 6),
    window=st.floats(0.05, 3.0),
    pad=st.sampled_from(["bucket", "none"]),
)
def test_any_recording_becomes_windows_or_is_refused(n: int, rate: int, channels: int, window: float, pad: str) -> None:
    preparing = preparation(to_string("audio", AudioRecipe(window=window, pad=pad)), {})
    wave = 0.9 * np.sin(np.arange(n) / 5)[:, None] * np.ones(channels)
    try:
        prepared = preparing.prepare(media.wav(wave, rate=rate))
    except SampleError:
        assert n < 20
        return
    lengths = [len(view) for view in prepared.views]
    assert max(lengths) <= round(window * 16000)
    assert max(lengths) - min(lengths) <= 1
    assert abs(sum(lengths) - n * 16000 / rate) <= 2
    assert all(view.dtype == np.float32 and np.abs(view).max() <= 1 for view in prepared.views)
    batch = preparing.collate(
        [view for view in prepared.views if preparing.bucket(view) == preparing.bucket(prepared.views[0])]
    )
    assert batch.values.shape[1] >= batch.lengths.max()


@QUICK
@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=8),
    n_folds=st.integers(2, 8),
    seed=st.integers(0, 2**31 - 1),
    grouping=st.one_of(st.none(), st.integers(1, 5)),
    task=st.sampled_from(["single_label", "regression"]),
)
def test_folds(sizes: list[int], n_folds: int, seed: int, grouping: int | None, task: str) -> None:
    y = np.repeat(np.arange(len(sizes)), sizes)
    y = np.random.default_rng(seed).permutation(y)
    assume(len(y) >= 2)
    groups = None if grouping is None else np.arange(len(y)) // grouping
    assume(groups is None or len(np.unique(groups)) >= 2)
    fold = folds(y, task=task, groups=groups, n_folds=n_folds, seed=seed)
    assert fold.shape == y.shape
    assert fold.min() == 0
    assert len(np.unique(fold)) == fold.max() + 1 <= n_folds
    assert len(np.unique(fold)) >= 2
    assert np.array_equal(fold, folds(y, task=task, groups=groups, n_folds=n_folds, seed=seed))
    if groups is not None:
        assert all(len(set(fold[groups == group].tolist())) == 1 for group in np.unique(groups))
    elif task == "single_label":
        for kind, size in enumerate(sizes):
            assert size < 2 or len(set(fold[y == kind].tolist())) >= 2


@settings(max_examples=200, deadline=None)
@given(
    head=st.one_of(st.binary(max_size=64), st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")))
)
def test_no_bytes_are_of_two_modalities(head: bytes) -> None:
    assert sum(MODALITIES.get(name).recognises(head) for name in MODALITIES.names()) <= 1


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=3000))
def test_any_printable_text_is_text_even_when_cut(text: str) -> None:
    assert MODALITIES.get("text").recognises(text.encode()[:4096])
    assert MODALITIES.get("text").recognises(text.encode("utf-16")[:4095])
