"""What it costs to understand a body: a time that grows with its size, and memory that the server can reckon with."""

import asyncio
import base64
import gc
import json
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress

import pytest
from starlette.requests import Request

from headstart.data import jpeg
from headstart.serving.admission import Admission
from headstart.serving.bodies import Asked, received, room_for, understood
from headstart.serving.options import Limits
from headstart.serving.refusals import RefusedError

JSON, FORM = "application/json", "multipart/form-data; boundary=b"
LIMITS = Limits()
FACE = "\N{GRINNING FACE}"


def read(body: bytes, kind: str = JSON, *, modality: str = "text") -> Asked:
    return understood(body, kind, modality=modality, limits=LIMITS)


def refusal(body: bytes, kind: str = JSON, *, modality: str = "text") -> tuple[int, str]:
    with pytest.raises(RefusedError) as refused:
        read(body, kind, modality=modality)
    return refused.value.status, refused.value.sentence


def part(content: bytes, filename: str = "a") -> bytes:
    head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n\r\n'
    return head.encode() + content + b"\r\n"


@pytest.mark.parametrize(
    "work",
    [
        lambda: refusal(b'{"input": "' + b'\\"' * 20_000),
        lambda: refusal(b'{"input": "' + b"\\" * 40_000),
        lambda: refusal(b'{"input": ' + b'\\\\"' * 15_000),
        lambda: refusal(b"x", 'multipart/form-data; boundary="' + ";" * 400_000),
        lambda: jpeg._scans(b"\xff\xd8" + b"\xff" * 40_000 + b"\x00" + b"\xff\xda" * 17),
    ],
    ids=["quotes", "backslashes", "both", "content type", "jpeg"],
)
def test_what_is_made_to_be_slow_is_not(work: Callable[[], object]) -> None:
    began = time.thread_time()
    work()
    assert time.thread_time() - began < 2.0, (
        "it takes milliseconds, and in a time that grows with its square above ten seconds"
    )


def test_padding_before_a_marker_changes_no_count_of_scans() -> None:
    scan = b"\xff\xff\xff\xda\x00\x02" + b"\x01\xff\x00\x02"
    assert jpeg._scans(b"\xff\xd8" + 3 * scan + b"\xff\xff\x00\xff\xd9" + scan) == 3


def peak(work: Callable[[], object]) -> int:
    """Bytes that it takes at most, beside what there was."""
    gc.collect()
    tracemalloc.start()
    try:
        kept = work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        del kept


def understand(body: bytes, kind: str) -> None:
    with suppress(RefusedError):
        read(body, kind, modality="image" if b"base64" in body else "text")


