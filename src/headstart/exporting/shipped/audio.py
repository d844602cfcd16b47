"""Recordings: a file's bytes to samples, with soundfile."""

import math
import struct
from collections.abc import Iterator
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
            if not len(sound):
                raise ValueError(f"is shorter than one sample at {self.rate} Hz")
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


# A WAV file that was written to a pipe says this length or more, as nobody knew it; of a FLAC file the decoder says the second.
UNKNOWN, OPEN_ENDED = 0x7FFFF000, 0x7FFFFFFFFFFFFFFF
BLOCK = 1 << 20


class Held(BytesIO):
    """A file's bytes, of which damaged ones make the decoder seek before the first."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a place, or to the beginning instead of before it."""
        return super().seek(max(0, offset) if whence == 0 else offset, whence)


def kind_of(head: bytes) -> str | None:
    """The format that begins with these bytes."""
    begins = {
        "WAV": head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE",
        "AIFF": head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"),
        "FLAC": head[:4] == b"fLaC" and head[4:5] in (b"\0", b"\x80"),
        "OGG": head[:5] == b"OggS\0",
        "MP3": (head[:3] == b"ID3" and len(head) > 4 and head[3] < 0x10) or is_frame(head),
    }
    return next((name for name, fits in begins.items() if fits), None)


def is_frame(head: bytes) -> bool:
    """Whether a frame of MPEG audio of layer II or III begins here: 11 bits of synchronisation, and no reserved value after them."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    return version != 1 and layer in (1, 2) and head[2] >> 4 != 15 and head[2] >> 2 & 3 != 3


def decoded(content: bytes) -> tuple[np.ndarray, int]:
    """The mean of the channels and the rate in Hz; a damaged or truncated file is an error, where the decoder returns what there is."""
    name = kind_of(content[:64])
    if name is None:
        raise ValueError("is no WAV, FLAC, OGG, MP3 or AIFF recording")
    if missing := missing_bytes(content):
        raise ValueError(f"is a truncated WAV recording, {missing} bytes short")
    with soundfile.SoundFile(Held(content)) as file:
        rate, frames = int(file.samplerate), 0 if file.frames >= OPEN_ENDED else int(file.frames)
        check_length(frames, rate)
        parts, read = [], 0
        for block in blocks(file):
            read += len(block)
            check_length(read, rate)
            parts.append(mixed(block, name))
    if read < frames and name != "MP3":  # an MP3 file's length is an estimate
        raise ValueError(f"is a truncated {name} recording: {read} of {frames} samples could be read")
    return np.concatenate(parts) if parts else np.zeros(0, np.float32), rate


def blocks(file: Any) -> Iterator[np.ndarray]:
    """The samples of a recording, (s, channels) at a time, to its end."""
    if file.frames < OPEN_ENDED:
        yield from file.blocks(BLOCK, dtype="float32", always_2d=True)
        return
    file.seekable = lambda: False  # after each block it would go to where it is, which such a file cannot
    while len(block := file.read(BLOCK // file.channels, dtype="float32", always_2d=True)):
        yield block


def check_length(frames: int, rate: int) -> None:
    """Refuse what is too long to hold."""
    if frames > 4 * 3600 * rate:
        raise ValueError("is longer than 4 hours")


def mixed(block: np.ndarray, name: str) -> np.ndarray:
    """The mean of the channels of what an intact file can hold."""
    if not np.isfinite(block).all():
        raise ValueError("holds values that are not finite numbers")
    if name in ("FLAC", "OGG", "MP3") and len(block) and float(np.abs(block).max()) > 4.0:
        raise ValueError("decodes to noise")
    return np.asarray(block.mean(axis=1))


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
