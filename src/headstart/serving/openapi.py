"""The OpenAPI document of a server: what it takes and what it answers, with the models that it has."""

from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from headstart.model.examples import KINDS
from headstart.serving.guard import OPEN
from headstart.serving.options import MOST_NEIGHBOURS, ServeOptions

_REASONS = {
    "400": "The body is not what its headers say.",
    "401": "The token is missing or another one.",
    "403": "A page of another site asked.",
    "404": "There is no such model or example.",
    "405": "The path is asked by another method.",
    "408": "The body did not arrive in time.",
    "413": "It holds more than the server takes.",
    "421": "The server answers to another host name.",
    "422": "It was understood, and cannot be answered.",
    "429": "Too much is under way: come again after Retry-After.",
    "500": "The server failed at it; its log says where.",
    "503": "No answer was made in time, or the server is stopping.",
}
_REFUSED = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
_ALWAYS, _POSTED = ("405", "421", "500"), ("400", "403", "404", "408", "413", "422", "429", "503")
_SECONDS = {"seconds", "wait"}  # limits that are no counts
_FILE = {"type": "string", "format": "binary", "minLength": 1}


def document(names: Sequence[str], options: ServeOptions) -> dict[str, Any]:
    """The document, of OpenAPI 3.1.

    Args:
        names: of the models.
        options: of the server.
    """
    names = list(names)
    which = {
        "name": "model",
        "in": "query",
        "required": len(names) > 1,
        "schema": {"type": "string", "enum": names},
        "description": "Which model; may be left out where there is one.",
    }
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "headstart",
            "version": metadata.version("headstart"),
            "description": "Labels with calibrated probabilities for pictures, texts or recordings.",
        },
        "paths": {
            "/predict": {"post": _predict(which, options)},
            "/explain": {"post": _explain(which)},
            "/models": {"get": _models()},
            "/models/{name}/examples/{place}": {"get": _example(names)},
            "/healthz": {"get": _get("Whether the process lives.", "alive")},
            "/readyz": {"get": _get("Whether requests are answered: not before the models are open.", "ready", "503")},
            "/metrics": {
                "get": {
                    "summary": "Counts and times, for Prometheus.",
                    "responses": _responses({"text/plain": {"schema": {"type": "string"}}}),
                }
            },
        },
        "components": {"schemas": {"Refused": _REFUSED, "Prediction": _PREDICTION, "Input": _INPUT}},
    }
    if options.token:
        _behind_token(found)
    return found


def _behind_token(found: dict[str, Any]) -> None:
    """Say which paths want the token, and what is answered without it."""
    found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    found["security"] = [{"token": []}]
    for path, operations in found["paths"].items():
        for operation in operations.values():
            if path in OPEN:
                operation["security"] = []
            else:
                operation["responses"] |= _refusals("401")


_PREDICTION = {
    "type": "object",
    "required": ["input"],
    "description": "As docs/json.md states it for the task of the model; of an input that cannot be read, is too large or makes the server fail, `input` and `error`.",
    "properties": {
        "input": {"type": "string"},
        "error": {"type": "string"},
        "label": {"type": ["string", "null"]},
        "labels": {"type": ["array", "null"], "items": {"type": "string"}},
        "value": {"type": ["number", "null"]},
        "low": {"type": ["number", "null"]},
        "high": {"type": ["number", "null"]},
        "probability": {"type": "number", "minimum": 0, "maximum": 1},
        "probabilities": {"type": "object", "additionalProperties": {"type": "number"}},
        "set": {"type": ["array", "null"], "items": {"type": "string"}},
        "outlier": {"type": ["object", "null"]},
        "abstain": {"type": ["string", "null"]},
        "truncated": {"type": "boolean"},
        "neighbours": {"type": "array", "items": {"type": "object"}},
    },
}

