"""Weights on disk and in networks: read as tensors only, loaded strictly, named by their digest. Nothing that is read can run code."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.core import digests
from headstart.core.errors import BackboneError, ModelError, WeightsMissing

if TYPE_CHECKING:
    import torch
    from torch import nn

# What trainers wrap a state dict in, and what they put before its names.
_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model", "model_state_dict", "module")
_PREFIXES = ("module.", "_orig_mod.")
_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


def read(path: Path) -> dict[str, "torch.Tensor"]:
    """The tensors of a file or folder by name: safetensors, also in shards, or a `.pth`, `.pt` or `.bin` of tensors only.

    Raises:
        WeightsMissing: there is no such file.
        BackboneError: the file holds pickled objects, which are never loaded, or is damaged, or holds no tensors.
    """
    if path.is_dir():
        return read(weight_file(path))
    if not path.is_file():
        raise WeightsMissing(
            f"there is no weight file {path}: give an existing safetensors or .pth file with --weights PATH"
        )
    if path.name.endswith(".index.json"):
        return _shards(path)
    content = _safetensors(path) if path.suffix == ".safetensors" else _tensors_only(path)
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    return _named_tensors(content, path)


def weight_file(folder: Path) -> Path:
    """The weights in a model's folder, safetensors first.

    Raises:
        WeightsMissing: there are none.
    """
    for name in _FILES:
        if (folder / name).is_file():
            return folder / name
    others = sorted([*folder.glob("*.safetensors"), *folder.glob("*.pth")])
    if len(others) == 1:
        return others[0]
    raise WeightsMissing(f"{folder} holds no weights: expected model.safetensors or pytorch_model.bin")


def file_digest(path: Path) -> str:
    """The SHA-256 of what `read` reads at a file or folder, 64 hexadecimal digits: of shards, that of all their names and digests.

    Raises:
        WeightsMissing: there are no weights.
    """
    file = weight_file(path) if path.is_dir() else path
    if not file.name.endswith(".index.json"):
        return digests.sha256_file(file)
    lines = "".join(f"{digests.sha256_file(file.with_name(name))}  {name}\n" for name in shard_names(file))
    return hashlib.sha256(lines.encode()).hexdigest()


def digest(net: "nn.Module") -> str:
    """The identity of a network's weights: of every tensor in its state dict."""
    return digests.of_tensors(arrays(net))


def arrays(net: "nn.Module") -> dict[str, np.ndarray]:
    """A network's tensors by name, as arrays that share its memory where it lies on the CPU."""
    return {name: tensor.detach().cpu().numpy() for name, tensor in net.state_dict().items()}


def load(net: "nn.Module", tensors: Mapping[str, "torch.Tensor"], *, origin: str) -> None:
    """Put tensors into a network, every one of them and no other.

    Raises:
        BackboneError: names or shapes differ; the sentence names the first few.
    """
    if problem := _difference(net, {name: tuple(tensor.shape) for name, tensor in tensors.items()}):
        raise BackboneError(f"{origin} does not fit {type(net).__name__}: {problem}")
    net.load_state_dict(dict(tensors), strict=True)


def restore(net: "nn.Module", tensors: Mapping[str, np.ndarray], *, title: str) -> None:
    """Put a saved model's arrays into its rebuilt network.

    Raises:
        ModelError: names or shapes differ from the architecture's.
    """
    import torch

    if problem := _difference(net, {name: array.shape for name, array in tensors.items()}):
        raise ModelError(f"the saved tensors do not fit {title}: {problem}")
    ready = {name: torch.from_numpy(np.require(array, requirements=["C", "W"])) for name, array in tensors.items()}
    net.load_state_dict(ready, strict=True)


def _difference(net: "nn.Module", shapes: Mapping[str, tuple[int, ...]]) -> str:
    expected = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    parts = [
        _few("missing", sorted(set(expected) - set(shapes))),
        _few("unknown", sorted(set(shapes) - set(expected))),
        _few(
            "of another shape",
            [
                f"{name} ({expected[name]} expected, {shapes[name]} found)"
                for name in sorted(expected)
                if shapes.get(name, expected[name]) != expected[name]
            ],
        ),
    ]
    return "; ".join(part for part in parts if part)


def _few(what: str, names: list[str]) -> str:
    if not names:
        return ""
    return f"{len(names)} tensors {what}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"


def _safetensors(path: Path) -> dict[str, "torch.Tensor"]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except SafetensorError as error:
        raise BackboneError(f"{path} is not a whole safetensors file ({error}): fetch it again") from error


def _tensors_only(path: Path) -> Any:
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch raises for a damaged or unsafe file becomes the one sentence
        raise BackboneError(
            f"{path} cannot be read as tensors only: it holds pickled objects, which could run code and are never loaded, or is damaged;"
            " save it again as safetensors or with torch.save(model.state_dict(), PATH)"
        ) from error


def shard_names(index: Path) -> list[str]:
    """The files beside an index that hold its weights, sorted.

    Raises:
        BackboneError: it is no index, or names a file that lies elsewhere.
    """
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        elsewhere = [name for name in names if Path(name).name != name]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackboneError(f"{index} is no index of weight shards: expected the key 'weight_map'") from error
    if elsewhere:
        raise BackboneError(f"{index} names the shard {elsewhere[0]!r}, and a shard has to lie beside its index")
    return names


def _shards(index: Path) -> dict[str, "torch.Tensor"]:
    found: dict[str, torch.Tensor] = {}
    for name in shard_names(index):
        found |= read(index.with_name(name))
    return found


def _named_tensors(content: Any, path: Path) -> dict[str, "torch.Tensor"]:
    import torch

    if (
        not isinstance(content, Mapping)
        or not content
        or not all(isinstance(value, torch.Tensor) for value in content.values())
    ):
        raise BackboneError(f"{path} holds no state dict: expected tensors by name")
    names = {str(name): value for name, value in content.items()}
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in names):
            names = {name.removeprefix(prefix): value for name, value in names.items()}
    return names
