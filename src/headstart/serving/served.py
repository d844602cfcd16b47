"""A model that is served: from the content of one input to its answer, prepared in any thread and answered together with what else waits."""

import dataclasses
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headstart.core.errors import SampleError
from headstart.core.threads import Threads
from headstart.data.modalities import MODALITIES
from headstart.data.preparation import Prepared
from headstart.features.choosing import AUTO, settled
from headstart.features.engines import ENGINES
from headstart.features.extraction import embed_prepared
from headstart.model.judge import Judging
from headstart.model.model import Model, check_engine
from headstart.model.nearest import nearest_carried
from headstart.model.saliency import reduced, saliency
from headstart.serving.admission import GivenUp, Turns
from headstart.serving.options import MOST_NEIGHBOURS, Limits
from headstart.serving.refusals import too_large, unusable
from headstart.serving.worker import Worker

Answer = Mapping[str, Any]

# Inputs that are answered at once, and of a batch: of what waits the most alike are taken, and small batches have less padding than a large one.
_MOST_TOGETHER, _BATCH = 16, 8
# A picture is made smaller first, whatever it holds; other explanations are made of inputs that hold a part of what a prediction's may.
_EXPLAINED = {"image": 1.0, "text": 0.1, "audio": 0.1}
# A text of so many characters or bytes has become tokens before another thread would have taken it over.
_AT_ONCE = 4096


@dataclass(frozen=True)
class Asking:
    """How an input is to be answered.

    Attributes:
        judging: when to abstain, and how sets are made.
        neighbours: how many of the nearest training examples are told.
    """

    judging: Judging = field(default_factory=Judging)
    neighbours: int = 0


@dataclass(frozen=True)
class _Predict:
    prepared: Prepared
    asking: Asking


@dataclass(frozen=True)
class _Explain:
    content: bytes | str
    label: str
    until: float
    given_up: threading.Event


_Work = _Predict | _Explain


