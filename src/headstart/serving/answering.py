"""From a request to its answer: the steps that a prediction and an explanation go through, and how long each may take."""

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from headstart.core.errors import HeadstartError, SampleError, UsageError
from headstart.core.threads import Threads
from headstart.serving.admission import Admission
from headstart.serving.bodies import Asked, Input, received, room_for, understood
from headstart.serving.metrics import Metrics, Tally, outcome
from headstart.serving.options import Limits
from headstart.serving.refusals import RefusedError, failed, unusable
from headstart.serving.served import Answer, Asking, Served, check_asked

T = TypeVar("T")

# Bytes of a body that is not read at once: JSON and forms of some megabytes take their time, and several times their size.
_LARGE = 65_536
_BUSY = 429
# Seconds after which it is looked whether the models are there.
_LOOK = 0.05


class Answering:
    """The models of a server, and what all requests share.

    Attributes:
        names: of the models, in the order in which they were given.
        models: by name; none before they are opened.
        admission: what is under way.
        metrics: what is counted.
    """

    def __init__(self, names: Iterable[str], limits: Limits, *, stopping: Callable[[], bool]) -> None:
        """Begin without models.

        Args:
            names: of those to come.
            limits: how much a request may hold.
            stopping: whether the server was told to stop.
        """
        self.names, self.models = tuple(names), dict[str, Served]()
        self.admission, self.metrics = Admission(limits), Metrics()
        self._limits, self._stopping = limits, stopping

    def open(self, models: Iterable[Served]) -> None:
        """Answer with these from now on; from any thread."""
        self.models = {each.name: each for each in models}

    @property
    def ready(self) -> bool:
        """Whether requests would be answered."""
        return bool(self.models) and all(each.ready for each in self.models.values()) and not self._stopping()

    def stop(self, *, seconds: float) -> None:
        """Answer what is under way, and end."""
        end = time.monotonic() + seconds
        for each in self.models.values():
            each.stop(seconds=max(0.0, end - time.monotonic()))

    async def opened(self) -> None:
        """Wait for the models: who asks before they are open is not turned away.

        Raises:
            RefusedError: it takes too long, or the server is stopping.
        """
        end = time.monotonic() + self._limits.wait
        while not self.models:
            if self._stopping() or time.monotonic() > end:
                raise RefusedError(503, "the models are not open", headers={"Retry-After": "1"})
            await asyncio.sleep(_LOOK)

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
        await self.opened()
        served = self.model(request)
        asking = _asking(served, request)
        with self.metrics.inputs(served.name) as tally:
            async with self._asked(request, served.threads, served, "no answer was made") as asked:
                tally.left = len(asked.inputs)
                with self.admission.inputs(len(asked.inputs)):
                    began = time.perf_counter()
                    try:
                        if asked.single:
                            answers = [await self._answer(served, asking, asked.size, asked.inputs[0])]
                            tally.add("answered")
                        else:
                            answers = await self._all(served, asking, asked, tally)
                    finally:
                        self.admission.note(time.perf_counter() - began, n=self.admission.items)
        return {"model": served.name, "predictions": answers}

    async def explain(self, request: Request) -> Mapping[str, Any]:
        """The answer to `POST /explain`."""
        await self.opened()
        served = self.model(request)
        _check_options(request, "label")
        label = request.query_params.get("label", "")
        if label and label not in served.model.labels:
            raise unusable("the model has no such label to explain: GET /models tells those that it has")
        with self.metrics.inputs(served.name) as tally:
            async with self._asked(request, served.apart, served, "no explanation was made") as asked:
                if len(asked.inputs) != 1:
                    raise unusable(f"one input is explained at a time, and the request holds {len(asked.inputs)}")
                tally.left = 1
                with self.admission.explanation():
                    began = time.perf_counter()
                    try:
                        found = await self._explanation(served, asked, label)
                    finally:
                        self.admission.note_explanation(time.perf_counter() - began)
                tally.add("answered")
        return {"model": served.name, "saliency": found}

    async def _explanation(self, served: Served, asked: Asked, label: str) -> Answer:
        """What one prediction hangs on.

        Raises:
            RefusedError: the input cannot be read or explained, or holds too much.
        """
        given_up = threading.Event()
        try:
            content = asked.inputs[0].content
            looking, keep = partial(served.looked_at, content), partial(self.admission.keep, sys.getsizeof(content))
            content = await _in_thread(served.apart, looking, keep=keep)
            with self.admission.hold(len(content), beside=asked.size):
                return await asyncio.wrap_future(served.explained(content, label=label, given_up=given_up))
        except HeadstartError as error:
            said = f"the input {error}" if isinstance(error, SampleError) else str(error)
            raise unusable(said) from error
        finally:
            given_up.set()

    @asynccontextmanager
    async def _asked(self, request: Request, threads: Threads, served: Served, what: str) -> AsyncIterator[Asked]:
        """What a request asks for, and an end to all of it once nobody waits for the answer, or it has taken too long."""
        wait = self._limits.wait
        async with (
            _in_time(wait, 408, "the body did not arrive") as clock,
            received(request, limits=self._limits, admission=self.admission) as body,
        ):
            clock.reschedule(None)
            async with _in_time(wait, 503, what), _while_there(request):
                kind, modality = request.headers.get("content-type", ""), served.model.modality
                content = body.pop()
                size = len(content)
                beside = room_for(content, kind, limits=self._limits) - size if size > _LARGE else 0
                reading = partial(understood, content, kind, modality=modality, limits=self._limits)
                with self.admission.hold(beside, beside=size) as resize:
                    if beside:
                        keep = partial(self.admission.keep, size + beside)
                        asked = await _in_thread(threads, lambda _: reading(), keep=keep)
                    else:
                        asked = reading()
                    del content, reading  # the inputs alone hold what was sent
                    resize(max(0, sum(sys.getsizeof(each.content) for each in asked.inputs) - size) if beside else 0)
                    yield asked

    async def _all(self, served: Served, asking: Asking, asked: Asked, tally: Tally) -> list[dict[str, Any]]:
        """An answer for each input, or the reason why there is none: one that cannot be read costs no other its answer.

        Where there is no room for all of them beside each other, the rest come one after the other.

        Raises:
            RefusedError: there is no room even so, or all of them failed.
        """
        said: list[str] = []

        async def one(given: Input, *, last: bool) -> dict[str, Any] | None:
            try:
                answer = await self._answer(served, asking, asked.size, given)
            except RefusedError as refused:
                if refused.status != _BUSY:
                    tally.add(outcome(refused))
                    return {"input": given.name, "error": refused.sentence}
                if last:
                    raise
                return None
            except Exception as error:  # noqa: BLE001  (whatever it is, the others get their answers, and the log where it happened)
                said.append(failed(error))
                tally.add("failed")
                return {"input": given.name, "error": said[-1]}
            tally.add("answered")
            return answer

        async with asyncio.TaskGroup() as together:
            first = [together.create_task(one(given, last=False)) for given in asked.inputs]
        found = [each.result() or await one(given, last=True) for given, each in zip(asked.inputs, first, strict=True)]
        if len(said) == len(found):
            raise RefusedError(500, said[-1])
        return [each for each in found if each is not None]

    async def _answer(self, served: Served, asking: Asking, beside: int, given: Input) -> dict[str, Any]:
        """One answer, with so many bytes held by its request already.

        Raises:
            RefusedError: the input cannot be read, holds too much, or there is no room for it now.
        """
        try:
            preparing = partial(served.prepare, given.content)
            if served.at_once(given.content):
                prepared = preparing()
            else:
                keep = partial(self.admission.keep, sys.getsizeof(given.content))
                prepared = await _in_thread(served.threads, preparing, keep=keep)
            with self.admission.hold(sum(view.nbytes for view in prepared.views), beside=beside):
                answer: Answer = await asyncio.wrap_future(served.submit(prepared, asking))
        except SampleError as error:
            raise unusable(f"the input {error}") from error
        return {"input": given.name, **answer}


