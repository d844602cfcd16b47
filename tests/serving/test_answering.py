"""From a request to its answer, without a socket: what is counted, what is given up, and how long anything may take."""

import asyncio
import dataclasses
import gc
import logging
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request

import headstart as hs
from headstart.core.threads import Threads
from headstart.model.model import Model
from headstart.serving import answering as steps
from headstart.serving.answering import Answering
from headstart.serving.options import Limits
from headstart.serving.refusals import RefusedError
from headstart.serving.served import Served
from support.cache import cache_in
from support.made import reviews

JSON = "application/json"
# Characters that are prepared in a thread, in a turn, and may be explained.
LONG = b"warm " * 1500


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    place = tmp_path_factory.mktemp("served")
    with cache_in(place / "cache"):
        return hs.fit(reviews(place / "reviews.csv"), backbone="toy:text")


@pytest.fixture
def opened(model: Model) -> Iterator[Callable[..., Answering]]:
    """A server's models, with limits of a test's own."""
    made: list[Answering] = []

    def opening(**limits: Any) -> Answering:
        given = Limits(**limits)
        made.append(Answering(["texts"], given, stopping=lambda: False))
        made[-1].open([Served.of(model, name="texts", engine="eager", limits=given)])
        return made[-1]

    yield opening
    for each in made:
        each.stop(seconds=0)


