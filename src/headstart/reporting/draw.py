"""Drawing: matplotlib figures as inline SVG whose colours are the page's own, so that they follow light and dark.

What is drawn uses the colours of `INKS`, which stand for CSS variables and are put in place of them when the figure is written. Text
stays text, in the page's own font. No name or text of the data is ever drawn: those are HTML, which knows every script.
"""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

from headstart.reporting.story import Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HUES = 10
"""Colours for labels."""

NAMES = ("ink", "muted", "line", "surface", "accent", "good", "warn", "bad", *(f"hue{i}" for i in range(HUES)))
INKS = {name: f"#0f0e{number + 16:02x}" for number, name in enumerate(NAMES)}
"""What to draw with: a colour that nothing else has, for each CSS variable."""

_SETTINGS: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 11.0,
    "axes.edgecolor": INKS["line"],
    "axes.labelcolor": INKS["muted"],
    "axes.facecolor": "none",
    "axes.linewidth": 1.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": INKS["line"],
    "grid.linewidth": 0.8,
    "xtick.color": INKS["line"],
    "ytick.color": INKS["line"],
    "xtick.labelcolor": INKS["muted"],
    "ytick.labelcolor": INKS["muted"],
    "xtick.labelsize": 10.0,
    "ytick.labelsize": 10.0,
    "text.color": INKS["ink"],
    "lines.solid_capstyle": "round",
    "path.simplify": True,
}


@contextmanager
def axes(width: float = 4.6, height: float = 3.6) -> Iterator[tuple["Figure", "Axes"]]:
    """A figure with one set of axes, in the page's style. Units: 1 is 100 pixels of the page where there is room for them.

    Args:
        width: of the figure.
        height: of the figure.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(width, height), dpi=72, layout="constrained")
        yield figure, figure.add_subplot()


def plot(figure: "Figure", *, name: str, title: str, words: str) -> Plot:
    """The drawing as inline SVG that says in words what it shows.

    Args:
        figure: what was drawn.
        name: a part of all ids, so that no two drawings of one page share any.
        title: what it shows.
        words: what a person who does not see it has to know.
    """
    import matplotlib as mpl

    file = io.StringIO()
    with mpl.rc_context({**_SETTINGS, "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a glyph that matplotlib's own font lacks is in the page's
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return Plot(name, title, words, _inline(file.getvalue(), name, title=title, words=words))


def _inline(svg: str, name: str, *, title: str, words: str) -> str:
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<style[^>]*>.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r"font:\s*([\d.]+px)[^;\"]*", r"font-size: \1", body)
    body = re.sub(r"font-family:[^;\"]*;?", "", body)
    for variable, colour in INKS.items():
        body = body.replace(colour, f"var(--{variable})")
    body = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", body)
    body = re.sub(r'(?:xlink:)?href="#([^"]+)"', rf'href="#{name}-\1"', body)
    found = re.search(r'viewBox="([^"]+)"', body)
    box = found[1] if found else "0 0 100 100"
    head = (
        f'<svg class="plot" viewBox="{box}" role="img" aria-labelledby="{name}-title {name}-desc" '
        f'xmlns="http://www.w3.org/2000/svg"><title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-desc">{escape(words)}</desc>'
    )
    body = re.sub(r"^<svg[^>]*>", lambda _: head, body, count=1, flags=re.DOTALL)
    return re.sub(r"\s*\n\s*", "\n", body).strip()
