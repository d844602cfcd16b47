"""The server as a client meets it: a real process on loopback, real files, and what it refuses."""

import base64
import io
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image
from pytest_socket import socket_allow_hosts

import headstart as hs
from headstart.backbones.backbone import BackboneRequest
from headstart.serving.openapi import document
from headstart.serving.options import Limits, ServeOptions
from headstart.serving.served import Served
from support.cache import cache_in
from support.made import noise, photos, reviews, sounds
from support.networks import save_tiny
from support.serving import Running, running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of each modality, the picture one with examples, and an export of it."""
    place = tmp_path_factory.mktemp("served")
    with cache_in(place / "cache"):
        data = photos(place / "photos")
        hs.fit(data, options=hs.FitOptions(backbone="toy:image", with_examples=True)).save(place / "pictures")
        hs.fit(reviews(place / "reviews.csv"), backbone="toy:text").save(place / "texts")
        hs.fit(sounds(place / "sounds"), backbone="toy:audio").save(place / "recordings")
        request = BackboneRequest("timm", "test_resnet", weights=save_tiny("test_resnet", place), prepare={"size": 32})
        plain = hs.fit(data, options=hs.FitOptions(backbone=request, check=False))
        plain.save(place / "network")
        for kind in ("onnx", "openvino"):
            hs.export(plain, to=kind, out=place / kind)
    return place


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Running]:
    """All three models behind one address, with small limits."""
    small = (
        "--max-body",
        "2MB",
        "--max-pixels",
        "1000000",
        "--max-seconds",
        "10s",
        "--max-items",
        "8",
        "--max-wait",
        "20s",
        "--max-characters",
        "50000",
        "--max-tokens",
        "2000",
    )
    with running(folder / "pictures", folder / "texts", folder / "recordings", *small) as found:
        yield found


def photo(folder: Path) -> Path:
    return folder / "photos" / "val" / "red" / "0.png"


def told(folder: Path, name: str, items: Any) -> list[dict[str, Any]]:
    """What `predict` says, without the inputs' names."""
    return [{key: value for key, value in each.items() if key != "input"} for each in hs.predict(folder / name, items)]


