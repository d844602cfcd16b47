"""What every page is made of: its colours, its templates, and what its policy names its own script and style by."""

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from headstart.core.errors import ExtraMissing
from headstart.reporting.words import percent, tidy

if TYPE_CHECKING:
    from jinja2 import Environment

PALETTE: dict[str, tuple[str, str]] = {
    "page": ("#faf9f6", "#121417"),
    "surface": ("#ffffff", "#1a1d21"),
    "ink": ("#1c1e22", "#e8e7e3"),
    "muted": ("#5b616b", "#a3a8b1"),
    "line": ("#e2e0da", "#33373d"),
    "accent": ("#1f5fae", "#86b6f7"),
    "good": ("#1b7548", "#6fcb96"),
    "warn": ("#8f5300", "#f0b458"),
    "bad": ("#b3261e", "#ff8f86"),
    "warn-page": ("#fdf3e1", "#2b2314"),
    "heat": ("#8db4e3", "#2b5690"),
    "heat-wrong": ("#ea8f75", "#96402f"),
}
"""The colours in light and in dark. Tests hold text on every ground to a contrast of 4.5."""


def check_installed(*libraries: str, purpose: str) -> None:
    """Refuse to begin where a library of the extra `report` is not installed.

    Args:
        libraries: what is needed.
        purpose: what needs it, in words.

    Raises:
        ExtraMissing: one sentence with the line to type.
    """
    for library in libraries:
        try:
            __import__(library)
        except ImportError as error:
            raise ExtraMissing.of(library, "report", purpose=purpose) from error


def policy_hash(content: str) -> str:
    """What a page's policy names one of its own scripts or styles by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode("utf-8")).digest()).decode("ascii")


def own(name: str) -> str:
    """The text of a file beside the templates."""
    return files("headstart.reporting").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def environment() -> "Environment":
    """What renders the templates: every text that is not marked as safe is escaped, and a name that is missing is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("headstart.reporting", "templates")
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters["whole"] = lambda value: percent(value, 0)
    made.filters["tidy"] = tidy
    return made
