"""The backbone of a fit: the one that was asked for, the default one, the best one for this data, or the best layers of one."""

from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np

from headstart.backbones.backbone import Backbone, BackboneRequest
from headstart.backbones.choice import default_backbone
from headstart.backbones.layers import SCAN, open_every_layer
from headstart.core.errors import UsageError, suggest
from headstart.core.progress import Progress, silent
from headstart.features.extraction import extract
from headstart.selection.field import Field
from headstart.selection.layers import MOST_ROWS, Scan, scan_layers
from headstart.selection.ranking import Plan, rank_backbones
from headstart.verbs.entrants import entrants, ground_of, sentence
from headstart.verbs.fit_data import FitData, FitOptions
from headstart.verbs.rows import RowOptions, opened

BEST = "auto"
"""What stands for the backbone that suits the data best."""

LAYERS = (SCAN,)


@dataclass(frozen=True)
class Chosen:
    """The backbone of a fit.

    Attributes:
        backbone: opened.
        above: what stands above it in the list of defaults and is not on this machine.
        notes: how it was chosen, one sentence each.
    """

    backbone: Backbone
    above: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def check_layers(layers: str) -> None:
    """Refuse a way of choosing layers that there is not.

    Raises:
        UsageError: names the one that there is.
    """
    if layers and layers not in LAYERS:
        raise UsageError(f"layers are chosen by {', '.join(LAYERS)}, and got {layers!r}.{suggest(layers, LAYERS)}")


def choose_backbone(data: FitData, options: FitOptions, *, progress: Progress = silent) -> Chosen:
    """The backbone that the options ask for. Where it is chosen by the data, only training samples are looked at.

    Raises:
        UsageError: layers are to be scanned of what is no `SOURCE:NAME`.
        DataError: it takes another modality.
        WeightsMissing: no backbone is on this machine.
    """
    modality, asked = data.samples.modality, options.backbone
    above: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    rows = RowOptions(None, offline=options.offline, precision=options.precision, engine=options.engine)
    ground = cache(partial(ground_of, data, seed=options.seed))
    if asked is None:
        choice = default_backbone(modality, offline=options.offline)
        asked, above = choice.backbone, choice.above
    elif asked == BEST:
        standings = rank_backbones(entrants(modality, rows), ground(), plan=_plan(options), progress=progress)
        asked, notes = standings[0].title, (f"the backbone was chosen by the data: {sentence(standings)}",)
    if options.layers == SCAN:
        asked, told = _scanned(asked, ground(), options, rows)
        notes += told
    return Chosen(opened(modality, replace(rows, backbone=asked)), above, notes)


def _plan(options: FitOptions) -> Plan:
    return Plan(seed=options.seed, engine=options.engine)


def _scanned(
    asked: str | BackboneRequest | Backbone, ground: Field, options: FitOptions, rows: RowOptions
) -> tuple[BackboneRequest, tuple[str, ...]]:
    """The request for the layers that the data asks for."""
    request = BackboneRequest.parse(asked) if isinstance(asked, str) else asked
    if isinstance(request, Backbone) or request.layer:
        raise UsageError(
            "the layers of a backbone are scanned where it is given as SOURCE:NAME, without a layer: leave --layer or --layers away"
        )
    request = replace(request, offline=request.offline or options.offline)
    every = opened(ground.samples.modality, replace(rows, backbone=open_every_layer(request)))
    order = ground.order[: ground.fair(MOST_ROWS)]
    extraction = extract(ground.samples.take(order), every, engine=options.engine)
    at = order[extraction.kept]
    matrices = [np.asarray(one.values, np.float32) for one in extraction.features]
    groups = None if ground.groups is None else ground.groups[at]
    found = scan_layers(matrices, ground.y.take(at), groups=groups, seed=options.seed)
    names = [every.specs[place].layer for place in found.chosen]
    return replace(request, layer=",".join(names)), (_told(found, every),)


def _told(found: Scan, every: Backbone) -> str:
    def word(place: int) -> str:
        return every.specs[place].layer or "the last output"

    usual, first, last = found.singles[-1], found.grown[0], found.grown[-1]
    together = " and ".join(word(place) for place in last.layers)
    better = "" if first.layers == usual.layers else f" (the best single one is {word(first.layers[0])})"
    return (
        f"of {len(found.singles)} layers, {together} are read{better}: out-of-fold loss {last.loss:.4f}, and {usual.loss:.4f} of "
        f"{word(len(found.singles) - 1)} alone"
        if len(last.layers) > 1
        else f"of {len(found.singles)} layers, {together} is read: none that joins it lowers the out-of-fold loss of {last.loss:.4f} by more than a standard error"
    )
