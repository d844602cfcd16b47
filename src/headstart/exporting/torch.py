"""torch: `model.pt2`, a program of torch.export, which runs without headstart, timm and transformers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.exporting.format import Format

if TYPE_CHECKING:
    from headstart.exporting.tracing import Traced


class TorchProgram(Format):
    """torch's own exported program."""

    libraries = ("torch",)
    extra = "torch"
    runtime = "torch>=2.6"
    files = ("model.pt2",)

    def write(self, traced: "Traced", folder: Path, *, told: Mapping[str, str]) -> None:
        """Write `model.pt2`; the metadata are its extra files."""
        import torch

        named = {**told, "inputs": json.dumps(traced.names)}
        torch.export.save(
            traced.program, folder / self.files[0], extra_files={f"{name}.txt": value for name, value in named.items()}
        )


PLUGIN = TorchProgram()
