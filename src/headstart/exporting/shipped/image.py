"""Pictures: a file's bytes to pixels, with Pillow."""

import math
import re
import warnings
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)
SCAN, MARKER = b"\xff\xda", re.compile(rb"\xff([^\x00\xff\x01\xd0-\xd7])")
MOST_RESIZED = 1 << 27
ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Preparation:
    """How a picture becomes pixels.

    It is decoded (a JPEG that is far too large at a half, a quarter or an eighth), made RGB, resized, turned upright, and its centre is cut
    out.
    """

    def __init__(self, options: dict[str, Any], assets: dict[str, bytes]) -> None:
        del assets
        warnings.filterwarnings("ignore", module=r"PIL\.")  # of odd metadata: the pixels either decode or do not
        self.size = int(options["size"])
        self.scale = math.floor(self.size / options["crop"])
        self.squash = options["resize"] == "squash"
        self.filter = Image.Resampling[options["interpolation"].upper()]
        self.shrink = float(options["shrink"])

    def views(self, content: bytes | str) -> tuple[list[np.ndarray], list[float]]:
        """The picture as one (size, size, 3) array of bytes, with its weight, 1."""
        if isinstance(content, str):
            raise TypeError("a picture is read from a file's bytes")
        image, name = opened(content)
        if name == "JPEG":
            check_scans(content, image.width * image.height)
        else:
            image.load()  # by which Pillow turns a TIFF upright itself
        (width, height), orientation = image.size, turned(image)
        scaled = self.scaled(width, height)
        by = self.divisor((width, height), scaled) if name == "JPEG" else 1
        if by > 1:
            image.draft(None, (width // by, height // by))
        picture = rgb(image)
        if picture.size != scaled or by > 1:
            picture = picture.resize(scaled, self.filter, box=(0, 0, width / by, height / by))
        if orientation in TURNS:
            picture = picture.transpose(TURNS[orientation])
        left, top = (round((side - self.size) / 2.0) for side in picture.size)
        picture = picture.crop((left, top, left + self.size, top + self.size))
        return [np.asarray(picture.convert("RGB"), dtype=np.uint8)], [1.0]

    def scaled(self, width: int, height: int) -> tuple[int, int]:
        """The shorter side as the recipe says and the longer in proportion, or both alike."""
        if self.squash:
            return self.scale, self.scale
        long = int(self.scale * max(width, height) / min(width, height))
        if self.scale * long > MOST_RESIZED:
            raise ValueError(f"is a picture of {width} x {height} pixels, too thin a strip to resize")
        return (self.scale, long) if width <= height else (long, self.scale)

    def divisor(self, size: tuple[int, int], scaled: tuple[int, int]) -> int:
        """By what a JPEG's sides may be divided as it is decoded."""
        if self.shrink <= 0:
            return 1
        least = [max(self.shrink * side, 16) for side in scaled]
        fits = (by for by in (8, 4, 2) if all(side / by >= low for side, low in zip(size, least, strict=True)))
        return next(fits, 1)

    def batch(self, views: list[np.ndarray]) -> dict[str, np.ndarray]:
        """The graph's inputs."""
        return {"pixels": np.stack(views)}

    def together(self, view: np.ndarray) -> object:
        """Views for which this is the same may share a batch."""
        return view.shape


def kind_of(head: bytes) -> str | None:
    """Pillow's name of the format that begins with these bytes."""
    begins = {
        "JPEG": head.startswith(b"\xff\xd8\xff"),
        "PNG": head.startswith(b"\x89PNG\r\n\x1a\n"),
        "WEBP": head[:4] == b"RIFF" and head[8:12] == b"WEBP",
        "TIFF": head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
        "GIF": head[:6] in (b"GIF87a", b"GIF89a") and b"\0" in head[6:13],
        "BMP": head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in BMP_HEADERS,
    }
    return next((name for name, fits in begins.items() if fits), None)


def opened(content: bytes) -> tuple[Any, str]:
    """The picture with its header read by the one decoder of its format, whose name is the second."""
    name = kind_of(content[:64])
    if name is None:
        raise ValueError("is no JPEG, PNG, WebP, BMP, TIFF or GIF picture")
    Image.preinit()
    if name not in Image.OPEN:  # the rarer formats
        Image.init()
    image = Image.OPEN[name][0](BytesIO(content), "")
    if Image.MAX_IMAGE_PIXELS and image.width * image.height > 2 * Image.MAX_IMAGE_PIXELS:
        raise ValueError(f"is a picture of {image.width} x {image.height} pixels, more than are safe to decode")
    return image, name


def check_scans(content: bytes, pixels: int) -> None:
    """Refuse a JPEG whose scans a decoder would go over again and again; marks in other segments or behind its end are none."""
    if content.count(SCAN) <= 16:
        return
    scans, at = 0, 2
    while (found := MARKER.search(content, at)) is not None and found[1] != b"\xd9":
        scans, at = scans + (found[1] == SCAN[1:]), found.end()
        at += max(2, int.from_bytes(content[at : at + 2], "big"))
    if scans > max(16, min(100, 2_000_000_000 // max(1, pixels))):
        raise ValueError(f"is a JPEG picture in {scans} scans, more than are safe to decode")


def turned(image: Image.Image) -> int:
    """EXIF's orientation; EXIF data that cannot be read turn nothing."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception:  # noqa: BLE001  cameras and editors break them in many ways
        return 1
    return int(value) if value in range(1, 9) else 1


def rgb(image: Image.Image) -> Image.Image:
    """In RGB or 8-bit grey: deep grey values scaled, transparent pixels put on white."""
    if image.mode.startswith(("I", "F")):
        grey = np.asarray(image).astype(np.float64)
        low, high = float(grey.min()), float(grey.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError("holds values that are not finite numbers")
        ranges = (1.0, 255.0, 65535.0) if image.mode.startswith("F") else (65535.0,)
        full = next((limit for limit in ranges if high <= limit), None)
        if low < 0 or full is None:
            grey, full = grey - low, max(high - low, 1e-12)
        return Image.fromarray(np.rint(grey * (255.0 / full)).astype(np.uint8))
    if image.mode in ("La", "RGBa") or image.has_transparency_data:
        coloured = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), coloured).convert("RGB")
    return image if image.mode in ("RGB", "L") else image.convert("RGB")
