"""The demo's bars: the handwritten digits with the embedded ImageNet backbone, as `make demo` runs them.

Out of fold over all 1,797 digits, and the commands of the demo twice: from nothing, and with everything stored.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from figures import ROOT, Figure, arguments, show


def demo() -> ModuleType:
    """The program that `make demo` runs."""
    spec = importlib.util.spec_from_file_location("demo", ROOT / "tools" / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def headstart(folder: Path, *words: str) -> dict[str, object]:
    """What `headstart ... --json` prints, with a feature store in `folder`."""
    environment = {**os.environ, "HEADSTART_CACHE": str(folder / "cache"), "HEADSTART_OFFLINE": "1"}
    command = [sys.executable, "-m", "headstart.cli.main", *words, "--json", "--quiet"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=folder).stdout
    return dict(json.loads(printed.splitlines()[0]))


def run(folder: Path) -> tuple[float, dict[str, object], dict[str, object]]:
    """The demo's three commands: seconds, the report of the fit, and that of the evaluation."""
    began = time.perf_counter()
    fitted = headstart(folder, "fit", "digits", "--hold-out", "0.2", "--out", "model")
    evaluated = headstart(folder, "evaluate", "model", "digits")
    headstart(folder, "predict", "model", "digits/three/0003.png")
    return time.perf_counter() - began, fitted, evaluated


def measure() -> Iterator[Figure]:
    """The figures of the demo."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        demo().write_digits(folder / "digits")
        seconds, fitted, evaluated = run(folder)
        yield Figure("digits/seconds_first", seconds, "s", at_most=120)
        again, refitted, _ = run(folder)
        yield Figure("digits/seconds_second", again, "s", at_most=120)
        yield Figure("digits/extracted_second", float(str(refitted["extracted"])), "items", at_most=0)
        yield Figure("digits/out_of_fold_of_the_demo", accuracy(fitted, "out_of_fold"), "share", at_least=0.955)
        yield Figure("digits/held_out", accuracy(fitted, "metrics"), "share", peer=accuracy(evaluated, "metrics"))
        whole = headstart(folder, "fit", "digits")
        yield Figure("digits/out_of_fold", accuracy(whole, "out_of_fold"), "share", at_least=0.955)


def accuracy(report: dict[str, object], part: str) -> float:
    """The accuracy that a report states."""
    metrics = report[part]
    assert isinstance(metrics, dict)
    return float(metrics["accuracy"]["value"])


def main() -> int:
    """Measure and print."""
    return show("digits", measure(), keep=arguments(__doc__ or "").keep)


if __name__ == "__main__":
    sys.exit(main())
