"""Connections as they should not be: without end, without a body, and more of them than there are files."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

import headstart as hs
from headstart.serving.protocol import most_connections
from support.cache import cache_in
from support.made import reviews
from support.serving import Running, running

# Its times are shorter, and its connections fewer.
_QUICK = """
from headstart.serving import protocol
protocol._HEAD_SECONDS, protocol._REST_SECONDS, protocol._STALLED_SECONDS = 1.5, 0.6, 1.2
protocol._MOST_CONNECTIONS = 12
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("served")
    with cache_in(place / "cache"):
        hs.fit(reviews(place / "reviews.csv"), backbone="toy:text").save(place / "texts")
    return place / "texts"


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Running]:
    with running(model, "--max-body", "2MB", prelude=_QUICK) as found:
        yield found


def closed_within(found: socket.socket, seconds: float, *, trickle: bytes = b"") -> bool:
    """Whether the server ends a connection, to which some bytes are sent again and again."""
    end = time.monotonic() + seconds
    found.settimeout(0.1)
    while time.monotonic() < end:
        try:
            if trickle:
                found.sendall(trickle)
            if not found.recv(65536):
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


POST = b"POST /predict HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize("piece", [b"a" * 10_000, b"b\r\nX: " + b"a" * 10_000], ids=["one", "many"])
def test_trailers_without_end_are_not_read_to_their_end(server: Running, piece: bytes) -> None:
    with server.connected() as found:
        found.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n4\r\nwarm\r\n0\r\nX: ")
        sent = 0
        with suppress(OSError):
            for _ in range(2000):
                found.sendall(piece)
                sent += len(piece)
        assert sent < 15_000_000, "what lies between is the system's"
    assert server.client.get("/healthz").status_code == 200


def test_trailers_change_nothing(server: Running) -> None:
    with server.connected() as found:
        chunks = b"Transfer-Encoding: chunked\r\n\r\n4\r\nwarm\r\n0\r\nContent-Type: application/json\r\n\r\n"
        found.sendall(POST + chunks)
        assert b" 200 " in found.recv(65536).split(b"\r\n")[0]


def test_blank_lines_keep_no_connection_open(server: Running) -> None:
    with server.connected() as found:
        found.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b" 200 " in found.recv(65536).split(b"\r\n")[0]
        assert closed_within(found, 6, trickle=b"\r\n")


def test_a_connection_that_says_nothing_ends(server: Running) -> None:
    with server.connected() as found:
        assert closed_within(found, 6)


@pytest.mark.parametrize("path", [b"/healthz", b"/nowhere", b"/predict?model=nobody"])
@pytest.mark.parametrize("trickle", [b"", b"x"])
def test_a_body_that_nobody_reads_is_not_waited_for(server: Running, path: bytes, trickle: bytes) -> None:
    verb = b"GET " if path == b"/healthz" else b"POST "
    with server.connected() as found:
        found.sendall(verb + path + b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
        assert found.recv(65536)
        assert closed_within(found, 6, trickle=trickle)


def test_the_rest_of_a_body_is_thrown_away_and_the_connection_goes_on(server: Running) -> None:
    with server.connected() as found:
        found.sendall(b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\n\r\n")
        assert b" 404 " in found.recv(65536).split(b"\r\n")[0]
        found.sendall(bytes(300_000) + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = b""
        with suppress(TimeoutError):
            while b"alive" not in received:
                received += found.recv(65536)
        assert b" 200 " in received


def answered(server: Running, route: str) -> float:
    """How many requests of a route were answered."""
    begin = f'headstart_requests_total{{route="{route}"'
    return sum(
        float(line.split()[-1]) for line in server.client.get("/metrics").text.splitlines() if line.startswith(begin)
    )


def test_an_answer_that_nobody_reads_is_given_up(server: Running) -> None:
    with server.connected() as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        before, now = -1.0, 0.0
        while now > before:  # until it waits for the client to read
            before = now
            for _ in range(20):
                found.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
                time.sleep(0.004)
            now = answered(server, "/openapi.json")
        end = time.monotonic() + 6
        with pytest.raises(OSError, match=r"pipe|reset|aborted"):
            while time.monotonic() < end:
                found.sendall(b"\r\n")
                time.sleep(0.05)


def test_requests_that_wait_on_one_connection_are_bounded(server: Running) -> None:
    ask = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with server.connected() as found:
        found.sendall(ask * 20)
        received, end = b"", time.monotonic() + 10
        while received.count(b"alive") < 20 and time.monotonic() < end:
            received += found.recv(65536)
        assert received.count(b"alive") == 20
    with server.connected() as found:
        found.sendall(ask * 200)
        received = b""
        with suppress(OSError):
            while piece := found.recv(65536):
                received += piece
        assert received.count(b"alive") < 200


def test_no_more_connections_than_there_is_room_for(server: Running) -> None:
    time.sleep(0.2)
    with ExitStack() as stack:
        several = [stack.enter_context(server.connected()) for _ in range(40)]
        time.sleep(0.3)
        ended = sum(closed_within(each, 0.15) for each in several)
        assert ended >= 28
    end = time.monotonic() + 10
    while time.monotonic() < end:  # those that are gone make room
        with suppress(Exception):
            if server.client.get("/healthz").status_code == 200:
                return
        time.sleep(0.1)
    pytest.fail("it answers no more")


def test_half_of_the_files_that_may_be_open_are_for_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    for soft, most in ((64, 32), (256, 128), (1_000_000, 1024), (resource.RLIM_INFINITY, 1024)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, soft=soft: (soft, soft))
        assert most_connections() == most
