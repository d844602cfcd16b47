"""Seeded looks at samples: the same one is shown to a teacher and to its student, whatever each does to prepare it.

So the look is taken of the content itself: the crop of a picture, mirrored or not, as a file of its own; a recording, louder or softer,
earlier or later; a stretch of a text, some of its words left out. The first look at each sample is the sample itself. Other looks may have
lost what the label says, which is the teacher's to tell.

Source: Beyer et al., Knowledge distillation: A good teacher is patient and consistent, 2022.
"""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from headstart.core.errors import SampleError
from headstart.data.decoding import text_of
from headstart.data.modalities.image import picture as decoded
from headstart.data.samples import Samples
from headstart.features.contents import content_of
from headstart.features.pipeline import Content

_LEAST_AREA = 0.5
_WIDEST = 4 / 3
_DECIBEL, _SHIFT = 6.0, 0.1
# Of a text, the least share that a stretch of it keeps, and the share of its words that are left out.
_STRETCH, _LEFT_OUT = 0.5, 0.1
# A word with the space after it; of Chinese and Japanese, which set no words apart, a character. A text that is one word and longer than
# any, such as a sentence of Thai, is taken by characters as well.
_HAN = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef"
_WORD = re.compile(rf"[{_HAN}]\s*|[^\s{_HAN}]+\s*|\s+")
_LONGEST = 30


@dataclass(frozen=True)
class Looks:
    """k looks at each of n samples; look j of sample i has the position i k + j.

    Attributes:
        samples: n of them.
        k: looks at each.
        seed: decides the looks.
        flip: whether pictures may be mirrored.
    """

    samples: Samples
    k: int
    seed: int
    flip: bool

    @property
    def repeated(self) -> Samples:
        """Each sample k times."""
        return self.samples.take(np.repeat(np.arange(len(self.samples)), self.k))

    @property
    def content(self) -> Content:
        """From a position to what is seen."""
        read = content_of(self.samples)
        turn = _TURNS[self.samples.modality]

        def look(position: int) -> bytes | str:
            sample, number = divmod(position, self.k)
            content = read(sample)
            if number == 0:
                return content
            rng = np.random.default_rng([self.seed, sample, number])
            try:
                return turn(content, rng, self.flip)
            except SampleError:
                raise
            except (OSError, ValueError, RuntimeError, SyntaxError, Image.DecompressionBombError) as error:
                raise SampleError(f"cannot be looked at ({error})") from error

        return look


def _read(content: bytes | str, rng: np.random.Generator, _flip: bool) -> str:  # noqa: FBT001  (as the others)
    text = text_of(content)
    words = _WORD.findall(text)
    if len(words) == 1 and len(text) > _LONGEST:
        words = list(text)
    stretch = max(1, round(rng.uniform(_STRETCH, 1) * len(words)))
    begin = int(rng.integers(0, max(1, len(words) - stretch + 1)))
    seen = words[begin : begin + stretch]
    kept = [word for word, chance in zip(seen, rng.random(len(seen)), strict=True) if chance >= _LEFT_OUT]
    return "".join(kept or seen).strip() or text


def _cropped(content: bytes | str, rng: np.random.Generator, flip: bool) -> bytes:  # noqa: FBT001  (as the others)
    assert isinstance(content, bytes), "an image is a file's bytes"
    picture = decoded(content)
    area, ratio = rng.uniform(_LEAST_AREA, 1), np.exp(rng.uniform(-1, 1) * np.log(_WIDEST))
    wide, high = min(1.0, float(np.sqrt(area * ratio))), min(1.0, float(np.sqrt(area / ratio)))
    left, top = rng.uniform(0, 1 - wide) * picture.width, rng.uniform(0, 1 - high) * picture.height
    box = (left, top, left + wide * picture.width, top + high * picture.height)
    seen = picture.resize(
        (max(1, round(box[2] - box[0])), max(1, round(box[3] - box[1]))), Image.Resampling.BICUBIC, box=box
    )
    mirrored = ImageOps.mirror(seen) if flip and rng.random() < 0.5 else seen
    file = io.BytesIO()
    mirrored.save(file, "BMP")
    return file.getvalue()


def _heard(content: bytes | str, rng: np.random.Generator, _flip: bool) -> bytes:  # noqa: FBT001
    assert isinstance(content, bytes), "a recording is a file's bytes"
    import soundfile

    sound, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    gain, shift = 10 ** (rng.uniform(-_DECIBEL, _DECIBEL) / 20), int(rng.uniform(-_SHIFT, _SHIFT) * len(sound))
    moved = np.zeros_like(sound)
    moved[max(0, shift) : len(sound) + min(0, shift)] = sound[max(0, -shift) : len(sound) - max(0, shift)]
    file = io.BytesIO()
    soundfile.write(file, moved * gain, rate, format="WAV", subtype="FLOAT")
    return file.getvalue()


_TURNS: dict[str, Callable[[bytes | str, np.random.Generator, bool], bytes | str]] = {
    "image": _cropped,
    "audio": _heard,
    "text": _read,
}
