"""The graph that is exported scores as the model does, whatever its head, link and prior."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from headstart.backbones.fourier import Frames, ShortTime
from headstart.core import digests
from headstart.core.errors import UsageError
from headstart.data.modalities import preparation
from headstart.evaluation.calibration import probabilities
from headstart.exporting import FORMATS
from headstart.exporting.scorer import Scorer
from headstart.exporting.tracing import names_of
from headstart.heads.fitted import Head, Layer, Linear, Mlp, Neighbours
from headstart.heads.modules import scores_of
from support import media
from support.tunable import network

RNG = np.random.default_rng(0)
D, K = 8, 3


def linear(link: str) -> Linear:
    return Linear(RNG.normal(size=(D, K)).astype(np.float32), RNG.normal(size=K), link)


def mlp(activation: str) -> Mlp:
    hidden = Layer(RNG.normal(size=(D, 5)).astype(np.float32), RNG.normal(size=5))
    return Mlp((hidden,), RNG.normal(size=(5, K)).astype(np.float32), RNG.normal(size=K), activation, "softmax")


def neighbours(link: str) -> Neighbours:
    rows = RNG.normal(size=(20, D)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    votes = np.eye(K, dtype=np.float32)[np.arange(20) % K] if link != "identity" else RNG.normal(size=(20, 1))
    return Neighbours(rows, votes, RNG.normal(size=D).astype(np.float32), k=5, sharpness=12.0, link=link)


HEADS: list[Head] = [
    *(linear(link) for link in ("softmax", "sigmoid", "identity")),
    *(mlp(activation) for activation in ("relu", "gelu_tanh")),
    *(neighbours(link) for link in ("softmax", "sigmoid", "identity")),
]


@pytest.mark.parametrize("head", HEADS, ids=lambda each: f"{type(each).__name__}-{each.link}")
def test_a_head_as_a_module_scores_as_in_numpy(head: Head) -> None:
    rows = (3 * RNG.normal(size=(7, D))).astype(np.float32)
    with torch.inference_mode():
        found = scores_of(head)(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(found, head.scores(rows), rtol=1e-4, atol=1e-4)


class FakeModel:
    """What a scorer reads of a model."""

    modality = "image"

    def __init__(self, head: Head, **more: Any) -> None:
        self.backbone, self.head, self.temperature = network(), head, 1.7
        self.prior, self.deployment_prior = more.get("prior"), more.get("deployed")


@pytest.mark.parametrize("link", ["softmax", "sigmoid", "identity"])
def test_probabilities_are_the_calibrated_ones(link: str) -> None:
    model: Any = FakeModel(linear(link))
    batch = model.backbone.preparation.probes(4, 0)
    with torch.inference_mode():
        found, rows = Scorer(model).eval()(torch.from_numpy(batch.values))
    (expected,) = model.backbone.embed(batch)
    np.testing.assert_allclose(rows.numpy(), expected, atol=1e-5)
    scores = model.head.scores(expected)
    known = scores if link == "identity" else probabilities(scores, temperature=1.7, link=link)
    np.testing.assert_allclose(found.numpy(), known, rtol=1e-4, atol=1e-5)


def test_a_deployment_prior_is_in_the_graph() -> None:
    from headstart.evaluation.decision import shift_prior

    prior, deployed = (0.5, 0.3, 0.2), (0.1, 0.1, 0.8)
    plain: Any = FakeModel(linear("softmax"))
    model: Any = FakeModel(plain.head, prior=prior, deployed=deployed)
    values = torch.from_numpy(model.backbone.preparation.probes(4, 0).values)
    with torch.inference_mode():
        before, after = (Scorer(each).eval()(values)[0].numpy().astype(np.float64) for each in (plain, model))
    expected = shift_prior(before, prior=np.array(prior), deployed=np.array(deployed))
    np.testing.assert_allclose(after, expected, atol=1e-6)
    assert np.abs(after - before).max() > 0.05


def test_several_views_share_one_row() -> None:
    scorer = Scorer(FakeModel(linear("softmax"))).eval()  # type: ignore[arg-type]
    values = torch.from_numpy(network().preparation.probes(3, 0).values)
    shares = torch.tensor([[0.25, 0.75, 0.0], [0.0, 0.0, 1.0]])
    with torch.inference_mode():
        _, alone = scorer(values)
        found, rows = scorer(values, torch.ones(3, dtype=torch.int64), shares)
    torch.testing.assert_close(rows, torch.stack([0.25 * alone[0] + 0.75 * alone[1], alone[2]]))
    assert found.shape == (2, K)


def test_what_is_no_network_of_torch_is_refused() -> None:
    model: Any = FakeModel(linear("softmax"))
    model.backbone = object()
    model.report = type("Report", (), {"backbone": "toy:image"})()
    with pytest.raises(UsageError, match="toy:image is no network of torch, and only those are exported"):
        Scorer(model)


@pytest.mark.parametrize("samples", [400, 1600, 16000])
def test_spectra_by_products_are_those_of_fourier(samples: int) -> None:
    wave = torch.from_numpy(RNG.normal(size=(2, samples)).astype(np.float32))
    plain = ShortTime(400, 160)
    expected = plain(wave)
    torch.testing.assert_close(plain.by_products()(wave), expected, rtol=1e-3, atol=1e-5 * float(expected.max()))
    frames = wave.unfold(1, 400, 160)
    power = Frames(512)
    expected = power(frames)
    torch.testing.assert_close(power.by_products()(frames), expected, rtol=1e-3, atol=1e-5 * float(expected.max()))


def test_inputs_are_those_of_the_modality() -> None:
    model: Any = FakeModel(linear("softmax"))
    assert names_of(model) == ("pixels",)
    model.modality = "audio"
    assert names_of(model) == ("samples", "lengths", "shares")
    model.modality = "text"
    for long, expected in (("truncate", ("ids", "lengths")), ("windows", ("ids", "lengths", "shares"))):
        asset = media.tokenizer()
        recipe = f"text(max_tokens=16, long={long!r}, tokenizer={digests.of_bytes(asset).hex()!r})"
        model.backbone = replace(model.backbone, preparation=preparation(recipe, {"tokenizer.json": asset}))
        assert names_of(model) == expected


def test_every_format_says_what_it_needs() -> None:
    assert set(FORMATS.names()) >= {"onnx", "openvino", "torch"}
    for name in FORMATS.names():
        plugin = FORMATS.get(name)
        assert plugin.files
        assert plugin.libraries
        assert ">=" in plugin.runtime
