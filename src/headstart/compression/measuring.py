"""How fast a network is here: samples a second at its best batch size, and how long one alone takes. Preparation is no part of it."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from headstart.backbones.backbone import Backbone
from headstart.backbones.exported import ExportedBackbone
from headstart.core.errors import reason
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
Views = Callable[[], Sequence[np.ndarray]]


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


@dataclass
class _Measuring:
    """A network while it is measured.

    Attributes:
        backbone: it.
        sized: its batches by size.
        size: the best one.
        run: what runs batches of it.
        rates: samples a second in each round.
        alone: seconds of one sample.
        failed: why it cannot be measured; empty while it can.
    """

    backbone: Backbone
    sized: dict[int, list[Batch]] = field(default_factory=dict)
    size: int = 0
    run: Run = lambda _batches: None
    rates: list[float] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    failed: str = ""

    def begin(self, given: Views) -> None:
        views = given()
        few = views[:: max(1, len(views) // _MOST)][:_MOST]
        self.sized = {size: _batches(self.backbone, few, size) for size in SIZES}
        self.size, self.run = _best(self.backbone, self.sized)

    def round(self) -> None:
        self.rates.append(_rate(self.run, self.sized[self.size]))

    def end(self) -> None:
        self.alone = _alone(self.backbone, self.sized[1])

    def tried(self, step: Callable[[], None]) -> None:
        """Whatever a runtime raises for batches that it cannot run ends this network's measuring and no other's."""
        if not self.failed:
            try:
                step()
            except Exception as error:  # noqa: BLE001
                self.failed = reason(error)

    def told(self) -> Speed | str:
        if self.failed:
            return self.failed
        p50, p95 = float(np.median(self.alone)), float(np.quantile(self.alone, 0.95))
        return Speed(statistics.median(self.rates), self.size, p50, p95)


def speeds(networks: Sequence[tuple[Backbone, Views]]) -> list[Speed | str]:
    """The speed of each of several networks; of one that cannot be measured, why.

    Throughput is measured in turns, so that what else the machine does hits all of them.

    Args:
        networks: each with what gives views of the same real samples, as its own preparation makes them.
    """
    runs = [_Measuring(each) for each, _ in networks]
    for each, (_, views) in zip(runs, networks, strict=True):
        each.tried(partial(each.begin, views))
    for _ in range(_ROUNDS):
        for each in runs:
            each.tried(each.round)
    for each in runs:
        each.tried(each.end)
    return [each.told() for each in runs]


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
    """The quickest batch size, and what runs it; sizes that it cannot run, for want of memory say, are none. Only pictures have a session for each size."""
    found: dict[int, tuple[float, Run]] = {}
    run, failed = None, None
    for size in SIZES:
        try:
            if run is None or backbone.preparation.modality == "image":
                run = _runner(backbone, size)
            found[size] = _rate(run, sized[size], seconds=_SECONDS / 3), run
        except Exception as error:  # noqa: BLE001  (whatever its runtime raises)
            failed = error
    if not found:
        assert failed is not None
        raise failed
    size = max(found, key=lambda size: found[size][0])
    return size, found[size][1]


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
