"""Requests that nobody would write: made from the server's own OpenAPI document, and by hand."""

import random
from collections import Counter
from typing import Any

import httpx

OPENINGS: tuple[dict[str, str], ...] = (
    {"content-type": "application/json"},
    {"content-type": "multipart/form-data; boundary=b"},
    {"content-type": "multipart/form-data"},
    {"content-type": "application/x-www-form-urlencoded"},
    {"content-type": "image/png"},
    {"content-type": "\xff"},
    {},
)
PATHS = (
    "/predict",
    "/explain",
    "/predict?model=nobody",
    "/predict?neighbours=-1",
    "/predict?abstain=x",
    "/predict?%00=%ff",
)


def by_hand(client: httpx.Client, sound: bytes, n: int) -> Counter[int]:
    """The statuses of n requests whose bodies are damaged ones, under headers that may be those of others.

    Args:
        client: of the server.
        sound: a body that the server answers.
        n: how many.
    """
    rng, found = random.Random(0), Counter[int]()
    form = b"--b\r\nContent-Disposition: form-data; name=f; filename=a\r\n\r\n" + sound + b"\r\n--b--\r\n"
    quoted = b'{"inputs": ["' + sound[:50].hex().encode() + b'", {"name": "a", "base64": "AAAA"}]}'
    for number in range(n):
        content = bytearray((sound, form, quoted)[number % 3])
        for _ in range(rng.randint(1, 20)):
            _damage(content, rng)
        headers = {name: value.encode("latin-1") for name, value in rng.choice(OPENINGS).items()}
        method = rng.choice(("POST", "POST", "POST", "PUT", "GET"))
        answer = client.request(method, rng.choice(PATHS), content=bytes(content), headers=headers)  # type: ignore[arg-type]
        found[answer.status_code] += 1
    return found


def _damage(content: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(content)) if content else 0
    match rng.randrange(3) if content else 2:
        case 0:
            content[at] = rng.randrange(256)
        case 1:
            del content[at : at + rng.randint(1, 50)]
        case _:
            content[at:at] = rng.randbytes(rng.randint(1, 50))


def by_document(client: httpx.Client, each: int) -> Counter[int]:
    """The statuses of requests that schemathesis makes from the server's document: so many of each operation that keep it, and that break it.

    Args:
        client: of the server.
        each: how many.
    """
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis.errors import Unsatisfiable

    found = Counter[int]()
    schema: Any = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    for operation in schema.get_all_operations():
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
            cases = operation.ok().as_strategy(generation_mode=mode)

            @settings(
                max_examples=each,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=cases)
            def one(case: Any) -> None:
                found[case.call(base_url=str(client.base_url)).status_code] += 1

            try:
                one()
            except Unsatisfiable:  # an operation that nothing could break
                continue
    return found
