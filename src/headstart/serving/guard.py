"""What every request passes before it is looked at: the host that it names, its token, and the clock; and the headers that every answer gets."""

import hmac
import json
import logging
import time
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headstart.serving import page
from headstart.serving.metrics import Metrics
from headstart.serving.options import ServeOptions, is_loopback

LOG = logging.getLogger("headstart.serving")

OPEN = ("/healthz", "/readyz", "/openapi.json", *page.PATHS)
"""What may be asked without a token: whether it lives, and the page, which asks for the token itself."""

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:;"
    " media-src 'self' blob:; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self)",
}


class Guard:
    """The application behind its guards."""

    def __init__(self, inner: ASGIApp, options: ServeOptions, *, metrics: Metrics, routes: Sequence[str]) -> None:
        """Set them up.

        Args:
            inner: the application.
            options: with the host and the token.
            metrics: what is counted.
            routes: paths that may be named in the metrics.
        """
        self._inner, self._options, self._metrics = inner, options, metrics
        self._token = options.token.encode("ascii")
        self._routes = frozenset(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.update({name: value for name, value in _HEADERS.items() if name not in headers})
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            if refused := self._refusal(scope):
                await _say(noted, *refused)
            else:
                await self._inner(scope, receive, noted)
        except Exception as error:  # noqa: BLE001  (it was answered; whoever ran it would write its words, which may be a client's)
            LOG.error("%s outside of any route", type(error).__name__)  # noqa: TRY400
        finally:
            route = scope["path"] if scope["path"] in self._routes else "other"
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - began)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Why a request is not let in; None where it is."""
        headers = Headers(scope=scope)
        if self._options.local and not is_loopback(_host(headers.get("host", ""))):
            # A page elsewhere could give its own name this address, and so read what is answered here.
            return 421, "this server answers to localhost only: ask it by that name, or start it with --host"
        if self._options.local and scope["method"] == "POST" and headers.get("sec-fetch-site", "") == "cross-site":
            return 403, "this server answers no page of another site: ask it from its own, or start it with --host"
        if self._token and scope["path"] not in OPEN:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            told = given.strip().encode("latin-1", "replace")
            if scheme.lower() != "bearer" or not hmac.compare_digest(told, self._token):
                return 401, "this server wants its token: send the header  Authorization: Bearer TOKEN"
        return None


def _host(header: str) -> str:
    """The host of a Host header, without its port."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.rpartition(":")[0] if ":" in header else header


async def _say(send: Send, status: int, sentence: str) -> None:
    headers = [(b"content-type", b"application/json")]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"error": sentence}).encode("ascii")})
