"""The page: the story as one HTML file that needs no network and no other file."""

import json
from dataclasses import asdict

from headstart.reporting.draw import HUES
from headstart.reporting.markup import PALETTE, environment, own, policy_hash
from headstart.reporting.story import Story

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
    script, style = own("page.js"), own("page.css")
    return (
        environment()
        .get_template("page.html.jinja")
        .render(
            story=story,
            palette=PALETTE,
            hues=LABEL_HUES,
            style=style,
            script=script,
            script_hash=policy_hash(script),
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
