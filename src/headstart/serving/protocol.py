"""HTTP as uvicorn reads it, with a bound on what a client may send beside its bodies, on how long a connection may idle, and on how many there are."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Bytes between two pieces of a body: of a head, of what frames a chunk, of trailers.
_MOST_BYTES = 65_536
# Until the next head is whole; until the next piece of a body whose request was answered already; and until all of that, or some of an answer, is through.
_HEAD_SECONDS, _REST_SECONDS, _STALLED_SECONDS = 30.0, 5.0, 30.0
# Requests that may wait on a connection for the one that is being answered.
_MOST_PIPELINED = 32
# Connections: half of the files that the process may have open, and no more than these.
_MOST_CONNECTIONS = 1024


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
    _in_head = True
    _rest_until = 0.0
    _late: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The time of the first request begins, where there is room for the connection."""
        if len(self.connections) >= most_connections():
            self.transport = transport
            transport.abort()
            return
        super().connection_made(transport)
        self._end_in(_HEAD_SECONDS)

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._in_head, self._between = True, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers, which come after the body, are nobody's."""
        if self._in_head:
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
        if self.cycle.response_complete:
            self._end_in(min(_REST_SECONDS, self._rest_until - self.loop.time()))
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Where the request was answered before all of it was there, the time until the next one begins."""
        self._between = 0
        if self.cycle.response_complete:
            self._end_in(_HEAD_SECONDS)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The time until the next request begins, or until the rest of this one is there: it is thrown away."""
        super().on_response_complete()
        if not self.pipeline and self.cycle.response_complete:
            self._rest_until = self.loop.time() + _STALLED_SECONDS
            self._end_in(_REST_SECONDS if self.cycle.more_body else _HEAD_SECONDS)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to no body."""
        self._between += len(data)
        super().data_received(data)
        if self._between > _MOST_BYTES and not self.transport.is_closing():
            self.send_400_response("The head of the request is too long.")
        if self.transport.is_closing() and self._late is None:
            self._end_in(_REST_SECONDS)

    def pause_writing(self) -> None:
        """The client does not read what it is answered."""
        super().pause_writing()
        self._stalled = self.loop.call_later(_STALLED_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """It does again."""
        self._go_on()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._stop()
        self._go_on()
        super().connection_lost(exc)

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
