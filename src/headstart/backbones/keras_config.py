"""What a Keras model is, as JSON: read without running anything, and refused where rebuilding it could run code or read other files.

Keras rebuilds what its configuration names: functions by their modules, lambdas from marshalled bytes, layers that open files. Its own safe
mode has been got round before, so that here only classes of Keras itself are let through, less those that load something.
"""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headstart.core.errors import BackboneError

_FILES = frozenset({"metadata.json", "config.json", "model.weights.h5"})
_MODULES = frozenset({"keras", "keras.layers", "keras.initializers", "keras.regularizers", "keras.constraints"})
_MODELS = frozenset({("keras.src.models.functional", "Functional"), ("keras.src.models.sequential", "Sequential")})
# Layers of Keras that run a person's code, or open what their configuration names.
_UNSAFE = frozenset({
    *("Lambda", "TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer", "RemoteMonitor"),
    *("StringLookup", "IntegerLookup", "TextVectorization"),
})  # fmt: skip


def read(path: Path) -> dict[str, Any]:
    """The configuration in a `.keras` file, checked.

    Raises:
        BackboneError: the file is no Keras archive, holds more than configuration and weights, or names what could run code.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            config = json.loads(archive.read("config.json")) if "config.json" in names else None
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise BackboneError(
            f"{path.name} is no whole .keras file ({error}): save it again with model.save(PATH)"
        ) from error
    if config is None or not names <= _FILES:
        raise BackboneError(
            f"{path.name} has to hold {', '.join(sorted(_FILES))} and nothing else, as Keras 3 writes them, and holds {', '.join(sorted(names))}"
        )
    return checked(config, title=path.name)


def checked(config: Any, *, title: str) -> dict[str, Any]:
    """The configuration without what belongs to one session or to training.

    Raises:
        BackboneError: it names a class that is not Keras' own, or one that runs code or opens files.
    """
    for each in _objects(config):
        module, name = each.get("module"), each.get("class_name")
        own = module in _MODULES and name not in _UNSAFE and each.get("registered_name") in {None, name}
        if not (own or (module, name) in _MODELS or (name == "__keras_tensor__" and module is None)):
            raise BackboneError(
                f"{title} holds {module or 'no module'}.{name}, which could run code or read other files, and is not loaded: a Keras model is"
                " read where it is made of Keras' own layers alone"
            )
    if not isinstance(config, dict) or config.get("class_name") not in {"Functional", "Sequential"}:
        raise BackboneError(
            f"{title} holds no Functional or Sequential model of Keras 3: save such a model with model.save(PATH)"
        )
    bare = _bare(config)
    assert isinstance(bare, dict)
    bare.pop("compile_config", None)
    return bare


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping, however deep, that names a class or a module."""
    if isinstance(value, dict):
        if {"class_name", "module", "registered_name"} & value.keys():
            yield value
        for each in value.values():
            yield from _objects(each)
    elif isinstance(value, list):
        for each in value:
            yield from _objects(each)


def _bare(value: Any) -> Any:
    """Without the numbers by which one session of Keras knows its objects."""
    if isinstance(value, dict):
        return {key: _bare(each) for key, each in value.items() if key != "shared_object_id"}
    return [_bare(each) for each in value] if isinstance(value, list | tuple) else value
