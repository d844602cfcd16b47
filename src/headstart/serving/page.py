"""The files of the page: static, in the colours of the report, and asking no other host for anything."""

from collections.abc import Iterator
from importlib.resources import files as resources

from headstart.reporting.markup import PALETTE

_KINDS = {
    "index.html": ("/", "text/html"),
    "page.css": ("/page.css", "text/css"),
    **{
        f"{name}.js": (f"/{name}.js", "text/javascript")
        for name in ("page", "parts", "server", "answer", "saliency", "table", "devices", "recorder")
    },
}

PATHS = tuple(path for path, _ in _KINDS.values())
"""What a person's browser asks for before it can ask for a token."""


def files() -> Iterator[tuple[str, bytes, str]]:
    """Path, content and kind of each."""
    folder = resources("headstart.serving").joinpath("page")
    for name, (path, kind) in _KINDS.items():
        content = folder.joinpath(name).read_text(encoding="utf-8")
        yield path, (_colours() + content if name.endswith(".css") else content).encode("utf-8"), kind


def _colours() -> str:
    """The palette as CSS, for light and for dark, by the system's choice or by the page's button."""
    light, dark = ("".join(f"--{name}:{pair[side]};" for name, pair in PALETTE.items()) for side in (0, 1))
    return (
        f":root{{{light}color-scheme:light}}\n"
        f'@media (prefers-color-scheme:dark){{:root:not([data-theme="light"]){{{dark}color-scheme:dark}}}}\n'
        f':root[data-theme="dark"]{{{dark}color-scheme:dark}}\n'
    )
