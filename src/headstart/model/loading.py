"""Loading: read a model directory. docs/format.md is normative; every step of the load order has its test."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from headstart.backbones.backbone import Architecture, Backbone
from headstart.backbones.choice import open_reference, rebuild_backbone
from headstart.backbones.exported import Graph, open_exported
from headstart.backbones.precision import settle
from headstart.backbones.runtimes import SAFE
from headstart.core.digests import of_tensors
from headstart.core.errors import HeadstartError, ModelError, UsageError, gist, suggest
from headstart.core.spec import BackboneSpec
from headstart.data.modalities import preparation
from headstart.data.preparation import Batch
from headstart.data.reading import ReadOptions
from headstart.heads.fitted import Head
from headstart.model import described, listing, probe
from headstart.model.examples import Examples
from headstart.model.judge import Bond, Judge
from headstart.model.manifest import ASSETS, NAME, Manifest
from headstart.model.model import Model
from headstart.model.precision import runnable
from headstart.model.reports import FitReport
from headstart.model.rule import Rule
from headstart.model.split_record import SplitRecord
from headstart.model.tensor_files import examples_of, head_of, judge_of, split_of

if TYPE_CHECKING:
    import torch

_PROBE = "probe.safetensors"


def load(source: Path, *, module: "torch.nn.Module | None" = None, precision: str = "") -> Model:
    """Read a model directory. Nothing in it is run: tensors and JSON only, and plug-ins by the names of installed ones.

    Args:
        source: the directory.
        module: the user's own network, for a model whose backbone is one.
        precision: what to run it at. Empty: what it was fitted at, or float32 where this device has no units for that; `Model.warnings`
            tells where the two differ.

    Raises:
        ModelError: the directory is not what its manifest says, is of another format, cannot be read, or its rows differ here.
        UsageError: there is no such precision, or the backbone has its own only.
    """
    if precision:
        settle(precision, {})
    model = _opened(source, module, always=False).model
    return model.at(precision or runnable(model.backbone))


@dataclass(frozen=True)
class Opened:
    """What reading a directory found.

    Attributes:
        model: the model.
        manifest: what the directory says of itself.
        drift: the largest relative difference between the probe's rows here and where the model was saved; None where they were not computed.
    """

    model: Model
    manifest: Manifest
    drift: float | None


def verified(source: Path, *, module: "torch.nn.Module | None" = None) -> Opened:
    """Read a model directory by all steps, the probe too where neither library nor machine is new.

    Args:
        source: the directory.
        module: the user's own network, for a model whose backbone is one.

    Raises:
        ModelError: at the first step that fails.
    """
    return _opened(source, module, always=True)


def _opened(source: Path, module: "torch.nn.Module | None", *, always: bool) -> Opened:
    with _readable(source):
        return _load(source, module, always=always)


@contextmanager
def _readable(source: Path) -> Iterator[None]:
    """What the system refuses of a directory, as one sentence.

    Raises:
        ModelError: as said.
    """
    try:
        yield
    except OSError as error:
        raise ModelError(
            f"{error.filename or source} cannot be read: {error.strerror or error}; check that this file and its folder may be read"
        ) from error
    except RecursionError as error:
        raise ModelError(f"{source} is no headstart model: a part of its {NAME} nests too deep") from error


@dataclass(frozen=True)
class _Parts:
    """All of a directory but its network, checked."""

    manifest: Manifest
    specs: tuple[BackboneSpec, ...]
    architecture: Architecture
    assets: Mapping[str, bytes]
    reading: ReadOptions
    report: FitReport
    rule: Rule
    head: Head
    split: SplitRecord
    judge: Judge | None
    examples: Examples | None


def _manifest(source: Path) -> Manifest:
    _check_there(source)
    return Manifest.read(source)


def _parts(source: Path, manifest: Manifest, *, runtimes: Collection[str] = SAFE) -> _Parts:
    specs = described.specs_of(manifest, runtimes=runtimes)
    reading = described.reading_of(manifest)
    report = FitReport.from_json(manifest.fit)
    described.check_precision(specs, report, labelled=bool(manifest.labels))
    listing.check(source, manifest.files, manifest=NAME)
    described.check_names(manifest)
    described.check_task(manifest)
    dim = sum(spec.dim for spec in specs)
    head, split, judge = head_of(source, manifest, dim=dim), split_of(source), judge_of(source, manifest, dim=dim)
    return _Parts(
        manifest=manifest,
        specs=specs,
        architecture=described.architecture_of(manifest, specs),
        assets={name: (source / ASSETS / name).read_bytes() for name in manifest.backbone["assets"]},
        reading=reading,
        report=report,
        rule=described.rule_of(manifest),
        head=head,
        split=split,
        judge=judge,
        examples=examples_of(source, manifest, judge=judge),
    )


def _load(source: Path, module: "torch.nn.Module | None", *, always: bool) -> Opened:
    manifest = _manifest(source)
    parts = _parts(source, manifest)
    model = Model(
        backbone=_backbone(source, parts, module),
        head=parts.head,
        labels=tuple(manifest.labels),
        temperature=float(manifest.temperature),
        prior=None if manifest.prior is None else tuple(map(float, manifest.prior)),
        reading=parts.reading,
        split=parts.split,
        report=parts.report,
        fitted_precision=parts.specs[0].precision,
        judge=parts.judge,
        examples=parts.examples,
        rule=parts.rule,
        deployment_prior=None if manifest.deployment_prior is None else tuple(map(float, manifest.deployment_prior)),
    )
    model.check_judge()
    return Opened(model, manifest, _drift(source, manifest, model, always=always))


def _check_there(source: Path) -> None:
    if source.is_dir():
        return
    if source.exists():
        raise ModelError(f"{source} is a file, and a model is a directory; name the directory that holds its {NAME}")
    siblings: list[str] = []
    if source.parent.is_dir():
        siblings = [path.name for path in source.parent.iterdir() if (path / NAME).is_file()]
    raise ModelError(f"there is no directory {source}.{suggest(source.name, siblings)}")


@contextmanager
def _told(before: str) -> Iterator[None]:
    """Whatever a library raises for what a stranger's directory asks of it, as one sentence that begins so.

    Raises:
        ModelError: as said. What headstart itself says stays as it is, and so does what the system refuses.
    """
    try:
        yield
    except UsageError as error:
        raise ModelError(f"{before}: {error}") from error
    except (HeadstartError, OSError):
        raise
    except Exception as error:  # the manifest chose what is built, and no list of what libraries raise then is complete
        raise ModelError(f"{before}: {gist(error)}") from error


def _backbone(source: Path, parts: _Parts, module: "torch.nn.Module | None") -> Backbone:
    told, specs, architecture, assets = parts.manifest.backbone, parts.specs, parts.architecture, parts.assets

    def tensors() -> Mapping[str, np.ndarray]:
        found = (
            open_reference(specs).tensors() if told["by"] == "reference" else _arrays(source / "backbone.safetensors")
        )
        if of_tensors(found) != specs[0].weights:
            raise ModelError(
                f"the weights of {specs[0].title} here are not those that the model was fitted with: their digest differs"
            )
        return found

    with _told(f"the backbone {specs[0].title} cannot be built as the manifest describes it"):
        if (known := told["graph"]) is not None:
            graph = Graph(known["runtime"], known["precision"], tuple(known["files"]), tuple(known["beside"]))
            return open_exported(source, graph, architecture=architecture, specs=specs, assets=assets)
        backbone = rebuild_backbone(architecture, specs, assets=assets, tensors=tensors, module=module)
        if dict(backbone.architecture.options) != dict(architecture.options):
            raise ModelError(f"the manifest gives the backbone {specs[0].title} options that it does not take")
        return backbone


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        found: dict[str, np.ndarray] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path.name} is missing or is no safetensors file: {error}") from error
    except Exception as error:  # its header names a type that NumPy has not
        raise ModelError(f"{path.name} holds tensors of a type that no model has: {gist(error)}") from error
    return found


def _drift(source: Path, manifest: Manifest, model: Model, *, always: bool) -> float | None:
    """Recompute the probe where a library or the machine is new, or always; the largest relative difference."""
    if not always and manifest.libraries == probe.libraries() and manifest.machine == probe.machine():
        return None
    batch, rows = _probe(source, model.backbone.specs)
    with _told(f"{_PROBE} does not hold inputs that the backbone takes"):
        return probe.check(model.backbone, batch, rows=rows, then=manifest.libraries, where=manifest.machine)


def _probe(source: Path, specs: tuple[BackboneSpec, ...]) -> tuple[Batch, tuple[np.ndarray, ...]]:
    """The probe's inputs, and their rows where the model was saved.

    Raises:
        ModelError: the file holds something else.
    """
    found = _arrays(source / _PROBE)
    names = {"values", "lengths", *(f"rows.{i}" for i in range(len(specs)))}
    if set(found) != names or any(found[f"rows.{i}"].shape != (probe.PROBES, spec.dim) for i, spec in enumerate(specs)):
        raise ModelError(f"{_PROBE} does not hold {probe.PROBES} inputs and their rows")
    return Batch(found["values"], found["lengths"]), tuple(found[f"rows.{i}"] for i in range(len(specs)))


def listed(source: Path) -> Manifest:
    """What a directory says of itself, after all of its files were compared with their digests. Nothing of them is opened.

    Raises:
        ModelError: the directory is not what its manifest says, or cannot be read.
    """
    with _readable(source):
        manifest = _manifest(source)
        listing.check(source, manifest.files, manifest=NAME)
        return manifest


def unopened(source: Path) -> Manifest | None:
    """What an export says of itself whose graph headstart does not open, a program of torch; None for any other model.

    Every step of loading is taken but that one: the manifest, the files, the tensors, the preparation and the judge are those of a model.

    Raises:
        ModelError: the directory is not what its manifest says, or cannot be read.
    """
    with _readable(source):
        manifest = _manifest(source)
        graph = manifest.backbone.get("graph")
        if not isinstance(graph, dict) or graph.get("runtime") != "torch":
            return None
        parts = _parts(source, manifest, runtimes=("torch",))
        specs, temperature = parts.specs, float(manifest.temperature)
        with _told(f"the preparation of {specs[0].title} cannot be built as the manifest describes it"):
            preparation(specs[0].prepare, dict(parts.assets))
        bond = Bond.of(parts.head, temperature=temperature, specs=specs, precision=specs[0].precision)
        if parts.judge is not None and not parts.judge.fits(bond):
            raise ModelError("the model's judge was fitted for another head, temperature or backbone than it has")
        _probe(source, specs)
        return manifest


def card_of(source: Path) -> str:
    """The card of a model directory, after the file was compared with its digest.

    Raises:
        ModelError: the directory is not what its manifest says.
    """
    manifest = listed(source)
    if "README.md" not in manifest.files:
        raise ModelError(f"{source} holds no card")
    try:
        return (source / "README.md").read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ModelError(f"the card of {source} cannot be read: {gist(error)}") from error
