"""Copies of each modality, found through candidates among rows and confirmed on the items; and what has to stay together."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.signal import resample_poly

from headstart.audit.copies import Copies, find_copies, joined_with
from headstart.audit.findings import KINDS, SEVERITIES, Audit, Finding, Suspect, ranked
from headstart.data.samples import Samples, make_samples
from headstart.features.hashing import digest_samples
from support.media import wav


def photo(seed: int, size: int = 96) -> Image.Image:
    rng = np.random.default_rng(seed)
    noise = Image.fromarray(rng.integers(0, 256, (12, 12, 3)).astype(np.uint8))
    return noise.resize((size, size), Image.Resampling.BICUBIC)


def files(folder: Path, contents: list[bytes], *, ending: str, modality: str) -> Samples:
    paths = []
    for i, content in enumerate(contents):
        paths.append(folder / f"{i} ü.{ending}")
        paths[-1].write_bytes(content)
    return make_samples(
        [path.name for path in paths], list(map(str, paths)), modality=modality, inline=False, source=str(folder)
    )


def encoded(image: Image.Image, form: str, **save: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **save)
    return buffer.getvalue()


def rows(n: int, copies: dict[int, int]) -> np.ndarray:
    """Random rows; those of copies lie near the row that they are of."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 24))
    for copy, original in copies.items():
        x[copy] = x[original] + 0.05 * rng.standard_normal(24)
    return x.astype(np.float32)


def found(samples: Samples, x: np.ndarray, **options: int) -> tuple[Copies, set[tuple[int, int]]]:
    copies = find_copies(samples, x, digests=digest_samples(samples).digests, **options)
    return copies, {(int(one), int(other)) for one, other in copies.pairs}


def test_images(tmp_path: Path) -> None:
    originals = [encoded(photo(seed), "PNG") for seed in range(12)]
    again = encoded(photo(0), "JPEG", quality=75)
    half = encoded(photo(1).resize((48, 48), Image.Resampling.BILINEAR), "PNG")
    samples = files(tmp_path, [*originals, again, half, originals[2]], ending="img", modality="image")
    copies, pairs = found(samples, rows(15, {12: 0, 13: 1, 14: 2}))
    assert pairs == {(0, 12), (1, 13), (2, 14)}
    assert {tuple(map(int, pair)) for pair in copies.pairs[copies.exact]} == {(2, 14)}
    assert copies.looked_at == 15
    assert len(set(copies.groups)) == 12


def test_rows_that_lie_together_are_no_copies_by_that_alone(tmp_path: Path) -> None:
    samples = files(tmp_path, [encoded(photo(seed), "PNG") for seed in range(6)], ending="png", modality="image")
    copies, pairs = found(samples, np.ones((6, 4), np.float32) + rows(6, {})[:, :4] * 1e-4)
    assert pairs == set()
    assert joined_with(None, copies) is None


def test_an_image_that_breaks_later_is_left_out(tmp_path: Path) -> None:
    samples = files(tmp_path, [encoded(photo(0), "PNG"), b"no image", b"nor this"], ending="png", modality="image")
    assert found(samples, rows(3, {}))[1] == set()


def test_texts() -> None:
    lines = [
        "the story moves slowly and then all at once",
        "a camera that never rests on anybody",
        "nobody laughed in the whole of the theatre",
        "The story moves slowly, and then all at once!",
        "a camera that never rests on anybody",
        "nobody laughed in the whole of that theatre",
    ]
    samples = make_samples([f"t:{i}" for i in range(6)], lines, modality="text", inline=True, source="made")
    copies, pairs = found(samples, rows(6, {}))
    assert pairs == {(0, 3), (1, 4), (2, 5)}
    assert copies.exact.sum() == 1
    assert (copies.scores[~copies.exact] < 1).all(), "equal but for case is not equal"


def test_recordings(tmp_path: Path) -> None:
    def voice(seed: int) -> np.ndarray:
        noise = np.random.default_rng(seed).standard_normal(4000 + 40)
        return 0.2 * np.convolve(noise, np.hanning(41), "valid")[:4000] / 4

    contents = [wav(voice(seed), rate=8000) for seed in range(6)]
    contents += [wav(0.3 * voice(0), rate=8000)]
    contents += [wav(resample_poly(voice(1), 441, 320), rate=11025)]
    contents += [wav(resample_poly(voice(2), 2, 1), rate=16000)]
    contents += [wav(np.concatenate([np.zeros(200), voice(3)]), rate=8000)]
    samples = files(tmp_path, contents, ending="wav", modality="audio")
    _, pairs = found(samples, rows(10, {6: 0, 7: 1, 8: 2, 9: 3}))
    assert pairs == {(0, 6), (1, 7), (2, 8), (3, 9)}


def test_of_many_items_a_random_part_is_looked_at_and_equal_ones_always() -> None:
    lines = [f"line of no use at all, the word is {word}" for word in "abcdefghij"] + ["same"] * 2
    samples = make_samples([f"t:{i}" for i in range(12)], lines, modality="text", inline=True, source="made")
    copies, pairs = found(samples, rows(12, {}), most=4)
    assert copies.looked_at == 4
    assert (10, 11) in pairs


def made(n: int, pairs: list[tuple[int, int]], exact: list[bool]) -> Copies:
    groups = np.arange(n)
    for one, other in pairs:
        groups[groups == groups[other]] = groups[one]
    return Copies(np.array(pairs, np.int64).reshape(-1, 2), np.ones(len(pairs)), np.array(exact, bool), n, groups)


def test_given_groups_are_joined_by_copies() -> None:
    names = joined_with(["a", "a", "b", None, None, None], made(6, [(1, 2), (3, 4)], [True, False]))
    assert names is not None
    assert names[0] == names[1] == names[2]
    assert names[3] == names[4]
    assert len(set(names)) == 3
    assert joined_with(None, made(3, [], [])) is None
    alone = joined_with(["a", None, None], made(3, [], []))
    assert alone is not None
    assert len(set(alone)) == 3


@pytest.mark.parametrize("exact", [False, True])
def test_a_long_chain_of_near_copies_joins_nothing(exact: bool) -> None:
    chain = [(i, i + 1) for i in range(30)]
    names = joined_with(None, made(60, [*chain, (40, 41)], [exact] * 30 + [False]))
    assert names is not None
    assert names[40] == names[41]
    assert len(set(names[:31])) == (1 if exact else 31)


def test_findings_stand_by_severity_and_then_by_kind() -> None:
    findings = [Finding(kind, severity, 1, "") for severity in reversed(SEVERITIES) for kind in (*reversed(KINDS), "shift")]  # fmt: skip
    order = [(one.severity, one.kind) for one in ranked(findings)]
    assert order == [(severity, kind) for severity in SEVERITIES for kind in (*KINDS, "shift")]


def test_an_audit_is_plain_json() -> None:
    import json

    audit = Audit(1, "text", ("x",), {"all": {"a": 1}}, (Finding("odd", "note", 1, "s"),), (Suspect("odd", "t:0"),))
    printed = json.loads(json.dumps(audit.to_json()))
    assert printed["suspects"][0]["input"] == "t:0"
    assert printed["parts"] == {"all": {"a": 1}}
    assert set(printed) == set(Audit.__dataclass_fields__)
