"""What a Keras model is, as JSON: read without running anything, and refused where rebuilding it could run code or read other files.

Keras rebuilds what its configuration names: functions by their modules, lambdas from marshalled bytes, layers that open files. Its own safe
mode has been got round before, so that here only classes of Keras itself are let through, less those that load something.
"""

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from headstart.core.errors import BackboneError, gist

_FILES = frozenset({"metadata.json", "config.json", "model.weights.h5"})
# By module, the classes that are let through; None for all that have a plain name. Keras puts the two together with a dot, and looks up what comes of it.
_CLASSES: Mapping[str, frozenset[str] | None] = {
    "keras": frozenset({"Functional", "Model", "Sequential", "DTypePolicy", "FloatDTypePolicy"}),
    "keras.src.models.functional": frozenset({"Functional"}),
    "keras.src.models.sequential": frozenset({"Sequential"}),
    **dict.fromkeys(("keras.layers", "keras.initializers", "keras.regularizers", "keras.constraints")),
}
# Names of functions begin small, and none is let through: Keras writes activations as text.
_NAME = re.compile(r"[A-Z][A-Za-z0-9]*")
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
    except Exception as error:  # whatever the archive, its compression or the JSON in it raise becomes the one sentence
        if isinstance(error, MemoryError):
            raise
        raise BackboneError(
            f"{path.name} is no whole .keras file ({gist(error)}): save it again with model.save(PATH)"
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
    config = _bare(config)
    for each in _objects(config):
        if not _is_own(each):
            module, name = each.get("module"), each.get("class_name")
            raise BackboneError(
                f"{title} holds {module or 'no module'}.{name}, which could run code or read other files, and is not loaded: a Keras model is"
                " read where it is made of Keras' own layers alone"
            )
    if not isinstance(config, dict) or config.get("class_name") not in {"Functional", "Sequential"}:
        raise BackboneError(
            f"{title} holds no Functional or Sequential model of Keras 3: save such a model with model.save(PATH)"
        )
    return config


def _is_own(described: Mapping[str, Any]) -> bool:
    """Whether what an object is called leads to a class of Keras that neither runs what it is given nor opens it."""
    module, name, registered = (described.get(key) for key in ("module", "class_name", "registered_name"))
    if not isinstance(name, str) or registered not in (None, name):
        return False
    if module is None:
        return name == "__keras_tensor__"
    if not isinstance(module, str) or module not in _CLASSES:
        return False
    known = _CLASSES[module]
    return name in known if known is not None else bool(_NAME.fullmatch(name)) and name not in _UNSAFE


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
    """Without the numbers by which one session of Keras knows its objects, and without how a model, or one within it, was trained: Keras would build that."""
    if isinstance(value, dict):
        left = {"shared_object_id", "compile_config"} if "class_name" in value else {"shared_object_id"}
        return {key: _bare(each) for key, each in value.items() if key not in left}
    return [_bare(each) for each in value] if isinstance(value, list | tuple) else value
