"""Recipes: frozen dataclasses of literals with one string form, such as `lora(rank=16)` or `image(size=224, crop=0.875)`.

The string form is the one spelling in Python, on the command line, in a manifest and in a cache key: fields in the order of the
class, all of them written, so that equal recipes have equal strings.
"""

import ast
import dataclasses
import sys
from collections.abc import Mapping
from typing import Any, TypeVar

from headstart.core.errors import UsageError, suggest

R = TypeVar("R")
_LITERALS = (str, int, float, bool, type(None))
# Characters of a recipe, and of those that an error shows.
_LONGEST, _SHOWN = 1 << 16, 200


def to_string(name: str, recipe: Any) -> str:
    """The one string form of a recipe: `name(field=literal, ...)`.

    Args:
        name: the plug-in's name.
        recipe: an instance of a frozen dataclass whose fields are literals or tuples of literals.
    """
    fields = ((field.name, getattr(recipe, field.name)) for field in dataclasses.fields(recipe))
    return f"{name}({', '.join(f'{key}={_literal(value)}' for key, value in fields)})"


def split(text: str) -> tuple[str, dict[str, Any]]:
    """The name and the options of a recipe string. `ridge` and `ridge()` are the same.

    Raises:
        UsageError: the text is no recipe; only keyword options with literal values are allowed, in at most 65,536 characters.
    """
    expected = f"{_shown(text)} is no recipe: write a name and literal options, such as  ridge(penalty=0.1)"
    if len(text) > _LONGEST:
        raise UsageError(f"a recipe has at most {_LONGEST:,} characters, and {_shown(text)} has {len(text):,}")
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:  # the last two where it nests too deep
        raise UsageError(expected) from error
    if isinstance(node, ast.Name):
        return node.id, {}
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.args:
        raise UsageError(expected)
    options: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise UsageError(expected)
        try:
            options[keyword.arg] = ast.literal_eval(keyword.value)
        except (ValueError, TypeError, MemoryError, RecursionError) as error:
            raise UsageError(expected) from error
    return node.func.id, options


def build(cls: type[R], name: str, *, options: Mapping[str, Any]) -> R:
    """An instance of the recipe class `cls` with `options`; every unknown key and every wrong type is reported at once.

    Raises:
        UsageError: a key is unknown, missing, or its value has another type than the field, or holds a number that is not finite as a
            float.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    problems = [f"has no option {key!r}.{suggest(key, fields)}" for key in options if key not in fields]
    for key, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if key not in options and required:
            problems.append(f"needs the option {key!r}.")
        if key not in options:
            continue
        if not _is_finite(options[key]) or (not required and not _same_kind(options[key], field.default)):
            problems.append(f"takes for {key!r} a value like {_like(field)}, and got {_shown(options[key])}.")
    if problems:
        raise UsageError("; ".join(f"{name} {problem}" for problem in problems))
    return cls(**{key: _as_field(value, fields[key].default) for key, value in options.items()})


def _shown(value: Any) -> str:
    """A value for a sentence: its beginning where it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # Python writes out no whole number of more than 4,300 digits, and no depth
        return "a value too large to show"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _like(field: "dataclasses.Field[Any]") -> str:
    return "a finite number" if field.default is dataclasses.MISSING else repr(field.default)


def _is_finite(value: Any) -> bool:
    """Whether every number in a value is finite as a float."""
    if isinstance(value, list | tuple):
        return all(map(_is_finite, value))
    return not isinstance(value, int | float) or abs(value) <= sys.float_info.max


def _literal(value: Any) -> str:
    if isinstance(value, tuple):
        inner = ", ".join(_literal(item) for item in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, _LITERALS):
        return repr(value)
    raise TypeError(f"a recipe holds literals only, not {type(value).__name__}")


def _as_field(value: Any, default: Any = None) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_as_field(item) for item in value)
    return float(value) if isinstance(default, float) else value


def _same_kind(value: Any, default: Any) -> bool:
    if default is None or default is dataclasses.MISSING:
        return True
    if isinstance(default, bool):
        return isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(default, tuple):
        return isinstance(value, list | tuple)
    return isinstance(value, type(default))
