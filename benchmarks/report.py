"""The report of each real set, by the commands that a person types, opened in a real Chromium.

`headstart fit DATA --out MODEL`, then `headstart report MODEL DATA`, gate and learning curve included. The page is opened in a window of
1280 x 900 and one of 390 x 844. Errors are what it writes to the console and what it asks the network for. `first_screen` counts which of
verdict, figure, interval and chief doubt a person sees whole without scrolling, in the window where it is fewer.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from figures import DATA, ROOT, Figure, arguments, present, show

sys.path.insert(0, str(ROOT / "tests"))
from support.browser import Browser, browser  # type: ignore[import-not-found]

SETS = ("ants_bees", "blood_cells", "cifar10", "sst2", "trec", "thucnews", "spoken_digits")
QUICK = ("ants_bees", "spoken_digits")
WINDOWS = ((1280, 900), (390, 844))
FIRST = (".verdict", ".big", ".headline .interval", ".doubt .lead")
MOST_MEGABYTES = 10.0


def headstart(*words: str) -> dict[str, object]:
    """What a command prints as JSON."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("headstart")), *words, "--json", "--quiet"],
        stdout=subprocess.PIPE,
        check=True,
        encoding="utf-8",
    )
    return dict(json.loads(done.stdout))


def seen(running: Browser, page: Path) -> tuple[int, int]:
    """Errors and requests of a page, and how many of the first things to know stand whole on its first screen."""
    visit = running.open(page)
    shown = []
    for width, height in WINDOWS:
        visit.resize(width, height)
        ends = [visit.run(f"document.querySelector('{part}').getBoundingClientRect().bottom") for part in FIRST]
        shown.append(sum(end <= height for end in ends))
    return len(visit.errors) + len(visit.requests), min(shown)


def figures(name: str, running: Browser, folder: Path) -> Iterator[Figure]:
    """The page of one set."""
    data, model, page = str(DATA / name), folder / f"{name}-model", folder / f"{name}.html"
    headstart("fit", data, "--out", str(model))
    began = time.perf_counter()
    headstart("report", str(model), data, "--out", str(page))
    seconds = time.perf_counter() - began
    errors, first = seen(running, page)
    yield Figure(f"{name}/megabytes", page.stat().st_size / 1e6, "MB", at_most=MOST_MEGABYTES)
    yield Figure(f"{name}/errors", errors, "console errors and requests", at_most=0)
    yield Figure(f"{name}/first_screen", first, f"of {len(FIRST)} things to know", at_least=len(FIRST))
    yield Figure(f"{name}/seconds", seconds, "s, gate and learning curve included")


def measure(names: list[str], folder: Path) -> Iterator[Figure]:
    """All sets; models and pages are left in `folder`."""
    with ExitStack() as stack:
        running = stack.enter_context(browser(folder / "profile"))
        for name in names:
            yield from figures(name, running, folder)


def main() -> int:
    """Measure and print."""
    called = arguments(__doc__ or "")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        return show("report", measure(present(QUICK if called.quick else SETS), Path(folder)), keep=called.keep)


if __name__ == "__main__":
    sys.exit(main())
