"""Loading: read a model directory. docs/format.md is normative; every step of the load order has its test."""

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from headstart.backbones.backbone import Architecture, Backbone
from headstart.backbones.choice import open_reference, rebuild_backbone
from headstart.backbones.exported import Graph, open_exported
from headstart.backbones.precision import PRECISIONS, settle
from headstart.backbones.runtimes import HINTS, RUNTIMES, SAFE
from headstart.core.digests import of_tensors
from headstart.core.errors import ModelError, UsageError, gist, suggest
from headstart.core.spec import BackboneSpec
from headstart.data.preparation import Batch
from headstart.data.reading import ReadOptions
from headstart.model import json_types, listing, probe
from headstart.model.manifest import ASSETS, NAME, Manifest
from headstart.model.model import Model
from headstart.model.precision import runnable
from headstart.model.reports import FitReport
from headstart.model.rule import Rule
from headstart.model.tensor_files import examples_of, head_of, judge_of, split_of
from headstart.tasks import TASKS

if TYPE_CHECKING:
    import torch

# What libraries raise where a value of the manifest or a tensor makes no sense to them.
_MISFITS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


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


def _load(source: Path, module: "torch.nn.Module | None", *, always: bool) -> Opened:
    _check_there(source)
    manifest = Manifest.read(source)
    specs = _specs(manifest)
    reading = _reading(manifest.reading)
    report = FitReport.from_json(manifest.fit)
    _check_precision(specs, report, labelled=bool(manifest.labels))
    listing.check(source, manifest.files, manifest=NAME)
    _check_names(manifest)
    _check_task(manifest)
    head = head_of(source, manifest, dim=sum(spec.dim for spec in specs))
    split = split_of(source)
    judge = judge_of(source, manifest, dim=sum(spec.dim for spec in specs))
    examples = examples_of(source, manifest, judge=judge)
    backbone = _backbone(source, manifest, specs, module)
    model = Model(
        backbone=backbone,
        head=head,
        labels=tuple(manifest.labels),
        temperature=float(manifest.temperature),
        prior=None if manifest.prior is None else tuple(map(float, manifest.prior)),
        reading=reading,
        split=split,
        report=report,
        fitted_precision=specs[0].precision,
        judge=judge,
        examples=examples,
        rule=_rule(manifest),
        deployment_prior=None if manifest.deployment_prior is None else tuple(map(float, manifest.deployment_prior)),
    )
    model.check_judge()
    return Opened(model, manifest, _probe(source, manifest, model, always=always))


def _check_there(source: Path) -> None:
    if source.is_dir():
        return
    if source.exists():
        raise ModelError(f"{source} is a file, and a model is a directory; name the directory that holds its {NAME}")
    siblings: list[str] = []
    if source.parent.is_dir():
        siblings = [path.name for path in source.parent.iterdir() if (path / NAME).is_file()]
    raise ModelError(f"there is no directory {source}.{suggest(source.name, siblings)}")


def _specs(manifest: Manifest) -> tuple[BackboneSpec, ...]:
    described = manifest.backbone
    if (
        set(described) != {"by", "architecture", "specs", "assets", "graph"}
        or described["by"] not in ("value", "reference", "graph")
        or not isinstance(described["specs"], list)
    ):
        raise ModelError(
            "the manifest's backbone has the keys architecture, assets, by (value, reference or graph), graph and specs (a list);"
            " this one differs"
        )
    _check_graph(described, manifest)
    if not json_types.list_of(json_types.is_plain_name)(described["assets"]):
        raise ModelError("the manifest's backbone has to name its assets as a list of plain file names")
    if not {f"{ASSETS}/{name}" for name in described["assets"]} <= set(manifest.files):
        raise ModelError("the manifest's backbone names assets that the model does not hold")
    specs = tuple(BackboneSpec.from_json(value) for value in described["specs"])
    if not specs or any(spec.dim < 1 for spec in specs):
        raise ModelError("the manifest's backbone has no spec, or one without width")
    modality = manifest.inputs[0]["modality"]
    if any(spec.modality != modality for spec in specs):
        raise ModelError(f"the model takes {modality} input, and its backbone's specs are of another modality")
    if any(
        (spec.source, spec.name, spec.weights, spec.precision)
        != (specs[0].source, specs[0].name, specs[0].weights, specs[0].precision)
        for spec in specs
    ):
        raise ModelError("the manifest's specs are of several backbones or precisions, and a model has one")
    if specs[0].precision not in PRECISIONS:
        raise ModelError(
            f"the model's precision is {specs[0].precision!r}, and this headstart knows {', '.join(PRECISIONS)}"
        )
    return specs


