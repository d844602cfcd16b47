"""Progress: a bar with rate and time left for what takes longer than a moment, and nothing for what does not."""

import io
import time

import pytest
from rich.console import Console

from headstart.cli import watch
from headstart.cli.watch import Watch


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is drawn on a terminal of 100 columns."""
    paper = io.StringIO()
    monkeypatch.setattr(watch, "Console", lambda **_: Console(file=paper, force_terminal=True, width=100))
    return paper


def test_a_long_stage_shows_how_far_it_is_how_fast_and_how_long_it_will_take(
    drawn: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_PATIENCE", 0.05)
    with Watch(quiet=False) as progress:
        for done in range(0, 45, 5):
            progress("extract", done, 100)
            time.sleep(0.06)
    shown = drawn.getvalue()
    assert "extracting features" in shown
    assert "40/100" in shown
    assert "/s" in shown
    assert "0:00:0" in shown


def test_a_stage_of_a_moment_draws_nothing(drawn: io.StringIO) -> None:
    with Watch(quiet=False) as progress:
        for done in range(101):
            progress("extract", done, 100)
    assert drawn.getvalue() == ""


def test_one_long_step_is_there_from_the_start_and_leaves_no_line(drawn: io.StringIO) -> None:
    with Watch(quiet=False) as progress:
        progress("open", 0, 1)
        time.sleep(0.2)
        assert "opening backbone" in drawn.getvalue()
        progress("open", 1, 1)
    assert not drawn.getvalue().rstrip().endswith("1/1")


def test_quiet_is_quiet(drawn: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_PATIENCE", 0.0)
    with Watch(quiet=True) as progress:
        progress("extract", 1, 100)
        progress("open", 0, 1)
    assert drawn.getvalue() == ""
