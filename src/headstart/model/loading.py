"""Loading: read a model directory. docs/format.md is normative; every step of the load order has its test."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from headstart.backbones.backbone import Architecture, Backbone
from headstart.backbones.choice import open_reference, rebuild_backbone
from headstart.core.digests import of_tensors
from headstart.core.errors import ModelError
from headstart.core.spec import BackboneSpec
from headstart.data.preparation import Batch
from headstart.data.reading import ReadOptions
from headstart.heads.fitted import LINKS, Head, Linear, Neighbours
from headstart.model import listing, probe
from headstart.model.manifest import ASSETS, NAME, RULE, Manifest
from headstart.model.model import Model
from headstart.model.reports import FitReport
from headstart.model.split_record import SplitRecord
from headstart.tasks import TASKS

if TYPE_CHECKING:
    import torch


def load(source: Path, *, module: "torch.nn.Module | None" = None) -> Model:
    """Read a model directory. Nothing in it is run: tensors and JSON only, and plug-ins by the names of installed ones.

    Args:
        source: the directory.
        module: the user's own network, for a model whose backbone is one.

    Raises:
        ModelError: the directory is not what its manifest says, is of another format, or its rows differ here.
    """
    try:
        content = (source / NAME).read_bytes()
    except OSError as error:
        raise ModelError(f"{source} is no headstart model: it has no {NAME} that can be read") from error
    manifest = Manifest.from_bytes(content)
    listing.check(source, manifest.files, manifest=NAME)
    specs = _specs(manifest)
    head = _head(source, manifest, dim=sum(spec.dim for spec in specs))
    split = SplitRecord(
        **_tensors(source / "split.safetensors", {"digests": ("U8", (None, 16)), "parts": ("U8", (None,))})
    )
    report = FitReport.from_json(manifest.fit)
    _check_task(manifest, head)
    backbone = _backbone(source, manifest, specs, module)
    model = Model(
        backbone=backbone,
        head=head,
        labels=tuple(manifest.labels),
        temperature=float(manifest.temperature),
        prior=None if manifest.prior is None else tuple(manifest.prior),
        reading=_reading(manifest.reading),
        split=split,
        report=report,
    )
    _probe(source, manifest, model)
    return model


def _head(source: Path, manifest: Manifest, *, dim: int) -> Head:
    described, k = manifest.head, len(manifest.labels) or 1
    link = described.get("link")
    if link not in LINKS:
        raise ModelError(f"the model's head has the link {link!r}, and there are {', '.join(LINKS)}")
    path = source / "head.safetensors"
    if set(described) == {"kind", "link"} and described["kind"] == "linear":
        found = _tensors(path, {"weight": ("F32", (dim, k)), "bias": ("F32", (k,))})
        return Linear(found["weight"], found["bias"], link)
    if set(described) == {"kind", "link", "k", "sharpness"} and described["kind"] == "neighbours":
        if type(described["k"]) is not int or type(described["sharpness"]) not in {int, float} or described["k"] < 1:
            raise ModelError("the model's head states no valid number of neighbours")
        found = _tensors(path, {"rows": ("F32", (None, dim)), "votes": ("F32", (None, k)), "mean": ("F32", (dim,))})
        if len(found["rows"]) != len(found["votes"]):
            raise ModelError("the model's head has another number of rows than of votes")
        return Neighbours(**found, k=described["k"], sharpness=float(described["sharpness"]), link=link)
    raise ModelError(f"the model's head is described as {described}, which is neither linear nor neighbours")


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


def _specs(manifest: Manifest) -> tuple[BackboneSpec, ...]:
    keys = {"by", "architecture", "specs", "assets"}
    described = manifest.backbone
    if (
        set(described) != keys
        or described["by"] not in {"value", "reference"}
        or not isinstance(described["specs"], list)
    ):
        raise ModelError(f"the manifest's backbone has the keys {', '.join(sorted(keys))}; this one differs")
    specs = tuple(BackboneSpec.from_json(value) for value in described["specs"])
    if not isinstance(described["assets"], list) or not all(isinstance(name, str) for name in described["assets"]):
        raise ModelError("the manifest's backbone has to name its assets as a list of texts")
    if not specs or any(spec.dim < 1 for spec in specs):
        raise ModelError("the manifest's backbone has no spec, or one without width")
    return specs


def _check_task(manifest: Manifest, head: Head) -> None:
    if manifest.task not in TASKS.names():
        raise ModelError(f"the model's task is {manifest.task!r}, and this headstart knows {', '.join(TASKS.names())}")
    if TASKS.get(manifest.task).link != head.link or manifest.fit["task"] != manifest.task:
        raise ModelError(f"the model's head or fit does not belong to its task, {manifest.task}")
    if manifest.rule != RULE or manifest.conformal is not None or manifest.outlier is not None:
        raise ModelError(
            "the model carries a decision rule or a judge that this version does not know; install a newer headstart"
        )
    if manifest.prior is not None and len(manifest.prior) != len(manifest.labels):
        raise ModelError("the model's prior has another length than its labels")


def _reading(value: Mapping[str, Any]) -> ReadOptions:
    if set(value) != {field.name for field in dataclasses.fields(ReadOptions)}:
        raise ModelError("the manifest's reading options are not those of this version")
    return ReadOptions(**value)


def _architecture(value: Any) -> Architecture:
    if not isinstance(value, dict) or set(value) != {field.name for field in dataclasses.fields(Architecture)}:
        raise ModelError("the manifest's backbone architecture has other keys than this version's")
    if not isinstance(value["options"], dict) or not all(
        isinstance(value[key], str) for key in ("source", "name", "licence")
    ):
        raise ModelError("the manifest's backbone architecture has values of the wrong type")
    return Architecture(**value)


def _backbone(
    source: Path, manifest: Manifest, specs: tuple[BackboneSpec, ...], module: "torch.nn.Module | None"
) -> Backbone:
    described = manifest.backbone
    architecture = _architecture(described["architecture"])
    assets = {
        name: (source / ASSETS / name).read_bytes()
        for name in described["assets"]
        if f"{ASSETS}/{name}" in manifest.files
    }
    if set(assets) != set(described["assets"]):
        raise ModelError("the manifest's backbone names assets that the model does not hold")

    def tensors() -> Mapping[str, np.ndarray]:
        found = open_reference(specs).tensors() if described["by"] == "reference" else _by_value(source)
        if of_tensors(found) != specs[0].weights:
            raise ModelError(
                f"the weights of {specs[0].title} here are not those that the model was fitted with: their digest differs"
            )
        return found

    return rebuild_backbone(architecture, specs, assets=assets, tensors=tensors, module=module)


def _by_value(source: Path) -> Mapping[str, np.ndarray]:
    path = source / "backbone.safetensors"
    try:
        found: dict[str, np.ndarray] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path.name} is missing or is no safetensors file: {error}") from error
    return found


def _probe(source: Path, manifest: Manifest, model: Model) -> None:
    """Recompute the probe where a library or the machine is new."""
    if manifest.libraries == probe.libraries() and manifest.machine == probe.machine():
        return
    specs = model.backbone.specs
    path = source / "probe.safetensors"
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path.name} is missing or is no safetensors file: {error}") from error
    names = {"values", "lengths", *(f"rows.{i}" for i in range(len(specs)))}
    if set(found) != names or any(found[f"rows.{i}"].shape != (probe.PROBES, spec.dim) for i, spec in enumerate(specs)):
        raise ModelError(f"{path.name} does not hold {probe.PROBES} inputs and their rows")
    rows = tuple(found[f"rows.{i}"] for i in range(len(specs)))
    batch = Batch(found["values"], found["lengths"])
    probe.check(model.backbone, batch, rows=rows, then=manifest.libraries, where=manifest.machine)
