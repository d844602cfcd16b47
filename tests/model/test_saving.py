"""Where a model can be put is known before it is fitted, and a place that fails is named in one sentence."""

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

import headstart as hs
from headstart.cli.main import main
from headstart.core.errors import ModelError
from headstart.model import saving
from headstart.model.saving import refuse_if_not_ours
from support.cache import cache_in
from support.made import reviews


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> hs.Model:
    folder = tmp_path_factory.mktemp("fitted")
    with cache_in(folder / "cache"):
        return hs.fit(reviews(folder / "reviews.csv"), backbone="toy:text")


def refused(target: Path, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence) as caught:
        refuse_if_not_ours(target)
    assert "\n" not in str(caught.value)


def everything(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_place_that_is_free_stays_as_it_is(tmp_path: Path) -> None:
    refuse_if_not_ours(tmp_path / "new")
    refuse_if_not_ours(tmp_path / "deeply" / "nested" / "new")
    (tmp_path / "empty").mkdir()
    refuse_if_not_ours(tmp_path / "empty")
    assert everything(tmp_path) == ["empty"]


def test_a_path_through_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    refused(tmp_path / "file" / "model", "file is a file; name another place")
    refused(tmp_path / "file" / "deeply" / "model", "file is a file; name another place")
    refused(tmp_path / "file", "is a file or a link")
    assert everything(tmp_path) == ["file"]


def test_the_working_directory_and_what_holds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "above" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "above" / "here")
    for place in (Path(), Path(".."), Path("../.."), tmp_path / "above" / "here", Path(Path.cwd().anchor)):
        refused(place, "is the working directory, holds it")
    refuse_if_not_ours(Path("model"))
    assert everything(tmp_path) == ["above", "above/here"]


def test_names_that_the_system_does_not_take(tmp_path: Path) -> None:
    refused(tmp_path / ("x" * 300), "no model can be written to .*name another place")
    refused(tmp_path / ("x" * 300) / "model", "no model can be written to .*name another place")
    refused(tmp_path / "a\0b", "no model can be written to .*name another place")


@pytest.mark.skipif(os.name == "nt", reason="this system makes no links without rights")
def test_links(fitted: hs.Model, tmp_path: Path) -> None:
    (tmp_path / "nowhere").symlink_to(tmp_path / "absent")
    refused(tmp_path / "nowhere", "a link that leads nowhere")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    refused(tmp_path / "round", "round")
    fitted.save(tmp_path / "model")
    (tmp_path / "latest").symlink_to(tmp_path / "model")
    fitted.save(tmp_path / "latest")
    assert (tmp_path / "latest").is_symlink()
    assert hs.load(tmp_path / "latest").labels == fitted.labels


def test_a_folder_that_may_not_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may run with rights that write everywhere, so the system's refusal is played."""

    def shut(*arguments: Any, **options: Any) -> str:
        raise PermissionError(13, "Permission denied", "elsewhere")

    monkeypatch.setattr(tempfile, "mkdtemp", shut)
    refused(tmp_path / "model", "no model can be written to .*model: Permission denied; name another place")


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()

    def shut(_: Path) -> Any:
        raise PermissionError(13, "Permission denied", "model")

    monkeypatch.setattr(Path, "iterdir", shut)
    refused(tmp_path / "model", "no model can be written to .*model: Permission denied")


def test_a_file_that_a_person_put_into_a_model_is_not_lost(fitted: hs.Model, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")
    (tmp_path / "model" / "chapter.txt").write_text("years of work", encoding="utf-8")
    refused(tmp_path / "model", "holds chapter.txt, which is no part of the model")
    with pytest.raises(ModelError, match="chapter"):
        fitted.save(tmp_path / "model")
    assert (tmp_path / "model" / "chapter.txt").exists()


def test_what_a_person_puts_there_while_it_is_saved_is_not_lost(
    fitted: hs.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = saving.write

    def slow(*arguments: Any, **options: Any) -> None:
        real(*arguments, **options)
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "chapter.txt").write_text("years of work", encoding="utf-8")

    monkeypatch.setattr(saving, "write", slow)
    with pytest.raises(ModelError, match="is a folder that holds something else than a headstart model"):
        fitted.save(tmp_path / "model")
    assert everything(tmp_path) == ["model", "model/chapter.txt"]


@pytest.mark.parametrize("content", [b"", b"[]", b"[" * 100_000, b'{"kind": 1e999}', b'{"kind": "pickle"}'])
def test_a_folder_with_another_manifest(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "extension").mkdir()
    (tmp_path / "extension" / "manifest.json").write_bytes(content)
    refused(tmp_path / "extension", "something else than a headstart model")


def test_a_disk_that_fills_up(fitted: hs.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted.save(tmp_path / "model")
    before = (tmp_path / "model" / "manifest.json").read_bytes()

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ModelError, match=r"could not be written to .*model: No space left on device; make room"):
        fitted.save(tmp_path / "model")
    with pytest.raises(ModelError, match=r"could not be written to .*other: No space left on device"):
        fitted.save(tmp_path / "other")
    assert (tmp_path / "model" / "manifest.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_disk_that_fills_up_under_the_tensors(
    fitted: hs.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.numpy import save_file

    monkeypatch.setattr("headstart.model.saving.save_file", lambda tensors, _: save_file(tensors, "/dev/full/absent"))
    with pytest.raises(ModelError, match="could not be written to"):
        fitted.save(tmp_path / "model")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("place", [".", "table.csv/model", "x" * 300])
def test_fit_refuses_the_place_before_it_fits(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reviews(tmp_path / "table.csv")
    monkeypatch.chdir(tmp_path)

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("it was fitted")

    monkeypatch.setattr("headstart.cli.commands.fit_verb", never)
    assert main(["fit", "table.csv", "--out", place]) == 1
    printed = capsys.readouterr().err
    assert "Traceback" not in printed
    assert len(printed.strip().splitlines()) == 1
    assert everything(tmp_path) == ["table.csv"]
