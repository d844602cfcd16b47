"""Digests, specs, features and whole files."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headstart.core.digests import of_bytes, of_tensors, of_text
from headstart.core.errors import ModelError, suggest
from headstart.core.features import Features
from headstart.core.files import cache_root, whole_directory, write_whole
from headstart.core.spec import BackboneSpec

SPEC = BackboneSpec("timm", "resnet50", "a" * 32, "", "model", "image(size=224)", "image", 3, "float32")


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
