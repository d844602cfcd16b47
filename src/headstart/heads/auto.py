"""Chooses among all heads by cross-validated log-loss (squared error for values); it ships a vote of neighbours only where that clearly wins.

One temperature for each candidate from its out-of-fold scores, then the lowest out-of-fold loss among the heads that become linear; a
tie within one paired standard error goes to the one that is faster to fit.
"""

from dataclasses import dataclass
from typing import ClassVar

from headstart.heads.selection import SelfFitting


@dataclass(frozen=True)
class Auto(SelfFitting):
    """The choice among all heads."""

    name: ClassVar[str] = "auto"
    tasks: ClassVar[tuple[str, ...]] = ("single_label", "multi_label", "regression")


PLUGIN = Auto()
