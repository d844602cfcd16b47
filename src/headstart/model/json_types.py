"""What JSON values of a manifest may be: one predicate for each kind of value."""

import re
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any

Kind = Callable[[Any], bool]

# A plain file name: of a model's file, or of one in assets/.
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


def is_text(value: Any) -> bool:
    """A string."""
    return isinstance(value, str)


def is_null(value: Any) -> bool:
    """Null."""
    return value is None


def is_flag(value: Any) -> bool:
    """True or false."""
    return isinstance(value, bool)


def is_count(value: Any) -> bool:
    """A whole number from 0 up."""
    return type(value) is int and value >= 0


def is_number(value: Any) -> bool:
    """A number that is finite as a float; truth values are none."""
    return type(value) in {int, float} and abs(value) <= sys.float_info.max


def is_map(value: Any) -> bool:
    """An object."""
    return isinstance(value, dict)


def is_plain_name(value: Any) -> bool:
    """The name of a file, without any folder."""
    return isinstance(value, str) and _PLAIN.fullmatch(value) is not None and ".." not in value


def list_of(kind: Kind) -> Kind:
    """Lists of one kind of value."""
    return lambda value: isinstance(value, list) and all(map(kind, value))


def map_of(kind: Kind) -> Kind:
    """Objects whose values are all of one kind, whatever their keys."""
    return lambda value: isinstance(value, dict) and all(map(kind, value.values()))


def record(keys: Collection[str], kind: Kind) -> Kind:
    """Objects with exactly these keys, all values of one kind."""
    return lambda value: isinstance(value, dict) and set(value) == set(keys) and all(map(kind, value.values()))


def either(*kinds: Kind) -> Kind:
    """Values of any of these kinds."""
    return lambda value: any(kind(value) for kind in kinds)


def wrong_keys(value: Mapping[str, Any], kinds: Mapping[str, Kind]) -> list[str]:
    """The keys of `kinds` whose values are of another kind."""
    return [key for key, kind in kinds.items() if not kind(value[key])]
