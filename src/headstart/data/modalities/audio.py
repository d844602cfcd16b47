"""Recordings: WAV, FLAC, OGG, MP3 and AIFF at any rate and channel count, mixed to one channel, resampled, cut into windows."""

import math
import struct
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
from jaxtyping import Float32

from headstart.core import recipes
from headstart.core.errors import SampleError, UsageError
from headstart.data.decoding import bytes_of, reason_of
from headstart.data.preparation import Batch, Modality, Preparation, Prepared

# Half the distance between the extremes below which a recording is called silent: -80 dB of full scale, the height of dithered
# silence at 16 bits (three of its steps). The faintest speech in a usable recording lies 40 dB above.
_SILENT = 1e-4
# Lossy codecs overshoot full scale by half at most; what lies far beyond it was decoded from damaged data.
_LOUDEST = 4.0
_LONGEST_SECONDS = 4 * 3600
_LONGEST_BUCKET = 24 * 3600
_BLOCK = 1 << 20
# The highest rate, in Hz, that recordings usually have.
_USUAL_RATE = 48_000
# One batch holds up to this many seconds, padding included.
_SECONDS_A_BATCH = 64.0
# What libsndfile calls a length that a file leaves open, as programs do that write FLAC to a pipe; and up to where such a file is counted.
_UNKNOWN_FRAMES, _COUNTED_SECONDS = 0x7FFFFFFFFFFFFFFF, 3600
# Sizes at and above this in a WAV header say "unknown": programs that write to a pipe leave them.
_UNKNOWN_SIZE = 0x7FFFF000


@dataclass(frozen=True)
class AudioRecipe:
    """How a recording becomes samples.

    Attributes:
        rate: samples a second that the backbone takes, Hz.
        window: the longest view, seconds; a longer recording is cut evenly into windows whose rows are averaged.
        minimum: seconds; a shorter recording is followed by silence up to this length, which then counts as part of it.
        pad: `bucket` pads a batch with zeros to the next of `buckets` and hands over the true lengths; `none` lets only views of
            equal length share a batch, for backbones without an attention mask.
        buckets: seconds, rising, up to a day; a view longer than the last is padded to `window`.
    """

    rate: int = 16000
    window: float = 30.0
    minimum: float = 0.0
    pad: str = "bucket"
    buckets: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0, 30.0)