@dataclass(frozen=True)
class Served:
    """A model, the engine that it runs on, and the thread that answers.

    Attributes:
        name: what requests call it.
        model: the model.
        engine: what runs its backbone; always the same, so that equal inputs get equal answers.
        limits: how much an input may hold.
        worker: answers what was prepared.
        threads: prepare what is to be predicted.
        turns: large inputs are decoded one after the other, those of other models too.
        apart: prepares what is to be explained, which so keeps no prediction from a thread.
        turns_apart: likewise of what is explained, which so keeps no prediction from its turn.
    """

    name: str
    model: Model
    engine: str
    limits: Limits
    worker: "Worker[_Work, Answer]"
    threads: Threads
    turns: Turns
    apart: Threads
    turns_apart: Turns

    @classmethod
    def of(
        cls, model: Model, *, name: str, engine: str, limits: Limits, turns: tuple[Turns, Turns] | None = None
    ) -> "Served":
        """Make a model ready: its network is compiled, and has run once.

        Args:
            model: the model.
            name: what requests call it.
            engine: what runs its backbone; `auto` is the one that is quickest where there is no end of samples.
            limits: how much an input may hold.
            turns: of all models of a server, at what is predicted and at what is explained; its own where there is no other.

        Raises:
            UsageError: there is no such engine, or it cannot run the backbone here.
        """
        check_engine(model.backbone, engine)
        chosen = settled(model.backbone) if engine == AUTO else engine

        def answer(work: Sequence[_Work]) -> list[Answer]:
            predicted = iter(_answers(model, [each for each in work if isinstance(each, _Predict)], chosen))
            return [
                next(predicted) if isinstance(each, _Predict) else _map(model, each, chosen, worker.between)
                for each in work
            ]

        worker: Worker[_Work, Answer] = Worker(
            answer,
            most=_MOST_TOGETHER,
            name=f"headstart {name}",
            alone=lambda work: isinstance(work, _Explain),
            size=lambda work: (
                0.0 if isinstance(work, _Explain) else float(max(len(view) for view in work.prepared.views))
            ),
        )
        threads = Threads(max(2, min(8, os.cpu_count() or 1)), name="headstart prepares")
        apart = Threads(1, name="headstart prepares to explain")
        predicted, explained = turns or (Turns(), Turns())
        made = cls(name, model, chosen, limits, worker, threads, predicted, apart, explained)
        try:
            made._warm()
        except BaseException:
            made.stop(seconds=0.0)
            raise
        return made

    def _warm(self) -> None:
        """Run one input alone and many together, as a first request must not wait for a compiler."""
        probes = self.model.backbone.preparation.probes(_MOST_TOGETHER, 0)
        ENGINES.get(self.engine).expect(self.model.backbone)
        views = [Prepared((value[:length] if value.ndim == 1 else value,), (1.0,)) for value, length in _views(probes)]
        for n in (1, len(views)):
            embed_prepared(self.model.backbone, views[:n], engine=self.engine, most=_BATCH)

    def prepare(self, content: bytes | str, given_up: threading.Event | None = None) -> Prepared:
        """Decode an input, after its header was compared with the limits.

        Args:
            content: of the input.
            given_up: set where nobody waits for it any more.

        Raises:
            GivenUp: so it was before its turn came.
            RefusedError: it holds more than the limits allow.
            SampleError: it cannot be read.
        """
        with self._turn(content, 1.0, self.turns, given_up):
            prepared = self.model.backbone.preparation.prepare(content)
        self._check_tokens(prepared, 1.0)
        return prepared

    def looked_at(self, content: bytes | str, given_up: threading.Event | None = None) -> bytes | str:
        """An input as it is explained: a picture made smaller, anything else as it is, once it was seen that it can be prepared.

        Args:
            content: of the input.
            given_up: set where nobody waits for it any more.

        Raises:
            GivenUp: so it was before its turn came.
            RefusedError: it holds more than an explanation may.
            SampleError: it cannot be read.
        """
        share = _EXPLAINED[self.model.modality]
        with self._turn(content, share, self.turns_apart, given_up):
            if self.model.modality == "image":
                assert isinstance(content, bytes), "an image is a file's bytes"
                content = reduced(content)
            prepared = self.model.backbone.preparation.prepare(content)
        self._check_tokens(prepared, share)
        return content

    def _turn(
        self, content: bytes | str, share: float, turns: Turns, given_up: threading.Event | None
    ) -> AbstractContextManager[None]:
        """The turn of an input that holds no more than a share of the limit.

        Raises:
            RefusedError: it holds more.
            SampleError: its header cannot be read.
        """
        modality = MODALITIES.get(self.model.modality)
        most = share * getattr(self.limits, modality.unit)
        extent = modality.extent(content)
        if extent > most:
            raise too_large(f"holds {extent:,.10g} {modality.unit}, and this server takes {most:,.10g}")
        return nullcontext() if self.at_once(content) else turns.of(extent / most, given_up)

    def _check_tokens(self, prepared: Prepared, share: float) -> None:
        tokens = float(prepared.facts.get("tokens", 0))
        if tokens > share * self.limits.tokens:
            raise too_large(f"becomes {tokens:,.0f} tokens, and this server takes {share * self.limits.tokens:,.0f}")

    def at_once(self, content: bytes | str) -> bool:
        """Whether an input is prepared sooner than another thread would take it over: then it waits for nothing either."""
        return self.model.modality == "text" and len(content) <= _AT_ONCE

    def submit(self, prepared: Prepared, asking: Asking) -> "Future[Answer]":
        """The answer to come: a prediction as docs/json.md states it."""
        return self.worker.submit(_Predict(prepared, asking))

    def explained(self, content: bytes | str, *, label: str, given_up: threading.Event) -> "Future[Answer]":
        """The map to come of what the prediction hangs on: some hundred answers, and predictions that come meanwhile are answered between them.

        Args:
            content: as `looked_at` gives it.
            label: to follow; empty for the most probable one.
            given_up: set where nobody waits for it any more; it also ends when the time of its request is over.
        """
        return self.worker.submit(_Explain(content, label, time.monotonic() + self.limits.wait, given_up))

    @property
    def ready(self) -> bool:
        """Whether it answers."""
        return self.worker.alive

    def stop(self, *, seconds: float) -> None:
        """Answer what waits, and end."""
        end = time.monotonic() + seconds
        self.worker.stop(seconds=seconds)
        for threads in (self.threads, self.apart):
            threads.stop(seconds=max(0.0, end - time.monotonic()))

    def to_json(self) -> dict[str, Any]:
        """What `GET /models` tells of it."""
        model, unit = self.model, MODALITIES.get(self.model.modality).unit
        return {
            "name": self.name,
            "task": model.task,
            "modality": model.modality,
            "labels": list(model.labels),
            "backbone": model.report.backbone,
            "precision": model.precision,
            "engine": self.engine,
            "judges": model.judge is not None,
            "coverage": None
            if model.judge is None or model.judge.conformal is None
            else model.judge.conformal.coverage,
            "examples": model.examples is not None,
            "neighbours": model.judge is not None and model.judge.neighbours is not None,
            "warnings": list(model.warnings),
            "limits": {
                "body": self.limits.body,
                "items": min(self.limits.items, self.limits.queue),
                unit: getattr(self.limits, unit),
            },
            "metrics": {name: dataclasses.asdict(each) for name, each in _first(model).items()},
        }


