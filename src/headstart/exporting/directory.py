"""The directory of an export: the graph, the program that runs it, and what both need."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from headstart.backbones.exported import PROBABILITIES, SHARES, ExportedBackbone, Graph, open_exported
from headstart.backbones.network import recipe_of
from headstart.core.errors import ExportError, UsageError
from headstart.data.modalities.audio import AudioRecipe
from headstart.exporting import FORMATS
from headstart.exporting.program import program, requirements
from headstart.exporting.resampling import filters
from headstart.exporting.told import told
from headstart.model.manifest import ASSETS
from headstart.model.model import Model
from headstart.model.saving import describe

PROGRAM, REQUIREMENTS, FILTERS = "predict.py", "requirements.txt", "resampling.npz"
_PROBES, _SEED = 16, 11
# Rows in float32 of two runtimes differ by rounding alone.
_LARGEST_ERROR = 1e-3
# Of a probability, or of a value in parts of the largest: a head may weigh that rounding up.
_LARGEST_DIFFERENCE = 0.01


def lay_out(
    model: Model, to: str, *, folder: Path, put: Callable[..., None], precision: str = "float32"
) -> ExportedBackbone:
    """Write all of an export but what every model directory holds, and open its network.

    Args:
        model: what is exported.
        to: the format.
        folder: where.
        put: writes the graph's files there; takes what they tell of themselves as `told`.
        precision: what the graph is run in.

    Raises:
        ExportError: the format cannot hold the network.
        ModelError: the runtime cannot open what was written.
    """
    format_, backbone = FORMATS.get(to), model.backbone
    recipe, beside = recipe_of(backbone.preparation), [PROGRAM, REQUIREMENTS]
    assets = [f"{ASSETS}/{each}" for each in sorted(backbone.preparation.assets)]
    if isinstance(recipe, AudioRecipe):
        (folder / FILTERS).write_bytes(filters(recipe.rate))
        beside.append(FILTERS)
        assets.append(FILTERS)
    graph = Graph(to, precision, format_.files, tuple(beside))
    put(told=_told(model, graph, tuple(assets)))
    (folder / PROGRAM).write_text(program(model.modality, to), encoding="utf-8", newline="\n")
    (folder / REQUIREMENTS).write_text(requirements(model.modality, format_.runtime), encoding="utf-8", newline="\n")
    return open_exported(
        folder, graph, architecture=backbone.architecture, specs=backbone.specs, assets=backbone.preparation.assets
    )


def refuse_exported(model: Model) -> None:
    """Refuse a model whose network is a graph already.

    Raises:
        UsageError: as said.
    """
    if isinstance(model.backbone, ExportedBackbone):
        graph = model.backbone.graph
        raise UsageError(
            f"this is an exported model already ({graph.precision}, {graph.runtime}), and neither can be exported nor compressed again:"
            " name the model that it was made from"
        )


def _told(model: Model, graph: Graph, assets: tuple[str, ...]) -> Mapping[str, str]:
    from headstart.exporting.tracing import names_of

    described, spec = describe(model, graph=graph), model.backbone.specs[0]
    return told(described, spec, assets=assets, shares=SHARES in names_of(model), precision=graph.precision)


def difference_of(model: Model, opened: ExportedBackbone) -> float:
    """The largest relative difference of a row in float32, over synthetic prepared inputs; what the graph makes of rows is compared as well.

    Raises:
        ExportError: either is more than rounding.
    """
    exact, worst = model.at("float32").backbone, 0.0
    for n in (1, _PROBES):  # one alone, and many: what a tracer took for a constant shows
        batch = exact.preparation.probes(n, _SEED)
        rows = exact.embed(batch)
        for ours, theirs in zip(opened.embed(batch), rows, strict=True):
            scale = np.maximum(np.linalg.norm(theirs, axis=1), 1e-12)
            # Not Python's `max`, which passes over what is no number.
            worst = float(np.maximum(worst, (np.linalg.norm(ours - theirs, axis=1) / scale).max()))
        (found,) = opened.session.run(opened.given(batch), [PROBABILITIES])
        known = model.predicted(np.concatenate(rows, axis=1))
        apart = float(np.abs(found - known).max() / max(1.0, float(np.abs(known).max())))
        if not apart <= _LARGEST_DIFFERENCE:
            raise ExportError(
                f"the export makes other answers of the same prepared inputs (by {apart:.2g} of a probability or value); it was removed"
            )
    if not worst <= _LARGEST_ERROR:
        raise ExportError(
            f"the export gives other rows than the network (relative difference {worst:.2g} of prepared inputs); it was removed"
        )
    return worst