@dataclass(frozen=True)
class AudioPreparation(Preparation):
    """Bytes of a recording to views of float32 samples in [-1, 1].

    Channels are averaged. A floating-point recording beyond [-1, 1] is divided by its peak, as nothing in the file says its scale.
    Facts: `seconds`, `rate` (Hz) and `channels` of the file, `loudness` (root mean square, dB of full scale).
    """

    options: AudioRecipe
    recipe: str
    assets: Mapping[str, bytes] = field(default_factory=dict)
    modality: str = "audio"

    def prepare(self, content: bytes | str) -> Prepared:
        """Decode, mix, resample and cut one recording.

        Raises:
            SampleError: the bytes are no recording, are damaged, or the recording is empty, silent or not finite.
        """
        sound, rate, channels = _decoded(bytes_of(content, "a recording"))
        _check_sound(sound)
        sound = sound / max(1.0, float(np.abs(sound).max()))
        loudness = 10 * math.log10(float(np.mean(np.square(sound, dtype=np.float64))))
        facts = {"seconds": len(sound) / rate, "rate": rate, "channels": channels, "loudness": round(loudness, 2)}
        sound = self._fitted(sound, rate)
        views = np.array_split(sound, max(1, math.ceil(len(sound) / self._window())))
        return Prepared(tuple(views), tuple(float(len(view)) for view in views), facts)

    def bucket(self, view: np.ndarray) -> Hashable:
        """Views that are padded to the same length, or, without padding, have it."""
        return self._padded(len(view))

    def cost(self, view: np.ndarray) -> float:
        """64 seconds fill a batch, padding included, and no more than 64 views."""
        return max(self._padded(len(view)) / self.options.rate / _SECONDS_A_BATCH, 1 / 64)

    def collate(self, views: Sequence[np.ndarray]) -> Batch:
        """Stack views of one bucket, padded with 0 to its length, whatever the longest of them is."""
        lengths = np.array([len(view) for view in views], dtype=np.int64)
        padded = {self._padded(int(length)) for length in lengths}
        if len(padded) != 1:
            raise ValueError(f"views of the buckets {sorted(padded)} cannot share a batch")
        values = np.zeros((len(views), padded.pop()), dtype=np.float32)
        for row, view in zip(values, views, strict=True):
            row[: len(view)] = view
        return Batch(values, lengths)

    def probes(self, n: int, seed: int) -> Batch:
        """`n` gliding tones in noise, of the shortest bucket and of several lengths where padding is masked."""
        generator = np.random.default_rng(seed)
        least = max(_samples(self.options, self.options.minimum), 1)
        buckets = [0, *self._buckets()]
        full = self._padded(least) if len(buckets) > 1 else min(max(least, self.options.rate), self._window())
        shorter = max(size for size in buckets if size < full)
        low = full if len(buckets) == 1 else max(least, shorter + 1, math.ceil(0.75 * full))
        return self.collate([_tone(int(length), generator) for length in generator.integers(low, full + 1, size=n)])

    def _fitted(self, sound: np.ndarray, rate: int) -> Float32[np.ndarray, "s"]:
        """The sound at the recipe's rate, within [-1, 1], at least of the minimum length."""
        import soxr

        if rate != self.options.rate:
            sound = soxr.resample(sound, rate, self.options.rate, quality="HQ")
            if not len(sound):
                raise SampleError(f"is shorter than one sample at {self.options.rate} Hz")
        sound = np.clip(sound, -1.0, 1.0).astype(np.float32, copy=False)
        missing = _samples(self.options, self.options.minimum) - len(sound)
        return np.pad(sound, (0, missing)) if missing > 0 else sound

    def _buckets(self) -> list[int]:
        if self.options.pad == "none":
            return []
        window = self._window()
        return [*(size for size in (_samples(self.options, s) for s in self.options.buckets) if size < window), window]

    def _window(self) -> int:
        return _samples(self.options, self.options.window)

    def _padded(self, length: int) -> int:
        return next((size for size in self._buckets() if length <= size), length)


class AudioModality(Modality):
    """Recordings, by the first bytes of their formats."""

    name = "audio"
    suffixes = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff")
    unit = "seconds"

    def recognises(self, head: bytes) -> bool:
        """Whether the first bytes are those of WAV, FLAC, OGG, MP3 or AIFF."""
        return _format(head) is not None

    def extent(self, content: bytes | str) -> float:
        """Its length, of an MP3 file an estimate; samples that come oftener than 48,000 times a second, or in more than two channels, count for more.

        A file that leaves its length open is decoded, and counted up to an hour.

        Raises:
            SampleError: the content is no recording, or its header is damaged.
        """
        with _opened(bytes_of(content, "a recording")) as (file, _):
            a_second = min(file.samplerate, _USUAL_RATE) / max(1.0, file.channels / 2)
            frames = _counted(file, _COUNTED_SECONDS * a_second) if _is_open_ended(file) else file.frames
            return float(frames / a_second)

    def preparation(self, recipe: str, assets: Mapping[str, bytes]) -> Preparation:  # noqa: ARG002  (audio needs no asset)
        """The preparation for `audio(rate=16000, ...)`.

        Raises:
            UsageError: an option is unknown, or no value that recordings can be prepared with.
        """
        name, options = recipes.split(recipe)
        if name != self.name:
            raise UsageError(f"an audio recipe is called audio, and got {name!r}")
        built = recipes.build(AudioRecipe, name, options=options)
        _check(built)
        return AudioPreparation(built, recipes.to_string(name, built))


