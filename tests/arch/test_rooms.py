"""Imports only go down: the contract holds, and the check that says so bites."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from support.data import ROOT

SOURCE = ROOT / "src" / "headstart"


def lint_imports(folder: Path, source: Path) -> subprocess.CompletedProcess[str]:
    """Run the checker as `make check` does, on the package under `source`, with the contract in `folder`."""
    program = shutil.which("lint-imports", path=str(Path(sys.executable).parent)) or shutil.which("lint-imports")
    assert program is not None, "import-linter is part of the extra dev"
    environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONUTF8": "1", "COLUMNS": "200"}
    command = [program, "--no-cache", "--config", str(folder / "pyproject.toml")]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False, timeout=120
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the house under another roof, with the same contract, for planting things in."""
    shutil.copytree(SOURCE, tmp_path / "src" / "headstart", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def plant(copy: Path, room: str, line: str) -> subprocess.CompletedProcess[str]:
    """Put a file with one import into a room of the copy, and check the copy."""
    (copy / "src" / "headstart" / room / "planted.py").write_text(f'"""Planted."""\n\n{line}\n', encoding="utf-8")
    return lint_imports(copy, copy / "src")


def test_the_contract_holds() -> None:
    result = lint_imports(ROOT, ROOT / "src")
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"\b0 broken", result.stdout), result.stdout


@pytest.mark.parametrize(
    ("room", "line", "imported"),
    [
        ("core", "from headstart.cli import main", "headstart.cli"),
        ("data", "import headstart.features", "headstart.features"),
        ("heads", "from headstart.model import __doc__ as doc", "headstart.model"),
        ("backbones", "import headstart.heads.fitted", "headstart.heads"),
        ("heads", "import headstart.backbones.backbone", "headstart.backbones"),
        ("data", "import headstart.evaluation.intervals", "headstart.evaluation"),
        ("core", "def later() -> None:\n    import headstart.tasks.task", "headstart.tasks"),
    ],
    ids=["core>cli", "data>features", "heads>model", "backbones|heads", "heads|backbones", "data|evaluation", "inside"],
)
def test_an_import_up_or_sideways_is_named(copy: Path, room: str, line: str, imported: str) -> None:
    result = plant(copy, room, line)
    assert result.returncode == 1, result.stdout + result.stderr
    assert f"headstart.{room} is not allowed to import {imported}" in result.stdout
    assert f"headstart.{room}.planted" in result.stdout


def test_a_room_that_the_contract_does_not_know_is_refused(copy: Path) -> None:
    (copy / "src" / "headstart" / "attic").mkdir()
    (copy / "src" / "headstart" / "attic" / "__init__.py").write_text('"""Planted."""\n', encoding="utf-8")
    result = lint_imports(copy, copy / "src")
    assert result.returncode == 1, result.stdout + result.stderr
    assert "attic" in result.stdout


def test_an_import_down_passes(copy: Path) -> None:
    result = plant(copy, "cli", "import headstart.core.errors")
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_contract_names_every_room() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layered = {room.strip(" ()") for contract in contracts for layer in contract["layers"] for room in layer.split("|")}
    rooms = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    assert rooms <= layered, f"rooms without a layer: {sorted(rooms - layered)}"
