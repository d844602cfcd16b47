"""HTTP as uvicorn reads it, with a bound on what a client may send before its request begins, in bytes and in time."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MOST_BYTES, _MOST_SECONDS = 65_536, 30.0


class BoundedProtocol(HttpToolsProtocol):
    """A connection. Its parser joins a header's pieces without end, and waits for a request's first byte for ever."""

    _head = 0
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The time of the first request begins."""
        super().connection_made(transport)
        self._begin()

    def on_message_begin(self) -> None:
        """The time of a head begins anew."""
        super().on_message_begin()
        self._begin()

    def on_headers_complete(self) -> None:
        """The head is whole, and what comes now is bounded by the limits of bodies."""
        self._head = -1
        self._stop()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head."""
        if self._head >= 0:
            self._head += len(data)
        super().data_received(data)
        if self._head > _MOST_BYTES and not self.transport.is_closing():
            self.send_400_response("The head of the request is too long.")

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._stop()
        super().connection_lost(exc)

    def _begin(self) -> None:
        self._head = 0
        self._stop()
        self._late = self.loop.call_later(_MOST_SECONDS, self.transport.close)

    def _stop(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
