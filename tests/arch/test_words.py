"""Words that belong in no file of the project: paths of one machine, and promises in the source."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.data import ROOT

# Written in pieces, so that this file does not find itself.
MACHINE = re.compile(
    "|".join(["/ro" + "ot/", "/ho" + "me/[a-z]", "/Us" + "ers/[a-zA-Z]", "/tm" + "p/w/", "/wo" + "rk/", "/op" + "t/"])
)
HOSTS = re.compile("|".join(["py" + r"pi\.org", "pythonh" + r"osted\.org", "down" + r"load\.pytorch\.org"]))
PROMISES = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"]) + r")\b")
SUFFIXES = {".py", ".md", ".toml", ".txt", ".json", ".jsonl", ".yml", ".yaml", ".cfg", ""}
MADE = {"demo", "build", "dist", "__pycache__"}


def own_files(root: Path) -> Iterator[Path]:
    """Every text file of the project: what git knows and what it does not ignore, or all where there is no git."""
    listed = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-co", "--exclude-standard", "-z"],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    names = listed.stdout.split("\0") if listed.returncode == 0 and listed.stdout else None
    paths = (root / name for name in names if name) if names else root.rglob("*")
    for path in sorted(paths):
        parts = path.relative_to(root).parts
        hidden = any(part.startswith(".") and part not in {".ci", ".gitignore"} for part in parts)
        if path.suffix in SUFFIXES and path.is_file() and not hidden and not MADE & set(parts):
            yield path


def found(pattern: re.Pattern[str], root: Path) -> list[str]:
    """Where a pattern occurs in the files under `root`: `file:line: text`."""
    lines: list[str] = []
    for path in own_files(root):
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if match := pattern.search(line):
                lines.append(f"{path.relative_to(root).as_posix()}:{number}: {match.group()}")
    return lines


def test_no_file_names_a_path_of_one_machine() -> None:
    assert found(MACHINE, ROOT) == []


def test_no_file_names_the_host_of_a_package_index() -> None:
    assert found(HOSTS, ROOT) == []


def test_the_source_makes_no_promises() -> None:
    assert found(PROMISES, ROOT / "src") == []


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (MACHINE, 'DATA = "/ho' + 'me/ada/photos"'),
        (MACHINE, "cd /ro" + "ot/project"),
        (MACHINE, "open /Us" + "ers/ada/photos"),
        (HOSTS, "see https://py" + "pi.org/project/headstart"),
        (PROMISES, "x = 1  # TO" + "DO: more"),
    ],
)
def test_a_planted_word_is_found(tmp_path: Path, pattern: re.Pattern[str], text: str) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "planted.py").write_text(f"\n{text}\n", encoding="utf-8")
    assert [line.split(": ")[0] for line in found(pattern, tmp_path)] == ["room/planted.py:2"]


def test_the_search_reads_the_project() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in own_files(ROOT)}
    assert {"Makefile", "pyproject.toml", "src/headstart/core/errors.py", ".ci/run"} <= names
