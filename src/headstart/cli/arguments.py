"""Options that several verbs share, and the kinds of value that options take. Imports nothing heavy: every command passes here."""

import argparse
import ast
import re
from collections.abc import Mapping
from typing import Any

from headstart.core.errors import UsageError

Verbs = "argparse._SubParsersAction[argparse.ArgumentParser]"


def verb(verbs: Verbs, name: str, *, about: str) -> argparse.ArgumentParser:  # type: ignore[valid-type]
    """A parser of one verb, with the options that all have."""
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=about, description=about)  # type: ignore[attr-defined]
    parser.add_argument(
        "--json", action="store_true", help="JSON on standard output, and nothing else there (docs/json.md)"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument(
        "--offline", action="store_true", help="open no socket: weights come from this machine or not at all"
    )
    return parser


def add_labelled(place: argparse.ArgumentParser) -> None:
    """Labelled data, its part and its column."""
    place.add_argument("data", help="labelled data, laid out like the training data or one part of it")
    place.add_argument(
        "--part", choices=["train", "val", "test"], help="which part (default: test, else val, else all)"
    )
    place.add_argument(
        "--target", metavar="COLUMN", help="the column with the labels, where it has another name than in training"
    )


def add_running(place: argparse._ActionsContainer, default: str) -> None:
    """Precision and engine."""
    place.add_argument(
        "--precision", default="", metavar="NAME", help=f"float32, bfloat16 or float16 (default: {default})"
    )
    add_engine(place)


def add_engine(place: argparse._ActionsContainer) -> None:
    """What runs the backbone."""
    place.add_argument("--engine", default="auto", metavar="NAME", help="what runs the backbone, such as eager or openvino; it changes no "
                       "row (default: auto, which goes by the hardware and by how many rows are missing)")  # fmt: skip


def share(text: str) -> float:
    """A share between 0 and 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 < value < 1.0:
        raise argparse.ArgumentTypeError(f"a share between 0 and 1, such as 0.2, and got {text!r}")
    return value


def seed(text: str) -> int:
    """What a generator takes for a seed."""
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"a whole number from 0 to 2**32 - 1, and got {text!r}")
    return int(text)


def count(text: str) -> int:
    """A whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1, and got {text!r}")
    return int(text)


def duration(text: str) -> float:
    """Seconds."""
    seconds = _measured(text, {"s": 1, "m": 60, "min": 60, "h": 3600})
    if not seconds:
        raise argparse.ArgumentTypeError(f"a time with its unit (s, m, h), such as 5m, and got {text!r}")
    return seconds


def age(text: str) -> float:
    """Seconds."""
    seconds = _measured(text, {"s": 1, "min": 60, "h": 3600, "d": 86_400, "w": 604_800})
    if seconds is None:
        raise argparse.ArgumentTypeError(f"an age with its unit (s, min, h, d, w), such as 30d, and got {text!r}")
    return seconds


def room(text: str) -> int:
    """Bytes."""
    size = _measured(text, {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12})
    if size is None:
        raise argparse.ArgumentTypeError(f"a size with its unit (B, kB, MB, GB, TB), such as 5GB, and got {text!r}")
    return int(size)


def _measured(text: str, units: Mapping[str, int]) -> float | None:
    """A number and a unit, in the unit of size 1; None where it is something else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]+)", text.strip().lower(), re.ASCII)
    return None if found is None or found[2] not in units else float(found[1]) * units[found[2]]


def assignment(text: str) -> tuple[str, Any]:
    """The value of `--prepare KEY=VALUE`.

    Raises:
        UsageError: it is none.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise UsageError(f"--prepare takes KEY=VALUE, such as size=128, and got {text!r}")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value
