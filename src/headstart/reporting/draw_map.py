"""The drawing of the map: a circle an item. Written by hand, as 1,200 circles that can be pointed at are simpler so."""

from html import escape

import numpy as np
from jaxtyping import Bool, Float, Int

from headstart.reporting.story import Plot

_SIDE, _EDGE = 1000.0, 24.0


def draw(
    places: Float[np.ndarray, "n 2"],
    colour: Int[np.ndarray, "n"],
    *,
    wrong: Bool[np.ndarray, "n"],
    legend: tuple[str, ...],
    words: str,
) -> Plot:
    """The map as inline SVG; the circles stand in the order of the places, each with its number.

    Args:
        places: of n items.
        colour: the number of the colour of each; without a legend all have one.
        wrong: which were predicted wrongly: they have a ring.
        legend: what the colours mean.
        words: what a person who does not see the map has to know.
    """
    low, high = places.min(axis=0), places.max(axis=0)
    middle, reach = (low + high) / 2, max(float((high - low).max()), 1e-9)
    height = max(float((high - low)[1] / reach), 0.3) * _SIDE
    scaled = (places - middle) / reach * (_SIDE - 2 * _EDGE)
    scaled = scaled * (1, -1) + (_SIDE / 2, height / 2 + _EDGE / 2)
    radius = 7 if len(places) > 400 else 10
    title = "The map of the items"
    marks = [
        f'<circle data-i="{i}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}" class="{_name(int(colour[i]), legend)}{" w" if wrong[i] else ""}"/>'
        for i, (x, y) in enumerate(scaled)
    ]
    # Rings lie above everything else, or the errors in a crowd would be hidden.
    marks.sort(key=lambda mark: ' w"' in mark)
    svg = (
        f'<svg class="plot map" viewBox="0 0 {_SIDE:.0f} {height + _EDGE:.0f}" role="img" aria-labelledby="map-title map-desc" '
        f'xmlns="http://www.w3.org/2000/svg"><title id="map-title">{title}</title><desc id="map-desc">{escape(words)}</desc>'
        + "".join(marks)
        + "</svg>"
    )
    return Plot("map", title, words, svg)


def _name(colour: int, legend: tuple[str, ...]) -> str:
    return f"c{colour}" if legend else "c"