PLUGIN = AudioModality()


def waveform(content: bytes) -> tuple[Float32[np.ndarray, "s"], int]:
    """The whole recording of a file, mixed to one channel within [-1, 1], and its own rate in Hz.

    Raises:
        SampleError: the bytes are no recording, are damaged, or the recording is empty, silent or not finite.
    """
    sound, rate, _ = _decoded(content)
    _check_sound(sound)
    return sound / max(1.0, float(np.abs(sound).max())), rate


def _check(recipe: AudioRecipe) -> None:
    """Refuse values that no recording can be prepared with.

    Raises:
        UsageError: as said.
    """
    if not 1000 <= recipe.rate <= 384_000:
        raise UsageError(f"audio takes a rate from 1000 to 384000 Hz, and got {recipe.rate}")
    if not 0.01 <= recipe.window <= 3600:
        raise UsageError(f"audio takes a window from 0.01 to 3600 seconds, and got {recipe.window}")
    if not 0 <= recipe.minimum <= recipe.window:
        raise UsageError(
            f"audio takes a minimum from 0 to the window of {recipe.window} seconds, and got {recipe.minimum}"
        )
    if recipe.pad not in {"bucket", "none"}:
        raise UsageError(f"audio takes pad='bucket' or pad='none', and got {recipe.pad!r}")
    rising = all(map(_is_number, recipe.buckets)) and all(
        low < high for low, high in zip((0, *recipe.buckets), recipe.buckets, strict=False)
    )
    if not rising or any(seconds > _LONGEST_BUCKET for seconds in recipe.buckets):
        raise UsageError(f"audio takes rising positive seconds for 'buckets', and got {recipe.buckets!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _samples(recipe: AudioRecipe, seconds: float) -> int:
    return round(seconds * recipe.rate)


def _tone(length: int, generator: np.random.Generator) -> np.ndarray:
    low, high = generator.uniform(0.01, 0.2, size=2)
    phase = np.cumsum(np.linspace(low, high, length)) * np.pi
    sound = 0.3 * np.sin(phase) + 0.02 * generator.standard_normal(length)
    return np.asarray(np.clip(sound, -1, 1), dtype=np.float32)


def _format(head: bytes) -> str | None:
    """The format that begins with these bytes, or None. Stricter than a magic number where a text could begin so."""
    if head[:4] in {b"RIFF", b"RF64"} and head[8:12] == b"WAVE":
        return "WAV"
    if head[:4] == b"FORM" and head[8:12] in {b"AIFF", b"AIFC"}:
        return "AIFF"
    if head[:4] == b"fLaC" and head[4:5] in {b"\0", b"\x80"}:
        return "FLAC"
    if head[:5] == b"OggS\0":
        return "OGG"
    if (head[:3] == b"ID3" and len(head) > 4 and head[3] < 0x10) or _is_mpeg_frame(head):
        return "MP3"
    return None


def _is_mpeg_frame(head: bytes) -> bool:
    """Whether an MPEG audio frame of layer II or III begins here: 11 bits of synchronisation, and no reserved value after them."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    return version != 1 and layer in {1, 2} and head[2] >> 4 != 15 and head[2] >> 2 & 3 != 3


class _Held(BytesIO):
    """A file's bytes. Damaged files make libsndfile seek before the first, and what Python raises there is written to standard error."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a place, or to the beginning instead of before it."""
        return super().seek(max(0, offset) if whence == 0 else offset, whence)


def _is_open_ended(file: Any) -> bool:
    return bool(file.frames >= _UNKNOWN_FRAMES)


def _blocks(file: Any) -> Iterator[Float32[np.ndarray, "s c"]]:
    """The samples of a recording, some at a time, to its end."""
    if not _is_open_ended(file):
        yield from file.blocks(_BLOCK, dtype="float32", always_2d=True)
        return
    file.seekable = lambda: False  # after each block it would go to where it is, which such a file cannot
    while len(block := file.read(_BLOCK // file.channels, dtype="float32", always_2d=True)):
        yield block


def _counted(file: Any, most: float) -> int:
    """How many samples there are, a channel, or some number above the most."""
    found = 0
    for block in _blocks(file):
        found += len(block)
        if found > most:
            break
    return found


@contextmanager
def _opened(content: bytes) -> Iterator[tuple[Any, str]]:
    """The recording with its header read, and its format's name; what a decoder raises meanwhile becomes one sentence.

    Raises:
        SampleError: the recording cannot be read.
    """
    import soundfile

    if not content:
        raise SampleError("is an empty file (0 bytes): replace it or take it out")
    name = _format(content[:64])
    if name is None:
        raise SampleError("is no WAV, FLAC, OGG, MP3 or AIFF recording: convert it to one of these, or remove it")
    if missing := _missing_wav_bytes(content):
        raise SampleError(f"is a truncated WAV recording, {missing} bytes short: replace it by an intact copy")
    try:
        with soundfile.SoundFile(_Held(content)) as file:
            yield file, name
    except SampleError:
        raise
    except (soundfile.SoundFileError, RuntimeError, ValueError, OSError) as error:
        raise SampleError(
            f"is a damaged {name} recording ({reason_of(error)}): replace it by an intact copy"
        ) from error


def _decoded(content: bytes) -> tuple[Float32[np.ndarray, "s"], int, int]:
    """The mean of the channels, the rate in Hz and the number of channels.

    Raises:
        SampleError: the recording cannot be decoded to its end.
    """
    with _opened(content) as (file, name):
        rate, channels, frames = file.samplerate, file.channels, 0 if _is_open_ended(file) else file.frames
        _check_length(frames, rate)
        blocks, read = [], 0
        for block in _blocks(file):
            read += len(block)
            _check_length(read, rate)
            blocks.append(_mixed(block, name))
    sound = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    if len(sound) < frames and name != "MP3":  # an MP3 file's length is an estimate
        raise SampleError(f"is a truncated {name} recording: {len(sound)} of {frames} samples could be read")
    return sound, rate, channels


def _check_length(frames: int, rate: int) -> None:
    if frames > _LONGEST_SECONDS * rate:
        raise SampleError(f"is longer than {_LONGEST_SECONDS // 3600} hours: cut it into shorter files")


def _mixed(block: Float32[np.ndarray, "s c"], name: str) -> Float32[np.ndarray, "s"]:
    """The mean of the channels.

    Raises:
        SampleError: a value is not finite, or far louder than an intact file of the format can be.
    """
    if not np.isfinite(block).all():
        raise SampleError(
            f"is a {name} recording with values that are not finite numbers: replace it by an intact copy"
        )
    if name in {"FLAC", "OGG", "MP3"} and len(block) and float(np.abs(block).max()) > _LOUDEST:
        raise SampleError(f"is a damaged {name} recording (it decodes to noise): replace it by an intact copy")
    return np.asarray(block.mean(axis=1))


def _missing_wav_bytes(content: bytes) -> int:
    """How many bytes of a WAV file's data chunk are not there. The decoder itself would return what there is, without a word."""
    if content[:4] != b"RIFF":
        return 0
    at = 12
    while at + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, at)
        if name == b"data":
            return 0 if size >= _UNKNOWN_SIZE else max(0, size - (len(content) - at - 8))
        at += 8 + size + size % 2
    return 0


def _check_sound(sound: np.ndarray) -> None:
    """Refuse a recording in which there is nothing to hear.

    Raises:
        SampleError: as said.
    """
    if not len(sound):
        raise SampleError("is a recording of zero length")
    if float(sound.max() - sound.min()) / 2 < _SILENT:
        raise SampleError("is silent: no sample rises above -80 dB; record it again or remove it")
