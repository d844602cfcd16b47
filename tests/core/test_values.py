"""Digests, specs, features and whole files."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headstart.core.digests import of_bytes, of_tensors, of_text
from headstart.core.errors import ModelError, suggest
from headstart.core.features import Features
from headstart.core.files import cache_root, whole_directory, write_whole
from headstart.core.spec import BackboneSpec

SPEC = BackboneSpec("timm", "resnet50", "", "a" * 32, "", "model", "image(size=224)", "image", 3, "float32")


def test_equal_weights_have_equal_digests_whatever_their_order_and_layout() -> None:
    a, b = np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros(2, np.int64)
    assert of_tensors({"a": a, "b": b}) == of_tensors({"b": b, "a": np.asfortranarray(a)})
    others = [
        {"a": a.reshape(3, 2), "b": b},
        {"a": a.astype(np.float64), "b": b},
        {"a": a + 1, "b": b},
        {"c": a, "b": b},
        {"a": a},
    ]
    assert len({of_tensors(each) for each in others} | {of_tensors({"a": a, "b": b})}) == len(others) + 1
    assert of_tensors({"scalar": np.float32(1.0)})  # type: ignore[dict-item]


def test_a_text_is_its_bytes() -> None:
    assert of_text("é") == of_bytes("é".encode()) != of_text("e\u0301")
    assert of_text("\ud800")


def test_every_field_of_a_spec_is_part_of_the_key() -> None:
    changed = [replace(SPEC, **{name: 4 if name == "dim" else "other"}) for name in SPEC.to_json()]  # type: ignore[arg-type]
    assert len({each.fingerprint for each in [SPEC, *changed]}) == len(changed) + 1
    assert BackboneSpec.from_json(SPEC.to_json()) == SPEC
    with pytest.raises(ModelError, match="backbone spec has the keys"):
        BackboneSpec.from_json({"source": "timm"})


def test_features_are_read_only_and_belong_together() -> None:
    features = Features(np.zeros((2, 3), np.float32), ("a", "b"), np.zeros((2, 16), np.uint8), SPEC)
    with pytest.raises(ValueError, match="read-only"):
        features.values[0, 0] = 1
    with pytest.raises(ValueError, match="1 ids"):
        Features(np.zeros((2, 3), np.float32), ("a",), np.zeros((2, 16), np.uint8), SPEC)


def test_features_leave_the_caller_its_arrays_and_refuse_what_is_not_finite() -> None:
    values = np.zeros((2, 3), np.float32)
    features = Features(values, ("a", "b"), np.zeros((2, 16), np.uint8), SPEC)
    values[0, 0] = 1
    assert features.values[0, 0] == 1, "no copy is made"
    values[1, 2] = np.nan
    with pytest.raises(ValueError, match="the row of b is not finite"):
        Features(values, ("a", "b"), np.zeros((2, 16), np.uint8), SPEC)


def test_a_directory_is_whole_or_not_there(tmp_path: Path) -> None:
    target = tmp_path / "target"
    with pytest.raises(RuntimeError, match="half way"), whole_directory(target) as folder:
        (folder / "a").write_text("1", encoding="utf-8")
        raise RuntimeError("half way")
    assert list(tmp_path.iterdir()) == []
    for content in ("1", "2"):
        with whole_directory(target) as folder:
            (folder / "a").write_text(content, encoding="utf-8")
            assert not target.exists() or (target / "a").read_text(encoding="utf-8") == "1"
        assert (target / "a").read_text(encoding="utf-8") == content
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


@pytest.mark.skipif(os.name == "nt", reason="this system has no such rights")
def test_a_directory_has_the_usual_rights(tmp_path: Path) -> None:
    with whole_directory(tmp_path / "target") as folder:
        (folder / "private").touch(mode=0o600)
        (folder / "assets").mkdir(mode=0o700)
    (tmp_path / "usual").mkdir()
    (tmp_path / "usual" / "file").touch()
    for made, usual in (("target", "usual"), ("target/assets", "usual"), ("target/private", "usual/file")):
        assert (tmp_path / made).stat().st_mode == (tmp_path / usual).stat().st_mode


def test_a_file_is_whole(tmp_path: Path) -> None:
    write_whole(tmp_path / "f", b"1")
    write_whole(tmp_path / "f", b"22")
    assert (tmp_path / "f").read_bytes() == b"22"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def busy_renames(monkeypatch: pytest.MonkeyPatch, fails: Callable[[int], bool]) -> None:
    """Let those renames fail, counted from 1, that `fails` says."""
    real, calls = Path.rename, list[Path]()

    def rename(path: Path, other: Path) -> Path:
        calls.append(path)
        if fails(len(calls)):
            raise OSError(16, "Device or resource busy")
        return real(path, other)

    monkeypatch.setattr(Path, "rename", rename)


@pytest.mark.parametrize("failing", [1, 2])
def test_a_rename_that_fails_leaves_what_was_there_and_no_rest(
    failing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "a").write_text("old", encoding="utf-8")
    busy_renames(monkeypatch, lambda n: n == failing)
    with pytest.raises(OSError, match="busy"), whole_directory(target) as folder:
        (folder / "a").write_text("new", encoding="utf-8")
    assert (target / "a").read_text(encoding="utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_what_cannot_be_put_back_is_kept_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "a").write_text("old", encoding="utf-8")
    busy_renames(monkeypatch, lambda n: n > 1)
    with pytest.raises(OSError, match="busy; what was there before lies in") as caught, whole_directory(target):
        pass
    kept = Path(str(caught.value).rsplit(" lies in ", 1)[1])
    assert (kept / "a").read_text(encoding="utf-8") == "old"


def test_what_appears_meanwhile_is_looked_at_before_the_swap(tmp_path: Path) -> None:
    target, seen = tmp_path / "target", list[Path]()

    def check(place: Path) -> None:
        seen.append(place)
        if place.exists():
            raise ValueError("something else is there")

    with whole_directory(target, check) as folder:
        (folder / "a").touch()
        assert seen == []
    assert seen == [target.resolve()]
    with pytest.raises(ValueError, match="something else"), whole_directory(target, check) as folder:
        (folder / "b").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["target", "a"]


def test_an_interrupt_between_the_renames_puts_the_old_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "target"
    target.mkdir()
    real = Path.rename

    def rename(path: Path, other: Path) -> Path:
        if path.name == "new":
            raise KeyboardInterrupt
        return real(path, other)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(KeyboardInterrupt), whole_directory(target):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_a_name_as_long_as_allowed_and_a_relative_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "é" * 120
    with whole_directory(tmp_path / name) as folder:
        (folder / "a").touch()
    write_whole(tmp_path / name / ("n" * 250), b"1")
    assert sorted(path.name for path in (tmp_path / name).iterdir()) == ["a", "n" * 250]
    monkeypatch.chdir(tmp_path)
    with whole_directory(Path("relative")) as folder:
        (tmp_path / "other").mkdir()
        monkeypatch.chdir(tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "other", "relative"])


@pytest.mark.skipif(os.name == "nt", reason="this system makes no links without rights")
def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with whole_directory(tmp_path / "link") as folder:
        (folder / "a").touch()
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "a").exists()


@pytest.mark.skipif(os.name == "nt", reason="this system has no such rights")
def test_a_whole_file_has_the_usual_rights(tmp_path: Path) -> None:
    write_whole(tmp_path / "f", b"1")
    (tmp_path / "usual").touch()
    assert (tmp_path / "f").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_writing_never_changes_the_mask_that_other_threads_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    masks: list[int] = []
    monkeypatch.setattr(os, "umask", masks.append)
    with whole_directory(tmp_path / "target") as folder:
        write_whole(folder / "f", b"1")
    assert masks == []


def test_a_file_that_a_reader_holds_for_a_moment_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Windows does is played here: a file that is open elsewhere cannot be renamed over."""
    real, held = Path.replace, [2]

    def replace_file(path: Path, target: Path) -> Path:
        if held[0]:
            held[0] -= 1
            raise PermissionError(13, "Access is denied")
        return real(path, target)

    monkeypatch.setattr(Path, "replace", replace_file)
    monkeypatch.setattr("headstart.core.files._PAUSES", (0.0, 0.0, 0.0))
    write_whole(tmp_path / "f", b"1")
    assert (tmp_path / "f").read_bytes() == b"1"
    held[0] = 9
    with pytest.raises(PermissionError):
        write_whole(tmp_path / "f", b"2")
    assert (tmp_path / "f").read_bytes() == b"1"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_the_cache_lies_where_the_person_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path))
    assert cache_root() == tmp_path
    monkeypatch.delenv("HEADSTART_CACHE")
    if os.name == "posix":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert cache_root().name == "headstart"


def test_suggestions() -> None:
    assert suggest("lable", ["label", "text"]) == " Did you mean 'label'?"
    assert suggest("zzz", ["label", "text"]) == " There are: label, text."
    assert suggest("zzz", [str(i) for i in range(50)]) == ""
