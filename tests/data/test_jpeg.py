"""JPEG: the two decoders give the same pixels and refuse the same files, and a large photo is decoded at a fraction."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from headstart.core.errors import SampleError
from headstart.core.recipes import to_string
from headstart.data import framing, jpeg
from headstart.data.modalities import preparation
from headstart.data.modalities.image import ImageRecipe
from headstart.data.preparation import Prepared
from support import media
from support.data import shared


def picture(size: tuple[int, int] = (320, 240)) -> Image.Image:
    """A smooth coloured field with some noise, as a photo is."""
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    smooth = np.asarray(small.resize(size, Image.Resampling.BICUBIC)).astype(int)
    return Image.fromarray(np.clip(smooth + rng.integers(-12, 13, smooth.shape), 0, 255).astype(np.uint8))


def saved(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(picture(), exif=exif)


def outcome(content: bytes, *, fast: bool, **options: object) -> Prepared | str:
    """What preparing gives, or the sentence of its refusal, with simplejpeg or as if it were not installed."""
    pytest.importorskip("simplejpeg", reason="the fast path is what Pillow's is compared with")
    preparing = preparation(to_string("image", ImageRecipe(**options)), {})  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        if not fast:
            patch.setattr(jpeg, "_simplejpeg", lambda: None)
        try:
            return preparing.prepare(content)
        except SampleError as error:
            return str(error)


def same(content: bytes, **options: object) -> Prepared | str:
    """The outcome, once it was seen to be the same on both paths."""
    one, other = outcome(content, fast=True, **options), outcome(content, fast=False, **options)
    if isinstance(one, str) or isinstance(other, str):
        assert one == other
        return one
    assert one.facts == other.facts
    assert np.abs(one.views[0].astype(int) - other.views[0]).max() <= jpeg.TOLERANCE
    return one


KINDS = {
    "plain": saved(picture()),
    "progressive": saved(picture(), progressive=True),
    "grey": saved(picture().convert("L")),
    "cmyk": saved(picture().convert("CMYK")),
    "stored as RGB": saved(picture(), keep_rgb=True, quality=95),
    "restart markers": saved(picture(), restart_marker_blocks=4),
    "4:4:4": saved(picture(), subsampling=0),
    "4:2:2": saved(picture(), subsampling=1),
    "odd sides": saved(picture((317, 211))),
    **{f"orientation {number}": turned(number) for number in range(1, 9)},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shrink", [0.0, 1.0])
@pytest.mark.parametrize("size", [16, 64])
def test_both_decoders_give_the_same_pixels(kind: str, shrink: float, size: int) -> None:
    prepared = same(KINDS[kind], size=size, shrink=shrink)
    assert isinstance(prepared, Prepared)
    assert prepared.views[0].shape == (size, size, 3)
    assert len(np.unique(prepared.views[0])) > 20


@pytest.mark.parametrize("kind", ["plain", "progressive", "grey", "restart markers", "orientation 6"])
def test_simplejpeg_is_what_decodes(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("simplejpeg", reason="it is what is looked for")

    def refuse(*_: object) -> None:
        raise AssertionError("Pillow decoded a JPEG that simplejpeg can")

    monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile.load", refuse)
    assert isinstance(outcome(KINDS[kind], fast=True, size=16), Prepared)
    assert isinstance(outcome(KINDS[kind], fast=False, size=16), str)


@pytest.mark.parametrize("kind", ["plain", "progressive", "restart markers", "grey", "cmyk"])
def test_truncated_anywhere_is_the_same_to_both(kind: str) -> None:
    whole = KINDS[kind]
    ends = [*range(3, len(whole), max(1, len(whole) // 40)), *range(len(whole) - 6, len(whole))]
    outcomes = [same(whole[:end], size=16) for end in ends]
    assert sum(isinstance(one, str) for one in outcomes) >= len(ends) - 6
    assert "is a damaged or truncated JPEG image" in str(outcomes[len(ends) // 2])


@pytest.mark.parametrize("kind", ["plain", "progressive", "restart markers"])
def test_corrupt_anywhere_is_the_same_to_both(kind: str) -> None:
    whole = KINDS[kind]
    rng = np.random.default_rng(0)
    refused = 0
    for number in range(60):
        broken = bytearray(whole)
        for at in rng.integers(3, len(whole) if number % 2 else 700, 1 + number % 5):
            broken[at] = rng.integers(0, 256)
        refused += isinstance(same(bytes(broken), size=16, shrink=1.0), str)
    assert 0 < refused < 60


def test_garbage_in_the_middle_is_the_same_to_both() -> None:
    whole = KINDS["plain"]
    middle = len(whole) // 2
    same(whole[:middle] + bytes(500) + whole[middle + 500 :], size=16)


def test_a_huge_header_is_refused_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray(KINDS["plain"])
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = b"\xff\xdc\xff\xdc"

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was decoded")

    monkeypatch.setattr(jpeg, "decoded", refuse)
    for fast in (True, False):
        assert "is an image of 65500 x 65500 pixels, more than" in str(outcome(bytes(content), fast=fast))


@pytest.mark.parametrize(
    ("size", "resized", "shrink", "by"),
    [
        ((4000, 3000), (341, 256), 2.0, 4),
        ((4096, 4096), (256, 256), 2.0, 8),
        ((4095, 4095), (256, 256), 2.0, 4),
        ((1024, 4096), (256, 1024), 2.0, 2),
        ((1023, 1023), (256, 256), 2.0, 1),
        ((500, 375), (341, 256), 2.0, 1),
        ((4000, 3000), (341, 256), 0.0, 1),
        ((500, 375), (341, 256), 1.0, 1),
        ((4096, 512), (256, 256), 2.0, 1),
        ((100, 100), (1, 1), 1.0, 4),
    ],
)
def test_the_fraction(size: tuple[int, int], resized: tuple[int, int], shrink: float, by: int) -> None:
    assert jpeg.divisor(size, resized, shrink=shrink) == by


@pytest.mark.parametrize("by", [1, 2, 4, 8])
@pytest.mark.parametrize("size", [(320, 240), (317, 211), (129, 131)])
def test_both_decode_at_the_fraction_that_is_asked_for(by: int, size: tuple[int, int]) -> None:
    content = saved(picture(size))
    opened = Image.open(io.BytesIO(content))
    fast = jpeg._fast(content, opened, by=by)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jpeg, "_simplejpeg", lambda: None)
        slow = jpeg.decoded(content, opened, by=by)
    assert slow.size == (-(-size[0] // by), -(-size[1] // by))
    if jpeg._simplejpeg() is not None:
        assert fast is not None
        assert np.abs(np.asarray(fast).astype(int) - np.asarray(slow)).max() <= jpeg.TOLERANCE


def test_a_large_photo_is_decoded_at_a_fraction_and_looks_the_same() -> None:
    content = saved(picture((1201, 801)), quality=90)
    in_full = same(content, size=64, shrink=0.0)
    small = same(content, size=64)
    assert isinstance(in_full, Prepared)
    assert isinstance(small, Prepared)
    assert small.facts == in_full.facts == {"width": 1201, "height": 801}
    difference = np.abs(small.views[0].astype(int) - in_full.views[0])
    assert 0 < difference.mean() < 1
    assert difference.max() <= 8


@pytest.mark.parametrize("name", ["ants_bees/val", "cifar10/test", "blood_cells/test"])
def test_real_photos_are_the_same_to_both(name: str) -> None:
    paths = [path for path in sorted(shared(name).rglob("*")) if path.suffix.lower() in {".jpg", ".jpeg"}]
    for path in paths[:: max(1, len(paths) // 20)]:
        assert isinstance(same(path.read_bytes(), size=64), Prepared)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("resized", [(80, 65), (65, 80), (64, 64), (71, 64)])
def test_turning_after_the_crop_is_turning_before_it(orientation: int, resized: tuple[int, int]) -> None:
    stored = picture(resized)
    frame = framing.Frame.central(resized, 32, orientation=orientation)
    covered = (float(resized[0]), float(resized[1]))
    got = framing.upright(framing.cut(stored, frame, covered=covered, interpolation="bicubic"), orientation)
    whole = framing.upright(stored, orientation)
    left, top = round((whole.width - 32) / 2.0), round((whole.height - 32) / 2.0)
    assert np.array_equal(np.asarray(got), np.asarray(whole.crop((left, top, left + 32, top + 32))))


def test_without_simplejpeg_pillow_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    jpeg._simplejpeg.cache_clear()
    try:
        assert jpeg._simplejpeg() is None
        prepared = preparation("image(size=16)", {}).prepare(media.image(form="JPEG"))
        assert prepared.views[0].shape == (16, 16, 3)
    finally:
        jpeg._simplejpeg.cache_clear()
