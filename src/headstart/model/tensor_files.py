"""The tensor files of a model directory: names, types and shapes are compared with the manifest before a value is used. docs/format.md is normative."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from headstart.core.errors import ModelError
from headstart.heads.fitted import Head, Layer, Linear, Mlp, Neighbours
from headstart.model import judge_files
from headstart.model.examples import NAME as EXAMPLES
from headstart.model.examples import Examples
from headstart.model.judge import Judge
from headstart.model.manifest import Manifest
from headstart.model.split_record import SplitRecord

# Stored rows have length 1, up to rounding.
_LONGEST = 1 + 1e-3


def head_of(source: Path, manifest: Manifest, *, dim: int) -> Head:
    """The fitted head.

    Args:
        source: the directory.
        manifest: its manifest.
        dim: the width of a row.

    Raises:
        ModelError: the file is not what the manifest says.
    """
    described, k = manifest.head, len(manifest.labels) or 1
    link, path = described["link"], source / "head.safetensors"
    if described["kind"] == "linear":
        found = _tensors(path, {"weight": ("F32", (dim, k)), "bias": ("F64", (k,))})
        return Linear(found["weight"], found["bias"], link)
    if described["kind"] == "mlp":
        return _mlp(path, described, dim=dim, k=k)
    kind = "F64" if link == "identity" else "F32"
    found = _tensors(path, {"rows": ("F32", (None, dim)), "votes": (kind, (None, k)), "mean": ("F32", (dim,))})
    rows, votes = found["rows"], found["votes"]
    if len(rows) != len(votes):
        raise ModelError("the model's head has another number of rows than of votes")
    if described["k"] > len(rows):
        raise ModelError(f"the model's head asks {described['k']} neighbours, and has {len(rows)} rows")
    if np.abs(rows).max() > _LONGEST or (link != "identity" and not ((votes >= 0) & (votes <= 1)).all()):
        raise ModelError("the model's head has rows that are longer than 1, or votes that are no shares")
    return Neighbours(**found, k=described["k"], sharpness=float(described["sharpness"]), link=link)


def _mlp(path: Path, described: Mapping[str, Any], *, dim: int, k: int) -> Mlp:
    widths = described["widths"]
    expected: dict[str, tuple[str, tuple[int | None, ...]]] = {
        "weight": ("F32", (widths[-1], k)),
        "bias": ("F64", (k,)),
    }
    for i, (before, width) in enumerate(zip([dim, *widths], widths, strict=False)):
        expected |= {f"hidden.{i}.weight": ("F32", (before, width)), f"hidden.{i}.bias": ("F64", (width,))}
    found = _tensors(path, expected)
    hidden = tuple(Layer(found[f"hidden.{i}.weight"], found[f"hidden.{i}.bias"]) for i in range(len(widths)))
    return Mlp(hidden, found["weight"], found["bias"], described["activation"], described["link"])


def split_of(source: Path) -> SplitRecord:
    """Which samples the model has met.

    Raises:
        ModelError: the file is not what the format says.
    """
    path = source / "split.safetensors"
    split = SplitRecord(**_tensors(path, {"digests": ("U8", (None, 16)), "parts": ("U8", (None,))}))
    if not split.is_valid():
        raise ModelError(f"{path.name} does not hold distinct sorted digests, each with the parts that it was in")
    return split


def judge_of(source: Path, manifest: Manifest, *, dim: int) -> Judge | None:
    """The judge; None for a model without one.

    Args:
        source: the directory.
        manifest: its manifest.
        dim: the width of a row.

    Raises:
        ModelError: the file is not what the manifest says.
    """
    conformal, outlier, found = manifest.conformal, manifest.outlier, {}
    if outlier is not None:
        found = _tensors(source / judge_files.NAME, judge_files.expected(outlier, dim=dim))
    return judge_files.build(conformal, outlier, found=found, k=len(manifest.labels))


def examples_of(source: Path, manifest: Manifest, *, judge: Judge | None) -> Examples | None:
    """The copies of training samples; None for a model without them.

    Args:
        source: the directory.
        manifest: its manifest.
        judge: whose rows they are beside.

    Raises:
        ModelError: there is not one for each row.
    """
    if EXAMPLES not in manifest.files:
        return None
    rows = None if judge is None or judge.neighbours is None else judge.neighbours.rows
    found = _tensors(source / EXAMPLES, {"content": ("U8", (None,)), "ends": ("I64", (None,))})
    return Examples.of(found, m=0 if rows is None else len(rows))


def _tensors(path: Path, expected: Mapping[str, tuple[str, tuple[int | None, ...]]]) -> dict[str, np.ndarray]:
    """The tensors of a file, after their names, types and shapes were compared with what is expected; None is any length."""
    try:
        with safe_open(path, framework="numpy") as file:
            if set(file.keys()) != set(expected):
                raise ModelError(
                    f"{path.name} holds the tensors {sorted(file.keys())}, and has to hold {sorted(expected)}"
                )
            for name, (dtype, shape) in expected.items():
                part = file.get_slice(name)
                got = tuple(part.get_shape())
                fits = len(got) == len(shape) and all(
                    want in {None, have} for want, have in zip(shape, got, strict=True)
                )
                if part.get_dtype() != dtype or not fits:
                    raise ModelError(
                        f"{path.name} holds {name} as {part.get_dtype()} {got}, and the manifest makes it {dtype} {shape}"
                    )
            found = {name: file.get_tensor(name) for name in expected}
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path.name} is missing or is no safetensors file: {error}") from error
    for name, array in found.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ModelError(f"{path.name} holds values of {name} that are not finite")
    return found
