"""The application: its routes, and what every answer goes through."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from headstart.model.examples import KINDS
from headstart.serving import metrics, page
from headstart.serving.answering import Answering
from headstart.serving.guard import Guard
from headstart.serving.openapi import document
from headstart.serving.options import ServeOptions
from headstart.serving.refusals import RefusedError, failed

Endpoint = Callable[[Request], Awaitable[Response]]


class Answer(Response):
    """JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """As UTF-8; a number that is none is an error, and not something that other programs cannot read."""
        return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")


def application(answering: Answering, options: ServeOptions) -> Guard:
    """The application of a server.

    Args:
        answering: the models, and what requests share.
        options: of the server.
    """
    told = document(answering.names, options)

    async def healthz(request: Request) -> Response:  # noqa: ARG001  (what a route takes)
        return Answer({"alive": True})

    async def readyz(request: Request) -> Response:  # noqa: ARG001
        return Answer({"ready": answering.ready}, status_code=200 if answering.ready else 503)

    async def figures(request: Request) -> Response:  # noqa: ARG001
        answering.metrics.under_way.set(answering.admission.items)
        return Response(answering.metrics.text(), media_type=metrics.KIND)

    async def models(request: Request) -> Response:  # noqa: ARG001
        await answering.opened()
        return Answer({"models": [each.to_json() for each in answering.models.values()]})

    async def openapi(request: Request) -> Response:  # noqa: ARG001
        return Answer(told)

    async def predict(request: Request) -> Response:
        return Answer(await answering.predict(request))

    async def explain(request: Request) -> Response:
        return Answer(await answering.explain(request))

    async def example(request: Request) -> Response:
        await answering.opened()
        return _example(answering, request.path_params)

    routes = [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", figures),
        Route("/models", _settled(models)),
        Route("/models/{name:path}/examples/{place}", _settled(example)),
        Route("/openapi.json", openapi),
        Route("/predict", _settled(predict), methods=["POST"]),
        Route("/explain", _settled(explain), methods=["POST"]),
    ]
    if options.page:
        routes += [Route(path, _file(content, kind)) for path, content, kind in page.files()]
    inner = Starlette(routes=routes, exception_handlers={HTTPException: _unknown})  # type: ignore[dict-item]
    inner.router.redirect_slashes = False  # another path is none of these
    return Guard(inner, options, metrics=answering.metrics, routes=[route.path for route in routes])


def _settled(endpoint: Endpoint) -> Endpoint:
    """An endpoint whose every error is an answer: a framework's own way would write what was sent into the log."""

    async def settled(request: Request) -> Response:
        try:
            return await endpoint(request)
        except RefusedError as refused:
            return Answer({"error": refused.sentence}, status_code=refused.status, headers=refused.headers)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        except asyncio.CancelledError:  # only the end of the server cancels a request
            return Answer({"error": "the server is stopping"}, status_code=503, headers={"Retry-After": "1"})
        except HTTPException:
            raise
        except Exception as error:  # noqa: BLE001  (whatever it is, the client gets an answer, and the log where it happened)
            return Answer({"error": failed(error)}, status_code=500)

    return settled


async def _unknown(request: Request, error: HTTPException) -> Response:  # noqa: ARG001
    return Answer({"error": error.detail}, status_code=error.status_code, headers=error.headers)


def _example(answering: Answering, asked: Mapping[str, Any]) -> Response:
    served = answering.models.get(asked["name"])
    examples = None if served is None else served.model.examples
    if served is None or examples is None:
        raise RefusedError(404, "there is no such model, or it was saved without examples")
    place = asked["place"]
    if not (place.isdecimal() and len(place) < 9 and int(place) < len(examples)):
        raise RefusedError(404, f"the model has {len(examples):,} examples, counted from 0")
    return Response(examples.at(int(place)), media_type=KINDS[served.model.modality])


def _file(content: bytes, kind: str) -> Endpoint:
    async def send(request: Request) -> Response:  # noqa: ARG001
        return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})

    return send
