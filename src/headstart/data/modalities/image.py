"""Photos and drawings: JPEG, PNG, WebP, BMP, TIFF and the first frame of a GIF, upright, in RGB, resized and cropped."""

import math
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from jaxtyping import UInt8

from headstart.core import recipes
from headstart.core.errors import SampleError, UsageError, suggest
from headstart.data import framing, jpeg
from headstart.data.decoding import bytes_of, reason_of
from headstart.data.preparation import Batch, Modality, Preparation, Prepared

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_T = TypeVar("_T")
_INTERPOLATIONS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)
_ORIENTATION_TAG = 0x0112
# Of a mean or a deviation, and of what is divided by a deviation: past it float32 would soon be infinite.
_LARGEST_COLOUR = 1_000_000
_RESIZES = ("shortest", "squash")
# Pixels of a strip.
_STRIP_PIXELS = 1 << 20
# Pixels of all views of one batch.
_BATCH_PIXELS = 4 * 224 * 224


@dataclass(frozen=True)
class ImageRecipe:
    """How an image becomes pixels.

    Attributes:
        size: height and width of a view, pixels.
        crop: the part of the resized image's short side that the central crop keeps: the short side becomes `floor(size / crop)`.
        resize: `shortest` keeps the proportions and crops the centre; `squash` makes both sides `floor(size / crop)`, then crops.
        interpolation: `nearest`, `box`, `bilinear`, `hamming`, `bicubic` or `lanczos`, antialiased as Pillow does it.
        mean: per channel, of pixels in [0, 1]; subtracted by the device half.
        std: per channel, of pixels in [0, 1]; divided by in the device half.
        shrink: a JPEG is decoded at the smallest of 1/1, 1/2, 1/4 and 1/8 that leaves its sides at least `shrink` times the resized
            ones; 0 decodes every photo in full. The default leaves the resizing enough to smooth: rows of EfficientNet-Lite0 from
            photos of 12 megapixels so decoded are like those from photos in full to a cosine of 0.999.
    """

    size: int = 224
    crop: float = 0.875
    resize: str = "shortest"
    interpolation: str = "bicubic"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    shrink: float = 2.0


@dataclass(frozen=True)
class ImagePreparation(Preparation):
    """Bytes of an image file to one (size, size, 3) view of uint8 pixels.

    Transparent pixels are put on white: most transparent images are drawings, logos and cut-out products, made to be seen on a
    white page, and a black ground would hide black ink. Grey values of 16 bits are scaled by their full range, 65535, never by an
    image's own extremes, so that brightness stays comparable between images.
    """

    options: ImageRecipe
    recipe: str
    assets: Mapping[str, bytes] = field(default_factory=dict)
    modality: str = "image"

    def prepare(self, content: bytes | str) -> Prepared:
        """Decode, turn upright, resize and crop one image.

        Raises:
            SampleError: the bytes are no image, are damaged, or hold more pixels than memory should.
        """
        photo = _decoded(bytes_of(content, "an image"), self.options)
        pixels = np.asarray(_resized(photo, self.options), dtype=np.uint8)
        width, height = reversed(photo.size) if photo.orientation in framing.SWAPPED else photo.size
        return Prepared((pixels,), (1.0,), {"width": width, "height": height})

    def bucket(self, view: np.ndarray) -> Hashable:
        """All views have one shape."""
        return view.shape

    def cost(self, view: np.ndarray) -> float:
        """Four views of 224 x 224 fill a batch, more of smaller ones.

        Activations of larger batches fall out of a CPU's caches: EfficientNet-Lite0 took 7 ms an image in batches of 4 on two cores, 10
        in batches of 8 and of 1, and 24 in batches of 32.
        """
        return float(max(1 / 64, view.shape[0] * view.shape[1] / _BATCH_PIXELS))

    def collate(self, views: Sequence[np.ndarray]) -> Batch:
        """Stack views."""
        return Batch(np.stack(views), np.ones(len(views), dtype=np.int64))

    def probes(self, n: int, seed: int) -> Batch:
        """`n` images of smooth coloured noise: random 8 x 8 fields, enlarged."""
        size = self.options.size
        fields = np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)
        from PIL import Image

        large = [Image.fromarray(small).resize((size, size), Image.Resampling.BILINEAR) for small in fields]
        return self.collate([np.asarray(image, dtype=np.uint8) for image in large])


