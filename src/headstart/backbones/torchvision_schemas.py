"""Mend one broken pairing: a CPU-only torch beside the torchvision of the package index, which is built for CUDA.

There `import torchvision` dies with `operator torchvision::nms does not exist`, and takes timm and transformers down with it. The cause:
torchvision's compiled operators cannot be loaded, yet its Python code registers shape functions for two of them, `nms` and `qnms`,
without looking whether they are there. Only their *schemas* are missing; nothing that a backbone runs calls the operators. So the two
schemas are defined, without an implementation, exactly where the import would fail for that reason. A call of such an operator still
fails with torchvision's own sentence ("Couldn't load custom C++ ops").
"""

import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from typing import Any

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
# torch forgets the definitions when their library is collected, so it is kept here; also the mark that the work is done.
_kept: list[Any] = []


def mend() -> bool:
    """Define the two schemas where they are missing; call this before timm or transformers are imported.

    It does nothing where torchvision is sound, absent or already imported, and nothing the second time.

    Returns:
        Whether the schemas were defined, now or by an earlier call.
    """
    if _kept or "torchvision" in sys.modules:
        return bool(_kept)
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return False
    import torch

    make: Any = torch.library.Library
    if _loads(Path(next(iter(spec.submodule_search_locations)))) or hasattr(torch.ops.torchvision, "nms"):
        return False
    library = make("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        library.define(schema)
    _kept.append(library)
    return True


def _loads(folder: Path) -> bool:
    """Whether torchvision's compiled operators load beside this torch; its own import does the same first of all."""
    import torch

    operators: Any = torch.ops
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        if (compiled := folder / f"_C{suffix}").exists():
            try:
                operators.load_library(str(compiled))
            except (ImportError, OSError):
                return False
            return True
    return False
