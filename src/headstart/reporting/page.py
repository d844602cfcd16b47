"""The page: the story as one HTML file that needs no network and no other file."""

import base64
import hashlib
import json
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from headstart.reporting.draw import HUES
from headstart.reporting.story import Story
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

LABEL_HUES: tuple[tuple[str, str], ...] = (
    ("#2f6fc1", "#7fb2f5"),
    ("#d1781f", "#f2a65a"),
    ("#2e8b57", "#70cf99"),
    ("#b5443c", "#f08c84"),
    ("#7a57b3", "#b79cf0"),
    ("#8a6242", "#cfa37f"),
    ("#c257a3", "#f09cd6"),
    ("#6b7280", "#b9bfca"),
    ("#99900f", "#dcd35a"),
    ("#1d9bb0", "#68d4e6"),
)


def render(story: Story) -> str:
    """The page as HTML. Every text of the data is escaped; drawings and the page's own style and script are the only markup."""
    assert len(LABEL_HUES) == HUES
    script, style = _own("page.js"), _own("page.css")
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            story=story,
            palette=PALETTE,
            hues=LABEL_HUES,
            style=style,
            script=script,
            script_hash=_hash(script),
            points=_json(_points(story)),
        )
    )


def _points(story: Story) -> dict[str, object]:
    """What the script reads of the map's points."""
    if story.map is None:
        return {}
    found = asdict(story.map)
    return {key: found[key] for key in ("points", "tile", "columns", "shown")} | {"sheet": bool(story.map.sheet)}


def _json(value: object) -> str:
    """JSON that may stand inside a script element: nothing in it can end the element or begin a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return (
        text.replace("<", "\\u003c")
        .replace(">", "\\u003e")
        .replace("&", "\\u0026")
        .replace("\u2028", "\\u2028")
        .replace("\u2029", "\\u2029")
    )


def _hash(script: str) -> str:
    """What the page's policy names the script by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")


def _own(name: str) -> str:
    return files("headstart.reporting").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("headstart.reporting", "templates")
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters["whole"] = lambda value: percent(value, 0)
    made.filters["tidy"] = tidy
    return made