_GRAPH: Mapping[str, json_types.Kind] = {
    "runtime": lambda value: json_types.is_text(value) and value in RUNTIMES,
    "precision": lambda value: json_types.is_text(value) and value in HINTS,
    "files": lambda value: bool(value) and json_types.list_of(json_types.is_plain_name)(value),
    "beside": json_types.list_of(json_types.is_plain_name),
}


def _check_graph(described: Mapping[str, Any], manifest: Manifest) -> None:
    graph = described["graph"]
    if (described["by"] == "graph") != (graph is not None):
        raise ModelError("the manifest's backbone has a graph exactly where it is given by one; this one differs")
    if graph is None:
        return
    if not isinstance(graph, dict) or set(graph) != set(_GRAPH) or json_types.wrong_keys(graph, _GRAPH):
        raise ModelError(
            "the manifest's graph has to name a runtime, a precision, and files that it lists; this one differs"
        )
    if graph["runtime"] not in SAFE:
        raise ModelError(
            f"a model that was exported to {graph['runtime']} is opened by that library alone, as its files may hold code: run its predict.py,"
            f" or export the model that it was made from to {' or '.join(SAFE)}"
        )
    if not {*graph["files"], *graph["beside"]} <= set(manifest.files):
        raise ModelError("the manifest's graph names files that the model does not hold")


# What a directory may hold beside what its preparation and its graph name.
_FILES = frozenset(
    {
        *(f"{name}.safetensors" for name in ("head", "backbone", "judge", "examples", "split", "probe")),
        "README.md",
    }
)


def _check_names(manifest: Manifest) -> None:
    described, graph = manifest.backbone, manifest.backbone["graph"] or {"files": [], "beside": []}
    named = {*_FILES, *(f"{ASSETS}/{name}" for name in described["assets"]), *graph["files"], *graph["beside"]}
    if strange := sorted(set(manifest.files) - named):
        raise ModelError(f"the model's file list names {strange[0]!r}, which is no part of this model; take it out")


def _check_precision(specs: tuple[BackboneSpec, ...], report: FitReport, *, labelled: bool) -> None:
    change = report.precision
    if change is None:
        return
    if change.fitted != specs[0].precision:
        raise ModelError("the manifest's fit was made at another precision than its backbone's specs state")
    if labelled is (change.probability is None):
        raise ModelError("the manifest's fit compares precisions on another kind of answer than the model gives")


def _check_task(manifest: Manifest) -> None:
    if manifest.task not in TASKS.names():
        raise ModelError(f"the model's task is {manifest.task!r}, and this headstart knows {', '.join(TASKS.names())}")
    if TASKS.get(manifest.task).link != manifest.head["link"] or manifest.fit["task"] != manifest.task:
        raise ModelError(f"the model's head or fit does not belong to its task, {manifest.task}")


def _rule(manifest: Manifest) -> Rule:
    rule = Rule.from_json(manifest.rule, labels=manifest.labels)
    if rule != Rule() and manifest.head["link"] != "softmax":
        raise ModelError(f"the model carries the decision rule {rule.name!r}, and {manifest.task} has none")
    return rule