async def _in_thread(
    threads: Threads, work: Callable[[threading.Event], T], *, keep: Callable[[], Callable[[], None]]
) -> T:
    """What a thread makes of it.

    Args:
        threads: one of them does it.
        work: what it is given is set once nobody waits for it any more.
        keep: called where a thread is still at it when nobody waits any more; what it gives is called once the thread is done.
    """
    given_up = threading.Event()
    future = threads.submit(partial(work, given_up))
    try:
        return await asyncio.wrap_future(future)
    finally:
        given_up.set()
        if not future.cancel() and not future.done():
            future.add_done_callback(_in_this_loop(keep()))
        del future  # or its error, which knows this frame, would be kept by it


def _in_this_loop(act: Callable[[], None]) -> Callable[[object], None]:
    """What does it in the loop that runs now, from whichever thread it is called."""
    loop = asyncio.get_running_loop()

    def soon(_: object) -> None:
        with suppress(RuntimeError):  # the loop is closed, and nobody counts any more
            loop.call_soon_threadsafe(act)

    return soon


@asynccontextmanager
async def _while_there(request: Request) -> AsyncIterator[None]:
    """What is done for a request whose body is read ends when its client goes.

    Raises:
        ClientDisconnect: it went.
    """
    working, gone = asyncio.current_task(), False
    assert working is not None, "a request is answered in a task"

    async def watch() -> None:
        nonlocal gone
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone = True
        working.cancel()

    watching = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if not gone:
            raise
        working.uncancel()
        raise ClientDisconnect from None
    finally:
        watching.cancel()


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
