"""Resizing an image and keeping its central square, upright, without computing what the crop throws away."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headstart.core.errors import SampleError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

# A strip is refused when its resized form would hold more pixels than this.
_MOST_RESIZED_PIXELS = 1 << 27
# Source pixels on either side of a target pixel's centre that any filter reads, at scale 1.
_WIDEST_SUPPORT = 3
# Filters whose weights change by leaps: a box's corner that float32 cannot hold would move whole pixels.
_ABRUPT = ("nearest", "box")

# EXIF orientations whose upright image has the stored one's width as height, or runs against the stored columns or rows.
SWAPPED = (5, 6, 7, 8)
_MIRRORED_X = (2, 3, 6, 7)
_MIRRORED_Y = (3, 4, 7, 8)


@dataclass(frozen=True)
class Frame:
    """The part of a resized image that is kept.

    Attributes:
        resized: width and height of the resized image, pixels.
        left: first column that is kept.
        top: first row that is kept.
        size: columns and rows that are kept.
    """

    resized: tuple[int, int]
    left: int
    top: int
    size: int

    @classmethod
    def central(cls, resized: tuple[int, int], size: int, *, orientation: int) -> "Frame":
        """The frame that is central, as torchvision rounds it, once the image stands upright.

        Args:
            resized: width and height of the resized image as it is stored, pixels.
            size: side of the frame, pixels.
            orientation: EXIF's, 1 to 8.
        """
        upright = resized[::-1] if orientation in SWAPPED else resized
        left, top = (round((side - size) / 2.0) for side in upright)
        left = upright[0] - size - left if orientation in _MIRRORED_X else left
        top = upright[1] - size - top if orientation in _MIRRORED_Y else top
        return cls(resized, *((top, left) if orientation in SWAPPED else (left, top)), size)


def resized(size: tuple[int, int], scale: int, *, squash: bool) -> tuple[int, int]:
    """Width and height after resizing: both `scale`, or the shorter `scale` and the longer in proportion, rounded down.

    Raises:
        SampleError: the image is so thin a strip that its resized form would not fit memory.
    """
    if squash:
        return scale, scale
    short, long = sorted(size)
    stretched = int(scale * long / short)
    if scale * stretched > _MOST_RESIZED_PIXELS:
        raise SampleError(f"is an image of {size[0]} x {size[1]} pixels, too thin a strip to resize: crop it")
    return (scale, stretched) if size[0] <= size[1] else (stretched, scale)


def cut(image: "Picture", frame: Frame, *, covered: tuple[float, float], interpolation: str) -> "Picture":
    """Resize an image and keep the frame, as timm's and torchvision's evaluation transforms do with a Pillow image.

    Where both sides are resized alike and the filter is smooth, only the frame is computed: first along rows, then along columns,
    with Pillow's own coefficients. Corners of a source box are float32 numbers in Pillow, so that some values differ from
    those of resizing the whole: on 167 photos by at most 2 grey levels, on average by less than 0.003. Pillow itself goes along the
    columns first where it finds that cheaper, which it does for a few images that are taller than wide; there the
    difference is that between its two orders: some grey levels at sharp edges. All else is equal pixel for pixel.

    Args:
        image: RGB or grey.
        frame: what is kept.
        covered: width and height of the image, pixels; a last column or row that is only partly covered counts as a fraction.
        interpolation: a filter's name, in lower case.
    """
    from PIL import Image

    filtering = Image.Resampling[interpolation.upper()]
    (width, height), (left, top), size = frame.resized, (frame.left, frame.top), frame.size
    fits = width == covered[0] and height == covered[1]
    uneven = (width == height) != (covered[0] == covered[1])
    if fits or uneven or interpolation in _ABRUPT:
        image = image if fits else image.resize((width, height), filtering, box=(0, 0, *covered))
        return image.crop((left, top, left + size, top + size))
    x, y = covered[0] / width, covered[1] / height
    rows = math.ceil(_WIDEST_SUPPORT * max(1.0, y)) + 1
    first, last = max(0, math.floor(top * y) - rows), min(image.height, math.ceil((top + size) * y) + rows)
    image = image.crop((0, first, image.width, last))
    image = image.resize((size, last - first), filtering, box=(left * x, 0, (left + size) * x, last - first))
    return image.resize((size, size), filtering, box=(0, top * y - first, size, (top + size) * y - first))


def upright(image: "Picture", orientation: int) -> "Picture":
    """The image turned as an EXIF orientation of 1 to 8 says."""
    from PIL import Image

    turns = Image.Transpose
    methods = {
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
        6: turns.ROTATE_270,
        7: turns.TRANSVERSE,
        8: turns.ROTATE_90,
    }
    return image if orientation not in methods else image.transpose(methods[orientation])
