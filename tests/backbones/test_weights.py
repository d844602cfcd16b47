"""Weights on disk: tensors only, strict, offline without a socket."""

import json
import pickle  # noqa: TID251  (the attack that this file is about)
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from headstart.backbones import hub, weights
from headstart.backbones.backbone import BackboneRequest
from headstart.backbones.choice import open_backbone
from headstart.core.errors import BackboneError, WeightsMissing
from support.networks import save_tiny


class _Payload:
    """Unpickling this writes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.target,))


def test_a_planted_payload_does_not_run(tmp_path: Path) -> None:
    planted, proof = tmp_path / "evil.pth", tmp_path / "proof"
    torch.save({"weight": torch.zeros(2), "extra": _Payload(proof)}, planted)
    with pytest.raises(BackboneError, match="cannot be read as tensors only: it holds pickled objects"):
        weights.read(planted)
    assert not proof.exists()
    old = tmp_path / "old.pth"
    old.write_bytes(pickle.dumps(_Payload(proof)))
    with pytest.raises(BackboneError, match=r"save it again as safetensors or with torch\.save"):
        weights.read(old)
    assert not proof.exists()
    pickle.loads(old.read_bytes())
    assert proof.exists(), "the payload was live, so the refusals above mean something"


def test_a_payload_in_a_folder_of_transformers_does_not_run(tmp_path: Path) -> None:
    folder, proof = save_tiny("bert", tmp_path), tmp_path / "proof"
    (folder / "model.safetensors").unlink()
    torch.save({"weight": torch.zeros(2), "extra": _Payload(proof)}, folder / "pytorch_model.bin")
    with pytest.raises(BackboneError, match="cannot be read as tensors only"):
        open_backbone(BackboneRequest("transformers", str(folder)))
    assert not proof.exists()


def test_containers_give_the_same_tensors(tmp_path: Path) -> None:
    tensors = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.int64)}
    save_file(tensors, tmp_path / "plain.safetensors")
    torch.save(tensors, tmp_path / "plain.pth")
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in tensors.items()}}, tmp_path / "trainer.pth")
    save_file({"a.weight": tensors["a.weight"]}, tmp_path / "model-1.safetensors")
    save_file({"b": tensors["b"]}, tmp_path / "model-2.safetensors")
    index = '{"weight_map": {"a.weight": "model-1.safetensors", "b": "model-2.safetensors"}}'
    (tmp_path / "model.safetensors.index.json").write_text(index, encoding="utf-8")
    for name in ("plain.safetensors", "plain.pth", "trainer.pth", "model.safetensors.index.json"):
        found = weights.read(tmp_path / name)
        assert set(found) == set(tensors), name
        assert all(torch.equal(found[key], tensors[key]) for key in tensors), name


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "cannot be read as tensors only|not a whole safetensors"),
        (b"\x00" * 100, "cannot be read as tensors only|not a whole safetensors"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_files_are_one_sentence(content: bytes, sentence: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(BackboneError, match=sentence):
        weights.read(path)


def test_what_is_no_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    with pytest.raises(BackboneError, match="holds no state dict"):
        weights.read(tmp_path / "list.pth")
    with pytest.raises(WeightsMissing, match="there is no weight file"):
        weights.read(tmp_path / "none.pth")
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(WeightsMissing, match="holds no weights"):
        weights.read(folder)
    index = '{"weight_map": {"a": "../other.safetensors"}}'
    (folder / "model.safetensors.index.json").write_text(index, encoding="utf-8")
    (tmp_path / "other.safetensors").write_bytes(b"")
    for reading in (weights.read, weights.file_digest):
        with pytest.raises(BackboneError, match="a shard has to lie beside its index"):
            reading(folder)


def test_a_misfit_names_tensors_and_shapes() -> None:
    net = torch.nn.Linear(2, 3)
    with pytest.raises(BackboneError, match=r"1 tensors missing: bias; 1 tensors unknown: other"):
        weights.load(net, {"weight": torch.zeros(3, 2), "other": torch.zeros(1)}, origin="w.pth")
    with pytest.raises(BackboneError, match=r"weight \(\(3, 2\) expected, \(2, 2\) found\)"):
        weights.load(net, {"weight": torch.zeros(2, 2), "bias": torch.zeros(3)}, origin="w.pth")


@pytest.mark.parametrize("backbone", ["timm:resnet50", "transformers:bert-base-uncased"])
@pytest.mark.parametrize("how", ["request", "HEADSTART_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_opens_no_socket_and_says_both_ways_out(
    backbone: str, how: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("HEADSTART_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    if how != "request":
        monkeypatch.setenv(how, "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    opened: list[object] = []
    monkeypatch.setattr(socket, "socket", lambda *args, **options: opened.append(args))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: opened.append(args))
    source, name = backbone.split(":")
    with pytest.raises(WeightsMissing, match=r"run once online without --offline, or give .* with --weights PATH"):
        open_backbone(BackboneRequest(source, name, offline=how == "request"))
    assert not opened


def test_the_cache_is_read_as_the_hub_lays_it_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert hub.cached("google-bert/bert-base-uncased") is None
    made = save_tiny("bert", tmp_path / "made")
    snapshot = tmp_path / "models--google-bert--bert-base-uncased" / "snapshots" / "abc"
    snapshot.parent.mkdir(parents=True)
    made.rename(snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc", encoding="utf-8")
    assert hub.cached("google-bert/bert-base-uncased") == snapshot
    backbone = open_backbone("transformers:bert-base-uncased")
    assert backbone.specs[0].name == "google-bert/bert-base-uncased"
    assert backbone.architecture.licence == "Apache-2.0"
    assert str(tmp_path) not in str(backbone.architecture) + str(backbone.specs)


def test_without_a_variable_the_cache_is_in_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert hub.cache_folder().parts[-3:] == (".cache", "huggingface", "hub")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert hub.cache_folder() == tmp_path / "hub"


def test_the_digest_is_of_the_tensors_not_of_the_file(tmp_path: Path) -> None:
    net = torch.nn.Linear(2, 3)
    torch.save(net.state_dict(), tmp_path / "a.pth")
    other = torch.nn.Linear(2, 3)
    assert weights.digest(other) != weights.digest(net)
    weights.load(other, weights.read(tmp_path / "a.pth"), origin="a.pth")
    assert weights.digest(other) == weights.digest(net)
    assert set(weights.arrays(net)) == {"weight", "bias"}
    assert np.shares_memory(weights.arrays(net)["weight"], net.weight.detach().numpy())


def _snapshot(cache: Path, repo: str, made: Path) -> Path:
    snapshot = cache / f"models--{repo.replace('/', '--')}" / "snapshots" / "abc"
    snapshot.parent.mkdir(parents=True)
    made.rename(snapshot)
    return snapshot


def test_a_part_of_a_model_does_not_count_as_the_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    snapshot = _snapshot(tmp_path, "someone/some", save_tiny("bert", tmp_path / "made"))
    assert hub.cached("someone/some") == snapshot
    (snapshot / "model.safetensors").rename(snapshot / "model-00001-of-00002.safetensors")
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}), encoding="utf-8")
    assert hub.cached("someone/some") is None
    with pytest.raises(WeightsMissing, match="offline mode opens no connection"):
        open_backbone(BackboneRequest("transformers", "someone/some", offline=True))
    save_file({"b": torch.zeros(1)}, snapshot / "model-00002-of-00002.safetensors")
    assert hub.cached("someone/some") == snapshot
    (snapshot / "config.json").unlink()
    assert hub.cached("someone/some") is None
    assert hub.cached("someone/some", config=False) == snapshot


def test_online_the_hub_completes_a_cache_that_another_program_filled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A cache of plain transformers has no modules.json: BGE would be read by the mean instead of its class token."""
    import huggingface_hub

    for name in ("HEADSTART_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    snapshot = _snapshot(tmp_path, "BAAI/bge-base-en-v1.5", save_tiny("bert", tmp_path / "made"))

    def completed(repo: str, **options: object) -> str:
        assert repo == "BAAI/bge-base-en-v1.5"
        assert "*.json" in options["allow_patterns"]  # type: ignore[operator]
        modules = [{"path": "", "type": "a.Transformer"}, {"path": "1_Pooling", "type": "a.Pooling"}]
        (snapshot / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
        (snapshot / "1_Pooling").mkdir()
        (snapshot / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}', encoding="utf-8")
        return str(snapshot)

    def broken(repo: str, **options: object) -> str:
        raise OSError("no connection")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", broken)
    backbone = open_backbone("transformers:BAAI/bge-base-en-v1.5")
    assert backbone.specs[0].pooling == "mean"
    assert "lacks modules.json, which says how it pools: its rows are pooled by mean" in backbone.warnings[0]
    monkeypatch.setattr(huggingface_hub, "snapshot_download", completed)
    backbone = open_backbone("transformers:BAAI/bge-base-en-v1.5")
    assert (backbone.specs[0].pooling, backbone.warnings) == ("cls", ())


def test_tf32_is_off_around_a_pass_on_cuda_and_back_after_it() -> None:
    from headstart.backbones.precision import arithmetic

    cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
    names = ("conv", "rnn") if hasattr(cudnn, "conv") else ()
    switches = [(each, "fp32_precision") for each in (cuda.matmul, *(getattr(cudnn, name) for name in names))]
    switches = switches if names else [(cuda.matmul, "allow_tf32"), (cudnn, "allow_tf32")]

    def state() -> list[object]:
        return [getattr(owner, name) for owner, name in switches]

    before = state()
    with arithmetic("float32", "cpu"):
        assert state() == before
    with arithmetic("float32", "cuda"):
        assert set(state()) <= {"ieee", False}
    assert state() == before
    assert set(before) - {"ieee", False}, "convolutions run in TF32 where nobody says otherwise"
