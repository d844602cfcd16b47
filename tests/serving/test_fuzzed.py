"""Requests that nobody would write, made from the server's own document and by hand: 4xx each, never a 500, and answers as the document says."""

import importlib
from pathlib import Path

import pytest

import headstart as hs
from support.data import ROOT
from support.made import photos, reviews, sounds
from support.serving import running

HARMLESS = {200, *range(400, 500)}


def test_malformed_requests_never_fail_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    requests = importlib.import_module("_serve_malformed")
    data = photos(tmp_path / "photos")
    hs.fit(data, options=hs.FitOptions(backbone="toy:image", with_examples=True)).save(tmp_path / "pictures")
    hs.fit(reviews(tmp_path / "reviews.csv"), backbone="toy:text").save(tmp_path / "texts")
    hs.fit(sounds(tmp_path / "sounds"), backbone="toy:audio").save(tmp_path / "recordings")
    inputs = {
        "pictures": (data / "val" / "red" / "0.png").read_bytes(),
        "texts": b"film 3 was warm , clever and lovely",
        "recordings": (tmp_path / "sounds" / "low" / "0.wav").read_bytes(),
    }
    with running(*(tmp_path / name for name in inputs)) as found:
        by = requests.by_document(found.client, 10)
        seen = requests.by_hand(found.client, inputs, 300) + by.statuses + by.kept
        assert set(seen) <= HARMLESS, seen
        assert by.untrue == []
        assert sum(seen.values()) > 340
        assert {200, 400, 404, 405, 422} <= set(seen), "they reach what they are to reach"
        for name, content in inputs.items():
            assert found.client.post(f"/predict?model={name}", content=content).status_code == 200
        status, errors = found.stop()
    assert (status, errors) == (0, "")
