"""A connection without a network: its transport and its clock are the test's, so that nothing hangs on how fast a machine is."""

import asyncio
import runpy
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from headstart.core.errors import ExtraMissing
from headstart.serving import protocol
from headstart.serving.protocol import BoundedProtocol, check_uvicorn

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
READ = 262_144  # bytes that asyncio reads at once


class Clock:
    """A loop whose time is told."""

    def __init__(self) -> None:
        self.now, self.calls, self.tasks = 0.0, list[tuple[float, "Handle"]](), list[Coroutine[Any, Any, None]]()

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, call: Callable[[], None]) -> "Handle":
        handle = Handle(call)
        self.calls.append((self.now + seconds, handle))
        return handle

    def create_task(self, work: Coroutine[Any, Any, None]) -> "Handle":
        self.tasks.append(work)
        return Handle(work.close)

    def answer(self) -> None:
        """Run what was asked for."""
        while self.tasks:
            with pytest.raises(StopIteration):
                self.tasks.pop(0).send(None)

    def forward(self, seconds: float) -> None:
        end = self.now + seconds
        while due := sorted((each for each in self.calls if each[0] <= end), key=lambda each: each[0]):
            self.calls.remove(due[0])
            self.now = max(self.now, due[0][0])
            if not due[0][1].cancelled:
                due[0][1].call()
        self.now = end


class Handle:
    def __init__(self, call: Callable[[], None]) -> None:
        self.call, self.cancelled = call, False

    def cancel(self) -> None:
        self.cancelled = True

    def add_done_callback(self, call: object) -> None:
        del call


