"""Small copies of the training items whose rows a model carries: what a person sees beside the ids of the nearest ones.

They leave the machine where the model goes, so a model has them only where it was asked to.
"""

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt8

from headstart.core.errors import ModelError, SampleError
from headstart.data.decoding import repair, text_of
from headstart.data.modalities.audio import waveform
from headstart.data.modalities.image import picture
from headstart.data.samples import Samples
from headstart.features.contents import content_of
from headstart.model.judge import Judge

NAME = "examples.safetensors"
"""The file of a model directory."""

KINDS = {"image": "image/jpeg", "text": "text/plain; charset=utf-8", "audio": "audio/flac"}
"""What the examples of each modality are."""

_SIDE, _QUALITY = 200, 80
_CHARACTERS = 1000
_SECONDS = 10.0


@dataclass(frozen=True)
class Examples:
    """The copies, one after the other.

    Attributes:
        content: their bytes, joined; an item that could not be read has none.
        ends: (m,) where each one ends.
    """

    content: UInt8[np.ndarray, "b"]
    ends: Int[np.ndarray, "m"]

    def __len__(self) -> int:
        return len(self.ends)

    def at(self, place: int) -> bytes:
        """One of them, counted as the rows of the model's judge."""
        begin = int(self.ends[place - 1]) if place else 0
        return self.content[begin : int(self.ends[place])].tobytes()

    def tensors(self) -> dict[str, np.ndarray]:
        """As the file holds them."""
        return {"content": np.ascontiguousarray(self.content), "ends": np.ascontiguousarray(self.ends)}

    @classmethod
    def of(cls, tensors: dict[str, np.ndarray], *, m: int) -> "Examples":
        """From the file's tensors.

        Args:
            tensors: `content` and `ends`.
            m: how many there have to be.

        Raises:
            ModelError: they are not m copies.
        """
        content, ends = tensors["content"], tensors["ends"]
        rising = len(ends) == m and (np.diff(ends, prepend=0) >= 0).all()
        if not rising or (len(ends) and int(ends[-1]) != len(content)):
            raise ModelError(f"{NAME} does not hold one example for each row that the model carries")
        return cls(content, ends)


def examples_for(judge: Judge | None, samples: Samples) -> Examples | None:
    """Those of the rows that a judge carries; None where it carries none.

    Args:
        judge: a model's.
        samples: those that it was fitted on among them.
    """
    return None if judge is None or judge.neighbours is None else examples_of(samples, judge.neighbours.ids)


def examples_of(samples: Samples, ids: Sequence[str]) -> Examples:
    """Small copies of some samples: pictures of at most 200 pixels a side, the beginning of texts, ten seconds of recordings.

    Args:
        samples: labelled data.
        ids: which of them, in this order.
    """
    places = {name: place for place, name in enumerate(samples.ids)}
    read = content_of(samples)
    small = {"image": _picture, "text": _text, "audio": _recording}[samples.modality]

    def one(name: str) -> bytes:
        try:
            return small(read(places[name]))
        except (SampleError, OSError, KeyError):
            return b""

    with ThreadPoolExecutor() as pool:
        parts = list(pool.map(one, ids))
    ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
    return Examples(np.frombuffer(b"".join(parts), np.uint8), ends)


def _picture(content: bytes | str) -> bytes:
    assert isinstance(content, bytes), "a picture is a file's bytes"
    made, file = picture(content), io.BytesIO()
    made.thumbnail((_SIDE, _SIDE))
    made.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def _text(content: bytes | str) -> bytes:
    return repair(text_of(content)[:_CHARACTERS]).encode("utf-8")


def _recording(content: bytes | str) -> bytes:
    import soundfile

    assert isinstance(content, bytes), "a recording is a file's bytes"
    sound, rate = waveform(content)
    file = io.BytesIO()
    soundfile.write(file, sound[: round(_SECONDS * rate)], rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()
