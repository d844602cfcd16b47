"""Small images are decoded once, and what the cache holds is what decoding gives."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.audit import small_images as module
from headstart.audit.small_images import small_images
from headstart.data.samples import Samples, make_samples
from headstart.features.hashing import digest_samples


def photos(folder: Path, *, n: int = 6) -> Samples:
    """Photos of several sizes, and a file that is none."""
    rng = np.random.default_rng(0)
    paths = []
    for number in range(n):
        noise = Image.fromarray(rng.integers(0, 256, (30 + number, 90, 3)).astype(np.uint8))
        buffer = io.BytesIO()
        noise.save(buffer, "JPEG")
        paths.append(folder / f"{number} ü.jpg")
        paths[-1].write_bytes(buffer.getvalue())
    paths.append(folder / "none.jpg")
    paths[-1].write_bytes(b"no photo")
    names = [path.name for path in paths]
    return make_samples(names, list(map(str, paths)), modality="image", inline=False, source=str(folder))


def plain(found: dict[int, module.Small]) -> dict[int, tuple[bytes, int]]:
    return {position: (small.grey.tobytes(), small.shortest) for position, small in found.items()}


def test_a_hit_equals_a_miss(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = photos(tmp_path)
    digests = digest_samples(samples).digests
    missed = small_images(samples, np.arange(7), digests=digests)
    assert sorted(missed) == list(range(6)), "what is no photo has no small image"
    assert [missed[position].shortest for position in range(6)] == [30, 31, 32, 33, 34, 35]
    asked: list[int] = []
    decoding = module.each_of
    monkeypatch.setattr(module, "each_of", lambda order, work: asked.extend(order.tolist()) or decoding(order, work))
    assert plain(small_images(samples, np.arange(7), digests=digests)) == plain(missed)
    assert asked == [6], "only what could not be decoded is tried again"


def test_a_file_that_changed_since_it_was_hashed_is_not_kept_under_its_old_digest(
    tmp_path: Path, own_cache: Path
) -> None:
    samples = photos(tmp_path)
    digests = digest_samples(samples).digests
    original = (tmp_path / "0 ü.jpg").read_bytes()
    (tmp_path / "0 ü.jpg").write_bytes((tmp_path / "1 ü.jpg").read_bytes())
    small_images(samples, np.arange(7), digests=digests)
    (tmp_path / "0 ü.jpg").write_bytes(original)
    assert small_images(samples, np.arange(7), digests=digests)[0].shortest == 30
