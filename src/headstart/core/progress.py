"""Progress: how a long operation says how far it is. Rooms report; only the command line draws."""

from typing import Protocol


class Progress(Protocol):
    """Called from the thread that runs the operation, at most a few times a second for a quick stage."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """`done` of `total` units of `stage` are finished; a stage ends when the two are equal."""


def silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""
