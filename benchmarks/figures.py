"""What every benchmark prints: one JSON line a figure, and an exit status that says whether all bounds hold."""

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DATA = ROOT.parent / "shared" / "data"
LIBRARIES = ("headstart", "numpy", "scipy", "scikit-learn", "torch", "openvino")


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Attributes:
        name: `SET/WHAT`.
        value: what was measured.
        unit: what it is measured in.
        at_least: the bound from below, or None.
        at_most: the bound from above, or None.
        peer: what another tool reached in the same run, or None.
        changed: why a bound differs from the one first asked for, or empty.
    """

    name: str
    value: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    peer: float | None = None
    changed: str = ""

    @property
    def holds(self) -> bool:
        """Whether the value keeps its bounds; NaN keeps none."""
        above = self.at_least is None or self.value >= self.at_least
        return above and (self.at_most is None or self.value <= self.at_most)


def machine() -> str:
    """System, processor with its units for narrow numbers, and number of usable cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{platform.system()} {platform.machine()}, {_processor()}{cores} cores"


def _processor() -> str:
    """Its name and those of its units that decide a figure, as Linux tells them; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    told = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    told = {key.strip(): value.strip() for key, value in told.items()}
    units = [each for each in ("avx512f", "avx512_bf16", "amx_bf16") if each in told.get("flags", "").split()]
    return f"{told.get('model name', 'processor')} ({', '.join(units) or 'no wide units'}), "


def versions() -> dict[str, str]:
    """Python's version and those of the libraries that decide a figure."""
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            found[library] = "not installed"
    return found


def line(benchmark: str, figure: Figure) -> str:
    """A figure as the JSON line that a benchmark prints."""
    bounds = {name: bound for name in ("at_least", "at_most") if (bound := getattr(figure, name)) is not None}
    values = {
        "benchmark": benchmark,
        "figure": figure.name,
        "value": figure.value,
        "unit": figure.unit,
        **bounds,
        "holds": figure.holds,
        "peer": figure.peer,
        "machine": machine(),
        "versions": versions(),
    }
    return json.dumps(values | ({"changed": figure.changed} if figure.changed else {}))


def show(
    benchmark: str, figures: Iterable[Figure], *, keep: bool = False, merge: bool = False, anew: Sequence[str] = ()
) -> int:
    """Print each figure as soon as it is measured; with `keep`, write all of them to benchmarks/results/ at the end.

    Args:
        benchmark: its name.
        figures: what it measures.
        keep: whether to write them.
        merge: whether figures that this run did not measure stay as they were.
        anew: sets of which none stays, where this run measured any.

    Returns:
        0 where all bounds hold, 1 where one does not, 2 where nothing was measured.
    """
    failed, lines = 0, []
    try:
        for figure in figures:
            lines.append(line(benchmark, figure))
            print(lines[-1], flush=True)
            failed += not figure.holds
    finally:  # what hours have measured stays, whatever ends them
        if keep and lines:
            _keep(benchmark, lines, merge=merge, anew=anew)
    return 2 if not lines else int(failed > 0)


def _keep(benchmark: str, lines: list[str], *, merge: bool, anew: Sequence[str]) -> None:
    RESULTS.mkdir(exist_ok=True)
    kept = RESULTS / f"{benchmark}.jsonl"
    before = kept.read_text(encoding="utf-8").splitlines() if merge and kept.exists() else []
    known, found = ({json.loads(each)["figure"]: each for each in every} for every in (before, lines))
    gone = {name.split("/", 1)[0] for name in found} & {*anew}
    known = {name: each for name, each in known.items() if name.split("/", 1)[0] not in gone} | found
    kept.write_text("\n".join(known.values()) + "\n", encoding="utf-8")


def arguments(description: str, given: Sequence[str] | None = None) -> argparse.Namespace:
    """What a benchmark was called with: `quick` and `keep`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="the small sets only, in a part of the time")
    parser.add_argument("--keep", action="store_true", help="write the figures to benchmarks/results/ as well")
    parser.add_argument(
        "--only", default="", help="the sections of these names, separated by commas, where there are sections"
    )
    return parser.parse_args(given)


def present(names: Iterable[str]) -> list[str]:
    """The data sets that this checkout has; those that it lacks are named on standard error."""
    found = []
    for name in names:
        if (DATA / name).is_dir():
            found.append(name)
        else:
            print(f"{name} is left out: it lies in ../shared/data, which this checkout does not have", file=sys.stderr)
    return found
