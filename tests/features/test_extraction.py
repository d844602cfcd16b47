"""Extraction: once per distinct sample, never twice, and nothing lost when it is interrupted."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.backbones.backbone import Backbone
from headstart.backbones.choice import open_backbone
from headstart.core.digests import of_bytes
from headstart.core.errors import CacheError
from headstart.core.spec import BackboneSpec
from headstart.data.opening import open_samples, texts_as_samples
from headstart.data.preparation import Batch
from headstart.data.samples import Samples
from headstart.features import contents, extraction
from headstart.features.extraction import embed, extract
from headstart.features.hashing import digest_samples
from headstart.features.rounding import as_stored
from headstart.features.store import Shelf
from support.made import photos


class Counting(Backbone):
    """A backbone that counts the samples that it embeds, and may spoil or stop on purpose."""

    def __init__(self, inner: Backbone, *, stop_after: int | None = None, spoil: bool = False) -> None:
        self.inner, self.specs, self.preparation = inner, inner.specs, inner.preparation
        self.architecture, self.warnings = inner.architecture, inner.warnings
        self.embedded = 0
        self.batches: list[int] = []
        self._stop_after, self._spoil = stop_after, spoil

    def embed(self, batch: Batch) -> tuple[np.ndarray, ...]:
        if self._stop_after is not None and self.embedded >= self._stop_after:
            raise KeyboardInterrupt
        self.embedded += len(batch)
        self.batches.append(len(batch))
        rows = tuple(row.copy() for row in self.inner.embed(batch))
        if self._spoil:
            rows[0][0, 0] = np.nan
        return rows

    def tensors(self) -> dict[str, np.ndarray]:
        return self.inner.tensors()


@pytest.fixture
def images(tmp_path: Path) -> Samples:
    return open_samples(photos(tmp_path / "photos"))


def test_a_second_extraction_computes_nothing_and_gives_the_same_rows(images: Samples) -> None:
    backbone = Counting(open_backbone("toy:image"))
    first = extract(images, backbone)
    assert (first.extracted, first.cached) == (48, 0)
    second = extract(images, backbone)
    assert (second.extracted, second.cached) == (0, 48)
    assert backbone.embedded == 48
    np.testing.assert_array_equal(first.features[0].values, second.features[0].values)
    assert first.features[0].ids == tuple(images.ids)


def test_one_added_file_is_one_extraction(images: Samples, tmp_path: Path) -> None:
    backbone = Counting(open_backbone("toy:image"))
    extract(images, backbone)
    photos(tmp_path / "more", n=1, parts=("",), seed=9)
    shutil.copy(tmp_path / "more" / "red" / "0.png", tmp_path / "photos" / "train" / "red" / "new one.png")
    again = extract(open_samples(tmp_path / "photos"), backbone)
    assert (again.extracted, again.cached) == (1, 48)


def test_samples_of_equal_content_are_extracted_once(images: Samples, tmp_path: Path) -> None:
    shutil.copy(tmp_path / "photos" / "train" / "red" / "0.png", tmp_path / "photos" / "train" / "red" / "copy.png")
    backbone = Counting(open_backbone("toy:image"))
    result = extract(open_samples(tmp_path / "photos"), backbone)
    assert backbone.embedded == 48
    assert len(result.features[0]) == 49
    ids = result.features[0].ids
    rows = result.features[0].values
    np.testing.assert_array_equal(rows[ids.index("train/red/0.png")], rows[ids.index("train/red/copy.png")])


def test_changed_content_under_the_same_name_is_seen(images: Samples, tmp_path: Path) -> None:
    backbone = Counting(open_backbone("toy:image"))
    before = extract(images, backbone)
    photos(tmp_path / "other", n=1, parts=("",), seed=5)
    shutil.copy(tmp_path / "other" / "blue" / "0.png", tmp_path / "photos" / "train" / "red" / "3.png")
    after = extract(open_samples(tmp_path / "photos"), backbone)
    changed = [
        i
        for i, name in enumerate(after.features[0].ids)
        if not np.array_equal(after.features[0].values[i], before.features[0].values[i])
    ]
    assert [after.features[0].ids[i] for i in changed] == ["train/red/3.png"]


def test_a_stored_row_equals_a_computed_one(images: Samples) -> None:
    backbone = open_backbone("toy:image")
    stored = extract(images, backbone).features[0].values
    direct = embed(backbone, images).features[0].values
    np.testing.assert_allclose(stored, direct, rtol=0, atol=1e-3 * float(np.abs(direct).max()))
    np.testing.assert_array_equal(stored, as_stored(stored))
    assert not stored.flags.writeable


def test_another_spec_never_hits(images: Samples) -> None:
    backbone = Counting(open_backbone("toy:image"))
    extract(images, backbone)
    changed = Counting(open_backbone("toy:image"))
    changed.specs = (BackboneSpec(**{**backbone.specs[0].to_json(), "weights": "f" * 32}),)
    assert extract(images, changed).extracted == 48


def test_unreadable_samples_are_named_and_the_rest_goes_on(images: Samples, tmp_path: Path) -> None:
    broken = tmp_path / "photos" / "train" / "red" / "broken ümlaut.png"
    broken.write_bytes((tmp_path / "photos" / "train" / "red" / "1.png").read_bytes()[:300])
    samples = open_samples(tmp_path / "photos")
    result = extract(samples, open_backbone("toy:image"))
    assert len(result.features[0]) == 48
    assert [each.input for each in result.skipped] == ["train/red/broken ümlaut.png"]
    assert result.skipped[0].reason
    (tmp_path / "photos" / "train" / "red" / "2.png").unlink()
    vanished = extract(samples, open_backbone("toy:image"))
    reasons = {each.input: each.reason for each in vanished.skipped}
    assert "cannot be read" in reasons["train/red/2.png"]
    assert len(vanished.features[0]) == 47


def test_a_row_that_is_not_finite_is_never_a_feature(images: Samples) -> None:
    result = extract(images, Counting(open_backbone("toy:image"), spoil=True))
    assert result.skipped
    assert all("not finite" in each.reason for each in result.skipped)
    assert np.isfinite(result.features[0].values).all()
    assert len(result.features[0]) + len(result.skipped) == 48


def test_interrupted_it_keeps_what_was_done(tmp_path: Path) -> None:
    samples = open_samples(photos(tmp_path / "many", n=100, parts=("",)))
    stopping = Counting(open_backbone("toy:image"), stop_after=100)
    with pytest.raises(KeyboardInterrupt):
        extract(samples, stopping)
    assert 100 <= stopping.embedded < 200
    after = Counting(open_backbone("toy:image"))
    result = extract(samples, after)
    assert (result.extracted, result.cached) == (200 - stopping.embedded, stopping.embedded)
    assert after.embedded == result.extracted


def test_long_texts_as_windows_are_averaged_by_length() -> None:
    from dataclasses import replace

    from headstart.backbones.backbone import BackboneRequest

    request = replace(BackboneRequest.parse("toy:text"), prepare={"long": "windows", "max_tokens": 8})
    backbone = open_backbone(request)
    text = " ".join(f"word{i}" for i in range(30))
    samples = texts_as_samples([text, "short"])
    prepared = backbone.preparation.prepare(text)
    assert len(prepared.views) > 2
    rows = [backbone.embed(backbone.preparation.collate([view]))[0][0] for view in prepared.views]
    expected = np.average(np.stack(rows), axis=0, weights=prepared.weights)
    np.testing.assert_allclose(embed(backbone, samples).features[0].values[0], expected, rtol=2e-3, atol=1e-4)


def test_batches_hold_texts_of_like_length() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(["word"] * int(length)) + f" {i}" for i, length in enumerate(rng.integers(1, 200, 400))]
    backbone = Counting(open_backbone("toy:text"))
    shapes: list[tuple[int, ...]] = []
    inner = backbone.inner.embed

    def watching(batch: Batch) -> tuple[np.ndarray, ...]:
        shapes.append((batch.values.size, int(batch.lengths.sum())))
        return inner(batch)

    object.__setattr__(backbone.inner, "embed", watching)
    result = extract(texts_as_samples(texts), backbone)
    assert len(result.features[0]) == 400
    assert sum(real for _, real in shapes) > 0.8 * sum(padded for padded, _ in shapes)


def _run(program: str, arguments: Iterable[str]) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True)


# Batches of more than a second, after each of which rows are committed however slow the disk is.
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_killed_it_loses_at_most_the_batches_in_flight(tmp_path: Path) -> None:
    photos(tmp_path / "photos", n=60, parts=("",), size=240)
    program = f"""
