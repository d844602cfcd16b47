"""Saving: write a model directory. docs/format.md is normative."""

import dataclasses
import datetime as dt
import os
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from headstart.backbones.backbone import Backbone
from headstart.backbones.choice import check_reference, open_reference
from headstart.backbones.exported import ExportedBackbone, Graph
from headstart.core.digests import of_tensors
from headstart.core.errors import BackboneError, HeadstartError, ModelError
from headstart.core.files import whole_directory
from headstart.heads.fitted import Head, Linear, Mlp, Neighbours
from headstart.model import judge_files, listing, probe
from headstart.model.card import card
from headstart.model.examples import NAME as EXAMPLES
from headstart.model.manifest import ASSETS, FORMAT, KIND, NAME, Manifest, content, parse

if TYPE_CHECKING:
    from headstart.model.model import Model


def refuse_if_not_ours(target: Path) -> None:
    """Refuse to put a model where something else is, or where none can be put. Found before a fit, this costs no fit.

    A folder is made beside the place and removed again, which shows whether a model can be written there.

    Raises:
        ModelError: `target` is a file, the working directory or a folder that holds it, a drive, or a directory that is neither empty
            nor a headstart model; or no directory can be made there.
    """
    try:
        real, here = target.resolve(), Path.cwd().resolve()
        if real == here or real in here.parents or os.path.ismount(real):
            raise ModelError(
                f"{target} is the working directory, holds it, or is a drive, and cannot be replaced by a model; name a new folder,"
                f" such as {target / 'model'}"
            )
        if real.is_dir():
            _check_ours(target)
        elif real.exists() or target.is_symlink():
            raise ModelError(
                f"{target} is a file or a link that leads nowhere; name another place for the model, which is a directory"
            )
        _try_to_make(real)
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(f"no model can be written to {target}: {_reason(error)}; name another place") from error


def _check_ours(target: Path) -> None:
    if not any(target.iterdir()):
        return
    try:
        described = parse(content(target))
        foreign = listing.names(target) - {NAME} - set(described.get("files") or {})
    except (ModelError, TypeError):
        described, foreign = {}, set()
    if described.get("kind") != KIND:
        raise ModelError(
            f"{target} is a folder that holds something else than a headstart model; name another place for the model"
        )
    if foreign:
        raise ModelError(
            f"{target} holds {min(foreign)}, which is no part of the model there and would be lost; name another place for the model"
        )


def _try_to_make(target: Path) -> None:
    """Make and remove what is missing of the path to `target`, in a folder beside it.

    Raises:
        ModelError: a part of the path is a file.
        OSError: it cannot be made.
    """
    above = target.parent
    while not above.exists():
        above = above.parent
    if not above.is_dir():
        raise ModelError(f"no model can be written to {target}, because {above} is a file; name another place")
    with tempfile.TemporaryDirectory(prefix=".headstart.", dir=above) as probed:
        (Path(probed) / target.relative_to(above)).mkdir(parents=True)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def save(model: "Model", target: Path, *, by_reference: bool) -> Path:
    """Write a model directory: into a sibling first, then renamed.

    Raises:
        ModelError: something that is no headstart model is at `target`, before or when all is written, nothing can be written there, or
            by reference the backbone is no published one or does not open by its name; or its judge was fitted for another head. What was
            there before stays as it was.
    """
    refuse_if_not_ours(target)
    model.check_judge()
    if not isinstance(model.backbone, ExportedBackbone):
        model = model.at(model.fitted_precision)
    if by_reference:
        _check_reference(model.backbone)
    try:
        with whole_directory(target, refuse_if_not_ours) as folder:
            write(model, folder, by_reference=by_reference)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"the model could not be written to {target}: {_reason(error)}; make room or name another place, and save it again"
        ) from error
    return target


