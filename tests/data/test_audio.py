"""Recordings: formats, rates, channels, windows, padding, loudness."""

import numpy as np
import pytest

from headstart.core.errors import SampleError, UsageError
from headstart.core.recipes import to_string
from headstart.data.modalities import preparation
from headstart.data.modalities.audio import AudioRecipe
from headstart.data.preparation import Preparation
from support import media
from support.data import shared


def prepared(**options: object) -> Preparation:
    return preparation(to_string("audio", AudioRecipe(**options)), {})  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_every_format_and_rate_gives_the_same_tone(form: str, rate: int) -> None:
    one = prepared().prepare(media.sound(1.0, rate=rate, channels=2, form=form))
    (view,) = one.views
    assert view.dtype == np.float32
    assert abs(len(view) - 16000) < 2500  # MP3 pads
    assert (one.facts["rate"], one.facts["channels"]) == (rate, 2)
    assert abs(float(one.facts["loudness"]) + 9.03) < 0.7  # a sine of amplitude one half
    spectrum = np.abs(np.fft.rfft(view[:16000] * np.hanning(len(view[:16000]))))
    assert abs(int(spectrum.argmax()) * 16000 / len(view[:16000]) - 220) < 2


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
def test_every_depth(subtype: str) -> None:
    (view,) = prepared().prepare(media.sound(0.2, subtype=subtype)).views
    assert 0.45 < np.abs(view).max() < 0.6


def test_resampling_removes_what_the_new_rate_cannot_hold() -> None:
    time = np.arange(48000) / 48000
    wave = 0.4 * np.sin(2 * np.pi * 1000 * time) + 0.4 * np.sin(2 * np.pi * 11000 * time)
    (view,) = prepared().prepare(media.wav(wave, rate=48000)).views
    expected = 0.4 * np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    assert np.abs(view - expected)[200:-200].max() < 2e-3


def test_channels_are_averaged() -> None:
    left, right = np.full(4000, 0.5) * np.sin(np.arange(4000)), np.zeros(4000)
    (view,) = prepared().prepare(media.wav(np.stack([left, right], axis=1), subtype="FLOAT")).views
    assert np.allclose(view, left / 2, atol=1e-6)


def test_values_beyond_full_scale_are_divided_by_the_peak() -> None:
    wave = 20000 * np.sin(np.arange(4000.0))
    (view,) = prepared().prepare(media.wav(wave, subtype="FLOAT")).views
    assert np.allclose(view, np.sin(np.arange(4000.0)), atol=1e-3)


def test_long_recordings_are_cut_evenly() -> None:
    content = media.sound(7.3)
    one = prepared(window=3.0).prepare(content)
    assert [len(view) for view in one.views] == [38934, 38933, 38933]
    assert one.weights == (38934.0, 38933.0, 38933.0)
    assert np.array_equal(np.concatenate(one.views), prepared().prepare(content).views[0])
    assert one.facts["seconds"] == pytest.approx(7.3)


def test_short_recordings_are_followed_by_silence() -> None:
    (view,) = prepared(minimum=1.0).prepare(media.sound(0.25)).views
    assert len(view) == 16000
    assert not view[4000:].any()


def test_rows_never_depend_on_the_batch() -> None:
    one = prepared()
    short, longer = (one.prepare(media.sound(seconds)).views[0] for seconds in (0.3, 0.9))
    assert one.bucket(short) == one.bucket(longer) == 16000
    assert one.collate([short]).values.shape == (1, 16000)
    assert one.collate([short, longer]).lengths.tolist() == [4800, 14400]
    assert one.bucket(one.prepare(media.sound(1.2)).views[0]) == 32000
    with pytest.raises(ValueError, match="cannot share a batch"):
        one.collate([short, one.prepare(media.sound(1.2)).views[0]])


def test_without_padding_only_equal_lengths_share() -> None:
    one = prepared(pad="none")
    short, longer = (one.prepare(media.sound(seconds)).views[0] for seconds in (0.3, 0.9))
    assert (one.bucket(short), one.bucket(longer)) == (4800, 14400)
    assert one.collate([short, short]).values.shape == (2, 4800)


def test_a_recording_shorter_than_a_sample() -> None:
    with pytest.raises(SampleError, match="shorter than one sample at 1000 Hz"):
        prepared(rate=1000).prepare(media.wav(np.array([0.5, -0.5]), rate=48000))


def test_a_recording_of_hours_is_refused_unread() -> None:
    content = bytearray(media.wav(np.sin(np.arange(20000)), rate=16000))
    content[24:28] = (1).to_bytes(4, "little")  # one sample a second, so more than five hours
    with pytest.raises(SampleError, match="is longer than 4 hours: cut it into shorter files"):
        prepared().prepare(bytes(content))


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ("audio(rate=10)", "takes a rate from 1000 to 384000 Hz, and got 10"),
        ("audio(window=0)", "takes a window from 0.01 to 3600 seconds"),
        ("audio(minimum=31)", "takes a minimum from 0 to the window of 30.0 seconds, and got 31"),
        ("audio(pad='zero')", "takes pad='bucket' or pad='none', and got 'zero'"),
        ("audio(buckets=(2, 1))", "takes rising positive seconds for 'buckets'"),
        ("audio(buckets=('a', 'b'))", "takes rising positive seconds for 'buckets'"),
        ("audio(buckets=(1j,))", "takes rising positive seconds for 'buckets'"),
        ("audio(buckets=(True, 2))", "takes rising positive seconds for 'buckets'"),
        ("audio(buckets=((1,), (2,)))", "takes rising positive seconds for 'buckets'"),
        ("audio(buckets=(1, 1e305))", "takes rising positive seconds for 'buckets'"),
        ("audio(buckets=(1e999,))", "takes for 'buckets' a value like"),
    ],
)
def test_recipes_that_mean_nothing(recipe: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        preparation(recipe, {})


def test_real_recordings() -> None:
    one = prepared()
    folder = shared("spoken_digits") / "test"
    paths = [next(iter(sorted((folder / str(digit)).glob("*.wav")))) for digit in range(10)]
    for path in paths:
        (view,) = one.prepare(path.read_bytes()).views
        assert 0.1 < len(view) / 16000 < 2
        assert np.abs(view).max() <= 1
