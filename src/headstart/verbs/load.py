"""`load`: a model from its directory."""

from pathlib import Path
from typing import TYPE_CHECKING

from headstart.model.loading import load as load_directory
from headstart.model.model import Model

if TYPE_CHECKING:
    import torch


def load(path: str | Path, *, module: "torch.nn.Module | None" = None, precision: str = "") -> Model:
    """The model in a directory. Loading runs nothing that lies in it: JSON and tensors are read, and checked before they are used.

    Args:
        path: the directory.
        module: the user's own network, for a model whose backbone is one.
        precision: `float32`, `bfloat16` or `float16`. Empty: what the model was fitted at, or float32 where this device has no units for
            that; `Model.warnings` tells where the two differ.

    Raises:
        ModelError: the directory is no headstart model, is not what its manifest says, or gives other rows here than where it was saved.
        UsageError: there is no such precision, or the backbone has its own only.
    """
    return load_directory(Path(path), module=module, precision=precision)
