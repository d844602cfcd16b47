"""Requests that nobody would write: made from the server's own OpenAPI document, and by hand."""

import base64
import json
import random
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

OPENINGS: tuple[dict[str, str], ...] = (
    {"content-type": "multipart/form-data"},
    {"content-type": "application/x-www-form-urlencoded"},
    {"content-type": "image/png"},
    {"content-type": "\xff"},
    {},
)
FORM = {"content-type": "multipart/form-data; boundary=b"}
JSON = {"content-type": "application/json"}
OPTIONS = ("model=nobody", "neighbours=-1", "abstain=x", "%00=%ff")

IN_A_BODY = (400, 413, 415, 422)
"""What a request is refused with whose body or options were looked at: the others have no such route or method."""


def by_hand(client: httpx.Client, sound: Mapping[str, bytes], n: int) -> Counter[int]:
    """The statuses of n requests, nine in ten of which reach an input: whole, cut and damaged ones, alone, in forms and in JSON.

    Args:
        client: of the server.
        sound: by model, a body that the server answers.
        n: how many.
    """
    rng, found = random.Random(0), Counter[int]()
    for number in range(n):
        model = list(sound)[number % len(sound)]
        content, headers = _body(sound[model], rng)
        method, options = "POST", f"model={model}"
        if number % 10 == 0:  # the others are to reach the input
            method, options = rng.choice(("POST", "PUT", "GET")), rng.choice(OPTIONS)
        encoded = {name: value.encode("latin-1") for name, value in headers.items()}
        path = f"/{rng.choice(('predict', 'predict', 'predict', 'explain'))}?{options}"
        answer = client.request(method, path, content=content, headers=encoded)  # type: ignore[arg-type]
        found[answer.status_code] += 1
    return found


def _body(sound: bytes, rng: random.Random) -> tuple[bytes, dict[str, str]]:
    """A damaged body, and the headers that it comes under."""
    whole = base64.b64encode(sound).decode("ascii")
    form = b"--b\r\nContent-Disposition: form-data; name=f; filename=a\r\n\r\n" + sound + b"\r\n--b--\r\n"
    listed = json.dumps({"inputs": [{"name": "a", "base64": whole}, {"name": "b", "base64": whole[:40]}]}).encode(
        "ascii"
    )
    kind, headers = rng.choice(((sound, {}), (form, FORM), (listed, JSON), (sound, rng.choice(OPENINGS))))
    content = bytearray(kind)
    if rng.random() < 0.5:  # headers and lengths stand at the beginning
        del content[rng.randint(1, max(1, min(200, len(content) - 1))) :]
    for _ in range(rng.randint(1, 20)):
        _damage(content, rng)
    return bytes(content), headers


def _damage(content: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(content)) if content else 0
    match rng.randrange(3) if content else 2:
        case 0:
            content[at] = rng.randrange(256)
        case 1:
            del content[at : at + rng.randint(1, 50)]
        case _:
            content[at:at] = rng.randbytes(rng.randint(1, 50))


@dataclass
class Documented:
    """What requests made from a server's document met.

    Attributes:
        statuses: of the answers to requests that break the document.
        kept: of those to requests that keep it, which may still hold no picture.
        untrue: what of an answer is not as the document says, each once.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    kept: Counter[int] = field(default_factory=Counter)
    untrue: list[str] = field(default_factory=list)


def by_document(client: httpx.Client, each: int) -> Documented:
    """What requests meet that schemathesis makes from the server's document: so many of each operation that keep it, and that break it.

    Args:
        client: of the server.
        each: how many.
    """
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis.errors import Unsatisfiable

    found = Documented()
    schema: Any = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    for operation in schema.get_all_operations():
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
            cases = operation.ok().as_strategy(generation_mode=mode)
            met: list[int] = []

            @settings(
                max_examples=each,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=cases)
            def one(case: Any) -> None:
                answer = case.call(base_url=str(client.base_url))
                met.append(answer.status_code)  # noqa: B023  (it is run before the next list is made)
                found.untrue += [each for each in _untrue(case, answer) if each not in found.untrue]

            with suppress(Unsatisfiable):  # an operation that nothing could break
                one()
            (found.kept if mode is schemathesis.GenerationMode.POSITIVE else found.statuses).update(met)
    return found


def _untrue(case: Any, answer: Any) -> list[str]:
    """What of an answer is not as the document says."""
    from schemathesis import checks
    from schemathesis.core.failures import FailureGroup
    from schemathesis.specs.openapi import checks as openapi

    looked_at = [
        checks.not_a_server_error,
        openapi.status_code_conformance,
        openapi.content_type_conformance,
        openapi.response_schema_conformance,
    ]
    try:
        case.validate_response(answer, checks=looked_at)
    except FailureGroup as group:
        return [f"{case.operation.label} {answer.status_code}: {each}" for each in group.exceptions]
    return []
