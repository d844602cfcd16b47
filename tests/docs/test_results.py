"""The figures in the README and the docs are those that the benchmarks printed."""

import json
import subprocess
import sys

from support.data import ROOT
from support.tools import tool


def test_the_pages_hold_the_committed_results() -> None:
    assert subprocess.run([sys.executable, "tools/results.py", "--check"], cwd=ROOT, check=False).returncode == 0


def test_another_figure_would_be_seen() -> None:
    results = tool("results")
    lines = results.RESULTS.read_text(encoding="utf-8").splitlines()
    changed = [line.replace('"value": 0.', '"value": 0.0', 1) for line in lines]
    assert results.table(changed) != results.table(lines)
    lines = results.EXTRACTION.read_text(encoding="utf-8").splitlines()
    changed = [line.replace('"value": 0.', '"value": 0.0', 1) for line in lines]
    assert results.extraction(changed) != results.extraction(lines)


def test_every_committed_bound_holds() -> None:
    results = tool("results")
    figures = [json.loads(line) for line in results.RESULTS.read_text(encoding="utf-8").splitlines()]
    assert figures
    assert [figure["figure"] for figure in figures if not figure["holds"]] == []
