"""What a manifest describes, each part checked before a tensor is read or a plug-in looked up. docs/format.md is normative."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from headstart.backbones.backbone import Architecture
from headstart.backbones.choice import check_reference
from headstart.backbones.precision import PRECISIONS
from headstart.backbones.runtimes import HINTS, RUNTIMES, SAFE
from headstart.core.errors import BackboneError, ModelError
from headstart.core.spec import BackboneSpec
from headstart.data.reading import ReadOptions
from headstart.model import json_types
from headstart.model.manifest import ASSETS, Manifest
from headstart.model.reports import FitReport
from headstart.model.rule import Rule
from headstart.tasks import TASKS

_GRAPH: Mapping[str, json_types.Kind] = {
    "runtime": lambda value: json_types.is_text(value) and value in RUNTIMES,
    "precision": lambda value: json_types.is_text(value) and value in HINTS,
    "files": lambda value: bool(value) and json_types.list_of(json_types.is_plain_name)(value),
    "beside": json_types.list_of(json_types.is_plain_name),
}
# What a directory may hold beside what its preparation and its graph name.
_FILES = frozenset(
    {
        *(f"{name}.safetensors" for name in ("head", "backbone", "judge", "examples", "split", "probe")),
        "README.md",
    }
)


def specs_of(manifest: Manifest, *, runtimes: Collection[str]) -> tuple[BackboneSpec, ...]:
    """The specs of the backbone.

    Args:
        manifest: of the directory.
        runtimes: of a graph, those that a reader of this directory takes.

    Raises:
        ModelError: they are none of one backbone, or the manifest says of it what no model has; or by reference it is none that may be
            opened by its name.
    """
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
    _check_graph(described, manifest, runtimes=runtimes)
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
    if described["by"] == "reference":
        _check_reference(specs)
    return specs


def _check_reference(specs: tuple[BackboneSpec, ...]) -> None:
    try:
        check_reference(specs)
    except BackboneError as error:
        raise ModelError(f"the model leaves its weights out and refers to none that can be opened: {error}") from error


def _check_graph(described: Mapping[str, Any], manifest: Manifest, *, runtimes: Collection[str]) -> None:
    graph = described["graph"]
    if (described["by"] == "graph") != (graph is not None):
        raise ModelError("the manifest's backbone has a graph exactly where it is given by one; this one differs")
    if graph is None:
        return
    if not isinstance(graph, dict) or set(graph) != set(_GRAPH) or json_types.wrong_keys(graph, _GRAPH):
        raise ModelError(
            "the manifest's graph has to name a runtime, a precision, and files that it lists; this one differs"
        )
    if graph["runtime"] not in runtimes:
        raise ModelError(
            f"a model that was exported to {graph['runtime']} is opened by that library alone, as its files may hold code: run its predict.py,"
            f" or export the model that it was made from to {' or '.join(SAFE)}"
        )
    if not {*graph["files"], *graph["beside"]} <= set(manifest.files):
        raise ModelError("the manifest's graph names files that the model does not hold")


def check_names(manifest: Manifest) -> None:
    """Refuse a list of files that names one which is no part of a model.

    Raises:
        ModelError: as said.
    """
    described, graph = manifest.backbone, manifest.backbone["graph"] or {"files": [], "beside": []}
    named = {*_FILES, *(f"{ASSETS}/{name}" for name in described["assets"]), *graph["files"], *graph["beside"]}
    if strange := sorted(set(manifest.files) - named):
        raise ModelError(f"the model's file list names {strange[0]!r}, which is no part of this model; take it out")


def check_precision(specs: tuple[BackboneSpec, ...], report: FitReport, *, labelled: bool) -> None:
    """Refuse a fit that compares precisions which are not the backbone's, or by what the model does not give.

    Args:
        specs: of the backbone.
        report: of the fit.
        labelled: whether the model answers with labels.

    Raises:
        ModelError: as said.
    """
    change = report.precision
    if change is None:
        return
    if change.fitted != specs[0].precision:
        raise ModelError("the manifest's fit was made at another precision than its backbone's specs state")
    if labelled is (change.probability is None):
        raise ModelError("the manifest's fit compares precisions on another kind of answer than the model gives")


def check_task(manifest: Manifest) -> None:
    """Refuse a task that is none, or that the head or the fit does not belong to.

    Raises:
        ModelError: as said.
    """
    if manifest.task not in TASKS.names():
        raise ModelError(f"the model's task is {manifest.task!r}, and this headstart knows {', '.join(TASKS.names())}")
    if TASKS.get(manifest.task).link != manifest.head["link"] or manifest.fit["task"] != manifest.task:
        raise ModelError(f"the model's head or fit does not belong to its task, {manifest.task}")


def rule_of(manifest: Manifest) -> Rule:
    """How a label is decided from the probabilities.

    Raises:
        ModelError: there is no such rule, or the task has none.
    """
    rule = Rule.from_json(manifest.rule, labels=manifest.labels)
    if rule != Rule() and manifest.head["link"] != "softmax":
        raise ModelError(f"the model carries the decision rule {rule.name!r}, and {manifest.task} has none")
    return rule


def reading_of(manifest: Manifest) -> ReadOptions:
    """How the training data was read.

    Raises:
        ModelError: the options are others than this version's.
    """
    value: Mapping[str, Any] = manifest.reading
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


def architecture_of(manifest: Manifest, specs: tuple[BackboneSpec, ...]) -> Architecture:
    """What rebuilds the network, beside its weights.

    Args:
        manifest: of the directory.
        specs: as `specs_of` returned them.

    Raises:
        ModelError: it is of another form, or not that of the specs.
    """
    value = manifest.backbone["architecture"]
    if not isinstance(value, dict) or set(value) != {field.name for field in dataclasses.fields(Architecture)}:
        raise ModelError("the manifest's backbone architecture has other keys than this version's")
    if not isinstance(value["options"], dict) or not all(
        isinstance(value[key], str) for key in ("source", "name", "licence")
    ):
        raise ModelError("the manifest's backbone architecture has values of the wrong type")
    found = Architecture(**value)
    if (found.source, found.name) != (specs[0].source, specs[0].name):
        raise ModelError(f"the manifest's architecture {found.source}:{found.name} is not that of its specs")
    return found
