"""What a person's own module computes, beside its tensors: its form, the text of its classes, the settings of its parts."""

import inspect
import re
from collections.abc import Mapping
from types import CodeType, FunctionType
from typing import Any

import numpy as np
import torch
from torch import nn

from headstart.core import digests

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_OWN = frozenset(vars(nn.Module()))


def options(net: nn.Module) -> dict[str, Any]:
    """JSON values that two modules share only where they compute the same from the same tensors.

    Classes of torch itself are known by their names. Tensors that no state dict holds, such as buffers that are not persistent, count
    as settings.
    """
    parts = dict(net.named_modules())
    classes = {kind for part in parts.values() for kind in type(part).__mro__ if not _known(kind)}
    settings = {name: _plain(_settings(part)) for name, part in parts.items()}
    return {
        "form": _ADDRESS.sub("", repr(net)),
        "classes": {_title(kind): _text_digest(kind) for kind in sorted(classes, key=_title)},
        "settings": {name: _hex(text) for name, text in settings.items() if text != "{}"},
    }


def differences(ours: Mapping[str, Any], saved: Mapping[str, Any]) -> str:
    """What differs between the options of two modules, in words; empty where nothing does."""
    words = {"form": "its layers", "classes": "the text of", "settings": "the settings of"}
    found = []
    for key, word in words.items():
        one, other = ours.get(key), saved.get(key)
        if one == other:
            continue
        names = ""
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            changed = [name for name in sorted({*one, *other}) if one.get(name) != other.get(name)]
            names = " " + ", ".join(name or "the whole" for name in changed[:3]) + ", ..." * (len(changed) > 3)
        found.append(word + names)
    return " and ".join(found)


def _known(kind: type) -> bool:
    return kind is object or kind.__module__.partition(".")[0] in {"torch", "typing", "abc"}


def _title(kind: Any) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _text_digest(kind: type | FunctionType) -> str:
    try:
        return _hex(inspect.getsource(kind))
    except (OSError, TypeError):  # typed in at a prompt or made by exec: there is no file
        if isinstance(kind, FunctionType):
            return _hex(repr(_code(kind.__code__)))
        functions = {name: value for name, value in vars(kind).items() if isinstance(value, FunctionType)}
        return _hex(repr([(name, _code(functions[name].__code__)) for name in sorted(functions)]))


def _code(code: CodeType) -> tuple[object, ...]:
    inner = [_code(each) if isinstance(each, CodeType) else each for each in code.co_consts]
    return code.co_code.hex(), [repr(each) for each in inner], code.co_names, code.co_varnames


def _settings(part: nn.Module) -> dict[str, Any]:
    """Attributes of a module that no state dict holds, less those of every module."""
    own = {name: value for name, value in vars(part).items() if name not in _OWN}
    passing = part._non_persistent_buffers_set  # noqa: SLF001  (torch has no public name for it)
    return own | {name: buffer for name, buffer in part.named_buffers(recurse=False) if name in passing}


def _plain(value: Any) -> str:
    """A value as text, without what only says where it lies; empty for what is no setting."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | torch.dtype):
        return repr(value)
    if isinstance(value, torch.Tensor | np.ndarray):
        return _numbers(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_plain(each) for each in value) + "]"
    if isinstance(value, Mapping):
        each = {str(key): _plain(inner) for key, inner in value.items()}
        return "{" + ", ".join(f"{key}: {each[key]}" for key in sorted(each) if each[key]) + "}"
    if not callable(value) or not hasattr(value, "__qualname__"):
        return ""
    return _title(value) + (
        _text_digest(value) if isinstance(value, FunctionType) and not _known_function(value) else ""
    )


def _numbers(value: torch.Tensor | np.ndarray) -> str:
    """The digest of an array, empty for parameters, which are weights."""
    if isinstance(value, np.ndarray):
        return "" if value.dtype == object else digests.of_tensors({"": value})
    return "" if isinstance(value, nn.Parameter) or value.is_meta else digests.of_tensors({"": value.cpu().numpy()})


def _known_function(value: FunctionType) -> bool:
    return (value.__module__ or "").partition(".")[0] == "torch"


def _hex(text: str) -> str:
    return digests.of_text(text).hex()
