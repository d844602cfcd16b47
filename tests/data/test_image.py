"""Images: equal to timm's own transform, every mode and depth, orientation, transparency."""

import io
import warnings

import numpy as np
import pytest
from PIL import Image

from headstart.core.errors import SampleError, UsageError
from headstart.core.recipes import to_string
from headstart.data.modalities import preparation
from headstart.data.modalities.image import ImageRecipe
from support import media
from support.data import shared


def pixels(content: bytes, **options: object) -> np.ndarray:
    recipe = to_string("image", ImageRecipe(**options))  # type: ignore[arg-type]
    (view,) = preparation(recipe, {}).prepare(content).views
    return view


def apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.abs(one.astype(int) - other)


def timm_pixels(content: bytes, *, size: int, crop: float, mode: str, interpolation: str) -> np.ndarray:
    timm = pytest.importorskip("timm", reason="timm's transform is what ours is compared with")
    torch = pytest.importorskip("torch")
    transform = timm.data.create_transform(
        (3, size, size), interpolation=interpolation, crop_pct=crop, crop_mode=mode, mean=(0, 0, 0), std=(1, 1, 1)
    )
    tensor = transform(Image.open(io.BytesIO(content)).convert("RGB"))
    return (tensor * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()


@pytest.fixture(autouse=True, scope="module")
def torchvision_mended() -> None:
    from headstart.backbones import torchvision_schemas

    pytest.importorskip("torch")
    torchvision_schemas.mend()


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize(
    ("size", "crop", "ours", "theirs"),
    [(224, 0.875, "shortest", "center"), (192, 0.9, "squash", "squash"), (160, 1.0, "shortest", "center")],
)
def test_equal_to_timm_on_a_real_photo(size: int, crop: float, ours: str, theirs: str, interpolation: str) -> None:
    for path in sorted((shared("ants_bees") / "val" / "bees").glob("*.jpg"))[:3]:
        content = path.read_bytes()
        got = pixels(content, size=size, crop=crop, resize=ours, interpolation=interpolation, shrink=0.0)
        wanted = timm_pixels(content, size=size, crop=crop, mode=theirs, interpolation=interpolation)
        difference = apart(got, wanted)
        width, height = Image.open(io.BytesIO(content)).size
        if ours == "squash" and width != height:
            assert difference.max() == 0
        assert difference.max() <= 2
        assert difference.mean() < 0.01


@pytest.mark.parametrize("shape", [(31, 77), (300, 9), (224, 224), (256, 300), (5, 5)])
def test_equal_to_timm_on_odd_sizes(shape: tuple[int, int]) -> None:
    content = media.image(size=shape)
    got = pixels(content, size=64)
    difference = apart(got, timm_pixels(content, size=64, crop=0.875, mode="center", interpolation="bicubic"))
    assert difference.max() <= 1
    assert difference.mean() < 0.02


@pytest.mark.parametrize("interpolation", ["nearest", "box"])
def test_abrupt_filters_are_equal_to_timm_pixel_for_pixel(interpolation: str) -> None:
    content = media.image(size=(301, 77))
    wanted = Image.open(io.BytesIO(content)).resize((285, 73), Image.Resampling[interpolation.upper()])
    got = pixels(content, size=64, interpolation=interpolation)
    assert np.array_equal(got, np.asarray(wanted.crop((110, 4, 174, 68))))


def saved(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation(orientation: int, form: str) -> None:
    upright = np.zeros((48, 32, 3), dtype=np.uint8)
    upright[:24, :, 0] = 255
    upright[:, 16:, 1] = 255
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition that the camera's position stands for
    stored = Image.fromarray(upright)
    if orientation > 1:
        stored = stored.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    got = pixels(saved(stored, form, exif=exif), size=32, crop=1.0).astype(int)
    expected = pixels(saved(Image.fromarray(upright), form), size=32, crop=1.0).astype(int)
    assert np.abs(got - expected).mean() < 12


def test_transparency_is_put_on_white() -> None:
    clear = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    half = Image.new("RGBA", (20, 20), (0, 0, 0, 128))
    grey = Image.new("LA", (20, 20), (0, 0))
    assert (pixels(saved(clear), size=8) == 255).all()
    assert (pixels(saved(half), size=8) == 127).all()
    assert (pixels(saved(grey), size=8) == 255).all()
    palette = Image.new("P", (20, 20), 3)
    palette.putpalette([0, 0, 0] * 3 + [10, 20, 30])
    assert (pixels(saved(palette), size=8) == [10, 20, 30]).all()
    assert (pixels(saved(palette, transparency=3), size=8) == 255).all()
    assert (pixels(saved(palette, "GIF", transparency=3), size=8) == 255).all()
    assert (pixels(saved(Image.new("RGB", (20, 20), (1, 2, 3)), transparency=(1, 2, 3)), size=8) == 255).all()
    assert (pixels(saved(Image.new("L", (20, 20), 7), transparency=7), size=8) == 255).all()


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_by_their_range(form: str) -> None:
    ramp = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (64, 1))
    view = pixels(saved(Image.fromarray(ramp), form), size=64, crop=1.0)
    assert np.abs(view[0, :, 0].astype(int) - np.rint(ramp[0] / 257)).max() <= 1
    assert (view[..., 0] == view[..., 2]).all()
    dark = saved(Image.fromarray(np.full((8, 8), 2570, dtype=np.uint16)), form)
    assert (pixels(dark, size=8) == 10).all()


def test_deep_and_floating_point_values() -> None:
    for low, high, peak in ((0.0, 1.0, 255), (0.0, 200.0, 200), (0.0, 60000.0, 233), (-5.0, 5.0, 255)):
        ramp = np.tile(np.linspace(low, high, 32, dtype=np.float32), (32, 1))
        view = pixels(saved(Image.fromarray(ramp), "TIFF"), size=32, crop=1.0)
        assert (view.min(), view.max()) == (0, peak)
    with pytest.raises(SampleError, match="values that are not finite numbers"):
        pixels(saved(Image.fromarray(np.full((8, 8), np.nan, dtype=np.float32)), "TIFF"))
    big_endian = saved(Image.fromarray(np.full((8, 8), 65535, dtype=np.uint16)), "TIFF")
    assert (pixels(big_endian, size=8) == 255).all()


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_cmyk(form: str) -> None:
    view = pixels(saved(Image.new("CMYK", (20, 20), (0, 255, 255, 0)), form), size=8)
    assert view[..., 0].min() > 200
    assert view[..., 1:].max() < 60


def test_the_first_frame_of_a_gif() -> None:
    frames = [Image.new("RGB", (20, 20), color) for color in ("red", "blue")]
    view = pixels(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]), size=8)
    assert (view == [255, 0, 0]).all()


