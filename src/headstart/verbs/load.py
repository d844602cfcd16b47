"""`load`: a model from its directory."""

from pathlib import Path
from typing import TYPE_CHECKING

from headstart.model.loading import load as load_directory
from headstart.model.model import Model

if TYPE_CHECKING:
    import torch


def load(path: str | Path, *, module: "torch.nn.Module | None" = None) -> Model:
    """The model in a directory. Loading runs nothing that lies in it: JSON and tensors are read, and checked before they are used.

    Args:
        path: the directory.
        module: the user's own network, for a model whose backbone is one.

    Raises:
        ModelError: the directory is no headstart model, is not what its manifest says, or gives other rows here than where it was saved.
    """
    return load_directory(Path(path), module=module)
