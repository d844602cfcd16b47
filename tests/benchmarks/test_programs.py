"""What `make bench` runs are benchmarks: programs that take the options which it gives them."""

import ast
import re
from pathlib import Path

import pytest

from support.data import ROOT

PATTERN = re.findall(r"for program in (benchmarks/\S+);", (ROOT / "Makefile").read_text(encoding="utf-8"))[0]
PROGRAMS = sorted(path for path in ROOT.glob(PATTERN) if path.name != "figures.py")
"""`figures.py` is what all of them print with; run by itself it does nothing."""


def test_there_are_programs() -> None:
    assert {"check.py", "extract.py", "heads.py"} <= {path.name for path in PROGRAMS}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_a_program_takes_the_options_of_a_benchmark(program: Path) -> None:
    called = {node.func.id for node in ast.walk(ast.parse(program.read_text(encoding="utf-8"))) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}  # fmt: skip
    assert {"arguments", "show"} <= called
