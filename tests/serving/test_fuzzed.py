"""Requests that nobody would write, made from the server's own document and by hand: 4xx each, and never a 500."""

import importlib
from pathlib import Path

import pytest

import headstart as hs
from support.data import ROOT
from support.made import photos
from support.serving import running

HARMLESS = {200, *range(400, 500)}


def test_malformed_requests_never_fail_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    requests = importlib.import_module("_serve_malformed")
    data = photos(tmp_path / "photos")
    hs.fit(data, options=hs.FitOptions(backbone="toy:image", with_examples=True)).save(tmp_path / "model")
    picture = (data / "val" / "red" / "0.png").read_bytes()
    with running(tmp_path / "model") as found:
        seen = requests.by_hand(found.client, picture, 300) + requests.by_document(found.client, 10)
        assert set(seen) <= HARMLESS, seen
        assert sum(seen.values()) > 340
        assert {200, 400, 404, 405, 413, 422} - set(seen) <= {404, 413}, "they reach what they are to reach"
        assert found.client.post("/predict", content=picture).status_code == 200
        status, errors = found.stop()
    assert (status, errors) == (0, "")