_STRING = {"type": "string", "description": "A text; for pictures and recordings the file in base64."}
_INPUT = {
    "oneOf": [
        _STRING,
        {
            "type": "object",
            "properties": {"name": {"type": "string"}, "text": {"type": "string"}, "base64": {"type": "string"}},
            "additionalProperties": False,
            "oneOf": [{"required": ["text"]}, {"required": ["base64"]}],
        },
    ]
}

_JSON_BODY = {
    "oneOf": [
        {
            "type": "object",
            "required": ["input"],
            "properties": {"input": {"$ref": "#/components/schemas/Input"}},
            "additionalProperties": False,
        },
        {
            "type": "object",
            "required": ["inputs"],
            "properties": {"inputs": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Input"}}},
            "additionalProperties": False,
        },
    ]
}
_BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": _JSON_BODY},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {"file": {"type": "array", "minItems": 1, "items": _FILE}},
            }
        },
        "application/octet-stream": {"schema": _FILE},
    },
}


def _predict(which: Mapping[str, Any], options: ServeOptions) -> dict[str, Any]:
    flag = {"type": "string", "enum": ["true", "false"]}
    answer = {
        "type": "object",
        "required": ["model", "predictions"],
        "properties": {
            "model": {"type": "string"},
            "predictions": {"type": "array", "items": {"$ref": "#/components/schemas/Prediction"}},
        },
    }
    told = {name: f"{value:g}" if name in _SECONDS else f"{value:,}" for name, value in vars(options.limits).items()}
    limits = ", ".join(f"{name} {value}" for name, value in told.items())
    return {
        "summary": "Answers for one input or several.",
        "description": f"A file as it is, a form with files, or JSON. Limits: {limits}.",
        "parameters": [
            which,
            _parameter(
                "neighbours",
                {"type": "integer", "minimum": 0, "maximum": MOST_NEIGHBOURS},
                "Nearest training examples.",
            ),
            _parameter("abstain", {"type": "string", "enum": ["any", "outlier", "unsure"]}, "When to give no answer."),
            _parameter("by_label", flag, "Sets that hold each label's own truths at the coverage."),
        ],
        "requestBody": _BODY,
        "responses": _responses(
            {"application/json": {"schema": answer}},
            *_POSTED,
        ),
    }


def _explain(which: Mapping[str, Any]) -> dict[str, Any]:
    answer = {"type": "object", "required": ["model", "saliency"]}
    return {
        "summary": "Which parts of one input its answer hangs on.",
        "parameters": [
            which,
            _parameter("label", {"type": "string"}, "Which label; the most probable one where none is named."),
        ],
        "requestBody": _BODY,
        "responses": _responses(
            {"application/json": {"schema": answer}},
            *_POSTED,
        ),
    }


def _example(names: list[str]) -> dict[str, Any]:
    return {
        "summary": "A training example, small; of models that were saved with examples.",
        "parameters": [
            {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "enum": names}},
            {"name": "place", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 0}},
        ],
        "responses": _responses({kind.partition(";")[0]: {"schema": _FILE} for kind in KINDS.values()}, "404", "503"),
    }


def _parameter(name: str, schema: Mapping[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": dict(schema), "description": description}


def _models() -> dict[str, Any]:
    schema = {"type": "object", "required": ["models"]}
    return {"summary": "The models.", "responses": _responses({"application/json": {"schema": schema}}, "503")}


def _get(summary: str, key: str, *others: str) -> dict[str, Any]:
    """A path that answers with one key, and so under other statuses too."""
    content = {"application/json": {"schema": {"type": "object", "required": [key]}}}
    found = _responses(content)
    for each in others:
        found[each] = {"description": summary, "content": content}
    return {"summary": summary, "responses": found}


def _responses(content: Mapping[str, Any], *refusals: str) -> dict[str, Any]:
    return {"200": {"description": "Done.", "content": dict(content)}, **_refusals(*_ALWAYS, *refusals)}


def _refusals(*statuses: str) -> dict[str, Any]:
    refused = {"application/json": {"schema": {"$ref": "#/components/schemas/Refused"}}}
    return {status: {"description": _REASONS[status], "content": refused} for status in statuses}
