"""The report on real photos with real weights: it opens without an error, is small, and its first screen says what it has to say."""

from pathlib import Path

import pytest

import headstart as hs
from headstart.reporting.report import report
from support.browser import browser, need_chromium
from support.data import shared
from support.weights import need_embedded


@pytest.mark.slow
def test_the_report_of_real_photos_opens_and_says_its_verdict_first(tmp_path: Path) -> None:
    need_chromium()
    need_embedded("image")
    data = shared("ants_bees")
    model = hs.fit(str(data))
    page = report(model, str(data), out=tmp_path / "report.html")
    assert page.bytes < 10_000_000
    assert page.verdict.startswith(
        f"The model gives the right one of two labels for {100 * model.report.metrics['accuracy'].value:.1f} %"
    )
    with browser(tmp_path / "profile") as running:
        visit = running.open(page.path)
        for width, height in ((1280, 900), (390, 844)):
            visit.resize(width, height)
            for part in (".verdict", ".big", ".headline .interval", ".doubt .lead"):
                assert visit.run(f"document.querySelector('{part}').getBoundingClientRect().bottom") <= height
            assert visit.run(
                "[...document.images].every((each) => each.complete && each.naturalWidth > 0 || each.loading === 'lazy')"
            )
        assert (visit.errors, visit.requests) == ([], [])