def write(model: "Model", folder: Path, *, by_reference: bool = False) -> None:
    """Write every file of the model into a folder that is empty, or holds what was exported of it already."""
    save_file(_head_tensors(model.head), folder / "head.safetensors")
    save_file({"digests": model.split.digests, "parts": model.split.parts}, folder / "split.safetensors")
    if judged := judge_files.tensors(model.judge):
        save_file(judged, folder / judge_files.NAME)
    if model.examples is not None:
        save_file(model.examples.tensors(), folder / EXAMPLES)
    batch, rows = probe.make(model.backbone)
    probes = {"values": batch.values, "lengths": batch.lengths}
    save_file(
        probes | {f"rows.{i}": np.ascontiguousarray(each) for i, each in enumerate(rows)},
        folder / "probe.safetensors",
    )
    if isinstance(model.backbone, ExportedBackbone):
        # Not over what was just written there: its runtime may have mapped it.
        if model.backbone.folder.resolve() != folder.resolve():
            for name, content in model.backbone.contents().items():
                (folder / name).write_bytes(content)
    elif not by_reference:
        save_file(model.backbone.tensors(), folder / "backbone.safetensors")
    if model.backbone.preparation.assets:
        (folder / ASSETS).mkdir(exist_ok=True)
    for name, asset in model.backbone.preparation.assets.items():
        (folder / ASSETS / name).write_bytes(asset)
    manifest = describe(model, by_reference=by_reference)
    (folder / "README.md").write_text(
        card(manifest, model.judge, examples=model.examples is not None), encoding="utf-8", newline="\n"
    )
    listed = dataclasses.replace(manifest, files=listing.digests(folder))
    (folder / NAME).write_bytes(listed.to_bytes())


def _check_reference(backbone: Backbone) -> None:
    """Refuse a reference that nobody could follow."""
    spec = backbone.specs[0]
    if isinstance(backbone, ExportedBackbone):
        raise ModelError(
            "an exported model cannot be saved by reference: its network is in its own files; save it by value"
        )
    try:
        check_reference(backbone.specs)
    except BackboneError as error:
        raise ModelError(f"this model cannot be saved by reference, because {error}; save it by value") from error
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


def describe(model: "Model", *, by_reference: bool = False, graph: Graph | None = None) -> Manifest:
    """The manifest of a model, its list of files empty.

    Args:
        model: the model.
        by_reference: whether its backbone's weights are left out.
        graph: the files of its network, where that is exported or about to be.
    """
    if isinstance(model.backbone, ExportedBackbone):
        graph = model.backbone.graph
    architecture = model.backbone.architecture
    fit = dataclasses.replace(model.report, skipped=()).to_json()
    title = model.backbone.specs[0].title
    conformal, outlier = judge_files.describe(model.judge)
    return Manifest(
        format=FORMAT,
        kind=KIND,
        headstart=metadata.version("headstart"),
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        task=model.task,
        labels=list(model.labels),
        inputs=[{"name": model.modality, "modality": model.modality}],
        reading=model.reading.kept(),
        backbone={
            "by": "reference" if by_reference else "value" if graph is None else "graph",
            "architecture": {**dataclasses.asdict(architecture), "options": dict(architecture.options)},
            "specs": [
                dataclasses.replace(spec, precision=model.fitted_precision).to_json() for spec in model.backbone.specs
            ],
            "graph": None if graph is None else graph.to_json(),
            "assets": sorted(model.backbone.preparation.assets),
        },
        libraries=probe.libraries(),
        machine=probe.machine(),
        head=_head_shape(model.head),
        recipe=model.report.head,
        prior=None if model.prior is None else list(model.prior),
        deployment_prior=None if model.deployment_prior is None else list(model.deployment_prior),
        rule=model.rule.to_json(),
        temperature=model.temperature,
        conformal=conformal,
        outlier=outlier,
        fit=fit,
        licences=[{"of": title, "licence": architecture.licence}] if architecture.licence else [],
        files={},
    )


def _head_shape(head: Head) -> dict[str, Any]:
    """The manifest's `head`: all that the tensors do not say."""
    if isinstance(head, Linear):
        return {"kind": "linear", "link": head.link}
    if isinstance(head, Mlp):
        widths = [len(layer.bias) for layer in head.hidden]
        return {"kind": "mlp", "link": head.link, "activation": head.activation, "widths": widths}
    return {"kind": "neighbours", "link": head.link, "k": head.k, "sharpness": head.sharpness}


def _head_tensors(head: Head) -> dict[str, np.ndarray]:
    if isinstance(head, Neighbours):
        return {name: np.ascontiguousarray(getattr(head, name)) for name in ("rows", "votes", "mean")}
    tensors = {"weight": head.weight, "bias": head.bias}
    for i, layer in enumerate(head.hidden if isinstance(head, Mlp) else ()):
        tensors |= {f"hidden.{i}.weight": layer.weight, f"hidden.{i}.bias": layer.bias}
    return {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
