"""Running the fenced blocks of a Markdown file, in order, as a reader would.

`python` runs in one namespace per file. In `sh`, `bash` and `console`, a line that begins with `headstart` runs through the real command
line; lines that set things up (`make`, `pip`, `git`, `cd`, ...) are checked to name things that exist. `json` and `toml` have to parse.
`text` and the like are output. A block marked `online`, as in "```sh online", needs weights from a hub: it runs as well, and may end
with the sentence for missing weights, and with nothing else.
"""

import io
import json
import re
import shlex
import textwrap
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHELL = frozenset({"sh", "bash", "console"})
OUTPUT = frozenset({"text", "csv", "html", "mermaid", "make", "yaml"})
SET_UP = frozenset({"git", "cd", ".", "source", "mkdir", "cp", "export"})
_FENCE = re.compile(r"^(?P<indent> *)(?P<mark>`{3,}|~{3,}) *(?P<info>[^`]*)$")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|(?<!\S)#.*")
_OPERATORS = re.compile(r"[<>|&;]+")

Command = Callable[[list[str]], int]


class BlockError(AssertionError):
    """A block that does not do what its reader expects; the sentence begins with file and line."""


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        file: the file's name as the project knows it.
        line: the line of its first line of content, from 1.
        language: the first word after the fence, or empty.
        online: whether the word `online` follows.
        text: its content, without the fence's own indentation.
    """

    file: str
    line: int
    language: str
    online: bool
    text: str


def blocks(file: str, text: str) -> Iterator[Block]:
    """The fenced blocks of a Markdown text, in order.

    Raises:
        BlockError: a fence is not closed.
    """
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        fence = _FENCE.match(lines[at])
        at += 1
        if fence is None:
            continue
        start, close = at, re.compile(rf"^ *{fence['mark'][0]}{{{len(fence['mark'])},}} *$")
        while at < len(lines) and not close.match(lines[at]):
            at += 1
        if at == len(lines):
            raise BlockError(f"{file}:{start}: the fence is not closed")
        words = fence["info"].split()
        content = textwrap.dedent("\n".join(lines[start:at])) if fence["indent"] else "\n".join(lines[start:at])
        yield Block(file, start + 1, words[0] if words else "", "online" in words[1:], content)
        at += 1


def commands(block: Block) -> Iterator[tuple[int, list[str], frozenset[str]]]:
    """The commands of a shell block: line, words, and the operators among them. Continued lines are joined, comments dropped."""
    pending, first = "", 0
    for number, line in enumerate(block.text.splitlines(), block.line):
        if block.language == "console" and not pending and not line.startswith("$ "):
            continue
        first = first if pending else number
        pending += line.removeprefix("$ ").removeprefix("> ") if block.language == "console" else line
        if pending.endswith("\\"):
            pending = pending[:-1] + " "
            continue
        if words := shlex.split(pending, comments=True):
            yield first, words, frozenset(_OPERATORS.findall(_QUOTED.sub("", pending)))
        pending = ""


@dataclass(frozen=True)
class Project:
    """What the lines that set things up may name: the verbs of the Makefile, the extras, and the root."""

    root: Path
    verbs: frozenset[str]
    extras: frozenset[str]

    @classmethod
    def at(cls, root: Path) -> "Project":
        """The project whose Makefile and pyproject.toml lie in `root`."""
        verbs = re.findall(r"^([a-z]+):.*##", (root / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        return cls(root, frozenset(verbs), frozenset(project["optional-dependencies"]))

    def objection(self, words: Sequence[str]) -> str | None:
        """Why a line that sets things up cannot be right, or None."""
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        program, arguments = (words[0], words[1:]) if words else ("export", [])
        if program == "make":
            unknown = [word for word in arguments if "=" not in word and word not in self.verbs]
            return f"make has no verb {', '.join(unknown)}" if unknown else None
        if program == "pip":
            named = [extra for word in arguments for extra in re.findall(r"\[([a-z,]+)\]", word)]
            unknown = [extra for group in named for extra in group.split(",") if extra not in self.extras]
            return f"there is no extra {', '.join(unknown)}" if unknown else None
        if program in {"python", "python3"}:
            scripts = [word for word in arguments if word.endswith(".py")]
            missing = [script for script in scripts if not (self.root / script).exists()]
            return f"there is no {', '.join(missing)}" if missing else None
        return (
            None
            if program in SET_UP
            else f"a reader's shell may not know {program!r}: mark the block text, or teach the test"
        )


@dataclass(frozen=True)
class Runner:
    """Runs the blocks of one file, in order, in the current directory.

    Attributes:
        command: the real command line: arguments in, exit status out.
        project: what the lines that set things up may name.
        namespace: of the file's Python.
    """

    command: Command
    project: Project
    namespace: dict[str, Any]

    def run(self, block: Block) -> None:
        """Run one block.

        Raises:
            BlockError: it failed, or its fence says no language that is known.
        """
        if block.language == "python":
            self._python(block)
        elif block.language in SHELL:
            for line, words, operators in commands(block):
                self._shell(block, f"{block.file}:{line}", words=words, operators=operators)
        elif block.language in {"json", "toml"}:
            _parse(block)
        elif block.language not in OUTPUT:
            known = ", ".join(sorted({"python", "json", "toml", *SHELL, *OUTPUT}))
            raise BlockError(
                f"{block.file}:{block.line}: the fence says {block.language!r}, and has to say one of {known}"
            )

    def _python(self, block: Block) -> None:
        source = "\n" * (block.line - 1) + block.text
        try:
            exec(compile(source, block.file, "exec"), self.namespace)
        except Exception as error:
            if not (block.online and type(error).__name__ == "WeightsMissing"):
                raise BlockError(f"{block.file}:{block.line}: {type(error).__name__}: {error}") from error

    def _shell(self, block: Block, where: str, *, words: list[str], operators: frozenset[str]) -> None:
        if words[0] != "headstart":
            if objection := self.project.objection(words):
                raise BlockError(f"{where}: {objection}")
            return
        if operators - {">"}:
            raise BlockError(f"{where}: one command a line, without pipes: the test runs no shell")
        arguments, target = (words[1:-2], words[-1]) if operators and words[-2] == ">" else (words[1:], None)
        out, errors = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(errors):
            status = self.command([name for word in arguments for name in expand(word)])
        if target is not None:
            Path(target).write_text(out.getvalue(), encoding="utf-8")
        if status and not (block.online and "weights" in errors.getvalue()):
            tail = (errors.getvalue() or out.getvalue()).strip()
            raise BlockError(f"{where}: `{' '.join(words)}` ended with status {status}: {tail}")


def expand(word: str) -> list[str]:
    """A word as the shell hands it over: file names where it is a pattern that matches some, else itself."""
    return sorted(path.as_posix() for path in Path().glob(word)) or [word] if re.search(r"[*?\[]", word) else [word]


def _parse(block: Block) -> None:
    try:
        (json.loads if block.language == "json" else tomllib.loads)(block.text)
    except ValueError as error:
        raise BlockError(f"{block.file}:{block.line}: this is no {block.language}: {error}") from error


def links(text: str) -> Iterator[str]:
    """The relative targets of the links and images of a Markdown text, without their anchors."""
    prose = re.sub(r"^ *(`{3,}|~{3,}).*?^ *\1 *$", "", text, flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if not re.match(r"[a-z]+:|#", target):
            yield target.split("#")[0]
