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
    return _picture(facts) or _recording(facts) or _text(facts)


def _picture(facts: Mapping[str, Fact]) -> str:
    width, height = float(facts.get("width", 0)), float(facts.get("height", 0))
    short, long = sorted((width, height))
    if short and short < _SHORTEST_SIDE:
        return f"only {width:.0f} x {height:.0f} pixels"
    if short and long > _LONGEST_RATIO * short:
        return f"{width:.0f} x {height:.0f} pixels: the crop leaves most of it out"
    return ""


def _recording(facts: Mapping[str, Fact]) -> str:
    if "seconds" not in facts:
        return ""
    seconds, loudness = float(facts["seconds"]), float(facts.get("loudness", 0.0))
    if seconds < _SHORTEST_SECONDS:
        return f"only {seconds:.2f} seconds"
    return f"nearly silent ({loudness:.0f} dB)" if loudness < _QUIETEST else ""


def _text(facts: Mapping[str, Fact]) -> str:
    tokens, unknown = float(facts.get("tokens", 0)), float(facts.get("unknown", 0))
    if facts.get("truncated"):
        return "longer than the backbone reads: its end was cut off"
    return f"{unknown:.0f} of {tokens:.0f} tokens are unknown to the backbone" if unknown > tokens / 2 else ""
