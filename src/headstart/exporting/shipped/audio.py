"""Recordings: a file's bytes to samples, with soundfile."""

import math
import struct
from io import BytesIO
from typing import Any

import numpy as np
import soundfile


class Preparation:
    """How a recording becomes samples: channels averaged, resampled, cut evenly into windows, padded to a bucket's length."""

    def __init__(self, options: dict[str, Any], assets: dict[str, bytes]) -> None:
        self.rate = int(options["rate"])
        self.window = self.samples(options["window"])
        self.minimum = self.samples(options["minimum"])
        own = [self.samples(each) for each in options["buckets"]]
        self.buckets = [] if options["pad"] == "none" else [*(each for each in own if each < self.window), self.window]
        self.filters = dict(np.load(BytesIO(assets["resampling.npz"])))

    def samples(self, seconds: float) -> int:
        """Samples in so many seconds."""
        return round(seconds * self.rate)

    def views(self, content: bytes | str) -> tuple[list[np.ndarray], list[float]]:
        """The recording as arrays of samples, with their lengths as weights."""
        if isinstance(content, str):
            raise TypeError("a recording is read from a file's bytes")
        sound, rate = decoded(content)
        if not len(sound) or float(sound.max() - sound.min()) / 2 < 1e-4:
            raise ValueError("holds nothing to hear")
        sound = sound / max(1.0, float(np.abs(sound).max()))
        if rate != self.rate:
            sound = self.resampled(sound, rate)
        sound = np.clip(sound, -1.0, 1.0).astype(np.float32)
        sound = np.pad(sound, (0, max(0, self.minimum - len(sound))))
        parts = np.array_split(sound, max(1, math.ceil(len(sound) / self.window)))
        if len({self.padded(len(part)) for part in parts}) > 1:  # by one sample, which two batches are not worth
            parts = [part[: len(parts[-1])] for part in parts]
        return parts, [float(len(part)) for part in parts]

    def resampled(self, sound: np.ndarray, rate: int) -> np.ndarray:
        """At the network's rate, by the filter of the resampler that the model was fitted with, one phase after the other."""
        if str(rate) not in self.filters:
            known = ", ".join(sorted(self.filters, key=int))
            raise ValueError(f"has {rate} samples a second, and this program resamples from {known}")
        taps = self.filters[str(rate)]
        common = math.gcd(rate, self.rate)
        up, down = self.rate // common, rate // common
        length = math.floor(len(sound) * up / down + 0.5)
        half = taps.shape[1] // 2
        padded = np.pad(sound, (half, half + down))
        windows = np.lib.stride_tricks.sliding_window_view(padded, taps.shape[1])
        made = np.zeros(length, np.float32)
        for first in range(min(up, length)):
            place = first * down
            count = len(range(first, length, up))
            made[first::up] = windows[place // up :: down][:count] @ taps[place % up]
        return made

    def batch(self, views: list[np.ndarray]) -> dict[str, np.ndarray]:
        """The graph's inputs: padded with 0 to the bucket's length."""
        lengths = np.array([len(view) for view in views], dtype=np.int64)
        samples = np.zeros((len(views), self.padded(int(lengths.max()))), dtype=np.float32)
        for row, view in zip(samples, views, strict=True):
            row[: len(view)] = view
        return {"samples": samples, "lengths": lengths}

    def padded(self, length: int) -> int:
        """The length of the least bucket that holds so many samples."""
        return next((size for size in self.buckets if length <= size), length)

    def together(self, view: np.ndarray) -> object:
        """Views for which this is the same may share a batch."""
        return self.padded(len(view))


FORMATS = ("WAV", "WAVEX", "RF64", "AIFF", "FLAC", "OGG", "MP3")
# A WAV file that was written to a pipe says this length or more, as nobody knew it.
UNKNOWN = 0x7FFFF000


def decoded(content: bytes) -> tuple[np.ndarray, int]:
    """The mean of the channels and the rate in Hz; a damaged or truncated file is an error, where the decoder returns what there is."""
    if missing := missing_bytes(content):
        raise ValueError(f"is a truncated WAV recording, {missing} bytes short")
    with soundfile.SoundFile(BytesIO(content)) as file:
        if file.format not in FORMATS:
            raise ValueError(f"is no recording of a known format, but {file.format}")
        if file.frames > 4 * 3600 * file.samplerate:
            raise ValueError("is longer than 4 hours")
        sound = file.read(dtype="float32", always_2d=True)
        rate, kind = int(file.samplerate), file.format
        if len(sound) < file.frames and kind != "MP3":  # an MP3 file's length is an estimate
            raise ValueError(f"is a truncated {kind} recording: {len(sound)} of {file.frames} samples could be read")
    if not np.isfinite(sound).all():
        raise ValueError("holds values that are not finite numbers")
    if kind in ("FLAC", "OGG", "MP3") and len(sound) and float(np.abs(sound).max()) > 4.0:
        raise ValueError("decodes to noise")
    return sound.mean(axis=1), rate


def missing_bytes(content: bytes) -> int:
    """How many bytes of a WAV file's samples are not there."""
    if content[:4] != b"RIFF":
        return 0
    at = 12
    while at + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, at)
        if name == b"data":
            return 0 if size >= UNKNOWN else max(0, int(size) - (len(content) - at - 8))
        at += 8 + size + size % 2
    return 0
