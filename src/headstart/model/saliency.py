"""Which parts of one sample a prediction hangs on: each part is hidden in turn, and what the prediction loses by that is its score.

Patches of an image are painted in its mean colour, words of a text are left out, spans of a recording are replaced by a faint hiss.
Every hidden version is a sample like any other and goes through the same preparation, backbone, head and temperature, so that it
works for any model. Source: Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014, section 4.2.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from headstart.core.errors import DataError, UsageError, suggest
from headstart.core.progress import Progress, silent
from headstart.data.decoding import text_of
from headstart.data.modalities.audio import waveform
from headstart.data.modalities.image import picture
from headstart.data.samples import make_samples
from headstart.features.choosing import AUTO
from headstart.features.extraction import embed
from headstart.model.model import Model

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_CELLS_A_SIDE = 8
_LONGEST_SIDE_CELLS = 12
# Pixels of the short side, and of the whole, which also bounds the long side of a strip.
_SHORT_SIDE, _MOST_PIXELS = 512, 4 * 512 * 512
# An image that is larger by less is looked at as it is, so that a reduced one is not reduced again.
_SAME = 1.01
_MOST_WORDS = 200
_MOST_SPANS, _SPAN_SECONDS, _FADE_SECONDS = 32, 0.05, 0.01
# A hidden span hisses as loud as the quietest one, within these: -70 dB of full scale, which is not refused as silence, and a tenth of
# the recording's own loudness.
_FAINTEST, _LOUDEST_SHARE = 3e-4, 0.1
# Han characters, kana and hangul stand for words of their own.
_CHARACTER = "\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(f"[{_CHARACTER}]|[^\\s{_CHARACTER}]+")


@dataclass(frozen=True)
class Part:
    """A part that was hidden.

    Attributes:
        score: what the prediction lost: a difference of probabilities, or of values for regression. Below 0 it gained.
        box: left, top, right and bottom as shares of the upright image's width and height; None for other modalities.
        start: where it begins: a character of the text, or seconds.
        end: where it ends.
        text: the words themselves; empty for other modalities.
    """

    score: float
    box: tuple[float, float, float, float] | None
    start: float
    end: float
    text: str

    def to_json(self) -> dict[str, Any]:
        """The part as programs read it."""
        place = {"start": self.start, "end": self.end} if self.box is None else {"start": None, "end": None}
        return {"score": self.score, "box": self.box and list(self.box), **place, "text": self.text or None}


@dataclass(frozen=True)
class Saliency:
    """Which parts of a sample a prediction hangs on.

    Attributes:
        unit: `patches`, `words` or `seconds`.
        label: the label whose probability is followed; empty for regression, where the value is.
        whole: its probability, or the value, with nothing hidden.
        parts: what was hidden, in reading order.
        grid: rows and columns of the patches; None for other modalities.
        left_out: parts without which nothing could be predicted.
    """

    unit: str
    label: str
    whole: float
    parts: tuple[Part, ...]
    grid: tuple[int, int] | None
    left_out: int = 0

    @property
    def scores(self) -> Float[np.ndarray, "m"]:
        """The m scores, in order."""
        return np.array([part.score for part in self.parts])

    def to_json(self) -> dict[str, Any]:
        """The map as programs read it."""
        return {
            "unit": self.unit,
            "label": self.label or None,
            "whole": self.whole,
            "grid": self.grid and list(self.grid),
            "parts": [part.to_json() for part in self.parts],
            "left_out": self.left_out,
        }


@dataclass(frozen=True)
class _Plan:
    """What to hide: the parts, and the content with one of them hidden (-1: none)."""

    unit: str
    places: list[Part]
    content: Callable[[int], bytes | str]
    grid: tuple[int, int] | None = None


def whenever() -> None:
    """Every moment is good."""


def saliency(
    model: Model,
    content: bytes | str,
    *,
    label: str = "",
    engine: str = AUTO,
    progress: Progress = silent,
    due: Callable[[], None] = whenever,
) -> Saliency:
    """Hide each part of one sample in turn.

    Args:
        model: whose prediction is explained.
        content: a file's bytes, or the text itself.
        label: the label to follow; empty for the most probable one.
        engine: what runs the backbone.
        progress: stage `extract`, in hidden versions.
        due: called before each hidden version is made, from several threads; what it raises ends the explanation.

    Raises:
        SampleError: the content cannot be read.
        DataError: nothing can be predicted for it.
        UsageError: the model has no such label.
    """
    if label and label not in model.labels:
        raise UsageError(f"the model has no label {label!r} to explain.{suggest(label, model.labels)}")
    plan = {"image": _patches, "text": _words, "audio": _spans}[model.modality](content)
    n = len(plan.places)
    names = [str(i) for i in range(n + 1)]
    versions = make_samples(names, names, modality=model.modality, inline=True, source="the item with parts hidden")

    def version(i: int) -> bytes | str:
        due()
        return plan.content(i - 1)

    done = embed(model.backbone, versions, content=version, engine=engine, progress=progress)
    if not len(done.kept) or done.kept[0] != 0:
        raise DataError(f"nothing can be predicted for this item: {done.skipped[0].reason}")
    predicted = model.probabilities(done.features)
    column = model.labels.index(label) if label else int(predicted[0].argmax())
    followed = predicted[:, column]
    parts = tuple(
        Part(float(followed[0] - value), place.box, place.start, place.end, place.text)
        for place, value in zip((plan.places[i - 1] for i in done.kept[1:]), followed[1:], strict=True)
    )
    named = model.labels[column] if model.labels else ""
    whole = len(parts) == n
    return Saliency(plan.unit, named, float(followed[0]), parts, plan.grid if whole else None, n - len(parts))


def _patches(content: bytes | str) -> _Plan:
    """A grid of patches. What is painted over reaches half a cell beyond its cell, so that nothing hides on a border."""
    assert isinstance(content, bytes), "an image is a file's bytes"
    pixels = np.asarray(_looked_at(content))
    height, width = pixels.shape[:2]
    short = max(1, min(_CELLS_A_SIDE, height, width))
    columns, rows = (
        max(1, min(_LONGEST_SIDE_CELLS, round(short * side / min(width, height)))) for side in (width, height)
    )
    grey = pixels.reshape(-1, 3).mean(axis=0).astype(np.uint8)
    boxes = [(c / columns, r / rows, (c + 1) / columns, (r + 1) / rows) for r in range(rows) for c in range(columns)]

    def hidden(i: int) -> bytes:
        if i < 0:
            return _bitmap(pixels)
        left, top, right, bottom = boxes[i]
        painted = pixels.copy()
        x, y = 0.5 / columns, 0.5 / rows
        across = slice(round(max(0.0, left - x) * width), round(min(1.0, right + x) * width))
        down = slice(round(max(0.0, top - y) * height), round(min(1.0, bottom + y) * height))
        painted[down, across] = grey
        return _bitmap(painted)

    return _Plan("patches", [Part(0.0, box, 0.0, 0.0, "") for box in boxes], hidden, (rows, columns))


def reduced(content: bytes) -> bytes:
    """An image as an explanation looks at it, of about a megapixel at most: it gets the map that the image gets, and costs no more to decode.

    Raises:
        SampleError: the content cannot be read.
    """
    return _bitmap(np.asarray(_looked_at(content)))


def _looked_at(content: bytes) -> "Picture":
    image = picture(content)
    by = max(1.0, min(image.size) / _SHORT_SIDE, math.sqrt(image.width * image.height / _MOST_PIXELS))
    return image if by < _SAME else image.resize((max(1, round(image.width / by)), max(1, round(image.height / by))))


def _bitmap(pixels: np.ndarray) -> bytes:
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "BMP")
    return buffer.getvalue()


def _words(content: bytes | str) -> _Plan:
    """Words, or in writing without spaces characters; runs of several where there are more than 200."""
    text = text_of(content)
    found = [match.span() for match in _WORD.finditer(text)]
    runs = [part for part in np.array_split(np.arange(len(found)), min(len(found), _MOST_WORDS) or 1) if len(part)]
    spans = [(found[run[0]][0], found[run[-1]][1]) for run in runs]

    def hidden(i: int) -> str:
        if i < 0:
            return text
        start, end = spans[i]
        rest = text[:start] + text[end:]
        return rest if rest.strip() else "."

    return _Plan("words", [Part(0.0, None, start, end, text[start:end]) for start, end in spans], hidden)


def _spans(content: bytes | str) -> _Plan:
    """At most 32 spans of a recording, of at least a twentieth of a second."""
    assert isinstance(content, bytes), "a recording is a file's bytes"
    sound, rate = waveform(content)
    count = int(np.clip(round(len(sound) / rate / _SPAN_SECONDS), 1, _MOST_SPANS))
    edges = np.rint(np.linspace(0, len(sound), count + 1)).astype(int)
    levels = [float(np.sqrt(np.mean(np.square(part, dtype=np.float64)))) for part in np.split(sound, edges[1:-1])]
    level = max(_FAINTEST, min(*levels, _LOUDEST_SHARE * float(np.std(sound))))
    hiss = (level * np.random.default_rng(0).standard_normal(len(sound))).astype(np.float32)

    def hidden(i: int) -> bytes:
        if i < 0:
            return _recording(sound, rate)
        share = _faded(len(sound), edges[i], edges[i + 1], fade=max(1, round(_FADE_SECONDS * rate)))
        return _recording(sound * (1 - share) + hiss * share, rate)

    places = [Part(0.0, None, edges[i] / rate, edges[i + 1] / rate, "") for i in range(count)]
    return _Plan("seconds", places, hidden)


def _faded(n: int, start: int, end: int, *, fade: int) -> Float[np.ndarray, "n"]:
    """1 within a span and 0 outside, with a ramp around it: a sound that is cut off clicks, and the click would be heard."""
    place = np.arange(n, dtype=np.float32)
    return np.clip(np.minimum((place - start) / fade + 1, (end - place) / fade + 1), 0.0, 1.0)


def _recording(sound: np.ndarray, rate: int) -> bytes:
    import soundfile

    buffer = BytesIO()
    soundfile.write(buffer, sound, rate, format="WAV", subtype="FLOAT")
    return buffer.getvalue()


def overlay(found: Saliency, content: bytes) -> "Picture":
    """The image with its patches tinted: red where hiding one lowers the prediction, blue where it raises it.

    Raises:
        UsageError: the map is of no image.
    """
    from PIL import Image

    if found.grid is None:
        raise UsageError(f"a map of {found.unit} is no picture: only maps of images can be drawn over one")
    image = picture(content)
    scores = found.scores.reshape(found.grid)
    strength = np.abs(scores) / max(float(np.abs(scores).max()), 1e-9)
    alpha = Image.fromarray((200 * strength).astype(np.uint8)).resize(image.size, Image.Resampling.BICUBIC)
    sign = Image.fromarray(np.where(scores > 0, 255, 0).astype(np.uint8)).resize(image.size, Image.Resampling.BILINEAR)
    red, blue = Image.new("RGB", image.size, (220, 30, 30)), Image.new("RGB", image.size, (30, 80, 220))
    return Image.composite(Image.composite(red, blue, sign), image, alpha)