import sys, time
sys.path[:0] = {sys.path!r}
from dataclasses import replace
from headstart.backbones.backbone import BackboneRequest
from headstart.backbones.choice import open_backbone
from headstart.data.opening import open_samples
from headstart.features.extraction import extract
backbone = open_backbone(replace(BackboneRequest.parse("toy:image"), prepare={{"size": 224}}))
plain = backbone.embed
def slow(batch):
    time.sleep(1.1)
    print(len(batch), flush=True)
    return plain(batch)
object.__setattr__(backbone, "embed", slow)
extract(open_samples({str(tmp_path / "photos")!r}), backbone)
"""
    process = _run(program, [])
    assert process.stdout is not None
    sizes = [int(process.stdout.readline()) for _ in range(4)]
    process.kill()
    process.wait(timeout=20)
    process.stdout.close()
    assert sizes == [4] * 4
    from dataclasses import replace

    from headstart.backbones.backbone import BackboneRequest

    after = Counting(open_backbone(replace(BackboneRequest.parse("toy:image"), prepare={"size": 224})))
    result = extract(open_samples(tmp_path / "photos"), after)
    assert result.extracted + result.cached == 120
    assert result.cached >= sum(sizes[:-1]), "all but the batch in flight is stored"
    assert after.embedded == result.extracted == 120 - result.cached > 0
    assert len(result.features[0]) == 120


@pytest.mark.parametrize("age", [0, 3600], ids=["just written", "an hour old"])
def test_a_file_that_changes_after_it_was_hashed_is_never_stored_as_its_old_content(
    age: int, images: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(tmp_path / "other", n=1, parts=("",), seed=5)
    changing = tmp_path / "photos" / "train" / "red" / "3.png"
    old = changing.read_bytes()
    for path in images.inputs:
        os.utime(path, (time.time() - age, time.time() - age))

    def hash_and_change(*arguments: Any, **options: Any) -> Any:
        found = digest_samples(*arguments, **options)
        shutil.copy(tmp_path / "other" / "blue" / "0.png", changing)
        return found

    monkeypatch.setattr(extraction, "digest_samples", hash_and_change)
    result = extract(images, open_backbone("toy:image"))
    assert [(each.input, each.reason) for each in result.skipped] == [
        ("train/red/3.png", "changed while it was read: run again")
    ]
    assert len(result.features[0]) == 47
    monkeypatch.undo()
    changing.write_bytes(old)
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "fresh"))
    truth = extract(images, open_backbone("toy:image"))
    monkeypatch.undo()
    again = extract(images, open_backbone("toy:image"))
    np.testing.assert_array_equal(again.features[0].values, truth.features[0].values)


def test_only_files_that_were_just_written_are_hashed_a_second_time(
    images: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = list[bytes]()
    monkeypatch.setattr(contents, "of_bytes", lambda content: (hashed.append(content), of_bytes(content))[1])
    for path in images.inputs[1:]:
        os.utime(path, (time.time() - 3600, time.time() - 3600))
    assert extract(images, open_backbone("toy:image")).extracted == len(images)
    assert hashed == [Path(images.inputs[0]).read_bytes()]


def _break_index(cache: Path) -> None:
    for index in cache.glob("features/*/index.sqlite*"):
        index.write_bytes(b"this is no database " * 500)


def _break_files(cache: Path) -> None:
    for table in cache.glob("files.sqlite*"):
        table.write_bytes(b"this is no database " * 500)


def _break_root(cache: Path) -> None:
    shutil.rmtree(cache)
    cache.write_text("a file", encoding="utf-8")


@pytest.mark.parametrize("harm", [_break_index, _break_files, _break_root])
def test_a_cache_that_cannot_be_used_is_named_with_the_way_out(
    images: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Path], None]
) -> None:
    cache = tmp_path / "own cache"
    monkeypatch.setenv("HEADSTART_CACHE", str(cache))
    for path in images.inputs:
        os.utime(path, (1_600_000_000, 1_600_000_000))
    extract(images, open_backbone("toy:image"))
    harm(cache)
    with pytest.raises(CacheError, match=r"own cache.*HEADSTART_CACHE"):
        extract(images, open_backbone("toy:image"))


def test_a_full_disk_is_told_as_such(images: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    with Shelf(open_backbone("toy:image").specs[0]):
        pass  # the folder and its description are there before the disk is full

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("headstart.features.segments.os.fsync", full)
        with pytest.raises(CacheError, match=r"No space left.*HEADSTART_CACHE"):
            extract(images, open_backbone("toy:image"))
    assert extract(images, open_backbone("toy:image")).extracted == 48


@pytest.mark.parametrize("times", [1, 2])
def test_rows_that_vanish_between_storing_and_reading_are_made_once_more(
    images: Samples, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    find, calls = Shelf.find, []

    def find_and_drop(self: Shelf, digests: np.ndarray) -> Any:
        places = find(self, digests)
        calls.append(len(digests))
        if len(calls) % 2 == 0 and len(calls) <= 2 * times:
            for segment in self.folder.glob("*.npy"):
                segment.unlink()
        return places

    monkeypatch.setattr(Shelf, "find", find_and_drop)
    backbone = Counting(open_backbone("toy:image"))
    if times == 2:
        with pytest.raises(CacheError, match=r"vanished twice.*HEADSTART_CACHE"):
            extract(images, backbone)
    else:
        result = extract(images, backbone)
        assert (len(result.features[0]), result.extracted, result.cached, backbone.embedded) == (48, 48, 0, 96)


def test_short_texts_are_sorted_by_length_though_they_cost_the_same() -> None:
    lengths = np.random.default_rng(0).integers(1, 60, 4096)
    backbone = open_backbone("toy:text")
    shapes: list[tuple[int, int]] = []
    inner = backbone.embed

    def watching(batch: Batch) -> tuple[np.ndarray, ...]:
        shapes.append((batch.values.size, int(batch.lengths.sum())))
        return inner(batch)

    object.__setattr__(backbone, "embed", watching)
    embed(backbone, texts_as_samples(["x" * int(length) for length in lengths]))
    assert sum(padded for padded, _ in shapes) < 1.15 * sum(real for _, real in shapes)
