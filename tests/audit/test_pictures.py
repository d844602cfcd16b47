"""Copies of a picture are found when re-encoded, resized or cropped a little; other pictures of the same kind are not."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from headstart.audit import pictures


def texture(seed: int, size: int = 160) -> Image.Image:
    """Smooth coloured blobs with some grain, as a photograph has."""
    rng = np.random.default_rng(seed)
    image = np.zeros((size, size, 3))
    for cells, weight in ((4, 60.0), (10, 40.0), (25, 20.0)):
        noise = Image.fromarray(rng.integers(0, 256, (cells, cells, 3)).astype(np.uint8))
        image += weight * (np.asarray(noise.resize((size, size), Image.Resampling.BICUBIC)) / 128.0 - 1.0)
    return Image.fromarray(np.clip(image + 128, 0, 255).astype(np.uint8))


def jpeg(image: Image.Image, quality: int = 75) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue()))


def halved(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.BILINEAR)


def cropped(image: Image.Image) -> Image.Image:
    """Five of a hundred lost from each side at one corner."""
    lost = round(0.05 * image.width)
    return image.crop((lost, lost, image.width, image.height))


def small(*images: Image.Image) -> np.ndarray:
    side = (pictures.SIDE, pictures.SIDE)
    return np.stack(
        [pictures.grey(np.asarray(each.convert("RGB").resize(side, Image.Resampling.BOX))) for each in images]
    )


def scores(images: list[Image.Image], pairs: list[tuple[int, int]]) -> np.ndarray:
    shortest = np.array([min(each.size) for each in images])
    return pictures.copies(small(*images), np.array(pairs), shortest=shortest)


def gently(image: Image.Image) -> Image.Image:
    return jpeg(image, 90)


@pytest.mark.parametrize(
    ("change", "size"), [(jpeg, 160), (halved, 160), (cropped, 160), (gently, 32), (halved, 32), (cropped, 32)]
)
def test_a_changed_copy_is_found(change: Callable[[Image.Image], Image.Image], size: int) -> None:
    originals = [texture(seed, size) for seed in range(8)]
    found = scores([*originals, *map(change, originals)], [(i, i + 8) for i in range(8)])
    assert (found > 0).mean() >= (1.0 if size > 32 else 0.75), found


def test_other_pictures_are_no_copies() -> None:
    images = [texture(seed) for seed in range(12)] + [texture(seed, 32) for seed in range(20, 32)]
    found = scores(images, [(i, j) for i in range(24) for j in range(i + 1, 24)])
    assert not found.any()


def test_blank_pictures_are_copies_of_nothing() -> None:
    blank = [Image.new("RGB", (64, 64), (value,) * 3) for value in (0, 100, 200, 201, 255)]
    images = [*blank, texture(0), texture(1)]
    found = scores(images, [(i, j) for i in range(7) for j in range(i + 1, 7)])
    assert not found.any()


def test_hashes_make_candidates_of_copies_and_not_of_all() -> None:
    originals = [texture(seed) for seed in range(10)]
    bits = pictures.hashes(small(*originals, *map(jpeg, originals)))
    pairs = {tuple(sorted(map(int, pair))) for pair in pictures.hash_neighbours(bits, 5)}
    assert {(i, i + 10) for i in range(10)} <= pairs
    assert len(pairs) < 30


def test_grey_is_luminance() -> None:
    pixels = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    assert pictures.grey(pixels).tolist() == [[76, 150, 29, 255]]


def test_no_pairs_give_no_scores() -> None:
    assert len(pictures.copies(small(texture(0)), np.zeros((0, 2), np.int64), shortest=np.array([160]))) == 0