def said(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return [{key: value for key, value in each.items() if key != "input"} for each in answer.json()["predictions"]]


def test_a_file_a_form_and_json_get_what_predict_says(server: Running, folder: Path) -> None:
    picture, ask = photo(folder), "/predict?model=pictures"
    content = picture.read_bytes()
    expected = told(folder, "pictures", [picture])
    assert said(server.client.post(ask, content=content)) == expected
    assert said(server.client.post(ask, files={"file": ("a.png", content)})) == expected
    assert said(server.client.post(ask, json={"input": base64.b64encode(content).decode()})) == expected
    uri = "data:image/png;base64," + base64.b64encode(content).decode()
    lines = base64.encodebytes(content).decode()
    assert lines.count("\n") > 1
    assert said(server.client.post(ask, json={"input": lines})) == expected
    named = server.client.post(ask, json={"inputs": [{"name": "mine", "base64": uri}]}).json()["predictions"]
    assert named[0]["input"] == "mine"
    assert {"label", "probability", "probabilities", "set", "outlier", "abstain"} <= set(named[0])


def test_texts_and_recordings_too(server: Running, folder: Path) -> None:
    texts = ["film 3 was warm , clever and lovely", "film 4 was dull , grim and cold"]
    expected = told(folder, "texts", texts)
    assert said(server.client.post("/predict?model=texts", json={"inputs": texts})) == expected
    assert said(server.client.post("/predict?model=texts", content=texts[0].encode())) == expected[:1]
    form = server.client.post("/predict?model=texts", data={"a": texts[0]}, files={"b": ("b.txt", texts[1].encode())})
    assert said(form) == expected
    sound = folder / "sounds" / "low" / "0.wav"
    assert said(server.client.post("/predict?model=recordings", content=sound.read_bytes())) == told(
        folder, "recordings", [sound]
    )


def test_a_text_of_too_many_characters_or_tokens_is_refused(server: Running) -> None:
    ask = "/predict?model=texts"
    long = server.client.post(ask, json={"input": "a" * 50_001})
    assert (long.status_code, long.json()["error"]) == (413, "holds 50,001 characters, and this server takes 50,000")
    many = server.client.post(ask, json={"input": "a b " * 600})
    assert many.status_code == 413
    assert many.json()["error"] == "becomes 2,400 tokens, and this server takes 2,000"
    assert server.client.post(ask, json={"input": "a b " * 200}).status_code == 200


def test_a_short_text_waits_for_no_large_one(folder: Path) -> None:
    served = Served.of(hs.load(folder / "texts"), name="texts", engine="eager", limits=Limits())
    done = threading.Event()

    def prepare(text: str) -> None:
        served.prepare(text)
        done.set()

    with served.turns.of(1.0):
        threading.Thread(target=prepare, args=("short " * 7_000,), daemon=True).start()
        assert not done.wait(0.3), "a long one has its turn to wait for"
        served.prepare("a short one")  # in this thread, which has the turn of all others
    assert done.wait(10)
    served.stop(seconds=10)


def test_many_at_once_get_the_answers_that_each_gets_alone(server: Running, folder: Path) -> None:
    files = sorted((folder / "photos").rglob("*.png"))[:40]
    expected = {path: told(folder, "pictures", [path]) for path in files}
    found: dict[Path, list[dict[str, Any]]] = {}

    def ask(path: Path) -> None:
        found[path] = said(server.client.post("/predict?model=pictures", content=path.read_bytes()))

    threads = [threading.Thread(target=ask, args=(path,)) for path in files]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found.keys() == expected.keys()
    for path, (answer,) in found.items():
        [alone] = expected[path]
        assert (answer["label"], answer["set"]) == (alone["label"], alone["set"])
        assert answer["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-6)


def test_an_input_that_cannot_be_read_costs_no_other_its_answer(server: Running, folder: Path) -> None:
    content = photo(folder).read_bytes()
    files = [("f", ("good.png", content)), ("f", ("bad.png", b"no picture")), ("f", ("cut.png", content[:200]))]
    answers = server.client.post("/predict?model=pictures", files=files).json()["predictions"]
    assert "label" in answers[0]
    assert answers[1]["error"].startswith("the input is no JPEG, PNG")
    assert "damaged or truncated" in answers[2]["error"]
    alone = server.client.post("/predict?model=pictures", content=b"no picture")
    assert (alone.status_code, alone.json()["error"]) == (422, answers[1]["error"])


def bomb(width: int, height: int) -> bytes:
    """A small PNG file that says that it is large."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(height * (1 + (width + 7) // 8)) if width * height < 10**9 else bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_what_is_larger_than_the_limits_is_refused_before_it_is_decoded(server: Running, folder: Path) -> None:
    def refused(model: str, content: bytes) -> tuple[int, str]:
        answer = server.client.post(f"/predict?model={model}", content=content)
        return answer.status_code, answer.json().get("error", "")

    assert refused("pictures", bomb(60000, 60000)) == (
        413,
        "holds 3,600,000,000 pixels, and this server takes 1,000,000",
    )
    assert refused("pictures", bomb(1001, 1000))[0] == 413
    assert refused("pictures", bomb(1000, 1000))[0] == 200
    assert refused("recordings", noise(10.5))[1] == "holds 10.5 seconds, and this server takes 10"
    assert refused("texts", b"word " * 60000)[0] == 413
    assert refused("pictures", bytes(2_000_001)) == (
        413,
        "the body has 2,000,001 bytes, and this server takes 2,000,000",
    )
    chunks = (bytes(500_000) for _ in range(5))
    assert server.client.post("/predict?model=pictures", content=chunks).status_code == 413
    many = server.client.post("/predict?model=texts", json={"inputs": ["warm"] * 9})
    assert (many.status_code, many.json()["error"]) == (
        413,
        "the request holds 9 inputs, and this server takes 8 at once",
    )


@pytest.mark.parametrize(
    ("headers", "body", "status", "words"),
    [
        ({"content-type": "application/json"}, b"{", 400, "no JSON"),
        ({"content-type": "application/json"}, b"[" * 1_500, 400, "no JSON"),
        ({"content-type": "application/json"}, b"9" * 5000, 400, "no JSON"),
        ({"content-type": "application/json"}, b"[1]", 422, "JSON is"),
        ({"content-type": "application/json"}, b'{"inputs": [1]}', 422, "input 1 is a string"),
        ({"content-type": "application/json"}, b'{"inputs": []}', 422, "holds no input"),
        ({"content-type": "application/json"}, b'{"inputs": "a"}', 422, "is a list"),
        ({"content-type": "application/json"}, b'{"input": "a", "more": 1}', 422, "JSON is"),
        ({"content-type": "application/json"}, b'{"input": {"name": 1, "text": "a"}}', 422, '"name" is a text'),
        ({"content-type": "application/json"}, b'{"input": ""}', 422, "holds no text"),
        ({"content-type": "application/json"}, b'{"input": {"base64": "%%%"}}', 422, "no base64"),
        ({"content-type": "multipart/form-data"}, b"x", 400, "form cannot be read"),
        ({"content-type": "multipart/form-data; boundary=b"}, b"x", 400, "form cannot be read"),
        ({"content-type": "multipart/form-data; boundary=b"}, b"--b--\r\n", 422, "holds no input"),
        ({"content-type": "multipart/form-data; boundary=b; charset=undefined"}, b"--b\r\n", 400, "a form is in UTF-8"),
        ({"content-type": "multipart/form-data; boundary=b; charset=punycode"}, b"--b\r\n", 400, "a form is in UTF-8"),
        ({"content-type": "application/json"}, b'{"inputs": [' + b'"",' * 1_500 + b'""]}', 413, "takes 8 at once"),
        (
            {"content-type": "application/json"},
            b'{"inputs": [' + b'"",' * 9_000 + b'""]}',
            413,
            "takes 8 inputs at once",
        ),
        ({"content-type": "application/json"}, b"[[]," * 200_001, 413, "values"),
        (
            {"content-type": "application/json"},
            b'{"input": {"name": "' + b"n" * 1001 + b'", "text": "a"}}',
            422,
            "the name",
        ),
        (
            {"content-type": "multipart/form-data; boundary=b"},
            b"--b\r\nContent-Disposition: form-data\r\n\r\na\r\n--b--",
            400,
            "no name",
        ),
        (
            {"content-type": "multipart/form-data; boundary=b"},
            b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\na",
            400,
            "ends before",
        ),
        ({}, b"", 422, "the body is empty"),
        ({}, b"\xff\xfe\xff", 422, "not UTF-16"),
        ({}, b"\xff", 422, "not UTF-8"),
    ],
)
def test_malformed_requests_are_the_clients_fault(
    server: Running, headers: dict[str, str], body: bytes, status: int, words: str
) -> None:
    answer = server.client.post("/predict?model=texts", content=body, headers=headers)
    assert (answer.status_code, words in answer.json()["error"]) == (status, True), answer.text


def test_what_curl_sends_is_a_file(server: Running) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    assert server.client.post("/predict?model=texts", content=b"a warm film", headers=headers).status_code == 200


def test_a_form_of_too_many_parts_is_too_large(server: Running) -> None:
    files = [("file", (f"{number}.txt", b"warm")) for number in range(9)]
    assert server.client.post("/predict?model=texts", files=files).status_code == 413
    assert len(server.client.post("/predict?model=texts", files=files[:8]).json()["predictions"]) == 8


def test_a_recording_of_a_rate_that_none_has_counts_for_more(server: Running) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(655_350 * 9, np.int16), 655_350, format="FLAC")
    assert len(file.getvalue()) < 200_000
    answer = server.client.post("/predict?model=recordings", content=file.getvalue())
    assert (answer.status_code, "holds 122.878" in answer.text) == (413, True), answer.text


def test_a_head_without_end_is_not_read_to_its_end(server: Running) -> None:
    host, port = server.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as long:
        long.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ")
        with suppress(OSError):  # it may be gone before all is sent
            for _ in range(200):
                long.sendall(b"a" * 10_000)
        received = b""
        with suppress(OSError):
            received = long.recv(4096)
        assert received == b"" or b" 431 " in received.split(b"\r\n")[0]
    assert server.client.get("/healthz").status_code == 200


def test_half_a_surrogate_pair_is_answered(server: Running) -> None:
    answer = server.client.post(
        "/predict?model=texts",
        content=b'{"input": {"name": "\\ud800", "text": "warm \\udfff film"}}',
        headers={"content-type": "application/json"},
    )
    assert answer.json()["predictions"][0]["input"] == "\N{REPLACEMENT CHARACTER}"


def test_a_text_is_no_picture(server: Running) -> None:
    assert "takes image" in server.client.post("/predict?model=pictures", json={"input": {"text": "a"}}).json()["error"]
    assert (
        "takes image"
        in server.client.post("/predict?model=pictures", data={"a": "b"}, files={"c": b"d"}).json()["error"]
    )


def test_a_model_is_named_where_there_are_several(server: Running) -> None:
    assert [each["name"] for each in server.client.get("/models").json()["models"]] == [
        "pictures",
        "texts",
        "recordings",
    ]
    assert server.client.post("/predict", content=b"a").status_code == 422
    missing = server.client.post("/predict?model=nobody", content=b"a")
    assert (missing.status_code, "there are pictures, texts, recordings" in missing.text) == (404, True)


def test_options_of_a_request(server: Running, folder: Path) -> None:
    content = photo(folder).read_bytes()
    near = server.client.post("/predict?model=pictures&neighbours=3", content=content).json()["predictions"][0]
    assert [each["rank"] for each in near["neighbours"]] == [1, 2, 3]
    example = near["neighbours"][0]["example"]
    shown = server.client.get(f"/models/pictures/examples/{example}")
    assert shown.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(shown.content)).size == (48, 40)
    original = folder / "photos" / near["neighbours"][0]["id"]
    drawn, whole = (np.asarray(Image.open(each), float) for each in (io.BytesIO(shown.content), original))
    assert np.abs(drawn - whole).mean() < 30, "it is that very example, but for JPEG"
    for place in ("9999", "-1", "x", "1" * 4301):
        assert server.client.get(f"/models/pictures/examples/{place}").status_code == 404, place
    assert server.client.post("/explain?model=pictures&foo=1", content=content).status_code == 422
    assert server.client.post("/predict/", content=content).status_code == 404
    assert server.client.get("/models/texts/examples/0").status_code == 404
    unsure = server.client.post("/predict?model=pictures&abstain=outlier", content=bomb(100, 100)).json()
    assert "unlike the training data" in unsure["predictions"][0]["abstain"]
    for wrong in ("abstain=never", "neighbours=x", "neighbours=999", "by_label=1", "top=3", "neighbours=" + "1" * 4301):
        assert server.client.post(f"/predict?model=pictures&{wrong}", content=content).status_code == 422, wrong


def test_an_explanation_is_that_of_explain(server: Running, folder: Path) -> None:
    picture = photo(folder)
    found = server.client.post("/explain?model=pictures", content=picture.read_bytes()).json()["saliency"]
    expected = hs.explain(folder / "pictures", picture).saliency.to_json()
    assert found["grid"] == expected["grid"]
    assert [each["score"] for each in found["parts"]] == pytest.approx(
        [each["score"] for each in expected["parts"]], abs=1e-6
    )
    assert server.client.post("/explain?model=pictures&label=green", content=picture.read_bytes()).status_code == 422
    assert server.client.post("/explain?model=pictures", content=b"no picture").status_code == 422
    two = {"inputs": [base64.b64encode(picture.read_bytes()).decode()] * 2}
    assert server.client.post("/explain?model=pictures", json=two).status_code == 422


def test_health_metrics_and_the_document(server: Running, folder: Path) -> None:
    assert server.client.get("/healthz").json() == {"alive": True}
    assert server.client.get("/readyz").json() == {"ready": True}
    server.client.post("/explain?model=recordings", content=b"no recording")
    server.client.post("/predict?model=texts", files={"file": ("very-secret-name.txt", b"warm film")})
    figures = server.client.get("/metrics")
    assert figures.headers["content-type"].startswith("text/plain")
    assert 'headstart_requests_total{route="/predict",status="200"}' in figures.text
    assert 'headstart_inputs_total{model="texts",outcome="answered"}' in figures.text
    assert 'headstart_inputs_total{model="recordings",outcome="unreadable"}' in figures.text
    assert "secret" not in figures.text
    assert set(server.client.get("/openapi.json").json()["paths"]) >= {"/predict", "/explain", "/models", "/healthz"}
    assert server.client.get("/nowhere").json() == {"error": "Not Found"}
    assert server.client.get("/predict").status_code == 405


def test_only_this_machine_by_its_own_name(server: Running) -> None:
    for host, status in (
        ("localhost", 200),
        ("127.0.0.1:80", 200),
        ("[::1]:80", 200),
        ("127.3.2.1:80", 200),
        ("128.0.0.1", 421),
        ("evil.example", 421),
        ("", 421),
    ):
        assert server.client.get("/models", headers={"host": host}).status_code == status, host


def test_a_page_of_another_site_is_not_answered(server: Running) -> None:
    for site, status in (("cross-site", 403), ("same-origin", 200), ("none", 200)):
        headers = {"sec-fetch-site": site}
        assert server.client.post("/predict?model=texts", content=b"warm", headers=headers).status_code == status, site
        assert server.client.get("/healthz", headers=headers).status_code == 200


def test_every_address_of_this_machine_is_only_for_it(folder: Path) -> None:
    try:
        with socket.socket() as free:
            free.bind(("127.0.0.2", 0))
    except OSError:
        pytest.skip("this system has one address of its own")
    socket_allow_hosts(["127.0.0.2"])
    with running(folder / "texts", "--host", "127.0.0.2") as found:
        assert found.client.get("/models").status_code == 200
        assert found.client.get("/models", headers={"host": "evil.example"}).status_code == 421


def test_the_document_says_where_the_token_is_wanted(folder: Path, server: Running) -> None:
    def statuses(found: Running) -> dict[str, bool]:
        paths = found.client.get("/openapi.json").json()["paths"]
        each = {path: next(iter(paths[path].values())) for path in paths}
        assert all({"405", "500"} <= set(one["responses"]) for one in each.values())
        return {path: "401" in one["responses"] and one.get("security") != [] for path, one in each.items()}

    assert not any(statuses(server).values())
    with running(folder / "pictures", HEADSTART_TOKEN="s3cret") as found:
        wanted = statuses(found)
        assert not wanted.pop("/healthz")
        assert not wanted.pop("/readyz")
        assert all(wanted.values())
        example = found.client.get("/openapi.json").json()["paths"]["/models/{name}/examples/{place}"]["get"]
        assert set(example["responses"]["200"]["content"]) == {"image/jpeg", "text/plain", "audio/flac"}


def test_a_model_of_any_name_shows_its_examples(folder: Path) -> None:
    with running(f"a/b?c={folder / 'pictures'}") as found:
        assert found.client.get("/models/a%2Fb%3Fc/examples/0").headers["content-type"] == "image/jpeg"
        assert found.client.get("/models/a%2Fb/examples/0").status_code == 404


def test_answers_say_what_a_browser_may_do_with_them(server: Running) -> None:
    headers = server.client.get("/").headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert server.client.get("/models").headers["cache-control"] == "no-store"


def test_a_token_is_wanted(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    with running(folder / "texts", "--token-file", tmp_path / "token") as found:
        assert found.client.get("/healthz").status_code == 200
        assert found.client.get("/").status_code == 200
        wrong = (
            {},
            {"authorization": "Bearer other"},
            {"authorization": "Basic s3cret"},
            {"authorization": "Bearer s3crét"},
        )
        for headers in wrong:
            encoded = {name: value.encode("latin-1") for name, value in headers.items()}
            answer = found.client.post("/predict", content=b"warm", headers=encoded)  # type: ignore[arg-type]
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        right = {"authorization": "Bearer s3cret"}
        assert found.client.post("/predict", content=b"warm", headers=right).status_code == 200
        assert found.client.get("/metrics").status_code == 401


def test_a_token_file_without_a_token_is_no_open_door(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(" \n")
    command = [
        sys.executable,
        "-m",
        "headstart.cli.main",
        "serve",
        str(folder / "texts"),
        "--token-file",
        str(tmp_path / "token"),
    ]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, timeout=60)
    assert (done.returncode, "holds no token" in done.stderr) == (2, True)


def test_too_much_at_once_is_told_to_come_again(folder: Path) -> None:
    with running(folder / "texts", "--queue", "1") as found:
        answers: list[Any] = []

        def ask() -> None:
            answers.extend(found.client.post("/predict", json={"inputs": ["warm"]}) for _ in range(20))

        threads = [threading.Thread(target=ask) for _ in range(16)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert {each.status_code for each in answers} == {200, 429}
        assert {each.headers.get("retry-after") for each in answers if each.status_code == 429} == {"1"}
        assert found.client.post("/explain", json={"input": "warm"}).status_code == 200
        never = found.client.post("/predict", json={"inputs": ["warm", "cold"]})
        assert (never.status_code, "takes 1 at once" in never.text) == (413, True)


def test_a_body_that_does_not_arrive_is_not_waited_for(folder: Path) -> None:
    with running(folder / "texts", "--max-wait", "1s") as found:
        host, port = found.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as slow:
            slow.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf")
            began = time.monotonic()
            assert b" 408 " in slow.recv(4096).split(b"\r\n")[0]
            assert 0.5 < time.monotonic() - began < 10
        assert found.client.post("/predict", content=b"warm").status_code == 200


def test_told_to_stop_it_ends_what_is_under_way(folder: Path) -> None:
    with running(folder / "pictures") as found:
        statuses: list[int] = []
        content = photo(folder).read_bytes()

        def ask() -> None:
            statuses.append(found.client.post("/explain", content=content).status_code)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for each in threads:
            each.start()
        time.sleep(0.05)
        status, errors = found.stop()
        for each in threads:
            each.join()
        assert statuses == [200, 200, 200]
        assert (status, errors) == (0, "")
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(tuple(found.address.removeprefix("http://").split(":")), timeout=5)  # type: ignore[arg-type]


def uploads(found: Running, content: bytes) -> None:
    files = [("file", (f"secret-{number}.bin", content)) for number in range(3)]
    assert found.client.post("/predict", files=files).status_code == 200
    assert found.client.post("/predict", content=content).status_code in {200, 422}
    assert found.client.post("/explain", content=content).status_code in {200, 422}


def test_nothing_of_a_request_reaches_the_disk(folder: Path, tmp_path: Path) -> None:
    picture = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (900, 900, 3), np.uint8)).save(picture, "PNG")
    assert len(picture.getvalue()) > 2_000_000
    log = tmp_path / "written"
    with running(folder / "pictures", watched=log, HEADSTART_CACHE=str(tmp_path / "cache")) as found:
        uploads(found, picture.getvalue())
        status, errors = found.stop()
    assert (status, errors) == (0, "")
    assert log.read_text() == ""
    assert not list(tmp_path.rglob("*.sqlite*"))
    with running(folder / "pictures", watched=log, PLANT="1") as found:
        uploads(found, picture.getvalue())
    assert "tempfile.mkstemp" in log.read_text() or "/tmp" in log.read_text(), "the watch sees a planted spool"


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_an_export_is_served_without_torch(folder: Path, kind: str) -> None:
    picture = photo(folder)
    with running(folder / kind) as found:
        answer = found.client.post("/predict", content=picture.read_bytes())
        assert said(answer) == told(folder, kind, [picture])
        assert found.client.post("/explain", content=picture.read_bytes()).status_code == 200
        assert "libtorch" not in found.libraries
    with running(folder / "network") as found:
        assert "libtorch" in found.libraries, "the check would see it"


def test_a_text_model_is_served_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    request = BackboneRequest.parse(f"transformers:{save_tiny('bert', tmp_path)}")
    model = hs.fit(reviews(tmp_path / "reviews.csv"), options=hs.FitOptions(backbone=request, check=False))
    hs.export(model, to="onnx", out=tmp_path / "onnx")
    texts = ["film 3 was warm , clever and lovely", "film 4 was dull"]
    with running(tmp_path / "onnx") as found:
        for text in texts:
            [answer] = said(found.client.post("/predict", json={"inputs": [text]}))
            [expected] = told(tmp_path, "onnx", [text])
            assert answer["label"] == expected["label"]
            assert answer["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-5)
        assert found.client.post("/explain", content=texts[0].encode()).status_code == 200
        assert "libtorch" not in found.libraries


def test_killed_and_started_again_it_listens_at_the_same_port(folder: Path) -> None:
    with running(folder / "onnx") as found:
        port = found.address.rpartition(":")[2]
        content = photo(folder).read_bytes()
        before = said(found.client.post("/predict", content=content))
        os.kill(found.process.pid, signal.SIGKILL)
        found.process.wait(20)
    command = [sys.executable, "-m", "headstart.cli.main", "serve", str(folder / "onnx"), "--port", port, "--json"]
    again = subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8")
    try:
        assert again.stdout is not None
        assert json.loads(again.stdout.readline())["address"].endswith(port)
        import httpx

        assert said(httpx.post(f"http://127.0.0.1:{port}/predict", content=content, trust_env=False)) == before
    finally:
        again.kill()
        again.communicate(timeout=20)


def test_a_port_that_is_taken_and_a_model_that_is_not_there_are_one_sentence(folder: Path) -> None:
    def run(*arguments: str | Path) -> tuple[int, str]:
        command = [sys.executable, "-m", "headstart.cli.main", "serve", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, timeout=60)
        return done.returncode, done.stderr

    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, errors = run(folder / "texts", "--port", str(taken.getsockname()[1]))
    assert (status, errors.count("\n")) == (1, 1)
    assert "in use" in errors
    status, errors = run(folder / "nowhere", "--port", "0")
    assert (status, errors.count("\n")) == (1, 1)
    status, errors = run(folder / "texts", folder / "texts", "--port", "0")
    assert (status, "called 'texts'" in errors) == (2, True)


def test_the_limits_that_a_client_is_told_are_those_that_hold(server: Running) -> None:
    told_of = server.client.get("/openapi.json").json()["paths"]["/predict"]["post"]["description"]
    assert "body 2,000,000" in told_of
    assert "characters 50,000, tokens 2,000" in told_of
    assert "seconds 10, " in told_of
    assert "wait 20, " in told_of
    parts = document(["a"], ServeOptions(limits=Limits(wait=0.5, seconds=2.5)))["paths"]["/predict"]["post"]
    assert "seconds 2.5, " in parts["description"]
    assert "wait 0.5, " in parts["description"]
