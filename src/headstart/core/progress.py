"""Progress: how a long operation says how far it is. Rooms report; only the command line draws."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable


class Progress(Protocol):
    """Called from the thread that runs the operation, at most a few times a second for a quick stage."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """`done` of `total` units of `stage` are finished; a stage ends when the two are equal."""


def silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


@runtime_checkable
class Figures(Protocol):
    """Progress that also shows figures, such as a training's loss; whether one does is for it to say by having the method."""

    def figures(self, stage: str, *, step: int, values: Mapping[str, float]) -> None:
        """What step `step` of `stage` came to."""


def tell(progress: Progress, stage: str, *, step: int, values: Mapping[str, float]) -> None:
    """Show figures where the progress shows any."""
    if isinstance(progress, Figures):
        progress.figures(stage, step=step, values=values)
