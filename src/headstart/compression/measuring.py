"""How fast a network is here: samples a second at its best batch size, and how long one alone takes. Preparation is no part of it."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from headstart.backbones.backbone import Backbone
from headstart.backbones.exported import ExportedBackbone
from headstart.data.preparation import Batch
from headstart.features.choosing import AUTO, choose
from headstart.features.engines import ENGINES
from headstart.features.engines.openvino import Session

SIZES = (1, 2, 4, 8, 16, 32)
_ROUNDS, _ALONE, _WARM = 3, 100, 5
# A round takes as long at least: fewer passes would time the clock.
_SECONDS = 0.6
# Views that are measured with, evenly from all: four batches of the largest size.
_MOST = 4 * SIZES[-1]

Run = Callable[[Sequence[Batch]], None]


@dataclass(frozen=True)
class Speed:
    """What was measured.

    Attributes:
        throughput: samples a second.
        batch: at this many samples a batch.
        p50: seconds of one sample alone, the median.
        p95: the 95th of a hundred.
    """

    throughput: float
    batch: int
    p50: float
    p95: float


def speeds(networks: Sequence[tuple[Backbone, Sequence[np.ndarray]]]) -> list[Speed]:
    """The speed of each of several networks. Throughput is measured in turns, so that what else the machine does hits all of them.

    Args:
        networks: each with views of the same real samples, as its own preparation makes them.
    """
    few = [(each, views[:: max(1, len(views) // _MOST)][:_MOST]) for each, views in networks]
    sized = [{size: _batches(each, views, size) for size in SIZES} for each, views in few]
    best = [_best(each, batches) for (each, _), batches in zip(networks, sized, strict=True)]
    rates: list[list[float]] = [[] for _ in networks]
    for _ in range(_ROUNDS):
        for rate, (size, run), batches in zip(rates, best, sized, strict=True):
            rate.append(_rate(run, batches[size]))
    alone = [_alone(each, batches[1]) for (each, _), batches in zip(networks, sized, strict=True)]
    return [
        Speed(statistics.median(rate), size, float(np.median(took)), float(np.quantile(took, 0.95)))
        for rate, (size, _), took in zip(rates, best, alone, strict=True)
    ]


def _batches(backbone: Backbone, views: Sequence[np.ndarray], size: int) -> list[Batch]:
    """All views in batches of one bucket and of similar length; the last of a bucket may be smaller."""
    preparation = backbone.preparation
    buckets: dict[object, list[np.ndarray]] = {}
    for view in sorted(views, key=len):
        buckets.setdefault(preparation.bucket(view), []).append(view)
    cut = (each[at : at + size] for each in buckets.values() for at in range(0, len(each), size))
    return [preparation.collate(each) for each in cut]


def _runner(backbone: Backbone, size: int, *, alone: bool = False) -> Run:
    """What runs batches of a size: an export of OpenVINO with as many streams as cores, or with one where one batch comes alone."""
    if isinstance(backbone, ExportedBackbone) and backbone.graph.runtime == "openvino":
        fixed = size if backbone.preparation.modality == "image" else 0
        session = Session.start(backbone, batch=fixed, streams=1 if alone else None)
        return lambda batches: _spent(session.run(backbone, batches))
    if isinstance(backbone, ExportedBackbone):
        return lambda batches: _spent(map(backbone.embed, batches))
    engine = ENGINES.get(choose(backbone, AUTO).first)
    return lambda batches: _spent(engine.run(backbone, batches))


def _spent(rows: "Iterator[object]") -> None:
    for _ in rows:
        pass


def _best(backbone: Backbone, sized: dict[int, list[Batch]]) -> tuple[int, Run]:
    """The quickest batch size, and what runs it. Only pictures have a session for each size."""
    runs = {SIZES[0]: _runner(backbone, SIZES[0])}
    for size in SIZES[1:]:
        runs[size] = _runner(backbone, size) if backbone.preparation.modality == "image" else runs[SIZES[0]]
    size = max(SIZES, key=lambda size: _rate(runs[size], sized[size], seconds=_SECONDS / 3))
    return size, runs[size]


def _rate(run: Run, batches: Sequence[Batch], *, seconds: float = _SECONDS) -> float:
    run(batches[:2])
    n, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        run(batches)
        n += sum(map(len, batches))
    return n / (time.perf_counter() - began)


def _alone(backbone: Backbone, batches: Sequence[Batch]) -> list[float]:
    run, took = _runner(backbone, 1, alone=True), []
    for number in range(_WARM + _ALONE):
        one = batches[number * 7 % len(batches)]
        began = time.perf_counter()
        run([one])
        if number >= _WARM:
            took.append(time.perf_counter() - began)
    return took
