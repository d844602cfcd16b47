"""From a request's body to the inputs in it: a file as it is, several as a form, or JSON. All of it stays in memory: no upload touches the disk."""

import binascii
import io
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.requests import Request

from headstart.data.decoding import repair
from headstart.serving.admission import Admission
from headstart.serving.forms import parts_of
from headstart.serving.options import BESIDE, BESIDE_EACH, UNDERSTOOD_TIMES, Limits
from headstart.serving.refusals import malformed, too_large, unusable

_FORM, _JSON = "multipart/form-data", "application/json"
_LONGEST_NAME = 1000
# Values in a JSON body: as many as an input may have, and some to spare. Each takes up to some fifty times as much memory as its characters.
_VALUES_EACH, _SPARE_VALUES = 8, 2_000
# What may stand between the characters of base64.
_BLANK = dict.fromkeys(map(ord, " \t\n\r\f\v"))
_DATA_URI, _IN_BASE64 = "data:", ";base64"

# Times its size that JSON takes at most while it is understood where all of its characters take one byte, as of a file in base64, and that a form does.
_PLAIN_TIMES, _FORM_TIMES = 5, 2.5


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
        """One under a name that any encoding can hold.

        Raises:
            RefusedError: the name is none that anybody would give.
        """
        if len(name) > _LONGEST_NAME:
            raise unusable(f"the name of an input has at most {_LONGEST_NAME:,} characters")
        return cls(repair(name), content)


@dataclass(frozen=True)
class Asked:
    """What a body asks for.

    Attributes:
        inputs: in order.
        single: whether it was one input that came alone: its fault is the request's.
        size: of the body, bytes.
    """

    inputs: tuple[Input, ...]
    single: bool
    size: int = 0


@asynccontextmanager
async def received(request: Request, *, limits: Limits, admission: Admission) -> AsyncIterator[list[bytes]]:
    """The whole body, with room held for what has come of it until the end. Whoever takes it out of the list is the only one who has it.

    Args:
        request: whose.
        limits: how large it may be.
        admission: has the room.

    Raises:
        RefusedError: it is larger than the limit, or there is no room for it now.
    """
    declared = request.headers.get("content-length", "")
    size = int(declared) if declared.isdecimal() and len(declared) < 19 else 0
    if size > limits.body:
        raise too_large(f"the body has {size:,} bytes, and this server takes {limits.body:,}")
    admission.check(size)  # nothing is held for what was only declared, as it may never come
    with admission.hold() as resize:
        arrived, total = io.BytesIO(), 0  # gives what it holds without another copy
        async for part in request.stream():
            total += len(part)
            if total > limits.body:
                raise too_large(f"the body has more than the {limits.body:,} bytes that this server takes")
            resize(total)
            arrived.write(part)
        body = [arrived.getvalue()]
        arrived.close()
        yield body


def room_for(body: bytes, content_type: str, *, limits: Limits) -> int:
    """Bytes that a body takes at most while `understood` is at it, itself included.

    Args:
        body: all of it.
        content_type: the header.
        limits: how many inputs there may be.
    """
    kind = _kind(content_type)
    if kind not in {_FORM, _JSON}:
        return len(body)
    if kind == _FORM:
        times = _FORM_TIMES
    else:
        times = _PLAIN_TIMES if body.isascii() and b"\\u" not in body else UNDERSTOOD_TIMES
    return round(times * len(body)) + BESIDE + BESIDE_EACH * limits.items


def understood(body: bytes, content_type: str, *, modality: str, limits: Limits) -> Asked:
    """The inputs of a body.

    Args:
        body: all of it.
        content_type: the header.
        modality: of the model.
        limits: how many inputs there may be.

    Raises:
        RefusedError: it is not what its content type says, holds no input, or too many.
    """
    if not body:
        raise unusable("the body is empty: send a file, a form with files, or JSON")
    most = min(limits.items, limits.queue)  # what could never be let in is not told to come again
    kind = _kind(content_type)
    if kind == _FORM:
        asked = Asked(_form(body, content_type, modality, most), single=False)
    elif kind == _JSON:
        asked = _json(body, modality, most)
    else:  # whatever a client calls a file: curl calls it a form
        asked = Asked((Input.of("input", body),), single=True)
    if not asked.inputs:
        raise unusable("the request holds no input")
    return replace(asked, size=len(body))


def _kind(content_type: str) -> str:
    return content_type.split(";", maxsplit=1)[0].strip().lower()


def _form(body: bytes, content_type: str, modality: str, most: int) -> tuple[Input, ...]:
    found = []
    for place, part in enumerate(parts_of(body, content_type, most=most), 1):
        if part.filename is None and modality != "text":
            raise unusable(
                f"a field of the form holds a text, and this model takes {modality}: give the part a filename"
            )
        found.append(Input.of(part.filename or f"input {place}", part.content.getvalue()))
    return tuple(found)


def _json(body: bytes, modality: str, most: int) -> Asked:
    if _holds_more(body, _VALUES_EACH * most + _SPARE_VALUES):
        raise too_large(f"the JSON holds more values than a request has: this server takes {most:,} inputs at once")
    try:
        found = json.loads(
            body.decode("utf-8-sig")
        )  # bytes could be UTF-16 and 32 too, in which other values were counted
    except (ValueError, RecursionError) as error:
        raise malformed("the body is no JSON in UTF-8") from error
    if not isinstance(found, dict) or set(found) not in ({"input"}, {"inputs"}):
        raise unusable('JSON is {"input": ...} for one input, or {"inputs": [...]} for several')
    if "input" in found:
        return Asked((_input(found["input"], 1, modality),), single=True)
    if not isinstance(found["inputs"], list):
        raise unusable('"inputs" is a list')
    if len(found["inputs"]) > most:
        raise too_large(f"the request holds {len(found['inputs']):,} inputs, and this server takes {most:,} at once")
    return Asked(tuple(_input(each, place, modality) for place, each in enumerate(found["inputs"], 1)), single=False)


def _holds_more(body: bytes, most: int) -> bool:
    """Whether there are more values than so many, counted before they are made: by what stands between strings, each after an odd quote."""
    plain = body.replace(rb"\\", b"").replace(rb"\"", b"")
    if plain.count(b'"') > 2 * (most + 1):
        return True
    between = b"".join(plain.split(b'"')[::2])
    return sum(map(between.count, (b"[", b"{", b",", b":"))) > most


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
        return Input.of(name, _file(value, place))
    except ValueError as error:
        raise unusable(f"input {place} is no base64: {error}") from error


def _file(value: str, place: int) -> bytes:
    """The bytes of base64, in lines or not, or of a data URI.

    Raises:
        RefusedError: a data URI is in no base64.
        ValueError: it is none.
    """
    if value.startswith(_DATA_URI):
        comma = value.find(",")
        if not value.endswith(_IN_BASE64, 0, max(comma, 0)):
            raise unusable(f"input {place} is a data URI, which has to be in base64: data:image/png;base64,...")
        value = value[comma + 1 :]
    if not value.isascii():
        raise ValueError("base64 is of ASCII characters")
    return binascii.a2b_base64(value.translate(_BLANK), strict_mode=True)
