"""The probe: eight synthetic inputs and their rows, so that a model finds out when a new library or machine changes its answers."""

import platform
from importlib import metadata

import numpy as np
from jaxtyping import Float

from headstart.backbones.backbone import Backbone, TorchBackbone
from headstart.backbones.precision import FLOAT32
from headstart.core.errors import ModelError
from headstart.core.processor import units
from headstart.data.preparation import Batch

PROBES = 8
_SEED = 20
# Rows in float32 differ between two machines by rounding, seen up to 1e-5. Past this, something else has changed.
_LARGEST_ERROR = 1e-3
# A graph that was written for narrower arithmetic is run in what this processor has units for: EfficientNet-Lite0's rows, written for bfloat16, lie
# 0.055 from those of a processor that has none. Rows of another network lie about 1 apart.
_LARGEST_NARROW_ERROR = 0.2
_LIBRARIES = (
    *("headstart", "numpy", "torch", "timm", "transformers", "tokenizers", "pillow", "soxr"),
    *("onnxruntime", "openvino", "keras", "tensorflow", "tensorflow-cpu"),
)


def libraries() -> dict[str, str]:
    """The versions, on this machine, of what can change a row."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> str:
    """What kind of machine this is: system, processor architecture with its units, and Python's implementation; no name and no address.

    The units are part of it as sums of products of 8 bits overflow where there are none that add in 32: a graph of such products answers otherwise there.
    """
    told = "".join(f" {flag}" for flag in units())
    return f"{platform.system()} {platform.machine()}{told} {platform.python_implementation()}"


def make(backbone: Backbone) -> tuple[Batch, tuple[Float[np.ndarray, "n d"], ...]]:
    """Eight synthetic prepared inputs, and their rows here and now, in float32 whatever precision the model runs in."""
    batch = backbone.preparation.probes(PROBES, _SEED)
    return batch, _exact(backbone).embed(batch)


def check(backbone: Backbone, batch: Batch, *, rows: tuple[np.ndarray, ...], then: dict[str, str], where: str) -> float:
    """Recompute the probe's rows and compare; returns the largest relative difference.

    Args:
        backbone: as it was just rebuilt.
        batch: the probe's inputs.
        rows: the rows that the model was saved with.
        then: the library versions that it was saved with.
        where: the machine that it was saved on.

    Raises:
        ModelError: the rows differ by more than rounding explains; names what differs.
    """
    worst, exact = 0.0, _exact(backbone)
    precision = exact.specs[0].precision
    most = _LARGEST_ERROR if precision == FLOAT32 else _LARGEST_NARROW_ERROR
    for before, now in zip(rows, exact.embed(batch), strict=True):
        scale = float(np.linalg.norm(before)) or 1.0
        error = float(np.linalg.norm(now - before)) / scale
        if not error <= most:
            raise ModelError(
                f"this model gives other rows here than where it was fitted (relative difference {error:.2g} in {precision}): it was saved"
                f" with {_versions(then)} on {where}, and this is {_versions(libraries())} on {machine()}; "
                "install the versions that it was saved with"
            )
        worst = max(worst, error)
    return worst


def _exact(backbone: Backbone) -> Backbone:
    """The backbone in float32: a narrower precision would hide what the probe is to find."""
    return backbone.at(FLOAT32) if isinstance(backbone, TorchBackbone) else backbone


def _versions(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
