"""From a request to its answer: the steps that a prediction and an explanation go through, and how long each may take."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from starlette.requests import Request

from headstart.core.errors import HeadstartError, SampleError, UsageError
from headstart.serving.admission import Admission
from headstart.serving.bodies import Asked, Input, received, understood
from headstart.serving.metrics import Metrics
from headstart.serving.options import Limits
from headstart.serving.refusals import RefusedError, unusable
from headstart.serving.served import Answer, Asking, Served, check_asked

T = TypeVar("T")

# An explanation is about as much work as so many predictions, and is made of inputs that hold a part of what a prediction's may.
_EXPLANATION = 64
# Bytes of a body that is not read at once: JSON and forms of some megabytes take their time.
_LARGE = 65_536
# A picture is made smaller first, whatever it holds.
_EXPLAINED = {"image": 1.0, "text": 0.1, "audio": 0.1}


class Answering:
    """The models of a server, and what all requests share.

    Attributes:
        models: by name, in the order in which they were given.
        admission: what is under way.
        metrics: what is counted.
    """

    def __init__(self, models: Sequence[Served], limits: Limits, *, threads: int) -> None:
        self.models = {each.name: each for each in models}
        self.admission, self.metrics = Admission(limits), Metrics()
        self._limits = limits
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="headstart prepares")

    @property
    def ready(self) -> bool:
        """Whether requests would be answered."""
        return all(each.ready for each in self.models.values())

    def stop(self, *, seconds: float) -> None:
        """Answer what is under way, and end."""
        end = time.monotonic() + seconds
        for each in self.models.values():
            each.stop(seconds=max(0.0, end - time.monotonic()))
        self._pool.shutdown(wait=False, cancel_futures=True)  # its threads are at an image or a text, and end with it

    def model(self, request: Request) -> Served:
        """The one that a request names, or the only one.

        Raises:
            RefusedError: it names none, or one that is not there.
        """
        name = request.query_params.get("model", "")
        if not name and len(self.models) == 1:
            return next(iter(self.models.values()))
        if name not in self.models:
            known = ", ".join(self.models)
            raise RefusedError(404 if name else 422, f"name one of the models with ?model=: there are {known}")
        return self.models[name]

    async def predict(self, request: Request) -> Mapping[str, Any]:
        """The answer to `POST /predict`."""
        served = self.model(request)
        asking = _asking(served, request)
        async with self._asked(request, served) as asked:
            with self.admission.inputs(len(asked.inputs)):
                began = time.perf_counter()
                async with _in_time(self._limits.wait, 503, "no answer was made"):
                    one = asked.inputs[0] if asked.single else None
                    answers = (
                        [await self._answer(served, one, asking)] if one else await self._all(served, asked, asking)
                    )
                self.admission.note(time.perf_counter() - began, n=self.admission.items)
        return {"model": served.name, "predictions": answers}

    async def explain(self, request: Request) -> Mapping[str, Any]:
        """The answer to `POST /explain`."""
        served = self.model(request)
        _check_options(request, "label")
        label = request.query_params.get("label", "")
        if label and label not in served.model.labels:
            raise unusable("the model has no such label to explain: GET /models tells those that it has")
        async with self._asked(request, served) as asked:
            if len(asked.inputs) != 1:
                raise unusable(f"one input is explained at a time, and the request holds {len(asked.inputs)}")
            content = asked.inputs[0].content
            with self.admission.inputs(min(_EXPLANATION, self._limits.queue)):
                async with _in_time(self._limits.wait, 503, "no explanation was made"):
                    try:
                        await self._in_pool(partial(served.prepare, content, share=_EXPLAINED[served.model.modality]))
                        found = await asyncio.wrap_future(served.explained(content, label=label))
                    except SampleError as error:
                        raise unusable(f"the input {error}") from error
                    except HeadstartError as error:
                        raise unusable(str(error)) from error
        return {"model": served.name, "saliency": found}

    @asynccontextmanager
    async def _asked(self, request: Request, served: Served) -> AsyncIterator[Asked]:
        async with (
            _in_time(self._limits.wait, 408, "the body did not arrive") as clock,
            received(request, limits=self._limits, admission=self.admission) as body,
        ):
            clock.reschedule(None)
            kind, modality = request.headers.get("content-type", ""), served.model.modality
            content = body.pop()
            reading = partial(understood, content, kind, modality=modality, limits=self._limits)
            large = len(content) > _LARGE
            asked = await self._in_pool(reading) if large else reading()
            del content, reading  # the inputs alone hold what was sent
            yield asked

    async def _all(self, served: Served, asked: Asked, asking: Asking) -> list[dict[str, Any]]:
        """An answer for each input, or the reason why there is none: one that cannot be read costs no other its answer."""

        async def one(given: Input) -> dict[str, Any]:
            try:
                return await self._answer(served, given, asking)
            except RefusedError as refused:
                return {"input": given.name, "error": refused.sentence}

        return await asyncio.gather(*map(one, asked.inputs))

    async def _answer(self, served: Served, given: Input, asking: Asking) -> dict[str, Any]:
        """One answer.

        Raises:
            RefusedError: the input cannot be read, or holds too much.
        """
        outcome = "failed"
        try:
            preparing = partial(served.prepare, given.content)
            prepared = preparing() if served.at_once(given.content) else await self._in_pool(preparing)
            with self.admission.hold(sum(view.nbytes for view in prepared.views)):
                answer: Answer = await asyncio.wrap_future(served.submit(prepared, asking))
            outcome = "answered"
        except SampleError as error:
            outcome = "unreadable"
            raise unusable(f"the input {error}") from error
        except RefusedError:
            outcome = "refused"
            raise
        finally:
            self.metrics.predictions.labels(served.name, outcome).inc()
        return {"input": given.name, **answer}

    async def _in_pool(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


def _asking(served: Served, request: Request) -> Asking:
    options = request.query_params
    _check_options(request, "neighbours", "abstain", "by_label")
    try:
        return check_asked(
            served.model,
            neighbours=options.get("neighbours", "0"),
            abstain=options.get("abstain", ""),
            by_label=options.get("by_label", "false"),
        )
    except UsageError as error:
        raise unusable(str(error)) from error


def _check_options(request: Request, *known: str) -> None:
    """Refuse an option that there is not.

    Raises:
        RefusedError: names those that there are.
    """
    if unknown := sorted(set(request.query_params) - {"model", *known}):
        raise unusable(f"there is no option {unknown[0][:40]!r}; there are model, {', '.join(known)}")


@asynccontextmanager
async def _in_time(seconds: float, status: int, what: str) -> AsyncIterator[asyncio.Timeout]:
    """Answer with a status where something takes too long.

    Raises:
        RefusedError: it did.
    """
    try:
        async with asyncio.timeout(seconds) as clock:
            yield clock
    except TimeoutError as error:
        raise RefusedError(status, f"{what} within {seconds:g} s", headers={"Retry-After": "1"}) from error