def _reading(value: Mapping[str, Any]) -> ReadOptions:
    fields = list(ReadOptions().kept())
    if set(value) != set(fields):
        raise ModelError(
            f"the manifest's reading options are {', '.join(fields)}, and the model has {', '.join(value) or 'none'}"
        )
    text = json_types.either(json_types.is_null, json_types.is_text)
    wrong = json_types.wrong_keys(value, {key: json_types.is_flag if key == "labelled" else text for key in fields})
    if wrong:
        raise ModelError(f"the manifest's reading options have values of the wrong type for {', '.join(wrong)}")
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
    if (architecture.source, architecture.name) != (specs[0].source, specs[0].name):
        raise ModelError(
            f"the manifest's architecture {architecture.source}:{architecture.name} is not that of its specs"
        )
    assets = {name: (source / ASSETS / name).read_bytes() for name in described["assets"]}
    if described["graph"] is not None:
        known = described["graph"]
        graph = Graph(known["runtime"], known["precision"], tuple(known["files"]), tuple(known["beside"]))
        try:
            return open_exported(source, graph, architecture=architecture, specs=specs, assets=assets)
        except UsageError as error:
            raise ModelError(
                f"the backbone {specs[0].title} cannot be built as the manifest describes it: {error}"
            ) from error

    def tensors() -> Mapping[str, np.ndarray]:
        found = open_reference(specs).tensors() if described["by"] == "reference" else _by_value(source)
        if of_tensors(found) != specs[0].weights:
            raise ModelError(
                f"the weights of {specs[0].title} here are not those that the model was fitted with: their digest differs"
            )
        return found

    try:
        backbone = rebuild_backbone(architecture, specs, assets=assets, tensors=tensors, module=module)
    except (UsageError, *_MISFITS) as error:
        raise ModelError(
            f"the backbone {specs[0].title} cannot be built as the manifest describes it: {error}"
        ) from error
    if dict(backbone.architecture.options) != dict(architecture.options):
        raise ModelError(f"the manifest gives the backbone {specs[0].title} options that it does not take")
    return backbone


def _by_value(source: Path) -> Mapping[str, np.ndarray]:
    return _arrays(source / "backbone.safetensors")


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        found: dict[str, np.ndarray] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path.name} is missing or is no safetensors file: {error}") from error
    except _MISFITS as error:  # its header names a type that NumPy has not
        raise ModelError(f"{path.name} holds tensors of a type that no model has: {gist(error)}") from error
    return found


def _probe(source: Path, manifest: Manifest, model: Model, *, always: bool) -> float | None:
    """Recompute the probe where a library or the machine is new, or always; the largest relative difference."""
    if not always and manifest.libraries == probe.libraries() and manifest.machine == probe.machine():
        return None
    specs = model.backbone.specs
    path = source / "probe.safetensors"
    found = _arrays(path)
    names = {"values", "lengths", *(f"rows.{i}" for i in range(len(specs)))}
    if set(found) != names or any(found[f"rows.{i}"].shape != (probe.PROBES, spec.dim) for i, spec in enumerate(specs)):
        raise ModelError(f"{path.name} does not hold {probe.PROBES} inputs and their rows")
    rows = tuple(found[f"rows.{i}"] for i in range(len(specs)))
    batch = Batch(found["values"], found["lengths"])
    try:
        return probe.check(model.backbone, batch, rows=rows, then=manifest.libraries, where=manifest.machine)
    except _MISFITS as error:
        raise ModelError(f"{path.name} does not hold inputs that the backbone takes: {error}") from error


def listed(source: Path) -> Manifest:
    """What a directory says of itself, after all of its files were compared with their digests. Nothing of them is opened.

    Raises:
        ModelError: the directory is not what its manifest says, or cannot be read.
    """
    with _readable(source):
        _check_there(source)
        manifest = Manifest.read(source)
        listing.check(source, manifest.files, manifest=NAME)
        return manifest


def unopened(source: Path) -> Manifest | None:
    """What an export says of itself that headstart does not open, a program of torch, after its files were compared; None for any other model.

    Raises:
        ModelError: the directory is not what its manifest says, or cannot be read.
    """
    with _readable(source):
        _check_there(source)
        graph = Manifest.read(source).backbone.get("graph")
    return listed(source) if isinstance(graph, dict) and graph.get("runtime") == "torch" else None


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