def test_no_warning_reaches_the_user() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = saved(Image.new("RGB", (20, 20)), "TIFF", exif=exif)
    broken = bytearray(saved(Image.new("RGB", (64, 64)), "JPEG", exif=exif.tobytes()))
    at = broken.index(b"Exif") + 10
    broken[at : at + 6] = b"\xff" * 6
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for content in (whole, bytes(broken)):
            assert pixels(content, size=8).shape == (8, 8, 3)
    assert [warning.message for warning in caught] == []


def test_facts_are_those_of_the_upright_image() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    facts = preparation("image", {}).prepare(saved(Image.new("RGB", (30, 20)), "JPEG", exif=exif)).facts
    assert facts == {"width": 20, "height": 30}


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ("image(size=0)", "takes a size from 1 to 4096 pixels, and got 0"),
        ("image(crop=1.5)", "takes a crop from 0.1 to 1, and got 1.5"),
        ("image(resize='fit')", "takes resize='shortest' or resize='squash', and got 'fit'"),
        ("image(interpolation='bicubik')", "Did you mean 'bicubic'"),
        ("image(mean=(1, 2))", "takes three numbers for 'mean'"),
        ("image(shrink=0.5)", "takes shrink=0 or a shrink from 1 to 64, and got 0.5"),
        ("image(shrink=-1)", "takes shrink=0 or a shrink from 1 to 64, and got -1"),
        ("image(std=(0, 1, 1))", "takes positive numbers for 'std'"),
        ("image(std=(1e-300, 1, 1))", "takes positive numbers for 'std'"),
        ("image(mean=(0, 1e300, 0))", "takes three numbers for 'mean'"),
        (f"image(crop={'1' * 400})", "takes for 'crop' a value like 0.875"),
        ("image(crop=-1e999)", "takes for 'crop' a value like 0.875"),
        ("image(sise=3, krop=1)", "has no option 'sise'.*has no option 'krop'"),
        ("text(size=3)", "an image recipe is called image, and got 'text'"),
    ],
)
def test_recipes_that_mean_nothing(recipe: str, sentence: str) -> None:
    from headstart.data.modalities.image import PLUGIN

    with pytest.raises(UsageError, match=sentence):
        PLUGIN.preparation(recipe, {})


def test_a_text_is_no_image() -> None:
    with pytest.raises(SampleError, match="prepared from a file's bytes, and got a text"):
        preparation("image", {}).prepare("a text")