class ImageModality(Modality):
    """Images, by the first bytes of their formats."""

    name = "image"
    suffixes = (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
    unit = "pixels"

    def recognises(self, head: bytes) -> bool:
        """Whether the first bytes are those of JPEG, PNG, WebP, BMP, TIFF or GIF."""
        return _format(head) is not None

    def extent(self, content: bytes | str) -> float:
        """Width times height of the first frame.

        Raises:
            SampleError: the content is no image, or its header is damaged.
        """
        image = _intact(bytes_of(content, "an image"), lambda name, given: _opened(given, name))
        return float(image.width * image.height)

    def preparation(self, recipe: str, assets: Mapping[str, bytes]) -> Preparation:  # noqa: ARG002  (images need no asset)
        """The preparation for `image(size=224, ...)`.

        Raises:
            UsageError: an option is unknown, or no value that images can be prepared with.
        """
        name, options = recipes.split(recipe)
        if name != self.name:
            raise UsageError(f"an image recipe is called image, and got {name!r}")
        built = recipes.build(ImageRecipe, name, options=options)
        _check(built)
        return ImagePreparation(built, recipes.to_string(name, built))


PLUGIN = ImageModality()


def picture(content: bytes) -> "Picture":
    """The whole image of a file, upright, in 8-bit RGB: what a person sees, where `prepare` gives what a backbone does.

    Raises:
        SampleError: the bytes are no image, are damaged, or hold more pixels than memory should.
    """
    photo = _decoded(content, ImageRecipe(shrink=0.0))
    return framing.upright(photo.pixels, photo.orientation).convert("RGB")


def _check(recipe: ImageRecipe) -> None:
    """Refuse values that no image can be prepared with.

    Raises:
        UsageError: as said.
    """
    if not 1 <= recipe.size <= 4096:
        raise UsageError(f"image takes a size from 1 to 4096 pixels, and got {recipe.size}")
    if not 0.1 <= recipe.crop <= 1:
        raise UsageError(f"image takes a crop from 0.1 to 1, and got {recipe.crop}")
    if recipe.resize not in _RESIZES:
        raise UsageError(f"image takes resize='shortest' or resize='squash', and got {recipe.resize!r}")
    if recipe.interpolation not in _INTERPOLATIONS:
        known = suggest(recipe.interpolation, _INTERPOLATIONS)
        raise UsageError(f"image has no interpolation {recipe.interpolation!r}.{known}")
    if not (recipe.shrink == 0 or 1 <= recipe.shrink <= 64):
        raise UsageError(f"image takes shrink=0 or a shrink from 1 to 64, and got {recipe.shrink}")
    for name, values in (("mean", recipe.mean), ("std", recipe.std)):
        if len(values) != 3 or not all(_is_number(value) and abs(value) <= _LARGEST_COLOUR for value in values):
            raise UsageError(f"image takes three numbers for {name!r}, up to {_LARGEST_COLOUR:,}, and got {values!r}")
    if min(recipe.std) < 1 / _LARGEST_COLOUR:
        raise UsageError(f"image takes positive numbers for 'std', of 0.000001 at least, and got {recipe.std!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _format(head: bytes) -> str | None:
    """Pillow's name of the format that begins with these bytes, or None. Stricter than a magic number where text could begin so."""
    begins = {
        "JPEG": head.startswith(b"\xff\xd8\xff"),
        "PNG": head.startswith(b"\x89PNG\r\n\x1a\n"),
        "WEBP": head[:4] == b"RIFF" and head[8:12] == b"WEBP",
        "TIFF": head[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"},
        "GIF": head[:6] in {b"GIF87a", b"GIF89a"} and b"\0" in head[6:13],
        "BMP": head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS,
    }
    return next((name for name, fits in begins.items() if fits), None)


@dataclass(frozen=True)
class _Photo:
    """A decoded image, not yet upright.

    Attributes:
        pixels: in RGB or 8-bit grey.
        size: width and height of the file's image, pixels, as it lies there.
        by: each side of `pixels` is that of `size` divided by this, rounded up.
        orientation: EXIF's, 1 to 8.
    """

    pixels: "Picture"
    size: tuple[int, int]
    by: int
    orientation: int


def _decoded(content: bytes, recipe: ImageRecipe) -> _Photo:
    """The image in RGB or grey.

    Raises:
        SampleError: it cannot be decoded.
    """
    return _intact(content, lambda name, given: _loaded(given, name, recipe))


def _intact(content: bytes, read: Callable[[str, bytes], _T]) -> _T:
    """What is read of an image of a known format, whatever a decoder raises turned into one sentence.

    Args:
        content: a file's bytes.
        read: takes the format's name and the bytes.

    Raises:
        SampleError: it cannot be read.
    """
    if not content:
        raise SampleError("is an empty file (0 bytes): replace it or take it out")
    name = _format(content[:64])
    if name is None:
        raise SampleError("is no JPEG, PNG, WebP, BMP, TIFF or GIF image: convert it to one of these, or remove it")
    try:
        return read(name, content)
    except SampleError:
        raise
    except (
        Exception
    ) as error:  # damaged files make decoders raise nearly anything; whatever it is, the file is at fault
        raise SampleError(
            f"is a damaged or truncated {name} image ({reason_of(error)}): replace it by an intact copy"
        ) from error


def _loaded(content: bytes, name: str, recipe: ImageRecipe) -> _Photo:
    """The first frame, decoded by the one decoder of its format, with an own limit in the place of Pillow's warning.

    Pillow opens every image, which reads the header only and takes 0.02 ms: a JPEG's too, so that the same files are refused
    whichever library decodes them.
    """
    from PIL import Image

    image = _opened(content, name)
    limit = 2 * Image.MAX_IMAGE_PIXELS if Image.MAX_IMAGE_PIXELS else math.inf
    if image.width * image.height > limit:
        raise SampleError(
            f"is an image of {image.width} x {image.height} pixels, more than the {limit:,} that are safe to decode: make it smaller"
        )
    if name == "JPEG":
        jpeg.check_scans(content, image.size)
        size, orientation = image.size, _orientation(image)
        by = jpeg.divisor(size, framing.resized(size, _scale(recipe), squash=_squash(recipe)), shrink=recipe.shrink)
        return _Photo(_rgb(jpeg.decoded(content, image, by=by)), size, by, orientation)
    image.load()
    return _Photo(_rgb(image), image.size, 1, _orientation(image))


def _opened(content: bytes, name: str) -> "Picture":
    """The image with its header read, by the one decoder of its format."""
    from PIL import Image

    _hush()
    Image.init()
    opened: Picture = Image.OPEN[name][0](BytesIO(content), "")
    return opened


def _hush() -> None:
    """Pillow's warnings about odd metadata are not for whoever prepares a thousand photos; the pixels either decode or do not."""
    wanted = r"PIL\."
    if not any(rule[0] == "ignore" and getattr(rule[3], "pattern", None) == wanted for rule in warnings.filters[:3]):
        warnings.filterwarnings("ignore", module=wanted)


def _orientation(image: "Picture") -> int:
    """EXIF's orientation, 1 to 8; unreadable EXIF data turn nothing."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # noqa: BLE001  EXIF data of cameras and editors are broken in many ways, and only the orientation is wanted
        return 1
    return value if value in range(1, 9) else 1


def _rgb(image: "Picture") -> "Picture":
    """The image as 8-bit RGB or grey: palettes looked up, alpha put on white, deep grey values scaled.

    What goes through wider values goes strip by strip, so that there is never a second image of them.
    """
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_eight_bits(np.asarray(image)))
    if image.mode in {"La", "RGBa"} or image.has_transparency_data:
        made = Image.new("RGB", image.size)
        for rows in _strips(image.size):
            coloured = image.crop((0, rows.start, image.width, rows.stop)).convert("RGBA")
            white = Image.new("RGBA", coloured.size, "white")
            made.paste(Image.alpha_composite(white, coloured).convert("RGB"), (0, rows.start))
        return made
    return image if image.mode in {"RGB", "L"} else image.convert("RGB")


def _strips(size: tuple[int, int]) -> Iterator[slice]:
    """The rows of an image of some width and height, in order, some at a time."""
    width, height = size
    rows = max(1, _STRIP_PIXELS // width)
    return (slice(top, min(top + rows, height)) for top in range(0, height, rows))


def _eight_bits(values: np.ndarray) -> UInt8[np.ndarray, "h w"]:
    """Grey values of 16 or 32 bits or floating point, as 8 bits.

    Whole numbers are taken as out of 65535. Floating-point numbers are taken as out of 1, 255 or 65535, the least of these that
    holds them all. Whatever lies outside is scaled by the image's own extremes.

    Raises:
        SampleError: a value is not finite.
    """
    low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)):  # one that is no number is both
        raise SampleError("is an image with values that are not finite numbers")
    ranges = (1.0, 255.0, 65535.0) if values.dtype.kind == "f" else (65535.0,)
    full = next((limit for limit in ranges if high <= limit), None)
    if low >= 0 and full is not None:
        low = 0.0
    else:
        full = max(high - low, 1e-12)
    made = np.empty(values.shape, np.uint8)
    for rows in _strips(values.shape[::-1]):
        made[rows] = np.rint((values[rows].astype(np.float64) - low) * (255.0 / full))
    return made


def _scale(recipe: ImageRecipe) -> int:
    return math.floor(recipe.size / recipe.crop)


def _squash(recipe: ImageRecipe) -> bool:
    return recipe.resize == "squash"


def _resized(photo: _Photo, recipe: ImageRecipe) -> "Picture":
    """Resized, cropped and upright, in RGB; see `framing` for how near this is to timm's and torchvision's evaluation transforms."""
    width, height = framing.resized(photo.size, _scale(recipe), squash=_squash(recipe))
    frame = framing.Frame.central((width, height), recipe.size, orientation=photo.orientation)
    covered = (photo.size[0] / photo.by, photo.size[1] / photo.by)
    image = framing.cut(photo.pixels, frame, covered=covered, interpolation=recipe.interpolation)
    image = framing.upright(image, photo.orientation)
    return image if image.mode == "RGB" else image.convert("RGB")