SIZE = 2_000_000
PLAIN, ENCODED = b"a" * SIZE, base64.b64encode(bytes(SIZE))
BODIES = {
    "file": ("image/png", PLAIN),
    "text": (JSON, b'{"input": "' + PLAIN + b'"}'),
    "text that is no JSON": (JSON, b'{"input": "' + PLAIN + b'"'),
    "face first": (JSON, b'{"input": "' + FACE.encode() + PLAIN + b'"}'),
    "face last": (JSON, b'{"input": "' + PLAIN + FACE.encode() + b'"}'),
    "face in two escapes first": (JSON, b'{"input": "\\ud83d\\ude00' + PLAIN + b'"}'),
    "face in two escapes last": (JSON, b'{"input": "' + PLAIN + b'\\ud83d\\ude00"}'),
    "both faces": (JSON, b'{"input": "' + PLAIN + FACE.encode() + b'\\ud83d\\ude00"}'),
    "nothing but escapes": (JSON, b'{"input": "' + b"\\n" * SIZE + b'"}'),
    "escapes that hide quotes": (JSON, b'{"input": ' + b'\\\\"ab' * (SIZE // 5) + b"}"),
    "key": (JSON, b'{"' + PLAIN + FACE.encode() + b'": 1}'),
    "base64": (JSON, b'{"input": {"base64": "' + ENCODED + b'"}}'),
    "base64 in lines": (JSON, b'{"input": {"base64": "' + ENCODED + b'\\n"}}'),
    "base64 as a data URI": (JSON, b'{"input": {"base64": "data:image/png;base64,' + ENCODED + b'"}}'),
    "base64 beside a face": (JSON, b'{"inputs": [{"base64": "' + ENCODED + b'"}, "' + FACE.encode() + b'"]}'),
    "base64 with a face": (JSON, b'{"inputs": [{"base64": "' + ENCODED + FACE.encode() + b'"}]}'),
    "percent": (JSON, b'{"input": {"base64": "data:,' + b"%41" * SIZE + b'"}}'),
    "lists": (JSON, b'{"inputs": [' + b"[0]," * 100_000 + b"0]}"),
    "lists let through": (JSON, b'{"inputs": [' + b"[0]," * 1_000 + b"0]}"),
    "objects": (JSON, b'{"inputs": [' + b'{"":0},' * 100_000 + b"0]}"),
    "objects let through": (JSON, b'{"inputs": [' + b'{"":0},' * 700 + b"0]}"),
    "strings": (JSON, b'{"inputs": [' + b'"abc",' * 100_000 + b'"a"]}'),
    "form": (FORM, part(PLAIN) + b"--b--\r\n"),
    "form of many": (FORM, part(b"a" * (SIZE // 64)) * 64 + b"--b--\r\n"),
    "form of small ones": (FORM, part(b"a") * 64 + b"--b--\r\n"),
    "form of lines": (FORM, part(b"\r\n-" * (SIZE // 10)) + b"--b--\r\n"),
    "form of names": (FORM, part(b"a", "n" * 900) * 64 + b"--b--\r\n"),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_takes_no_more_memory_than_is_reckoned(name: str) -> None:
    kind, body = BODIES[name]
    understand(b"{}", JSON)  # what is imported and made once is nobody's
    understand(part(b"a") + b"--b--\r\n", FORM)
    taken = len(body) + peak(lambda: understand(body, kind))
    beside = 5_000 if kind == "image/png" else 0  # what any call takes
    assert taken <= beside + room_for(body, kind, limits=LIMITS)


@pytest.mark.parametrize("name", ["face last", "form", "base64"])
def test_what_is_reckoned_is_not_much_more_than_is_taken(name: str) -> None:
    kind, body = BODIES[name]
    assert room_for(body, kind, limits=LIMITS) <= 1.7 * (len(body) + peak(lambda: understand(body, kind)))


def test_a_body_is_there_once_while_it_arrives() -> None:
    n, size, found = 40, 100_000, []

    async def receive() -> dict[str, object]:
        nonlocal n
        n -= 1
        return {"type": "http.request", "body": bytes(size), "more_body": n > 0}

    async def arrive() -> None:
        request = Request({"type": "http", "method": "POST", "headers": []}, receive)
        async with received(request, limits=LIMITS, admission=Admission(LIMITS)) as body:
            found.append(body.pop())

    assert peak(lambda: asyncio.run(arrive())) < 1.3 * 40 * size
    assert [len(each) for each in found] == [40 * size]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-32-be", "latin-1"])
def test_json_is_in_utf_8(encoding: str) -> None:
    body = json.dumps({"input": "caf\xe9"}, ensure_ascii=False).encode(encoding)
    assert refusal(body) == (400, "the body is no JSON in UTF-8")
    assert read(json.dumps({"input": "caf\xe9"}).encode("utf-8-sig")).inputs[0].content == "caf\xe9"


def test_values_are_counted_however_they_are_written() -> None:
    hidden = ('{"input": [' + '"\N{FOR ALL}",[],' * 2_000 + "0]}").encode()
    beside = b'{"input": [' + b'"\\\\",[],"\\"",' * 2_000 + b"0]}"
    for body in (hidden, beside, hidden.decode().encode("utf-16-le")):
        assert refusal(body)[0] in {400, 413}
    assert refusal(hidden) == (
        413,
        "the JSON holds more values than a request has: this server takes 64 inputs at once",
    )
    inside = json.dumps({"input": '[{,:"' * 10_000 + "\\"})
    assert read(inside.encode()).inputs[0].content == '[{,:"' * 10_000 + "\\", "what stands in a text is no value"
    most = json.dumps({"inputs": [{"name": str(each), "text": "a"} for each in range(64)]})
    assert len(read(most.encode()).inputs) == 64


@pytest.mark.parametrize("uri", ["data:,warm", "data:text/plain,%41", "data:image/png;base64", "data:;base64;x,YQ=="])
def test_a_data_uri_is_in_base64(uri: str) -> None:
    body = json.dumps({"input": {"base64": uri}}).encode()
    status, sentence = refusal(body, modality="image")
    assert (status, sentence) == (422, "input 1 is a data URI, which has to be in base64: data:image/png;base64,...")
    for good in ("data:image/png;base64,YQ==", "data:;base64,YQ=="):
        assert read(json.dumps({"input": good}).encode(), modality="image").inputs[0].content == b"a"


def test_a_part_has_few_headers_and_short_ones() -> None:
    def form(more: bytes) -> bytes:
        return part(b"a").replace(b"\r\n\r\n", b"\r\n" + more + b"\r\n", 1) + b"--b--\r\n"

    assert read(form(b"X: 1\r\n" * 7), FORM).inputs[0].content == b"a"
    for more in (b"X: 1\r\n" * 8, b"X: " + b"1" * 5_000 + b"\r\n"):
        assert refusal(form(more), FORM)[0] == 400
    said = "the form cannot be read: its content type has more than 1,000 characters"
    assert refusal(part(b"a"), "multipart/form-data; boundary=" + "b" * 2_000) == (400, said)
