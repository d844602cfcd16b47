"""What the golden models are asked."""

from pathlib import Path

TEXTS = ["a splendid , warm and clever film", "dull , cold and grim", "ünïcödé 电影 🎬", "film 7 was moving"]


def asked(golden: Path) -> list[Path] | list[str]:
    """The file beside a golden model, or the texts."""
    files = [golden.with_name(golden.name + suffix) for suffix in (".png", ".wav")]
    return [each for each in files if each.exists()] or TEXTS
