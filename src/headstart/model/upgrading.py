"""Manifests of earlier formats in the form of the present one, so that whatever reads a manifest knows one form. docs/format.md is normative."""

from collections.abc import Mapping
from typing import Any

_PLAIN_RULE = {"name": "most probable", "offsets": None, "costs": None}


def upgraded(value: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest as format 1 has it. Nothing of it is checked here, and what is in that form already stays as it is.

    Args:
        value: the JSON object of a manifest, of whatever format.
    """
    return _from_0(value) if value.get("format") == 0 else dict(value)


def _from_0(value: Mapping[str, Any]) -> dict[str, Any]:
    """While the format was 0, some keys came later than others; what lacks them, has none."""
    found = {"deployment_prior": None, **value}
    if found.get("rule") == _PLAIN_RULE["name"]:
        found["rule"] = dict(_PLAIN_RULE)
    for key, later in (("backbone", {"graph": None}), ("fit", {"findings": [], "tuning": None})):
        if isinstance(found.get(key), dict):
            found[key] = {**later, **found[key]}
    return found
