"""HTTP as uvicorn reads it, with a bound on what a client may send beside its bodies, on how long a connection may idle, and on how many there are."""

import asyncio
import json
import socket
from importlib import metadata

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from headstart.core.errors import ExtraMissing

# Bytes between two pieces of a body: of a head, of what frames a chunk, of trailers; and headers of a request.
_MOST_BYTES, _MOST_HEADERS = 65_536, 100
# Bytes that are parsed before it is looked how many there were: asyncio reads 16 times as much at once.
_PIECE = 16_384
# Until the next head is whole; until the next piece of a body whose request was answered already; and until all of that, or some of an answer, is through.
_HEAD_SECONDS, _REST_SECONDS, _STALLED_SECONDS = 30.0, 5.0, 30.0
# Bytes of an answer that a client reads in that time at least, and what the system keeps of it: where that is more, a slow client's reading is not seen.
_LEAST_READ, _SYSTEM_KEEPS = 32_768, 65_536
# Requests that may wait on a connection for the one that is being answered.
_MOST_PIPELINED = 32
# Connections: half of the files that the process may have open, and no more than these.
_MOST_CONNECTIONS = 1024
# What this rests on and uvicorn promises nobody: methods that the parser and uvicorn call, and what its connections and their requests keep.
_METHODS = (
    *("connection_made", "connection_lost", "data_received", "pause_writing", "resume_writing"),
    *("on_message_begin", "on_url", "on_header", "on_headers_complete", "on_body", "on_message_complete"),
    *("on_response_complete", "send_400_response"),
)
_KEPT, _KEPT_OF_REQUEST = ("loop", "transport", "connections", "pipeline", "cycle"), ("response_complete", "more_body")


def check_uvicorn(connection: type = HttpToolsProtocol, request: type = RequestResponseCycle) -> None:
    """Refuse a uvicorn that names things otherwise: what is overridden here would be called by nobody, and bound nothing.

    Args:
        connection: uvicorn's class of a connection.
        request: its class of a request and its answer.

    Raises:
        ExtraMissing: names what is missing.
    """
    missing = [name for name in _METHODS if not callable(getattr(connection, name, None))]
    for whose, kept in ((connection, _KEPT), (request, _KEPT_OF_REQUEST)):
        missing += [name for name in kept if name not in whose.__init__.__code__.co_names]  # type: ignore[misc]
    if missing:
        raise ExtraMissing(
            f"serving rests on the inside of uvicorn, and that of uvicorn {metadata.version('uvicorn')} has no {missing[0]!r}:"
            " type  pip install 'headstart[serve]'  for one that has"
        )


def most_connections() -> int:
    """How many may be open at once, so that files are left for everything else."""
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return _MOST_CONNECTIONS
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else max(1, min(_MOST_CONNECTIONS, soft // 2))


class BoundedProtocol(HttpToolsProtocol):
    """A connection. Its parser joins a header's pieces without end, and any byte at all puts off uvicorn's own end of idling."""

    _between = 0  # bytes since the last piece of a body, or the end of a head
    _head = _headers = 0  # bytes and headers of the head
    _in_head = True
    _rest_until = 0.0
    _late: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _unread = 0  # bytes of an answer, when it was last looked

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The time of the first request begins, where there is room for the connection."""
        if len(self.connections) >= most_connections():
            self.transport = transport
            transport.abort()
            return
        super().connection_made(transport)
        transport.set_write_buffer_limits(0)  # writing is paused while there is anything that the system has not taken
        if (below := transport.get_extra_info("socket")) is not None:
            below.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SYSTEM_KEEPS)
        self._end_in(_HEAD_SECONDS)

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._in_head = True
        self._between = self._head = self._headers = 0

    def on_url(self, url: bytes) -> None:
        """Take a piece of what is asked for."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers, which come after the body, are nobody's."""
        if self._in_head:
            self._headers += 1
            self._count(len(name) + len(value))
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole, and what comes now is bounded by the limits of bodies."""
        self._in_head, self._between = False, 0
        self._stop()
        if len(self.pipeline) >= _MOST_PIPELINED:
            self.transport.abort()
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._between = 0
        if self._through:
            self._end_in(min(_REST_SECONDS, self._rest_until - self.loop.time()))
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Where the request was answered before all of it was there, the time until the next one begins."""
        self._between = 0
        if self._through:
            self._end_in(_HEAD_SECONDS)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is made: the time until the next request begins once it is sent."""
        super().on_response_complete()
        self._await_next()

    def data_received(self, data: bytes) -> None:
        """Count what belongs to no body."""
        for at in range(0, len(data), _PIECE):
            if self.transport.is_closing():
                break
            piece = data[at : at + _PIECE]
            self._between += len(piece)
            super().data_received(piece)
            if self._between > _MOST_BYTES:
                self._refuse()
        if self.transport.is_closing() and self._late is None:
            self._end_in(_REST_SECONDS)

    def send_400_response(self, msg: str) -> None:
        """Say what is no HTTP, unless it was refused already."""
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def pause_writing(self) -> None:
        """The client has to read of its answer before more can be sent."""
        super().pause_writing()
        self._look_again()

    def resume_writing(self) -> None:
        """All is sent."""
        self._go_on()
        super().resume_writing()
        self._await_next()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._stop()
        self._go_on()
        super().connection_lost(exc)

    @property
    def _asked(self) -> bool:
        """Whether there was a request."""
        return self.cycle is not None

    @property
    def _through(self) -> bool:
        """Whether the last request was answered, and nothing of the answer is left here."""
        return self.cycle.response_complete and not self.transport.get_write_buffer_size()

    def _await_next(self) -> None:
        """The time until the next request begins, or until the rest of this one is there: it is thrown away."""
        if self._asked and not self.pipeline and self._through:
            self._rest_until = self.loop.time() + _STALLED_SECONDS
            self._end_in(_REST_SECONDS if self.cycle.more_body else _HEAD_SECONDS)

    def _count(self, size: int) -> None:
        """So many bytes of a head.

        Raises:
            ValueError: there are too many; it ends the parsing.
        """
        self._head += size
        if self._head > _MOST_BYTES or self._headers > _MOST_HEADERS:
            self._refuse()
            raise ValueError("the head is too long")

    def _refuse(self) -> None:
        """End the connection of a head that is too long, with an answer where it cannot be taken for that to another request."""
        if self.transport.is_closing():
            return
        if not self._in_head or (self._asked and not self.cycle.response_complete):
            self.transport.abort()
            return
        said = f"the head of a request has at most {_MOST_BYTES:,} bytes and {_MOST_HEADERS} headers"
        body = json.dumps({"error": said}).encode("ascii")
        self.transport.write(
            b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body)
        )
        self.transport.close()

    def _look_again(self) -> None:
        """See later whether some of the answer was read."""
        self._unread = self.transport.get_write_buffer_size()
        self._stalled = self.loop.call_later(_STALLED_SECONDS, self._look)

    def _look(self) -> None:
        if self._unread - self.transport.get_write_buffer_size() < _LEAST_READ:
            self.transport.abort()
        else:
            self._look_again()

    def _end_in(self, seconds: float) -> None:
        self._stop()
        self._late = self.loop.call_later(seconds, self.transport.abort)

    def _stop(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _go_on(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None


check_uvicorn()