def asking(content: bytes, kind: str = "text/plain", *, gone: asyncio.Event | None = None) -> Request:
    """A request whose client goes once it is told to."""
    messages = [{"type": "http.request", "body": content, "more_body": False}]

    async def receive() -> Mapping[str, Any]:
        if messages:
            return messages.pop()
        await (gone or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    headers = [(b"content-type", kind.encode())]
    return Request({"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}, receive)


def ran(work: Coroutine[Any, Any, Any]) -> Any:
    """What comes of it within ten seconds."""
    return asyncio.run(asyncio.wait_for(work, 10))


def several(*texts: str) -> Request:
    return asking(b'{"inputs": [%s]}' % ",".join(f'"{each}"' for each in texts).encode(), JSON)


def counted(found: Answering) -> dict[str, float]:
    """Inputs by outcome."""
    return {
        sample.labels["outcome"]: sample.value
        for metric in found.metrics.predictions.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    }


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch, model: Model) -> Iterator[threading.Event]:
    """What a decoder waits for where a text begins with `slow`."""
    opened, kind = threading.Event(), type(model.backbone.preparation)
    inner = kind.prepare

    def slow(self: Any, content: Any) -> Any:
        if bytes(content).startswith(b"slow") if isinstance(content, bytes) else content.startswith("slow"):
            opened.wait(20)
        return inner(self, content)

    monkeypatch.setattr(kind, "prepare", slow)
    yield opened
    opened.set()


def test_what_a_client_abandons_is_let_go_before_a_thread_gets_to_it() -> None:
    class Body(list[int]):
        """A body that can be watched."""

    async def abandon() -> None:
        threads, gate = Threads(1, name="test"), threading.Event()
        threads.submit(lambda: gate.wait(10))
        body = Body(range(9))
        seen = weakref.ref(body)

        def reading(*_: object, content: Body) -> int:
            return len(content)

        task = asyncio.create_task(steps._in_thread(threads, steps.partial(reading, content=body), keep=pytest.fail))
        del body
        await asyncio.sleep(0.01)
        assert seen() is not None
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        del task
        await asyncio.sleep(0)
        assert seen() is None
        gate.set()
        threads.stop(seconds=10)

    ran(abandon())


@pytest.mark.parametrize("kind", [JSON, "Multipart/form-data; boundary=x"])
def test_a_body_is_understood_within_the_time_of_its_request(opened: Callable[..., Answering], kind: str) -> None:
    found, gate = opened(wait=0.2), threading.Event()
    for _ in range(8):
        found.models["texts"].threads.submit(lambda: gate.wait(20))
    with pytest.raises(RefusedError, match="no answer was made within") as refused:
        ran(found.predict(asking(b" " * 70_000, kind)))
    gate.set()
    assert refused.value.status == 503


def test_what_it_takes_to_understand_a_body_has_to_fit_too(
    opened: Callable[..., Answering], monkeypatch: pytest.MonkeyPatch
) -> None:
    held, inner = [], steps.understood
    found = opened(body=1_000_000, memory=1_000_000)

    def understood(*given: Any, **named: Any) -> Any:
        held.append(found.admission.bytes)
        return inner(*given, **named)

    monkeypatch.setattr(steps, "understood", understood)
    body = b'{"inputs": ["%s"]}' % (b"warm " * 13_500)
    with found.admission.hold(300_000):
        with pytest.raises(RefusedError) as busy:
            ran(found.predict(asking(body, JSON)))
        assert (busy.value.status, held) == (429, [])
    with pytest.raises(RefusedError) as never:
        ran(found.predict(asking(b"x" * 200_000 + "ä".encode(), JSON)))
    assert never.value.status == 413
    ran(found.predict(asking(body, JSON)))
    assert held[0] > 4 * len(body)
    assert found.admission.bytes == 0


def test_a_body_of_the_largest_size_is_answered_whatever_it_holds(opened: Callable[..., Answering]) -> None:
    size = 100_000
    memory = 11 * size + 300_000 + 64 * 2_000
    found = opened(body=size, memory=memory, tokens=size)
    text = "\N{GRINNING FACE}" + "warm " * 20_000
    body = b'{"input": "%s"}' % text.encode()[: size - 13]
    assert len(body) == size
    assert len(ran(found.predict(asking(body, JSON)))["predictions"]) == 1
    assert found.admission.bytes == 0
    with pytest.raises(RefusedError) as never:
        ran(opened(body=size, memory=memory - 1, tokens=size).predict(asking(body, JSON)))
    assert never.value.status == 413, "with a byte less it would be refused for good, and such a server does not start"


def test_a_file_as_it_is_waits_for_no_thread_to_be_read(
    opened: Callable[..., Answering], monkeypatch: pytest.MonkeyPatch
) -> None:
    names, inner = [], steps.understood

    def understood(*given: Any, **named: Any) -> Any:
        names.append(threading.current_thread() is threading.main_thread())
        return inner(*given, **named)

    monkeypatch.setattr(steps, "understood", understood)
    found = opened(tokens=1_000_000)
    content = b"warm " * 14_000
    for kind, body in (("image/jpeg", content), (JSON, b'{"input": "%s"}' % content)):
        assert len(ran(found.predict(asking(body, kind)))["predictions"]) == 1
    assert names == [True, False]


def test_explanations_that_are_prepared_keep_no_prediction_out(
    opened: Callable[..., Answering], gate: threading.Event
) -> None:
    found = opened()

    async def both() -> None:
        slow = [asyncio.create_task(found.explain(asking(b"slow " * 1500))) for _ in range(8)]
        await asyncio.sleep(0.1)
        answer = await found.predict(asking(LONG))
        assert len(answer["predictions"]) == 1
        for each in slow:
            each.cancel()
        gate.set()
        await asyncio.gather(*slow, return_exceptions=True)

    ran(both())


def test_who_has_gone_keeps_no_thread_that_waits_for_its_turn(
    opened: Callable[..., Answering], gate: threading.Event
) -> None:
    found = opened(characters=len(LONG))  # each has the whole room
    served = found.models["texts"]

    async def abandon() -> None:
        gone = asyncio.Event()
        with served.turns.of(1.0):
            left = [asyncio.create_task(found.predict(asking(LONG, gone=gone))) for _ in range(9)]
            await asyncio.sleep(0.1)
            gone.set()
            assert {type(each) for each in await asyncio.gather(*left, return_exceptions=True)} == {ClientDisconnect}
            await asyncio.wait_for(asyncio.wrap_future(served.threads.submit(lambda: 1)), 5)
        assert counted(found) == {"abandoned": 9}

    ran(abandon())


def test_a_failure_costs_no_other_input_its_answer(
    opened: Callable[..., Answering], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    inner = Served.prepare

    def prepare(self: Served, content: str | bytes, *given: Any) -> Any:
        if content[:3] in {"bad", b"bad"}:
            raise MemoryError("secret")
        return inner(self, content, *given)

    monkeypatch.setattr(Served, "prepare", prepare)
    found = opened()
    with caplog.at_level(logging.ERROR):
        answer = ran(found.predict(several("warm", "bad", "grim", "bad " * 2000)))["predictions"]
    assert ["label" in each for each in answer] == [True, False, True, False]
    assert answer[1] == {"input": "input 2", "error": "the server failed at this; its log says where"}
    assert [each.getMessage().startswith("MemoryError in ") for each in caplog.records] == [True, True]
    assert "secret" not in caplog.text
    assert counted(found) == {"answered": 2, "failed": 2}
    for request in (several("bad", "bad " * 2000), asking(b"bad")):
        with pytest.raises((RefusedError, MemoryError)) as failed:
            ran(found.predict(request))
        assert getattr(failed.value, "status", 500) == 500
    assert counted(found) == {"answered": 2, "failed": 5}
    assert (found.admission.items, found.admission.bytes) == (0, 0)


@pytest.mark.parametrize(
    ("limits", "outcome"),
    [
        ({"queue": 2}, "refused"),
        ({"wait": 0.2}, "failed"),
        ({}, "abandoned"),
    ],
)
def test_every_input_is_counted_by_what_became_of_it(
    opened: Callable[..., Answering], gate: threading.Event, limits: dict[str, Any], outcome: str
) -> None:
    found, gone = opened(**limits), asyncio.Event()
    slow = "slow " * 1500

    async def ask() -> None:
        with found.admission.inputs(1):
            request = asking(b'{"inputs": ["warm", "%s"]}' % slow.encode(), JSON, gone=gone)
            task = asyncio.create_task(found.predict(request))
            await asyncio.sleep(0.3)
            gone.set()
            with pytest.raises((RefusedError, ClientDisconnect)):
                await task
        gate.set()

    ran(ask())
    assert counted(found) == ({"refused": 2} if outcome == "refused" else {"answered": 1, outcome: 1})


def test_an_explanation_that_finds_no_place_is_counted_and_told_how_long_they_take(
    opened: Callable[..., Answering],
) -> None:
    found = opened(explanations=1)
    with found.admission.explanation():
        for _ in range(50):
            found.admission.note_explanation(20.0)
        with pytest.raises(RefusedError) as refused:
            ran(found.explain(asking(b"warm")))
    assert int(refused.value.headers["Retry-After"]) == 20
    assert counted(found) == {"refused": 1}
    assert ran(found.explain(asking(b"warm")))["model"] == "texts"


def test_where_there_is_no_room_for_all_those_that_were_not_begun_are_counted_too(
    opened: Callable[..., Answering], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = opened()
    monkeypatch.setattr(found.admission, "_limits", dataclasses.replace(found._limits, memory=60))
    with found.admission.hold(20), pytest.raises(RefusedError) as refused:
        ran(found.predict(several("warm", "cold")))
    assert refused.value.status == 429
    assert sum(counted(found).values()) == 2


@pytest.mark.parametrize("gives_up", ["client", "clock"])
def test_an_abandoned_body_keeps_its_room_while_a_thread_is_at_it(
    opened: Callable[..., Answering], monkeypatch: pytest.MonkeyPatch, gives_up: str
) -> None:
    found, inner = opened(wait=0.3 if gives_up == "clock" else 30.0), steps.understood
    gate, begun, gone = threading.Event(), threading.Event(), asyncio.Event()

    def understood(*given: Any, **named: Any) -> Any:
        begun.set()
        gate.wait(20)
        return inner(*given, **named)

    monkeypatch.setattr(steps, "understood", understood)
    body = b'{"input": "%s"}' % (b"warm " * 20_000)
    whole = steps.room_for(body, JSON, limits=found._limits)

    async def abandon() -> None:
        task = asyncio.create_task(found.predict(asking(body, JSON, gone=gone)))
        await asyncio.to_thread(begun.wait, 10)
        assert found.admission.bytes == whole
        if gives_up == "client":
            gone.set()
        with pytest.raises((RefusedError, ClientDisconnect)):
            await task
        assert found.admission.bytes == whole, "the thread still has all of it"
        gate.set()
        while found.admission.bytes:
            await asyncio.sleep(0.01)

    ran(abandon())
    assert found.admission.bytes == 0


def test_an_abandoned_body_that_no_thread_got_to_keeps_no_room(opened: Callable[..., Answering]) -> None:
    found, gate, gone = opened(), threading.Event(), asyncio.Event()
    for _ in range(8):
        found.models["texts"].threads.submit(lambda: gate.wait(20))

    async def abandon() -> None:
        task = asyncio.create_task(found.predict(asking(b" " * 70_000, JSON, gone=gone)))
        await asyncio.sleep(0.1)
        assert found.admission.bytes > 70_000
        gone.set()
        with pytest.raises(ClientDisconnect):
            await task
        assert found.admission.bytes == 0

    ran(abandon())
    gate.set()


@pytest.mark.parametrize("path", ["predict", "explain"])
def test_an_abandoned_input_keeps_its_room_while_a_decoder_is_at_it(
    opened: Callable[..., Answering], gate: threading.Event, path: str
) -> None:
    found, gone = opened(), asyncio.Event()
    content = b"slow " * 1500

    async def abandon() -> None:
        task = asyncio.create_task(getattr(found, path)(asking(content, gone=gone)))
        await asyncio.sleep(0.2)
        gone.set()
        with pytest.raises(ClientDisconnect):
            await task
        assert found.admission.bytes >= len(content)
        gate.set()
        while found.admission.bytes:
            await asyncio.sleep(0.01)

    ran(abandon())
    assert found.admission.bytes == 0


@pytest.mark.parametrize("failing", [False, True])
def test_no_input_waits_for_the_collector(
    opened: Callable[..., Answering], monkeypatch: pytest.MonkeyPatch, failing: bool
) -> None:
    class Text(str):
        """A text that can be watched."""

        __slots__ = ("__weakref__",)

    seen: list[weakref.ref[Text]] = []

    def understood(content: bytes, *_: Any, **named: Any) -> Any:
        text = Text(content.decode())
        seen.append(weakref.ref(text))
        if failing:
            raise steps.unusable("no")
        return steps.Asked((steps.Input("a", text),), single=True, size=len(content))

    found = opened(tokens=1_000_000)
    monkeypatch.setattr(steps, "understood", understood)

    async def ask() -> None:  # asyncio itself keeps errors that reach it
        with suppress(RefusedError):
            await found.predict(asking(b'{"input": "%s"}' % (b"warm " * 20_000), JSON))

    gc.collect()
    gc.disable()
    try:
        ran(ask())
        end = time.monotonic() + 1
        while seen[0]() is not None and time.monotonic() < end:
            time.sleep(0.001)
        assert seen[0]() is None
    finally:
        gc.enable()
