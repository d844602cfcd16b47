"""What one client takes from the others: explanations, what it abandons, and memory."""

import io
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from PIL import Image

import headstart as hs
from headstart.model.saliency import reduced, saliency
from headstart.serving.bodies import understood
from headstart.serving.options import Limits
from headstart.serving.refusals import RefusedError
from support import media
from support.cache import cache_in
from support.made import noise, photos, reviews, sounds
from support.serving import Running, running, slowly

# An explanation takes two seconds, and looks around as often as one of a large network.
_LONG = """
import os, time
from headstart.serving import served
inner = served.saliency
def long(model, content, *, progress, **named):
    with open(os.environ["BEGUN"], "a") as file:
        file.write("begun\\n")
    for done in range(20):
        named.get("due", lambda: None)()
        progress("extract", done, 100)
        time.sleep(0.1)
    return inner(model, content, progress=progress, **named)
served.saliency = long
"""
# There is room for 5.5 megabytes.
_SMALL = """
import dataclasses
from headstart.serving.admission import Admission
inner = Admission.__init__
def small(self, limits):
    inner(self, dataclasses.replace(limits, memory=5_500_000))
Admission.__init__ = small
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("served")
    with cache_in(place / "cache"):
        hs.fit(photos(place / "photos"), backbone="toy:image").save(place / "pictures")
        hs.fit(reviews(place / "reviews.csv"), backbone="toy:text").save(place / "texts")
        hs.fit(sounds(place / "sounds"), backbone="toy:audio").save(place / "recordings")
    return place


@pytest.fixture
def long(models: Path, tmp_path: Path) -> Iterator[Running]:
    with running(models / "texts", prelude=_LONG, BEGUN=str(tmp_path / "begun")) as found:
        yield found


def status_of(found: object, seconds: float) -> int:
    """The status that has come on a connection; 0 where none has in so many seconds."""
    found.settimeout(seconds)  # type: ignore[attr-defined]
    try:
        return int(found.recv(4096).split()[1])  # type: ignore[attr-defined]
    except TimeoutError:
        return 0


def test_explanations_keep_no_prediction_out(long: Running, tmp_path: Path) -> None:
    with ExitStack() as stack:
        several = [stack.enter_context(long.asked("/explain", b"a warm film")) for _ in range(12)]
        time.sleep(0.3)
        for _ in range(3):
            began = time.monotonic()
            assert long.client.post("/predict", content=b"warm").status_code == 200
            assert time.monotonic() - began < 1.5, "they wait for a batch of an explanation, not for the whole"
        assert sorted(status_of(each, 0.05) for each in several) == [0] * 8 + [429] * 4
    time.sleep(0.5)
    began = time.monotonic()
    assert long.client.post("/explain", content=b"a warm film").status_code == 200
    assert time.monotonic() - began < 10, "the others were given up with their connections"
    assert len((tmp_path / "begun").read_text().splitlines()) <= 4
    figures = long.client.get("/metrics").text
    assert 'headstart_inputs_total{model="texts",outcome="answered"} 4.0' in figures


def test_an_explanation_ends_with_the_time_of_its_request(models: Path, tmp_path: Path) -> None:
    with running(models / "texts", "--max-wait", "0.5s", prelude=_LONG, BEGUN=str(tmp_path / "begun")) as found:
        assert found.client.post("/explain", content=b"a warm film").status_code == 503
        began = time.monotonic()
        assert found.client.post("/predict", content=b"warm").status_code == 200
        assert time.monotonic() - began < 1.0


def test_it_is_looked_whether_somebody_waits_before_each_hidden_version(models: Path) -> None:
    model, asked = hs.load(models / "pictures"), 0

    def due() -> None:
        nonlocal asked
        asked += 1
        if asked > 3:
            raise RuntimeError("nobody does")

    with pytest.raises(RuntimeError, match="nobody does"):
        saliency(model, media.image(size=(300, 200)), due=due)
    assert asked < 40, "of some hundred: the threads end with it"


@pytest.mark.parametrize("size", [(60_000, 100), (100, 60_000), (3000, 2000), (40, 30)])
def test_a_picture_is_explained_at_a_megapixel_at_most(size: tuple[int, int]) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", size, (200, 10, 10)).save(buffer, "PNG")
    once = reduced(buffer.getvalue())
    made = Image.open(io.BytesIO(once))
    assert made.width * made.height <= 1.1 * 2**20
    assert reduced(once) == once
    if max(size) < 100:
        assert made.size == size


def test_what_is_abandoned_leaves_its_place(models: Path) -> None:
    with running(models / "texts", "--queue", "4", prelude=slowly(10)) as found:
        with ExitStack() as stack:
            for _ in range(4):
                stack.enter_context(found.asked("/predict", b"slow " * 2000))
            time.sleep(0.3)
            assert found.client.post("/predict", content=b"warm").status_code == 429
        time.sleep(0.3)
        assert found.client.post("/predict", content=b"warm").status_code == 200


def test_what_never_fits_is_too_large_and_what_does_not_fit_now_comes_again(models: Path) -> None:
    with running(models / "recordings", prelude=_SMALL) as found:
        never = found.client.post("/predict", content=noise(200))
        assert (never.status_code, never.json()["error"]) == (
            413,
            "becomes 6,400,000 bytes, and this server holds 5,500,000 at once",
        )
        files = [("f", (f"{number}.wav", noise(100))) for number in range(2)]
        several = found.client.post("/predict", files=files)
        assert several.status_code == 200, "they come one after the other"
        assert all("label" in each for each in several.json()["predictions"])
        with found.connected() as held:
            held.sendall(
                b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2900000\r\n\r\n" + bytes(900_000)
            )
            time.sleep(0.5)
            assert found.client.post("/predict", files=files).status_code == 429, "no answer in which one is missing"
        time.sleep(0.3)
        assert found.client.post("/predict", files=files).status_code == 200


def test_what_only_was_declared_is_not_held(models: Path) -> None:
    with running(models / "texts") as found, ExitStack() as stack:
        for _ in range(9):
            each = stack.enter_context(found.connected())
            each.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 32000000\r\n\r\n")
        time.sleep(0.3)
        assert found.client.post("/predict", content=b"warm").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b'{"inputs": [' + b"1," * 300_000 + b"1]}",
        b'{"input": {' + b",".join(b'"%d":1' % number for number in range(150_000)) + b"}}",
        b'{"inputs": [' + b'"\\\\",' * 500_000 + b'""]}',
        b"[[]," * 200_001,
    ],
)
def test_json_of_many_values_is_not_read(body: bytes) -> None:
    with pytest.raises(RefusedError, match="holds more values than a request has") as refused:
        understood(body, "application/json", modality="text", limits=Limits())
    assert refused.value.status == 413


def test_json_of_long_texts_is_read_whatever_is_in_them() -> None:
    texts = ['a, b: [c] {d} "e" \\' * 10_000] * 8
    import json

    asked = understood(json.dumps({"inputs": texts}).encode(), "application/json", modality="text", limits=Limits())
    assert [each.content for each in asked.inputs] == texts
