"""transformers: folders as they come, sentence-transformers' own files, recordings, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headstart.backbones import pretrained_folder
from headstart.backbones.backbone import Backbone, BackboneRequest
from headstart.backbones.choice import open_backbone
from headstart.core.errors import BackboneError, ModelError, UsageError, WeightsMissing
from headstart.data.preparation import Batch
from support.networks import save_tiny, write_tokenizer

_TEXTS = ("the dog runs", "a small cat sleeps on the big mat !")


def _open(folder: Path, **options: Any) -> Backbone:
    return open_backbone(BackboneRequest("transformers", str(folder), **options))


def _batch(backbone: Backbone, *texts: str) -> Batch:
    return backbone.preparation.collate([backbone.preparation.prepare(text).views[0] for text in texts])


def _sentence_folder(folder: Path, *, kinds: tuple[str, ...], pooling: dict[str, Any], **files: dict[str, Any]) -> Path:
    """A folder as sentence-transformers writes it."""
    made = save_tiny("bert", folder)
    modules = []
    for index, kind in enumerate(kinds):
        path = "" if kind == "Transformer" else f"{index}_{kind}"
        modules.append({"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"})
        (made / path).mkdir(exist_ok=True)
        if kind == "Pooling":
            (made / path / "config.json").write_text(json.dumps(pooling), encoding="utf-8")
    (made / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    for name, content in files.items():
        (made / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return made


def test_a_sentence_folder_says_pooling_scale_length_and_prompt(tmp_path: Path) -> None:
    folder = _sentence_folder(
        tmp_path,
        kinds=("Transformer", "Pooling", "Normalize"),
        pooling={"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False},
        sentence_bert_config={"max_seq_length": 7, "do_lower_case": False},
        config_sentence_transformers={
            "prompts": {"query": "query: ", "passage": "on: "},
            "default_prompt_name": "query",
        },
    )
    backbone = _open(folder)
    spec = backbone.specs[0]
    assert spec.pooling == "cls+l2"
    assert "max_tokens=7" in spec.prepare
    assert "prefix='query: '" in spec.prepare
    assert spec.name == "bert"
    rows = backbone.embed(_batch(backbone, *_TEXTS))[0]
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-6)
    plain = _open(folder, pooling="cls", prepare={"prefix": "", "max_tokens": 7})
    raw = plain.embed(_batch(plain, *(f"query: {text}" for text in _TEXTS)))[0]
    np.testing.assert_allclose(rows, raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-6)


def test_the_new_spelling_of_pooling_and_no_default_prompt(tmp_path: Path) -> None:
    folder = _sentence_folder(
        tmp_path,
        kinds=("Transformer", "Pooling"),
        pooling={"embedding_dimension": 32, "pooling_mode": "mean"},
        config_sentence_transformers={"prompts": {"query": "query: "}, "default_prompt_name": None},
    )
    spec = _open(folder).specs[0]
    assert (spec.pooling, "prefix=''" in spec.prepare) == ("mean", True)


def test_a_sentence_folder_gives_the_rows_of_sentence_transformers(tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    folder = _sentence_folder(
        tmp_path,
        kinds=("Transformer", "Pooling", "Normalize"),
        pooling={"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True},
        sentence_bert_config={"max_seq_length": 9},
        tokenizer_config={
            "tokenizer_class": "PreTrainedTokenizerFast",
            "pad_token": "[PAD]",
            "unk_token": "[UNK]",
            "cls_token": "[CLS]",
            "sep_token": "[SEP]",
        },
    )
    wanted = library.SentenceTransformer(str(folder), device="cpu").encode(list(_TEXTS))
    backbone = _open(folder)
    np.testing.assert_allclose(backbone.embed(_batch(backbone, *_TEXTS))[0], wanted, atol=1e-5)


def test_what_a_sentence_folder_may_ask_in_vain(tmp_path: Path) -> None:
    dense = _sentence_folder(
        tmp_path / "a", kinds=("Transformer", "Pooling", "Dense"), pooling={"pooling_mode_mean_tokens": True}
    )
    with pytest.raises(BackboneError, match="ends in a module Dense, which headstart does not run"):
        _open(dense)
    assert _open(dense, pooling="mean").specs[0].dim == 32
    weighted = _sentence_folder(
        tmp_path / "b", kinds=("Transformer", "Pooling"), pooling={"pooling_mode_weightedmean_tokens": True}
    )
    with pytest.raises(BackboneError, match="pools by weightedmean"):
        _open(weighted)


def test_lower_casing_is_put_into_the_tokenizer(tmp_path: Path) -> None:
    folder = _sentence_folder(
        tmp_path,
        kinds=("Transformer", "Pooling"),
        pooling={"pooling_mode_mean_tokens": True},
        sentence_bert_config={"max_seq_length": 16, "do_lower_case": True},
    )
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["normalizer"] = None
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    backbone = _open(folder)
    assert _batch(backbone, "THE DOG").values.tolist() == _batch(backbone, "the dog").values.tolist()


def test_a_checkpoint_with_another_head_gives_the_same_rows(tmp_path: Path) -> None:
    """A masked language model has a prefix before its names, a head, and no pooler."""
    folder = save_tiny("bert_mlm", tmp_path)
    backbone = _open(folder)
    assert not any("pooler" in name or "cls." in name for name in backbone.tensors())
    with pytest.raises(BackboneError, match=r"lack 2 tensors of BertModel \(pooler\.dense\.bias"):
        _open(folder, pooling="model")


def test_missing_tensors_are_never_made_up(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = save_tiny("bert", tmp_path)
    state = load_file(folder / "model.safetensors")
    del state["encoder.layer.1.output.dense.weight"]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        BackboneError, match=r"lack 1 tensors of BertModel \(encoder\.layer\.1\.output\.dense\.weight\)"
    ):
        _open(folder)


def test_weights_of_a_file_and_of_a_folder(tmp_path: Path) -> None:
    folder = save_tiny("bert", tmp_path)
    direct = _open(folder)
    given = open_backbone(BackboneRequest("transformers", "google-bert/bert-base-uncased", weights=folder))
    assert given.specs[0].name == "google-bert/bert-base-uncased"
    assert given.specs[0].weights == direct.specs[0].weights
    tensors = {name: torch.from_numpy(2 * array) for name, array in direct.tensors().items()}
    torch.save(tensors, tmp_path / "tuned.pth")
    tuned = _open(folder, weights=tmp_path / "tuned.pth")
    assert tuned.specs[0].fingerprint != direct.specs[0].fingerprint


def test_older_folders_hold_pytorch_model_bin(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = save_tiny("bert", tmp_path)
    before = _open(folder).specs
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert _open(folder).specs == before


def test_a_prompt_of_e5_without_files_that_say_it(tmp_path: Path) -> None:
    folder = save_tiny("bert", tmp_path)
    e5 = open_backbone(BackboneRequest("transformers", "intfloat/multilingual-e5-base", weights=folder))
    assert "prefix='query: '" in e5.specs[0].prepare
    instruct = open_backbone(BackboneRequest("transformers", "intfloat/e5-mistral-7b-instruct", weights=folder))
    assert "prefix=''" in instruct.specs[0].prepare


def test_a_vocabulary_becomes_a_tokenizer(tmp_path: Path) -> None:
    folder = save_tiny("bert", tmp_path)
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    (folder / "tokenizer.json").unlink()
    with pytest.raises(BackboneError, match=r"has no tokenizer\.json, and no vocabulary"):
        _open(folder)
    (folder / "vocab.txt").write_text("\n".join(tokenizer["model"]["vocab"]), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True}), encoding="utf-8"
    )
    backbone = _open(folder)
    assert _batch(backbone, "The dog").values.tolist() == [[2, 4, 6, 3]]


def test_recordings_of_one_length_share_a_batch_where_there_is_no_mask(tmp_path: Path) -> None:
    group = _open(save_tiny("wav2vec2", tmp_path))
    masked = _open(save_tiny("wav2vec2_layer", tmp_path))
    assert "pad='none'" in group.specs[0].prepare
    assert "pad='bucket'" in masked.specs[0].prepare
    sound = np.random.default_rng(0).standard_normal(9000).astype(np.float32)
    short, long = sound[:5000], sound
    assert group.preparation.bucket(short) != group.preparation.bucket(long)
    alone = masked.embed(masked.preparation.collate([short]))[0]
    beside = masked.embed(masked.preparation.collate([short, long]))[0][:1]
    np.testing.assert_allclose(beside, alone, rtol=1e-4, atol=1e-5)


def test_wav2vec2_is_fed_as_its_own_extractor_feeds_it(tmp_path: Path) -> None:
    from transformers import AutoModel, Wav2Vec2FeatureExtractor

    folder = save_tiny("wav2vec2_layer", tmp_path)
    backbone = _open(folder, layer="encoder.layers.2")
    sounds = [
        np.random.default_rng(seed).standard_normal(size).astype(np.float32) for seed, size in ((0, 5000), (1, 9000))
    ]
    extractor = Wav2Vec2FeatureExtractor(return_attention_mask=True, do_normalize=True)
    net = AutoModel.from_pretrained(folder).eval()
    inputs = extractor(sounds, sampling_rate=16000, padding="max_length", max_length=16000, return_tensors="pt")
    seen: list[torch.Tensor] = []
    net.encoder.layers[2].register_forward_hook(
        lambda module, args, out: seen.append(out[0] if isinstance(out, tuple) else out)
    )
    with torch.inference_mode():
        net(**inputs)
    counts = net._get_feat_extract_output_lengths(torch.tensor([5000, 9000])).tolist()
    wanted = np.stack([seen[0][one, :count].mean(dim=0).numpy() for one, count in enumerate(counts)])
    np.testing.assert_allclose(backbone.embed(backbone.preparation.collate(sounds))[0], wanted, rtol=1e-3, atol=1e-4)


def test_the_spectrogram_transformer_is_fed_as_its_own_extractor_feeds_it(tmp_path: Path) -> None:
    from headstart.backbones.feeds import FbankFeed, FbankSize

    pytest.importorskip("transformers")
    import transformers

    extractor = transformers.ASTFeatureExtractor(num_mel_bins=64, max_length=128, mean=-4.0, std=4.5)
    if not hasattr(extractor, "mel_filters"):
        pytest.skip("torchaudio is installed, whose arithmetic differs in the last digits")
    sound = (0.1 * np.random.default_rng(0).standard_normal(12000)).astype(np.float32)
    wanted = extractor(sound, sampling_rate=16000, return_tensors="np")["input_values"][0]
    feed = FbankFeed(torch.nn.Identity(), size=FbankSize(64, 128, 16000, -4.0, 4.5), prefix=2)
    padded = torch.zeros(1, 20720)
    padded[0, : len(sound)] = torch.from_numpy(sound)
    ours = feed.filter_bank(padded, torch.tensor([len(sound)]))[0].numpy()
    np.testing.assert_allclose(ours, wanted, atol=2e-3)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}, "do_center_crop": True}, (224, 256, "shortest")),
        ({"size": {"height": 224, "width": 224}}, (224, 224, "squash")),
        ({"size": 224, "do_center_crop": False}, (224, 224, "squash")),
        ({"size": {"shortest_edge": 400}, "crop_size": 384, "do_center_crop": True}, (384, 400, "shortest")),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, (224, 256, "shortest")),
    ],
)  # fmt: skip
def test_sizes_of_preprocessors(given: dict[str, Any], wanted: tuple[int, int, str], tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(given), encoding="utf-8")
    options = pretrained_folder.image_options(tmp_path, {"image_size": 224})
    assert (options["size"], int(options["size"] / options["crop"]), options["resize"]) == wanted


def test_another_size_interpolates_the_positions(tmp_path: Path) -> None:
    folder = save_tiny("vit", tmp_path)
    backbone = _open(folder, prepare={"size": 48})
    assert backbone.embed(backbone.preparation.probes(2, 0))[0].shape == (2, 64)


def test_names_that_lead_nowhere(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="no folder '/no/such/folder', and it is no name of the hub"):
        _open(Path("/no/such/folder"))
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(BackboneError, match="names a model_type"):
        _open(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "whatever"}', encoding="utf-8")
    with pytest.raises(BackboneError, match="of the kind 'whatever'"):
        _open(tmp_path)
    (tmp_path / "config.json").write_text("[", encoding="utf-8")
    with pytest.raises(BackboneError, match="is no JSON"):
        _open(tmp_path)


def test_code_of_a_repository_is_never_run(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    proof = tmp_path / "proof"
    (tmp_path / "evil.py").write_text(f"open({str(proof)!r}, 'w').close()\n", encoding="utf-8")
    config = {"model_type": "evil", "vocab_size": 9, "auto_map": {"AutoConfig": "evil.C", "AutoModel": "evil.M"}}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    torch.save({"a": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(BackboneError, match="of the kind 'evil', of which headstart reads no rows"):
        _open(tmp_path)
    assert not proof.exists()


def test_tampered_tensors_do_not_rebuild(tmp_path: Path) -> None:
    from headstart.backbones.choice import rebuild_backbone

    backbone = _open(save_tiny("bert", tmp_path))
    saved = {name: array.copy() for name, array in backbone.tensors().items()}
    first = next(iter(saved))
    for change, sentence in (
        ({first: saved[first] + 1}, "differs from the saved one in weights"),
        ({first: saved[first][:1]}, "of another shape"),
        ({"extra": np.zeros(1, np.float32)}, "1 tensors unknown: extra"),
    ):
        with pytest.raises(ModelError, match=sentence):
            rebuild_backbone(
                backbone.architecture,
                backbone.specs,
                assets=backbone.preparation.assets,
                tensors=lambda change=change: saved | change,
            )


@pytest.mark.parametrize(
    ("kind", "file", "key", "value"),
    [
        ("bert", "config", "hidden_act", "relu"),
        ("bert", "config", "num_attention_heads", 4),
        ("wav2vec2", "preprocessor_config", "do_normalize", False),
        ("ast", "preprocessor_config", "mean", -3.0),
        ("ast", "preprocessor_config", "std", 3.0),
        ("whisper", "config", "encoder_attention_heads", 4),
    ],
)
def test_an_edited_configuration_is_another_backbone(
    kind: str, file: str, key: str, value: object, tmp_path: Path
) -> None:
    folder = save_tiny(kind, tmp_path)
    before = _open(folder)
    path = folder / f"{file}.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {key: value}), encoding="utf-8")
    after = _open(folder)
    probes = before.preparation.probes(2, 0)
    assert not np.allclose(before.embed(probes)[0], after.embed(probes)[0], atol=1e-6)
    assert after.specs[0].weights == before.specs[0].weights
    assert after.specs[0].fingerprint != before.specs[0].fingerprint


def test_a_local_folder_of_e5_has_its_prompt(tmp_path: Path) -> None:
    folder = save_tiny("bert", tmp_path).rename(tmp_path / "multilingual-e5-base")
    backbone = _open(folder)
    assert "prefix='query: '" in backbone.specs[0].prepare
    assert "lacks modules.json" in backbone.warnings[0]
    assert not _open(folder, pooling="mean").warnings


def test_an_image_s_preparation_is_not_guessed(tmp_path: Path) -> None:
    folder = save_tiny("vit", tmp_path)
    saved = _open(folder).specs
    content = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(
        BackboneError, match=r"has no preprocessor_config\.json.*give size, mean, std, interpolation in"
    ):
        _open(folder)
    with pytest.raises(BackboneError, match=r"give mean, std in prepare"):
        _open(folder, prepare={"size": 32, "interpolation": "bilinear"})
    given = {"size": 32, "mean": (0.5,) * 3, "std": (0.25,) * 3, "interpolation": "bilinear"}
    assert _open(folder, prepare=given).specs[0].prepare == saved[0].prepare
    newer = {"image_processor": content, "processor_class": "P"}
    (folder / "processor_config.json").write_text(json.dumps(newer), encoding="utf-8")
    assert _open(folder).specs == saved


@pytest.mark.parametrize(
    ("kind", "prepare", "sentence"),
    [
        ("bert", {"max_tokens": 513}, "reads at most 512 tokens, and got max_tokens=513: give max_tokens=512 or less"),
        ("roberta", {"max_tokens": 511}, "reads at most 510 tokens"),
        ("whisper", {"window": 40.0}, "reads at most 30 seconds, and got window=40: give window=30 or less"),
    ],
)
def test_a_network_is_not_asked_for_more_than_it_can_read(
    kind: str, prepare: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    folder = save_tiny(kind, tmp_path)
    with pytest.raises(UsageError, match=sentence):
        _open(folder, prepare=prepare)


def test_clip_s_tokens_are_read_behind_its_last_norm(tmp_path: Path) -> None:
    backbone = _open(save_tiny("clip", tmp_path))
    assert backbone.specs[0].pooling == "cls+mean"
    pooled = _open(tmp_path / "clip", pooling="model")
    probes = backbone.preparation.probes(2, 0)
    np.testing.assert_allclose(backbone.embed(probes)[0][:, :32], pooled.embed(probes)[0], atol=1e-5)


def test_a_causal_network_is_read_at_its_last_token(tmp_path: Path) -> None:
    backbone = _open(save_tiny("gpt2", tmp_path))
    assert backbone.specs[0].pooling == "last"
    alone, beside = (backbone.embed(_batch(backbone, *texts))[0][0] for texts in (_TEXTS[:1], _TEXTS))
    np.testing.assert_allclose(beside, alone, atol=1e-5)


def test_the_pooler_is_kept_where_any_layer_asks_for_it(tmp_path: Path) -> None:
    backbone = _open(save_tiny("bert", tmp_path), layer="-2,", pooling="mean,model")
    assert [spec.pooling for spec in backbone.specs] == ["mean", "model"]
    assert any(name.startswith("pooler.") for name in backbone.tensors())


def test_opening_runs_few_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from headstart.backbones.feeds import VisionFeed

    seen: list[int] = []
    forward = VisionFeed.forward
    monkeypatch.setattr(
        VisionFeed,
        "forward",
        lambda self, values, lengths: (seen.append(len(values)), forward(self, values, lengths))[1],
    )
    _open(save_tiny("vit", tmp_path))
    assert seen == [2]
