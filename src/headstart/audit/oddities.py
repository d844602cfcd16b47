"""Items that can be read and are odd all the same: tiny, empty, cut off or silent, by what was met while they were decoded."""

from collections.abc import Mapping

from headstart.data.preparation import Fact

_SHORTEST_SIDE = 16
_LONGEST_RATIO = 5.0
_SHORTEST_SECONDS = 0.1
_QUIETEST = -60.0


def oddity(facts: Mapping[str, Fact]) -> str:
    """What is odd about an item, or empty.

    Args:
        facts: what the preparation met: `width` and `height` (pixels), `seconds`, `loudness` (dB of full scale), `tokens`, `unknown`,
            `truncated`.
    """
    width, height = float(facts.get("width", 0)), float(facts.get("height", 0))
    if width and height:
        if min(width, height) < _SHORTEST_SIDE:
            return f"only {width:.0f} x {height:.0f} pixels"
        if max(width, height) > _LONGEST_RATIO * min(width, height):
            return f"{width:.0f} x {height:.0f} pixels: the crop leaves most of it out"
    if "seconds" in facts:
        if float(facts["seconds"]) < _SHORTEST_SECONDS:
            return f"only {float(facts['seconds']):.2f} seconds"
        if float(facts.get("loudness", 0.0)) < _QUIETEST:
            return f"nearly silent ({float(facts['loudness']):.0f} dB)"
    if facts.get("truncated"):
        return "longer than the backbone reads: its end was cut off"
    tokens, unknown = float(facts.get("tokens", 0)), float(facts.get("unknown", 0))
    if tokens and unknown > tokens / 2:
        return f"{unknown:.0f} of {tokens:.0f} tokens are unknown to the backbone"
    return ""
