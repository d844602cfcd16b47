"""From a request's body to the inputs in it: a file as it is, several as a form, or JSON. All of it stays in memory: no upload touches the disk."""

import base64
import binascii
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from headstart.data.decoding import repair
from headstart.serving.admission import Admission
from headstart.serving.options import Limits
from headstart.serving.refusals import RefusedError, malformed, too_large, unusable

_FORM, _JSON = "multipart/form-data", "application/json"


@dataclass(frozen=True)
class Input:
    """One input of a request.

    Attributes:
        name: what the client calls it, or its place; told in the answer and nowhere else.
        content: a file's bytes, or a text.
    """

    name: str
    content: bytes | str = field(repr=False)

    @classmethod
    def of(cls, name: str, content: bytes | str) -> "Input":
        """One under a name that any encoding can hold."""
        return cls(repair(name), content)


@dataclass(frozen=True)
class Asked:
    """What a body asks for.

    Attributes:
        inputs: in order.
        single: whether it was one input that came alone: its fault is the request's.
    """

    inputs: tuple[Input, ...]
    single: bool


@asynccontextmanager
async def received(request: Request, *, limits: Limits, admission: Admission) -> AsyncIterator[bytes]:
    """The whole body, with room held for it until the end.

    Args:
        request: whose.
        limits: how large it may be.
        admission: has the room.

    Raises:
        RefusedError: it is larger than the limit, or there is no room for it now.
    """
    declared = request.headers.get("content-length", "")
    size = int(declared) if declared.isdecimal() else limits.body
    if size > limits.body:
        raise too_large(f"the body has {size:,} bytes, and this server takes {limits.body:,}")
    with admission.body(size):
        parts, total = [], 0
        async for part in request.stream():
            total += len(part)
            if total > limits.body:
                raise too_large(f"the body has more than the {limits.body:,} bytes that this server takes")
            parts.append(part)
        yield b"".join(parts)


async def understood(body: bytes, headers: Headers, *, modality: str, limits: Limits) -> Asked:
    """The inputs of a body.

    Args:
        body: all of it.
        headers: of the request.
        modality: of the model.
        limits: how many inputs there may be.

    Raises:
        RefusedError: it is not what its content type says, holds no input, or too many.
    """
    if not body:
        raise unusable("the body is empty: send a file, a form with files, or JSON")
    kind = headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == _FORM:
        asked = Asked(await _form(body, headers, modality, limits), single=False)
    elif kind == _JSON:
        asked = _json(body, modality)
    elif kind == "application/x-www-form-urlencoded":
        raise RefusedError(415, f"send the file itself, {_FORM} or {_JSON}, and no {kind}")
    else:
        asked = Asked((Input("input", body),), single=True)
    if not asked.inputs:
        raise unusable("the request holds no input")
    if len(asked.inputs) > limits.items:
        raise too_large(
            f"the request holds {len(asked.inputs):,} inputs, and this server takes {limits.items:,} at once"
        )
    return asked


async def _form(body: bytes, headers: Headers, modality: str, limits: Limits) -> tuple[Input, ...]:
    async def once() -> AsyncIterator[bytes]:
        yield body

    parser = MultiPartParser(
        headers,
        once(),  # type: ignore[arg-type]  # an async generator is one of these
        max_files=limits.items + 1,
        max_fields=limits.items + 1,
        max_part_size=limits.body,
    )
    parser.spool_max_size = limits.body + 1  # what is spooled past this size would be a file
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise malformed(f"the form cannot be read: {error.message}") from error
    found = []
    for place, (_, value) in enumerate(form.multi_items(), 1):
        if isinstance(value, UploadFile):
            found.append(Input.of(value.filename or f"input {place}", await value.read()))
        elif modality == "text":
            found.append(Input(f"input {place}", value))
        else:
            raise unusable(
                f"a field of the form holds a text, and this model takes {modality}: give the part a filename"
            )
    await form.close()
    return tuple(found)


def _json(body: bytes, modality: str) -> Asked:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise malformed(f"the body is no JSON: {str(error)[:200]}") from error
    if not isinstance(found, dict) or set(found) not in ({"input"}, {"inputs"}):
        raise unusable('JSON is {"input": ...} for one input, or {"inputs": [...]} for several')
    if "input" in found:
        return Asked((_input(found["input"], 1, modality),), single=True)
    if not isinstance(found["inputs"], list):
        raise unusable('"inputs" is a list')
    return Asked(tuple(_input(each, place, modality) for place, each in enumerate(found["inputs"], 1)), single=False)


def _input(value: Any, place: int, modality: str) -> Input:
    """A text, or a file in base64, each alone or with a name.

    Raises:
        RefusedError: it is neither.
    """
    name = f"input {place}"
    if isinstance(value, Mapping) and set(value) <= {"name", "text", "base64"} and len(set(value) - {"name"}) == 1:
        name = value.get("name", name)
        key = next(iter(set(value) - {"name"}))
        value = value[key]
        if not isinstance(name, str):
            raise unusable(f'input {place}: "name" is a text')
    else:
        key = "text" if modality == "text" else "base64"
    if not isinstance(value, str):
        raise unusable(f'input {place} is a string, or {{"name": ..., "text" or "base64": ...}}')
    if key == "text":
        if modality != "text":
            raise unusable(f"input {place} is a text, and this model takes {modality}: send the file in base64")
        return Input.of(name, value)
    try:
        return Input.of(name, base64.b64decode(_bare(value), validate=True))
    except (binascii.Error, ValueError) as error:
        raise unusable(f"input {place} is no base64: {error}") from error


def _bare(value: str) -> str:
    """What a data URI holds; anything else as it is."""
    if not value.startswith("data:"):
        return value
    head, comma, rest = value.partition(",")
    return rest if comma and head.endswith(";base64") else unquote(rest)