class Wire(asyncio.Transport):
    """A transport whose system takes a kilobyte, and what its client reads."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.left, self.room = b"", 0, 1_000
        self.closing = self.aborted = False
        self.high, self.low, self.paused = 65_536, 16_384, False
        self.connection: BoundedProtocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)}.get(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high is not None
        self.high, self.low = high, high // 4 if low is None else low

    def get_write_buffer_size(self) -> int:
        return self.left

    def write(self, data: Any) -> None:
        self.written += bytes(data)
        taken = min(self.room, len(data))
        self.room -= taken
        self.left += len(data) - taken
        if self.left > self.high and not self.paused:
            self.paused = True
            self.connection.pause_writing()

    def reads(self, n: int) -> None:
        """The client reads so much."""
        self.left = max(0, self.left - n)
        if self.paused and self.left <= self.low:
            self.paused = False
            self.connection.resume_writing()

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Connection:
    """A connection to an application whose every answer has so many bytes."""

    def __init__(self, answer: int = 5) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            del scope, receive
            headers = [(b"content-length", str(answer).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": bytes(answer)})

        config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None, timeout_keep_alive=30)
        self.clock, self.wire = Clock(), Wire()
        self.wire.connection = BoundedProtocol(config, ServerState(), {}, self.clock)  # type: ignore[arg-type]
        self.wire.connection.connection_made(self.wire)

    def sends(self, data: bytes, *, at_once: int = READ) -> None:
        for at in range(0, len(data), at_once):
            if not self.wire.closing:
                self.wire.connection.data_received(data[at : at + at_once])

    @property
    def reached(self) -> int:
        """Requests that the application was asked; they are given up."""
        n = len(self.clock.tasks)
        for each in self.clock.tasks:
            each.close()
        self.clock.tasks.clear()
        return n


@pytest.mark.parametrize("at_once", [1_000, 16_384, READ])
@pytest.mark.parametrize(
    ("head", "fits"),
    [
        (GET + b"X: 1\r\n" * 99, True),
        (GET + b"X: 1\r\n" * 100, False),
        (GET + b"X: 1\r\n" * 85_000, False),
        (GET + b"X: " + b"a" * 60_000 + b"\r\n", True),
        (GET + b"X: " + b"a" * 66_000 + b"\r\n", False),
        (GET + b"X: " + b"a" * 300_000 + b"\r\n", False),
        (GET + (b"X: " + b"a" * 20_000 + b"\r\n") * 4, False),
        (b"GET /?" + b"a" * 60_000 + b" HTTP/1.1\r\nHost: localhost\r\n", True),
        (b"GET /?" + b"a" * 66_000 + b" HTTP/1.1\r\nHost: localhost\r\n", False),
    ],
    ids=["100 headers", "101", "85,001", "60 kB", "66 kB", "300 kB", "80 kB in four", "a path", "a longer one"],
)
def test_a_head_is_no_longer_than_it_may_be(head: bytes, at_once: int, *, fits: bool) -> None:
    found = Connection()
    found.sends(head + b"\r\n", at_once=at_once)
    assert found.reached == fits
    assert found.wire.closing is not fits
    assert found.wire.written.startswith(b"" if fits else b"HTTP/1.1 431 ")
    assert found.wire.written.count(b"HTTP/1.1") == (not fits), "it is said once"


def test_each_head_is_counted_alone() -> None:
    found = Connection()
    for _ in range(5):
        found.sends((GET + b"X: " + b"a" * 30_000 + b"\r\n" + b"Y: 1\r\n" * 60 + b"\r\n") * 3)
        found.clock.answer()
        found.wire.room = 1_000
    assert not found.wire.closing
    assert found.wire.written.count(b"HTTP/1.1 200") == 15


def test_what_is_kept_of_a_head_that_does_not_end_is_bounded() -> None:
    found = Connection()
    found.sends(GET + b"\r\n" + GET + b"X: " + b"a" * 200_000)  # in one read
    assert found.wire.aborted, "a refusal would be taken for the answer to the first"
    assert (found.reached, found.wire.written) == (1, b"")


def test_a_client_that_reads_slowly_gets_all_of_its_answer() -> None:
    found = Connection(answer=2_000_000)
    found.sends(GET + b"\r\n")
    found.clock.answer()
    for _ in range(39):
        found.wire.reads(50_000)
        found.clock.forward(protocol._STALLED_SECONDS / 2)
        found.wire.reads(1_000)
        found.clock.forward(protocol._STALLED_SECONDS / 2)
        assert not found.wire.aborted
    found.wire.reads(50_000)
    assert found.wire.left == 0
    assert len(found.wire.written) > 2_000_000


@pytest.mark.parametrize("read", [0, 1, 1_000])
@pytest.mark.parametrize("answer", [50_000, 2_000_000])
def test_a_client_that_hardly_reads_is_given_up(read: int, answer: int) -> None:
    found = Connection(answer=answer)
    found.sends(GET + b"\r\n")
    found.clock.answer()
    for _ in range(30):
        found.clock.forward(protocol._STALLED_SECONDS / 10)
        found.wire.reads(read)
    assert found.wire.left, "or there was nothing to give up"
    assert found.wire.aborted


def test_the_time_of_the_next_request_begins_once_the_answer_is_sent() -> None:
    found = Connection(answer=100_000)
    found.sends(GET + b"\r\n")
    found.clock.answer()
    found.clock.forward(29)
    found.wire.reads(100_000)
    found.clock.forward(29)
    assert not found.wire.aborted
    found.clock.forward(2)
    assert found.wire.aborted


def test_the_rest_of_a_body_is_waited_for_once_its_answer_is_sent() -> None:
    found = Connection(answer=100_000)
    found.sends(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
    found.clock.answer()
    found.sends(b"x")
    found.clock.forward(20)
    assert not found.wire.aborted
    found.wire.reads(100_000)
    found.clock.forward(4)
    found.sends(b"x")
    found.clock.forward(4)
    assert not found.wire.aborted
    found.clock.forward(2)
    assert found.wire.aborted


@pytest.mark.parametrize(
    "name", ["on_headers_complete", "send_400_response", "pipeline", "more_body", "on_response_complete"]
)
def test_a_uvicorn_that_lacks_what_this_rests_on_is_refused(name: str) -> None:
    check_uvicorn(HttpToolsProtocol, RequestResponseCycle)

    def without(whose: type) -> type:
        """The same, its name another."""
        code = whose.__init__.__code__  # type: ignore[misc]
        named = tuple("renamed" if each == name else each for each in code.co_names)
        inner = type(whose.__init__)(code.replace(co_names=named), {})  # type: ignore[misc]
        own = {key: value for key, value in vars(whose).items() if key not in {name, "__dict__", "__weakref__"}}
        return type(whose.__name__, whose.__bases__, own | {"__init__": inner})

    with pytest.raises(ExtraMissing, match=rf"of uvicorn .* has no '{name}'.* pip install 'headstart\[serve\]'"):
        check_uvicorn(without(HttpToolsProtocol), without(RequestResponseCycle))


def test_that_is_looked_at_before_anybody_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(HttpToolsProtocol, "send_400_response")
    with pytest.raises(ExtraMissing, match="has no 'send_400_response'"):
        runpy.run_path(protocol.__file__)
