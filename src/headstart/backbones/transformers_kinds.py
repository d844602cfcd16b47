"""The kinds of networks of transformers that headstart reads, told from a configuration; and what no configuration may ask for.

A configuration is a program for transformers: it may name code of a repository to run, another network to fetch from the hub or from timm,
or kernels to download. Kinds are therefore those of a closed list, and of texts those whose whole network stands in transformers itself.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from headstart.backbones.pretrained_folder import SPECTROGRAM
from headstart.core.errors import BackboneError

# Networks for images: how many leading tokens stand for the whole image, None where there are no such tokens.
IMAGE: dict[str, int | None] = {
    "vit": 1, "deit": 2, "beit": 1, "data2vec-vision": 1, "vit_msn": 1, "dinov2": 1, "dinov2_with_registers": 1, "dinov3_vit": 1,
    "clip": 1, "clip_vision_model": 1, "siglip": None, "siglip_vision_model": None, "ijepa": None,
    "swin": None, "swinv2": None, "convnext": None, "convnextv2": None, "dinov3_convnext": None, "resnet": None, "regnet": None,
}  # fmt: skip
_WAVE = {
    "wav2vec2",
    "hubert",
    "wavlm",
    "unispeech",
    "unispeech-sat",
    "data2vec-audio",
    "wav2vec2-conformer",
    "sew",
    "sew-d",
}
PARTS = {
    "clip": "CLIPVisionModel",
    "siglip": "SiglipVisionModel",
    "t5": "T5EncoderModel",
    "mt5": "MT5EncoderModel",
    "umt5": "UMT5EncoderModel",
}
"""Where a row is read from a part of the whole model."""

# Text networks in which a token sees only what stands before it: the last one has seen the whole text.
_CAUSAL = {
    "gpt2", "gpt_neo", "gpt_neox", "gptj", "gpt_bigcode", "opt", "bloom", "codegen", "falcon", "mpt", "phi", "phi3", "stablelm",
    "llama", "mistral", "mixtral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "olmo", "olmo2", "granite", "starcoder2",
    "cohere", "smollm3", "mamba", "mamba2", "rwkv", "xglm", "biogpt", "openai-gpt", "ctrl",
}  # fmt: skip
# What transformers knows a text network by: the tasks that it is listed for.
_TEXT_TASKS = ("MASKED_LM", "CAUSAL_LM", "TEXT_ENCODING", "SEQUENCE_CLASSIFICATION", "TOKEN_CLASSIFICATION")
# Of those that hold other networks by configuration, the ones that hold none but their own parts.
_OWN_PARTS = {"mpt", "esm"}
# The halves of CLIP and SigLIP that no row is read from, and that their configurations describe.
_OTHER_HALVES = {"clip_text_model", "siglip_text_model"}
# Keys whose values name code, weights, kernels or networks that lie elsewhere.
_ELSEWHERE = {
    "auto_map", "trust_remote_code", "code_revision", "custom_pipelines", "_name_or_path", "name_or_path", "model_args",
    "attn_implementation", "_attn_implementation", "experts_implementation", "use_kernels", "quantization_config",
    "backbone", "backbone_config", "backbone_kwargs", "use_timm_backbone", "use_pretrained_backbone", "timm_config",
}  # fmt: skip


def modality_of(config: Mapping[str, Any], name: str) -> str:
    """What a network takes, from its configuration.

    Raises:
        BackboneError: it names no kind, or one of which no rows are read.
    """
    kind = str(config.get("model_type", ""))
    if not kind:
        raise BackboneError(
            f"{name} has no config.json that names a model_type: give a folder that transformers' save_pretrained wrote"
        )
    if kind in IMAGE:
        return "image"
    if kind in _WAVE or kind in {"whisper", SPECTROGRAM}:
        return "audio"
    if "vocab_size" in config and (kind in PARTS or not config.get("is_encoder_decoder")):
        return "text"
    raise BackboneError(
        f"{name} is of the kind {kind!r}, of which headstart reads no rows: choose an encoder for images, texts or recordings"
    )


def pooling_of(config: Mapping[str, Any]) -> str:
    """How rows are read from a network where nothing else says it."""
    kind = str(config.get("model_type", ""))
    if kind in IMAGE:
        return "cls+mean" if IMAGE[kind] is not None else "mean" if kind == "ijepa" else "model"
    return "last" if kind in _CAUSAL else "mean"


def check_kind(config: Mapping[str, Any], name: str) -> None:
    """Refuse a network that does not stand in transformers as a whole. Imports transformers.

    Raises:
        BackboneError: it is of such a kind, or holds one.
    """
    known = {*IMAGE, *_WAVE, *_OTHER_HALVES, "whisper", SPECTROGRAM, *_text_kinds()}
    for kind in _kinds(config):
        if not isinstance(kind, str) or kind not in known:
            raise BackboneError(
                f"{name} holds a network of the kind {kind!r}, of which headstart reads no rows: choose an encoder for images, texts or"
                " recordings"
            )


def check_contained(config: Mapping[str, Any], name: str) -> None:
    """Refuse a configuration that names code, weights or networks elsewhere.

    Raises:
        BackboneError: names the key.
    """
    for key, value in _entries(config):
        if key in _ELSEWHERE and value:
            raise BackboneError(
                f"the configuration of {name} has the key {key!r}, which names something that lies elsewhere: a network is built from what its"
                " own files hold"
            )


@cache
def _text_kinds() -> frozenset[str]:
    from transformers.models.auto import modeling_auto

    listed = {kind for task in _TEXT_TASKS for kind in getattr(modeling_auto, f"MODEL_FOR_{task}_MAPPING_NAMES", {})}
    return frozenset(kind for kind in listed | set(PARTS) if kind in _OWN_PARTS or _is_whole(kind))


def _is_whole(kind: str) -> bool:
    """Whether a network of a kind holds none that a configuration chooses."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    try:
        return not getattr(CONFIG_MAPPING[kind], "sub_configs", None)
    except (ImportError, KeyError, AttributeError):
        return False


def _kinds(config: Mapping[str, Any]) -> Iterator[object]:
    return (value for key, value in _entries(config) if key == "model_type" and value != "")


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """All keys of a configuration with their values, those of what it holds as well."""
    for key, each in value.items() if isinstance(value, Mapping) else ():
        yield str(key), each
    for each in value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ():
        yield from _entries(each)
