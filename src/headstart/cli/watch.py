"""Progress in the terminal: drawn on standard error, for anything that takes longer than a moment."""

import math
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

# Seconds that a stage may take before a bar is drawn for it.
_PATIENCE = 0.5
_STAGES = {
    "open": "opening backbone",
    "read": "reading",
    "extract": "extracting features",
    "verify": "checking rows",
    "build": "building models",
    "prepare": "preparing",
}


# The stage whose steps have figures.
_TRAINING = "tuning"


def _short(name: str, value: float) -> str:
    if name == "memory":
        return f"{value / 1e9:.1f} GB"
    return f"{value:.1e}" if name == "rate" else f"{value:.3f}"


class _Rate(ProgressColumn):
    """Units a second, over the last moments."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed and speed >= 10 else f"{speed:.1f}/s" if speed else "", style="dim")


class Watch:
    """A `Progress` that draws bars with rate and time left. Use it with `with`."""

    def __init__(self, *, quiet: bool) -> None:
        self._bars = Progress(
            TextColumn("{task.description:<20}"),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[told]}"),
            console=Console(stderr=True),
            disable=quiet,
        )
        self._tasks: dict[str, TaskID] = {}
        self._began: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._bars.tasks:
            if task.total == 1:  # a step that failed says so in a sentence; its line says nothing
                self._bars.remove_task(task.id)
        if self._bars.live.is_started:
            self._bars.stop()

    def figures(self, stage: str, *, step: int, values: Mapping[str, float]) -> None:
        """Draw a training's figures beside its bar."""
        del stage, step
        task = self._tasks.get(_TRAINING)
        if task is not None:
            told = (f"{name} {_short(name, value)}" for name, value in values.items() if math.isfinite(value))
            self._bars.update(task, told="  ".join(told))

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Draw `done` of `total`, once the stage has lasted a moment."""
        began = self._began.setdefault(stage, time.monotonic())
        if stage not in self._tasks:
            # One long step never calls twice before it ends: its line has to be there from the start.
            if total == 1 and not self._bars.console.is_terminal:
                return
            if done >= total or (total > 1 and time.monotonic() - began < _PATIENCE):
                return
            self._bars.start()
            self._tasks[stage] = self._bars.add_task(_STAGES.get(stage, stage), total=total, told="")
        self._bars.update(self._tasks[stage], completed=done, total=total)
        if total == 1 and done == 1:
            self._bars.remove_task(self._tasks.pop(stage))
