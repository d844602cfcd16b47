"""What shows an item on the page, small: a thumbnail, a few seconds of sound with their waveform, or the beginning of a text."""

import base64
import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

from headstart.core.errors import SampleError
from headstart.data.decoding import repair, text_of
from headstart.data.preparation import Preparation
from headstart.reporting.story import Media

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

THUMBNAIL = 144
"""Sides of a thumbnail of the galleries, pixels."""

TILE, COLUMNS = 48, 40
"""Sides of a thumbnail of the map, pixels, and how many stand beside each other on its sheet."""

MOST_BYTES = 10_000
"""No thumbnail is larger, before it is written in base64."""

CLIP_SECONDS, CLIP_RATE = 3.0, 8000
"""A recording is cut to so many seconds, and resampled to so many values a second."""

MOST_TEXT = 280
"""Characters of a text that are shown."""

_BARS = 48

Content = Callable[[int], bytes | str]


def show(preparation: Preparation, content: bytes | str) -> Media:
    """What shows one item. Photos and recordings are shown as the backbone sees them: cropped, or mixed to one channel.

    Raises:
        SampleError: it cannot be decoded.
    """
    if preparation.modality == "text":
        return _text(content)
    view = preparation.prepare(content).views[0]
    return _photo(view) if preparation.modality == "image" else _sound(view, preparation)


def show_at(preparation: Preparation, content: Content, *, position: int) -> Media:
    """What shows the item at a position; words where it cannot be read any more."""
    try:
        return show(preparation, content(position))
    except (SampleError, OSError) as error:
        return Media("none", note=f"cannot be shown: {getattr(error, 'strerror', None) or error}")


def sheet(preparation: Preparation, content: Content, *, positions: Sequence[int]) -> str:
    """One picture with a thumbnail of each photo, row by row, as a data URI; a photo that cannot be read leaves its place grey."""
    from PIL import Image

    rows = -(-len(positions) // COLUMNS)
    whole = Image.new("RGB", (COLUMNS * TILE, rows * TILE), (128, 128, 128))

    def tile(position: int) -> "Picture | None":
        try:
            view = preparation.prepare(content(position)).views[0]
        except (SampleError, OSError):
            return None
        return Image.fromarray(view).resize((TILE, TILE), Image.Resampling.BILINEAR)

    with ThreadPoolExecutor(max_workers=4) as threads:
        for place, made in enumerate(threads.map(tile, positions)):
            if made is not None:
                whole.paste(made, (place % COLUMNS * TILE, place // COLUMNS * TILE))
    return _uri("image/jpeg", _jpeg(whole, 62))


def shorten(text: str, most: int = MOST_TEXT) -> str:
    """The text in one line, cut at a space where there is one near the end, with dots where something was left out."""
    line = " ".join(repair(text[: 20 * most]).split())
    if len(line) <= most:
        return line
    cut = line[:most]
    return (cut.rsplit(" ", 1)[0] if " " in cut[-40:] else cut) + " …"


def _text(content: bytes | str) -> Media:
    text = text_of(content)
    return Media("text", text=shorten(text))


def _photo(view: UInt8[np.ndarray, "h w 3"]) -> Media:
    from PIL import Image

    picture = Image.fromarray(view)
    picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    content = next(
        (each for each in (_jpeg(picture, quality) for quality in (80, 65, 45)) if len(each) <= MOST_BYTES), b""
    )
    return Media("image", uri=_uri("image/jpeg", content or _jpeg(picture, 20)))


def _sound(view: Float[np.ndarray, "s"], preparation: Preparation) -> Media:
    import soundfile
    import soxr

    rate = int(getattr(getattr(preparation, "options", None), "rate", 16_000))
    sound = np.asarray(view[: round(CLIP_SECONDS * rate)], dtype=np.float32)
    clip = soxr.resample(sound, rate, CLIP_RATE, quality="HQ") if rate != CLIP_RATE else sound
    peak = max(float(np.abs(clip).max(initial=0.0)), 1e-6)
    file = io.BytesIO()
    soundfile.write(file, np.clip(clip / peak * 0.8, -1, 1), CLIP_RATE, format="WAV", subtype="PCM_16")
    bars = np.array([float(np.abs(part).max(initial=0.0)) for part in np.array_split(clip, _BARS)])
    seconds = len(view) / rate
    note = f"{seconds:.1f} s" if seconds <= CLIP_SECONDS else f"the first {CLIP_SECONDS:.0f} of {seconds:.1f} s"
    wave = tuple(round(float(height), 3) for height in bars / max(float(bars.max()), 1e-6))
    return Media("audio", uri=_uri("audio/wav", file.getvalue()), wave=wave, note=note)


def _jpeg(picture: "Picture", quality: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality, optimize=True)
    return file.getvalue()


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