def _first(model: Model) -> dict[str, Any]:
    """The first figure of the model's report, by name."""
    return dict(list(model.report.metrics.items())[:1])


def _views(probes: Any) -> list[tuple[np.ndarray, int]]:
    return list(zip(probes.values, map(int, probes.lengths), strict=True))


def _map(model: Model, asked: _Explain, engine: str, between: Callable[[], None]) -> Answer:
    """The map of one input; other inputs are answered whenever a batch of it is done.

    Raises:
        TimeoutError: nobody waits for it any more.
    """

    def due() -> None:
        if asked.given_up.is_set() or time.monotonic() > asked.until:
            raise GivenUp

    def others(stage: str, done: int, total: int) -> None:
        del stage, done, total
        between()

    try:
        due()
        return saliency(model, asked.content, label=asked.label, engine=engine, progress=others, due=due).to_json()
    except GivenUp as late:  # a TimeoutError itself would be taken for a file that cannot be read
        raise TimeoutError from late


def _answers(model: Model, work: Sequence[_Predict], engine: str) -> list[Answer]:
    """One answer for each.

    Raises:
        SampleError: the backbone gives a row that is no number, and it is the only one.
    """
    if not work:
        return []
    gained = embed_prepared(model.backbone, [each.prepared for each in work], engine=engine, most=_BATCH)
    if gained.failed:  # together with others this ends in one try for each alone
        raise SampleError(next(iter(gained.failed.values())))
    x = np.concatenate(gained.rows, axis=1)
    alike: dict[Asking, list[int]] = defaultdict(list)
    for place, each in enumerate(work):
        alike[each.asking].append(place)
    found: list[Answer] = [{}] * len(work)
    for asking, places in alike.items():
        for place, answer in zip(places, model.answers(x[places], judging=asking.judging), strict=True):
            near = _near(model, x[place : place + 1], asking.neighbours)
            found[place] = {**answer, **near, "truncated": bool(work[place].prepared.facts.get("truncated"))}
    return found


def _near(model: Model, row: np.ndarray, k: int) -> dict[str, Any]:
    if not k:
        return {}
    examples, _ = nearest_carried(model, row, k=k)
    shown = model.examples is not None
    return {"neighbours": [each.to_json() | {"example": each.place if shown else None} for each in examples]}


def check_asked(model: Model, *, neighbours: str, abstain: str, by_label: str) -> Asking:
    """What a request's options ask for.

    Raises:
        RefusedError: one of them is none.
        UsageError: there is no such occasion to abstain.
    """
    if len(neighbours) > 2 or not neighbours.isdecimal() or int(neighbours) > MOST_NEIGHBOURS:
        raise unusable(f"neighbours is a number from 0 to {MOST_NEIGHBOURS}, and got {neighbours[:20]!r}")
    if by_label not in {"true", "false"}:
        raise unusable(f"by_label is true or false, and got {by_label[:20]!r}")
    judging = Judging(abstain, by_label=by_label == "true")
    judging.check()
    if abstain and model.judge is None:
        raise unusable("this model carries no judge and cannot tell when to abstain")
    return Asking(judging, int(neighbours))
