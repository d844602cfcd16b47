"""What architectures say without weights, computed once for each version of the libraries and kept: `<cache>/models/built.json`."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from headstart.backbones import SOURCES, records
from headstart.backbones.backbone import Built
from headstart.core.progress import Progress, silent

_LIBRARIES = ("headstart", "timm", "transformers", "torch", "keras")


def kept() -> dict[str, Built | None]:
    """What was computed with these versions of the libraries, by `SOURCE:NAME`: None where it cannot be. Imports none of them."""
    try:
        value = json.loads(_path().read_text(encoding="utf-8"))
        if value["versions"] != _versions():
            return {}
        return {name: None if one is None else Built(**one) for name, one in value["models"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def build(backbones: Sequence[str], *, progress: Progress = silent) -> Mapping[str, Built | None]:
    """What the architectures of `SOURCE:NAME` say; what is not kept yet is computed, which imports their libraries, and kept.

    Args:
        backbones: published models.
        progress: stage `build`, in models.
    """
    found = kept()
    missing = [each for each in backbones if each not in found]
    if not missing:
        return found
    for done, backbone in enumerate(missing):
        progress("build", done, len(missing))
        found[backbone] = _built(backbone)
    progress("build", len(missing), len(missing))
    with suppress(OSError), records.locked():  # a cache that cannot be written costs time, and no figure
        models = {**kept(), **found}
        shown = {name: None if one is None else dataclasses.asdict(one) for name, one in models.items()}
        records.write_json(_path(), {"versions": _versions(), "models": shown})
    return found


def _built(backbone: str) -> Built | None:
    source, _, name = backbone.partition(":")
    try:
        return SOURCES.get(source).build(name)
    except Exception:  # noqa: BLE001  (whatever a library raises for one model leaves its figures blank until first use)
        return None


def _versions() -> dict[str, Any]:
    return {name: _version(name) for name in _LIBRARIES}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _path() -> Path:
    return records.folder() / "built.json"
