"""Saving: write a model directory. docs/format.md is normative."""

import dataclasses
import datetime as dt
import json
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save_file

from headstart.backbones.backbone import Backbone
from headstart.backbones.choice import open_reference
from headstart.core.digests import of_tensors
from headstart.core.errors import HeadstartError, ModelError
from headstart.core.files import whole_directory
from headstart.heads.fitted import Head, Linear, Neighbours
from headstart.model import listing, probe
from headstart.model.card import card
from headstart.model.manifest import ASSETS, FORMAT, KIND, NAME, RULE, Manifest

if TYPE_CHECKING:
    from headstart.model.model import Model


def refuse_if_not_ours(target: Path) -> None:
    """Refuse to put a model where something else is.

    Raises:
        ModelError: `target` is a file, or a directory that is neither empty nor a headstart model.
    """
    if target.is_dir():
        if not any(target.iterdir()):
            return
        try:
            if json.loads((target / NAME).read_bytes())["kind"] == KIND:
                return
        except (OSError, ValueError, KeyError, TypeError):
            pass
        raise ModelError(
            f"{target} is a folder that holds something else than a headstart model; name another place for the model"
        )
    if target.exists() or target.is_symlink():
        raise ModelError(f"{target} is a file; name another place for the model, which is a directory")


def save(model: "Model", target: Path, *, by_reference: bool) -> Path:
    """Write a model directory: into a sibling first, then renamed.

    Raises:
        ModelError: something that is no headstart model is at `target`, or by reference the backbone does not open by its name.
    """
    refuse_if_not_ours(target)
    if by_reference:
        _check_reference(model.backbone)
    with whole_directory(target) as folder:
        save_file(_head_tensors(model.head), folder / "head.safetensors")
        save_file({"digests": model.split.digests, "parts": model.split.parts}, folder / "split.safetensors")
        batch, rows = probe.make(model.backbone)
        probes = {"values": batch.values, "lengths": batch.lengths}
        save_file(
            probes | {f"rows.{i}": np.ascontiguousarray(each) for i, each in enumerate(rows)},
            folder / "probe.safetensors",
        )
        if not by_reference:
            save_file(model.backbone.tensors(), folder / "backbone.safetensors")
        if model.backbone.preparation.assets:
            (folder / ASSETS).mkdir()
        for name, content in model.backbone.preparation.assets.items():
            (folder / ASSETS / name).write_bytes(content)
        manifest = _describe(model, by_reference=by_reference)
        (folder / "README.md").write_text(card(manifest), encoding="utf-8", newline="\n")
        listed = dataclasses.replace(manifest, files=listing.digests(folder))
        (folder / NAME).write_bytes(listed.to_bytes())
    return target


def _check_reference(backbone: Backbone) -> None:
    """Refuse a reference that nobody could follow."""
    spec = backbone.specs[0]
    try:
        named = open_reference(backbone.specs).tensors()
    except HeadstartError as error:
        raise ModelError(
            f"this model cannot be saved by reference, because {spec.title} does not open by its name: {error}"
        ) from error
    if of_tensors(named) != spec.weights:
        raise ModelError(
            f"this model cannot be saved by reference, because its weights are not those of {spec.title}; save it by value"
        )


def _describe(model: "Model", *, by_reference: bool) -> Manifest:
    head = model.head
    shapes: dict[str, Any] = {"kind": "linear" if isinstance(head, Linear) else "neighbours", "link": head.link}
    if isinstance(head, Neighbours):
        shapes |= {"k": head.k, "sharpness": head.sharpness}
    architecture = model.backbone.architecture
    fit = dataclasses.replace(model.report, skipped=()).to_json()
    title = model.backbone.specs[0].title
    return Manifest(
        format=FORMAT,
        kind=KIND,
        headstart=metadata.version("headstart"),
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        task=model.task,
        labels=list(model.labels),
        inputs=[{"name": model.modality, "modality": model.modality}],
        reading=dataclasses.asdict(model.reading),
        backbone={
            "by": "reference" if by_reference else "value",
            "architecture": {**dataclasses.asdict(architecture), "options": dict(architecture.options)},
            "specs": [spec.to_json() for spec in model.backbone.specs],
            "assets": sorted(model.backbone.preparation.assets),
        },
        libraries=probe.libraries(),
        machine=probe.machine(),
        head=shapes,
        recipe=model.report.head,
        prior=None if model.prior is None else list(model.prior),
        rule=RULE,
        temperature=model.temperature,
        conformal=None,
        outlier=None,
        fit=fit,
        licences=[{"of": title, "licence": architecture.licence}] if architecture.licence else [],
        files={},
    )


def _head_tensors(head: Head) -> dict[str, np.ndarray]:
    if isinstance(head, Linear):
        return {"weight": np.ascontiguousarray(head.weight), "bias": np.ascontiguousarray(head.bias)}
    return {name: np.ascontiguousarray(getattr(head, name)) for name in ("rows", "votes", "mean")}
