"""The catalogue: known names, licences, what is computed without weights, and what a machine remembers from the first use on."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import headstart as hs
from headstart.backbones import SOURCES, built, first_use, licences, records
from headstart.backbones.backbone import BackboneRequest
from headstart.backbones.choice import open_backbone
from headstart.backbones.known import KERAS, TIMM, TRANSFORMERS
from headstart.core.errors import BackboneError, UsageError
from headstart.features.extraction import extract
from support.networks import save_tiny

NAME = "timm:test_resnet.r160_in1k"


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub's cache with random weights of timm's smallest network; returns their file."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return _plant(tmp_path / "hub", "timm/test_resnet.r160_in1k", save_tiny("test_resnet", tmp_path))


def _plant(cache: Path, repo: str, made: Path) -> Path:
    snapshot = cache / f"models--{repo.replace('/', '--')}" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    file = snapshot / "model.safetensors"
    file.write_bytes(made.read_bytes())
    return file


def _change(file: Path) -> None:
    tensors = load_file(file)
    name = next(name for name, tensor in tensors.items() if tensor.dim() == 4)
    tensors[name] = tensors[name] + 0.5
    save_file(tensors, file)


def test_timm_has_every_listed_name_with_the_licence_that_it_states() -> None:
    source = SOURCES.get("timm")
    for name, _, licence in TIMM:
        one = source.build(name)
        assert one is not None, name
        assert one.licence == licence, name
        assert one.parameters > 10**6
        assert one.width >= 384


def test_keras_has_every_listed_application() -> None:
    source = SOURCES.get("keras")
    for name, _ in KERAS:
        one = source.build(name)
        assert one is not None, name
        assert one.parameters > 10**6
        assert one.width >= 512
    assert source.build("NoSuchNet") is None
    unlisted = source.entry("MobileNet")
    assert unlisted is not None
    assert unlisted.backbone == "keras:MobileNet"
    assert source.entry("mine.keras") is None
    with pytest.raises(BackboneError, match=r"no application 'VGG18'.*Did you mean 'VGG1"):
        source.entry("VGG18")


def test_an_application_is_the_one_that_was_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    made = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(224, 224, 3))
    path = tmp_path / "models" / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
    path.parent.mkdir()
    made.save_weights(tmp_path / "mobilenet.weights.h5")
    (tmp_path / "mobilenet.weights.h5").rename(path)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    [entry] = hs.models("keras:MobileNetV2")
    assert entry.installed
    assert (entry.weights, entry.size_bytes) == (str(path), path.stat().st_size)
    assert entry.parameters == sum(each.numel() for each in map(torch.zeros, (w.shape for w in made.trainable_weights)))
    assert entry.width == made.output_shape[-1] == 1280
    assert entry.input == "224 x 224 pixels"


def test_the_families_that_the_field_names_first_are_listed() -> None:
    names = " ".join([name for name, *_ in TIMM] + [repo for repo, *_ in TRANSFORMERS]).lower()
    image = "vgg11 vgg13 vgg16 vgg19 resnet18 resnet34 resnet50 resnet101 resnet152 efficientnet mobilenet convnext vit_ dinov2 clip siglip"
    text = "bert-base distilbert roberta minilm e5- bge- bert-base-chinese multilingual"
    audio = "wav2vec2 hubert wavlm whisper ast-"
    assert [family for family in f"{image} {text} {audio}".split() if family not in names] == []


def test_no_figure_is_typed_in() -> None:
    words = " ".join(entry.description for entry in hs.models(build=False))
    assert " M param" not in words
    assert "pixels" not in words


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("Apache-2.0", True),
        ("MIT", True),
        ("CC-BY-NC-4.0", False),
        ("cc-by-nc-sa-4.0", False),
        ("fair-noncommercial-research-license", False),
        ("apple-amlr", False),
        ("dinov3-license", None),
        ("ncsa", None),
        ("func-1.0", None),
        ("", None),
    ],
)
def test_licences_that_forbid_commercial_use_are_known(licence: str, allowed: bool | None) -> None:
    assert licences.commercial(licence) is allowed


def test_licences_are_written_as_spdx_writes_them() -> None:
    assert [licences.spdx(each) for each in ("apache-2.0", "bsd-3-clause", "cc-by-nc-4.0", "dinov3-license")] == [
        "Apache-2.0",
        "BSD-3-Clause",
        "CC-BY-NC-4.0",
        "dinov3-license",
    ]


def test_figures_without_weights_are_those_of_the_opened_network(planted: Path) -> None:
    [entry] = hs.models(NAME)
    assert entry.weights == str(planted.parent)
    assert (entry.digest, entry.speed) == ("", None)
    backbone = open_backbone(NAME)
    record = records.read(NAME)
    assert record is not None
    assert (entry.parameters, entry.width, entry.input) == (record.parameters, record.width, record.input)
    assert backbone.specs[0].dim == entry.width


def test_what_was_computed_is_kept_for_the_versions_of_the_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    found = built.build([NAME])
    assert found[NAME] is not None
    assert built.kept() == found
    calls: list[str] = []
    monkeypatch.setattr(built, "_built", calls.append)
    built.build([NAME])
    assert calls == []
    monkeypatch.setattr(built, "_version", lambda name: "another")
    assert built.kept() == {}
    built.build([NAME])
    assert calls == [NAME]


def test_a_model_that_only_its_files_describe_is_blank_until_its_first_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    name = "transformers:google-bert/bert-base-uncased"
    [before] = hs.models(name)
    assert (before.parameters, before.width, before.input, before.digest) == (None, None, "", "")
    snapshot = tmp_path / "models--google-bert--bert-base-uncased" / "snapshots" / "abc"
    snapshot.parent.mkdir(parents=True)
    save_tiny("bert", tmp_path / "made").rename(snapshot)
    backbone = open_backbone("transformers:bert-base-uncased")
    [after] = hs.models("transformers:bert-base-uncased")
    assert after.backbone == name
    assert after.width == backbone.specs[0].dim == 32
    assert after.parameters == sum(each.numel() for each in backbone.module.parameters())  # type: ignore[attr-defined]
    assert after.input.startswith("up to ")
    assert len(after.digest) == 64


def test_an_unusual_readout_says_nothing_of_the_width(planted: Path) -> None:
    open_backbone(replace(BackboneRequest.parse(NAME), layer="-2"))
    record = records.read(NAME)
    assert record is not None
    assert record.width is None
    assert record.digest


def test_weights_that_changed_are_refused_until_they_are_forgotten(planted: Path) -> None:
    open_backbone(NAME)
    [entry] = hs.models(NAME)
    kept = entry.digest
    open_backbone(NAME)
    _change(planted)
    with pytest.raises(BackboneError, match=rf"{kept} and is [0-9a-f]{{64}}; .*headstart models {NAME} --forget"):
        open_backbone("timm:test_resnet")
    assert hs.models(NAME)[0].digest == kept
    assert hs.forget_model(NAME)
    open_backbone(NAME)
    assert hs.models(NAME)[0].digest not in {"", kept}
    assert hs.forget_model(NAME)
    assert not hs.forget_model(NAME)


def test_changed_weights_are_refused_in_another_form_of_the_network_too(planted: Path) -> None:
    """The network for another size has other tensors, so the file is looked at."""
    open_backbone(NAME)
    record = records.read(NAME)
    assert record is not None
    records.update(NAME, lambda _: replace(record, tensors={}))
    _change(planted)
    with pytest.raises(BackboneError, match="no longer those that were on this machine first"):
        open_backbone(NAME)


def test_the_same_tensors_in_another_file_are_the_same_weights(planted: Path) -> None:
    open_backbone(NAME)
    tensors = load_file(planted)
    save_file(tensors, planted, metadata={"written": "again"})
    open_backbone(NAME)


def test_a_file_that_a_person_gives_is_neither_kept_nor_checked(planted: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    other.write_bytes(planted.read_bytes())
    _change(other)
    request = replace(BackboneRequest.parse(NAME), weights=other)
    open_backbone(request)
    assert records.read(NAME) is None
    open_backbone(NAME)
    open_backbone(request)


def test_own_networks_are_not_kept(own_cache: Path) -> None:
    open_backbone("toy:image")
    open_backbone(BackboneRequest("torch", "mine", module=torch.nn.Conv2d(3, 4, 3), prepare={"modality": "image"}))
    assert list(own_cache.rglob("*.json")) == []


def test_a_cache_that_cannot_be_written_stops_nobody(planted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, value: object) -> None:
        raise PermissionError(13, "read-only", str(path))

    monkeypatch.setattr(records, "write_json", refuse)
    open_backbone(NAME)
    assert hs.models(NAME)[0].parameters


def test_a_record_that_cannot_be_read_counts_as_none(planted: Path, own_cache: Path) -> None:
    open_backbone(NAME)
    [path] = (own_cache / "models").glob("timm*.json")
    path.write_text('{"backbone": 3}', encoding="utf-8")
    assert records.read(NAME) is None
    open_backbone(NAME)
    assert json.loads(path.read_text(encoding="utf-8"))["backbone"] == NAME


def test_a_record_of_a_later_version_still_holds_its_digest(planted: Path, own_cache: Path) -> None:
    open_backbone(NAME)
    [path] = (own_cache / "models").glob("timm*.json")
    told = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**told, "later": 1}), encoding="utf-8")
    record = records.read(NAME)
    assert record is not None
    assert record.digest == told["digest"]
    path.write_text(json.dumps({**told, "tensors": None}), encoding="utf-8")
    assert records.read(NAME) is None


def test_a_modality_that_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no modality 'imag'.*Did you mean 'image'"):
        hs.models(modality="imag")


def test_names_of_records_never_run_into_each_other() -> None:
    names = ["a:" + "x" * 300, "a:" + "x" * 299 + "y", "a:B", "a:b", "a:b/c", "a:b%2Fc"]
    paths = {records._path(name).name.lower() for name in names}
    assert len(paths) == len(names)
    assert max(map(len, paths)) < 200


def test_speed_is_measured_on_enough_samples_and_the_fastest_is_kept(planted: Path, tmp_path: Path) -> None:
    backbone = open_backbone(NAME)
    rng = np.random.default_rng(0)
    for number in range(70):
        label = tmp_path / "photos" / str(number % 2)
        label.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8)).save(label / f"{number}.png")
    samples = hs.read(tmp_path / "photos")
    few = samples.take(np.arange(10))
    extract(few, backbone)
    assert hs.models(NAME)[0].speed is None
    extract(samples.take(np.arange(70)), backbone)
    assert hs.models(NAME)[0].speed is None, "60 were missing, which is too few"
    first_use.note_speed(backbone, items=64, seconds=2.0, engine="eager")
    first_use.note_speed(backbone, items=64, seconds=4.0, engine="eager")
    speed = hs.models(NAME)[0].speed
    assert speed is not None
    assert (speed.per_second, speed.items, speed.engine, speed.precision) == (32.0, 64, "eager", "float32")


def test_an_extraction_of_enough_samples_is_remembered(planted: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for number in range(64):
        label = tmp_path / "photos" / str(number % 2)
        label.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8)).save(label / f"{number}.png")
    found = extract(hs.read(tmp_path / "photos"), open_backbone(NAME))
    speed = hs.models(NAME)[0].speed
    assert speed is not None
    assert (speed.items, speed.engine) == (64, found.engine)
    assert speed.per_second == pytest.approx(64 / found.seconds["extract"], rel=1e-3)
    extract(hs.read(tmp_path / "photos"), open_backbone(NAME))
    assert hs.models(NAME)[0].speed == speed, "stored rows say nothing about speed"


def test_weights_of_ones_own_leave_no_speed(planted: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    other.write_bytes(planted.read_bytes())
    _change(other)
    backbone = open_backbone(replace(BackboneRequest.parse(NAME), weights=other))
    first_use.note_speed(backbone, items=100, seconds=1.0, engine="eager")
    assert records.read(NAME) is None
    open_backbone(NAME)
    first_use.note_speed(backbone, items=100, seconds=1.0, engine="eager")
    assert hs.models(NAME)[0].speed is None


def test_names_are_found_and_suggested() -> None:
    assert hs.models("resnet18.a1_in1k")[0].backbone == "timm:resnet18.a1_in1k"
    assert hs.models("timm:resnet18")[0].backbone == "timm:resnet18.a1_in1k"
    unlisted = hs.models("timm:convnext_base.dinov3_lvd1689m")[0]
    assert (unlisted.licence, unlisted.commercial) == ("dinov3-license", None)
    assert hs.models("transformers:someone/something")[0].parameters is None
    with pytest.raises(UsageError, match=r"no model 'resnet18\.a1' in the list.*Did you mean 'resnet18\.a1_in1k'"):
        hs.models("resnet18.a1")
    with pytest.raises(BackboneError, match=r"no model 'bert-base-uncasd'.*Did you mean 'bert-base-uncased'"):
        hs.models("transformers:bert-base-uncasd")
    with pytest.raises(BackboneError, match=r"no backbone embedded:minilm\..*minilm-l6"):
        hs.models("embedded:minilm")
    with pytest.raises(UsageError, match="a network of your own"):
        hs.models("toy:image")
