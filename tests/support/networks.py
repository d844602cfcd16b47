"""Small random networks, saved as a person would have them: for tests of backbones."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from headstart.backbones.torchvision_schemas import mend

TOKENS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "the",
    "a",
    "dog",
    "cat",
    "runs",
    "sleeps",
    "on",
    "mat",
    "query",
    ":",
    "!",
    "?",
    "big",
    "small",
    "##s",
]
_BLOCKS: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 48,
}
_PIXELS = {
    "do_resize": True,
    "size": {"height": 32, "width": 32},
    "image_mean": [0.5] * 3,
    "image_std": [0.25] * 3,
    "resample": 2,
}
_WAVE: dict[str, Any] = {
    **_BLOCKS,
    "conv_dim": (16, 16),
    "conv_stride": (5, 4),
    "conv_kernel": (10, 8),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
_SOUND = {"do_normalize": True, "sampling_rate": 16000}


def write_tokenizer(folder: Path) -> Path:
    """A word-piece tokenizer of `TOKENS` that puts [CLS] and [SEP] around a text."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordPiece({token: index for index, token in enumerate(TOKENS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(TOKENS[:4])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def save_tiny(kind: str, folder: Path) -> Path:
    """Random weights of a kind: a folder for transformers, a safetensors file for a name of timm."""
    mend()
    torch.manual_seed(0)
    if kind in _MAKERS:
        return _save_transformers(kind, folder / kind)
    import timm
    from safetensors.torch import save_file

    net = timm.create_model(kind, pretrained=False, num_classes=0)
    with torch.no_grad():
        for tensor in net.parameters():
            tensor.add_(0.02 * torch.randn_like(tensor))
    save_file({name: tensor.contiguous() for name, tensor in net.state_dict().items()}, folder / f"{kind}.safetensors")
    return folder / f"{kind}.safetensors"


def _save_transformers(kind: str, folder: Path) -> Path:
    import transformers
    from transformers.utils import logging

    logging.disable_progress_bar()
    cls, config, options, preprocessor = _MAKERS[kind]
    net = getattr(transformers, cls)(getattr(transformers, config)(**options))
    with torch.no_grad():
        for tensor in net.parameters():
            tensor.add_(0.05 * torch.randn_like(tensor))
    net.save_pretrained(folder)
    if preprocessor is None:
        write_tokenizer(folder)
    else:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor), encoding="utf-8")
    return folder


def _vision(**more: Any) -> dict[str, Any]:
    return {**_BLOCKS, "image_size": 32, "patch_size": 8, **more}


_TEXT = {**_BLOCKS, "vocab_size": len(TOKENS)}
_DINO = {
    key: value for key, value in _vision(image_size=56, num_register_tokens=2).items() if key != "intermediate_size"
}
_TOWERS = {"text_config": {**_TEXT, "bos_token_id": 2, "eos_token_id": 3}, "vision_config": _vision()}
_STAGES = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
_WHISPER = {
    "vocab_size": 20,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
_FBANK = {"sampling_rate": 16000, "mean": -4.0, "std": 4.5, "max_length": 128, "num_mel_bins": 32}
# Class, configuration, its options, preprocessor (None: a tokenizer).
_MAKERS: dict[str, tuple[str, str, dict[str, Any], dict[str, Any] | None]] = {
    "bert": ("BertModel", "BertConfig", _TEXT, None),
    "bert_mlm": ("BertForMaskedLM", "BertConfig", _TEXT, None),
    "roberta": ("RobertaModel", "RobertaConfig", _TEXT, None),
    "distilbert": (
        "DistilBertModel",
        "DistilBertConfig",
        {"vocab_size": len(TOKENS), "dim": 32, "n_layers": 3, "n_heads": 2, "hidden_dim": 48},
        None,
    ),
    "t5": (
        "T5EncoderModel",
        "T5Config",
        {"vocab_size": len(TOKENS), "d_model": 32, "d_kv": 8, "num_layers": 2, "num_heads": 2, "d_ff": 48},
        None,
    ),
    "gpt2": (
        "GPT2Model",
        "GPT2Config",
        {"vocab_size": len(TOKENS), "n_embd": 32, "n_layer": 2, "n_head": 2, "bos_token_id": 2, "eos_token_id": 3},
        None,
    ),
    "vit": ("ViTModel", "ViTConfig", _vision(), _PIXELS),
    "dinov2": ("Dinov2Model", "Dinov2Config", _DINO, _PIXELS),
    "dinov2_with_registers": ("Dinov2WithRegistersModel", "Dinov2WithRegistersConfig", _DINO, _PIXELS),
    "clip": ("CLIPModel", "CLIPConfig", _TOWERS, _PIXELS),
    "siglip": ("SiglipModel", "SiglipConfig", _TOWERS, _PIXELS),
    "swin": (
        "SwinModel",
        "SwinConfig",
        {"image_size": 32, "patch_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4},
        _PIXELS,
    ),
    "resnet": ("ResNetModel", "ResNetConfig", {**_STAGES, "embedding_size": 8}, _PIXELS),
    "wav2vec2": ("Wav2Vec2Model", "Wav2Vec2Config", _WAVE, _SOUND),
    "wav2vec2_layer": (
        "Wav2Vec2Model",
        "Wav2Vec2Config",
        {**_WAVE, "feat_extract_norm": "layer", "do_stable_layer_norm": True},
        _SOUND,
    ),
    "hubert": ("HubertModel", "HubertConfig", _WAVE, _SOUND),
    "whisper": ("WhisperForConditionalGeneration", "WhisperConfig", _WHISPER, {"sampling_rate": 16000}),
    "ast": ("ASTModel", "ASTConfig", {**_BLOCKS, "max_length": 128, "num_mel_bins": 32}, _FBANK),
}


class Convolutional(nn.Module):
    """Two convolutions with dropout and batch norm: maps."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Conv2d(8, 12, 3, stride=2)
        )
        self.dropout = nn.Dropout(0.5)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.convolutions(pixels))


class Recurrent(nn.Module):
    """A GRU over tokens."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, 8)
        self.gru = nn.GRU(8, 12, batch_first=True)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.gru(self.embedding(ids))[0]


class Attention(nn.Module):
    """A transformer encoder that masks its padding."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 24, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        padding = torch.arange(ids.shape[1], device=ids.device) >= lengths[:, None]
        return self.encoder(self.embedding(ids), src_key_padding_mask=padding)
