"""The manifest: what a model directory says of itself. Parsed strictly: unknown and missing keys are refused."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headstart.core.errors import ModelError

# 0 until the format is frozen as 1; docs/format.md is normative.
FORMAT = 0
KIND = "features+head"
NAME = "manifest.json"
ASSETS = "assets"
# The decision rule of a model without a target metric: the label of the largest probability.
RULE = "most probable"
_MOST_BYTES = 64 << 20


@dataclass(frozen=True)
class Manifest:
    """Every key of `manifest.json`, in the order in which it is written. docs/format.md says what each means."""

    format: int
    kind: str
    headstart: str
    created: str
    task: str
    labels: list[str]
    inputs: list[dict[str, str]]
    reading: dict[str, str | bool | None]
    backbone: dict[str, Any]
    libraries: dict[str, str]
    machine: str
    head: dict[str, Any]
    recipe: str
    prior: list[float] | None
    rule: str
    temperature: float
    conformal: dict[str, Any] | None
    outlier: dict[str, Any] | None
    fit: dict[str, Any]
    licences: list[dict[str, str]]
    files: dict[str, str]

    def to_bytes(self) -> bytes:
        """The manifest as UTF-8 JSON."""
        text = json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False, allow_nan=False)
        return (text + "\n").encode("utf-8")

    @classmethod
    def from_bytes(cls, content: bytes) -> "Manifest":
        """The manifest that `to_bytes` wrote.

        Raises:
            ModelError: it is no JSON, repeats, lacks or adds a key, has a value of another type, or is of a format or kind that this
                version does not know.
        """
        if len(content) > _MOST_BYTES:
            raise ModelError(f"{NAME} is larger than {_MOST_BYTES >> 20} MiB; this is no headstart model")
        try:
            value = json.loads(content.decode("utf-8"), object_pairs_hook=_no_repeats, parse_constant=_no_constant)
        except (UnicodeDecodeError, RecursionError, ValueError) as error:
            raise ModelError(f"{NAME} is not the JSON of a headstart model: {error}") from error
        if not isinstance(value, dict):
            raise ModelError(f"{NAME} has to hold one JSON object, and holds a {type(value).__name__}")
        _check_version(value)
        names = [field.name for field in dataclasses.fields(cls)]
        missing, unknown = [n for n in names if n not in value], [n for n in value if n not in names]
        if missing or unknown:
            raise ModelError(f"{NAME} lacks the keys {missing} and has the unknown keys {unknown}")
        wrong = [name for name in names if not _TYPES[name](value[name])]
        if wrong:
            raise ModelError(f"{NAME} has values of the wrong type for {', '.join(wrong)}")
        return cls(**value)


def _check_version(value: Mapping[str, Any]) -> None:
    version = value.get("format")
    if type(version) is not int or not 0 <= version <= FORMAT:
        raise ModelError(
            f"this headstart reads model format {FORMAT} and this model is of format {version!r}; install a newer headstart"
        )
    if value.get("kind") != KIND:
        raise ModelError(f"this headstart knows models of kind {KIND!r}, and this one is of kind {value.get('kind')!r}")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return type(value) in {int, float}


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_text_map(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


def _is_text_maps(value: Any) -> bool:
    return isinstance(value, list) and all(_is_text_map(item) for item in value)


def _is_map(value: Any) -> bool:
    return isinstance(value, dict)


def _is_map_or_null(value: Any) -> bool:
    return value is None or isinstance(value, dict)


def _is_prior(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(_is_number(item) for item in value))


def _is_reading(value: Any) -> bool:
    return isinstance(value, dict) and all(item is None or isinstance(item, str | bool) for item in value.values())


_TYPES = {
    "format": lambda value: type(value) is int,
    "kind": _is_text,
    "headstart": _is_text,
    "created": _is_text,
    "task": _is_text,
    "labels": _is_texts,
    "inputs": _is_text_maps,
    "reading": _is_reading,
    "backbone": _is_map,
    "libraries": _is_text_map,
    "machine": _is_text,
    "head": _is_map,
    "recipe": _is_text,
    "prior": _is_prior,
    "rule": _is_text,
    "temperature": lambda value: _is_number(value) and value > 0,
    "conformal": _is_map_or_null,
    "outlier": _is_map_or_null,
    "fit": _is_map,
    "licences": _is_text_maps,
    "files": _is_text_map,
}


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        raise ValueError(f"a key is there twice: {min(key for key in keys if keys.count(key) > 1)!r}")
    return dict(pairs)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")
