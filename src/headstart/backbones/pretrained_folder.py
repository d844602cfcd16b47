"""A folder as the model hub lays it out: configuration, preparation, tokenizer, and what sentence-transformers adds."""

import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.core.errors import BackboneError

_POOLINGS = {"cls": "cls", "mean": "mean", "max": "max", "lasttoken": "last"}
_LEGACY = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "lasttoken",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
}
# Pillow's numbers for resampling filters.
_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
# The Audio Spectrogram Transformer's kind.
SPECTROGRAM = "audio-spectrogram-transformer"
_VOCABULARIES = ("vocab.*", "*.model", "*.vocab", "*.tiktoken")
# What of an image's preparation changes the rows most, and differs between models.
_NOT_GUESSED = ("size", "mean", "std", "interpolation")
# Where a part lies: in a folder of its own in the model's, or in the model's itself. Names of dots alone lead out of it.
_PART = re.compile(r"(?!\.+\Z)[\w.-]*")
# Past this a tokenizer's limit only says that there is none.
_NO_LIMIT = 1_000_000


@dataclass(frozen=True)
class SentenceSettings:
    """What a sentence-transformers folder says beside its network.

    Attributes:
        encoder: the folder of the network and its tokenizer.
        pooling: as headstart names it, with `+l2` where rows are normalised; empty where the folder says nothing.
        max_tokens: the length limit, None where the folder has none.
        prefix: the prompt that is put before every text by default.
        lower: whether texts are lower-cased first.
        refused: a module that headstart does not run, empty where there is none.
    """

    encoder: Path
    pooling: str = ""
    max_tokens: int | None = None
    prefix: str = ""
    lower: bool = False
    refused: str = ""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, empty where there is no such file.

    Raises:
        BackboneError: the file is no JSON object.
    """
    found = _json(path)
    if found is not None and not isinstance(found, dict):
        raise BackboneError(f"{path} is no JSON object: fetch the folder again")
    return found or {}


def sentence_settings(folder: Path) -> SentenceSettings:
    """What the sentence-transformers files of a folder say; defaults where it has none.

    Raises:
        BackboneError: a file is damaged, names a part that lies elsewhere, or asks for a pooling that headstart does not have.
    """
    modules = _json(folder / "modules.json")
    if not isinstance(modules, list):
        return SentenceSettings(folder)
    kinds = [
        (str(module.get("type", "")).rpartition(".")[2], _part(folder, str(module.get("path", ""))))
        for module in modules
        if isinstance(module, dict)
    ]
    encoder = next((part for kind, part in kinds if kind == "Transformer"), folder)
    pooling = next((_pooling(read_json(part / "config.json"), folder) for kind, part in kinds if kind == "Pooling"), "")
    own = read_json(encoder / "sentence_bert_config.json")
    prompts = read_json(folder / "config_sentence_transformers.json")
    prefix = (prompts.get("prompts") or {}).get(prompts.get("default_prompt_name") or "", "")
    if prefix and any(
        read_json(part / "config.json").get("include_prompt") is False for kind, part in kinds if kind == "Pooling"
    ):
        raise BackboneError(
            f"{folder.name} leaves its prompt {prefix!r} out of the pooling, which headstart does not do: remove the default prompt"
        )
    return SentenceSettings(
        encoder=encoder,
        pooling=pooling + "+l2" * (bool(pooling) and any(kind == "Normalize" for kind, _ in kinds)),
        max_tokens=own.get("max_seq_length"),
        prefix=str(prefix),
        lower=bool(own.get("do_lower_case")),
        refused=next((kind for kind, _ in kinds if kind not in {"Transformer", "Pooling", "Normalize"}), ""),
    )


def token_limit(folder: Path, config: dict[str, Any], *, settings: SentenceSettings) -> int:
    """How many tokens a view may have: what sentence-transformers, the tokenizer and the table of positions allow, else 512."""
    limits = [
        settings.max_tokens or _NO_LIMIT,
        int(min(read_json(folder / "tokenizer_config.json").get("model_max_length") or _NO_LIMIT, _NO_LIMIT)),
    ]
    limits.append(position_limit(config) or _NO_LIMIT)
    least = min(limits)
    return least if least < _NO_LIMIT else 512


def position_limit(config: dict[str, Any]) -> int | None:
    """How many tokens a text network has positions for, None where its configuration names no such number."""
    positions = config.get("max_position_embeddings")
    if not isinstance(positions, int) or positions <= 0:
        return None
    # RoBERTa and its kin count positions from the padding's id on.
    shifted = {"roberta", "xlm-roberta", "camembert", "mpnet", "xlm-roberta-xl", "data2vec-text"}
    taken = int(config.get("pad_token_id") or 0) + 1 if config.get("model_type") in shifted else 0
    return positions - taken


def preprocessor(folder: Path) -> dict[str, Any]:
    """How a folder prepares images or recordings: `preprocessor_config.json`, or its part of the newer `processor_config.json`."""
    found = read_json(folder / "preprocessor_config.json")
    if found:
        return found
    newer = read_json(folder / "processor_config.json")
    return next((dict(newer[key]) for key in ("image_processor", "feature_extractor") if newer.get(key)), {})


def tokenizer_json(folder: Path, settings: SentenceSettings) -> bytes:
    """The folder's `tokenizer.json`, or the one that transformers converts its vocabulary files to.

    Raises:
        BackboneError: the tokenizer has no such form.
    """
    path = folder / "tokenizer.json"
    content = path.read_bytes() if path.is_file() else _converted(folder)
    if not settings.lower:
        return content
    tokenizer = json.loads(content)
    steps = [{"type": "Lowercase"}] + ([tokenizer["normalizer"]] if tokenizer.get("normalizer") else [])
    tokenizer["normalizer"] = {"type": "Sequence", "normalizers": steps}
    return json.dumps(tokenizer, ensure_ascii=False).encode()


def image_options(folder: Path, config: dict[str, Any], *, given_by_hand: Collection[str] = ()) -> dict[str, Any]:
    """The image recipe's options from `preprocessor_config.json`.

    Args:
        folder: the model's.
        config: of the network.
        given_by_hand: the options that the person replaces, without which nothing is guessed.

    Raises:
        BackboneError: the file is missing, or asks for something that the recipe cannot say.
    """
    given = preprocessor(folder)
    if not given and (open_ends := [key for key in _NOT_GUESSED if key not in given_by_hand]):
        raise BackboneError(
            f"{folder.name} has no preprocessor_config.json, which says how its images were prepared: fetch the whole folder, or give"
            f" {', '.join(open_ends)} in prepare"
        )
    if abs(float(given.get("rescale_factor", 1 / 255)) * 255 - 1) > 1e-4:
        raise BackboneError(
            f"{folder.name} scales pixels by {given['rescale_factor']}, and headstart by 1/255: give a model that does"
        )
    normalise = given.get("do_normalize", True)
    own = config.get("image_size") or (config.get("vision_config") or {}).get("image_size") or 224
    return {
        **_sizes(given, int(own if isinstance(own, int) else own[0])),
        "interpolation": _FILTERS.get(int(given.get("resample", 2)), "bilinear"),
        "mean": _three(given.get("image_mean", 0.5)) if normalise else (0.0,) * 3,
        "std": _three(given.get("image_std", 0.5)) if normalise else (1.0,) * 3,
    }


def audio_options(config: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The audio recipe's options from the network's and the preprocessor's configurations."""
    rate = int(given.get("sampling_rate", 16000))
    if config["model_type"] == "whisper":
        return {
            "rate": rate,
            "window": config.get("max_source_positions", 1500) / 50,
            "buckets": (1.0, 2.0, 5.0, 10.0, 30.0),
        }
    if config["model_type"] == SPECTROGRAM:
        frames = int(given.get("max_length", config.get("max_length", 1024)))
        return {"rate": rate, "window": round(frames / 100 + 0.015, 3), "buckets": ()}
    # Where the first normalisation runs over time, padding would change every row: only clips of one length share a batch.
    together = "none" if config.get("feat_extract_norm", "group") == "group" else "bucket"
    return {"rate": rate, "window": 30.0, "minimum": 0.1, "pad": together}


def kept(values: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without paths, versions, classifier labels and code."""
    dropped = {
        "_name_or_path",
        "transformers_version",
        "architectures",
        "id2label",
        "label2id",
        "auto_map",
        "dtype",
        "torch_dtype",
        "custom_pipelines",
    }
    return {key: value for key, value in values.items() if key not in dropped and not key.startswith("_")}


def _sizes(given: dict[str, Any], own: int) -> dict[str, Any]:
    size, crop = given.get("size", own), given.get("crop_size", own)
    short = int(size.get("shortest_edge") or size.get("height") or own) if isinstance(size, dict) else int(size)
    inner = int(crop.get("height") or own) if isinstance(crop, dict) else int(crop)
    squash = not isinstance(size, dict) or "height" in size
    if "crop_pct" in given and short < 384:
        return {"size": short, "crop": float(given["crop_pct"] or 0.875), "resize": "shortest"}
    if given.get("do_center_crop"):
        return {"size": inner, "crop": _ratio(inner, short), "resize": "squash" if squash else "shortest"}
    return {"size": short, "crop": 1.0, "resize": "squash"}


def _ratio(inner: int, short: int) -> float:
    """`inner / short`, such that `floor(inner / ratio)` is `short` again."""
    ratio = inner / short
    return ratio if math.floor(inner / ratio) == short else inner / (short + 0.5)


def _three(value: Any) -> tuple[float, ...]:
    return tuple(float(each) for each in value) if isinstance(value, list | tuple) else (float(value),) * 3


def _part(folder: Path, name: str) -> Path:
    """The folder of a part. Its name is looked at, not where it leads: the hub's cache is made of links.

    Raises:
        BackboneError: the name leads elsewhere on this machine.
    """
    if not _PART.fullmatch(name):
        raise BackboneError(
            f"modules.json of {folder.name} names the part {name!r}, which is no name of a folder in it: fetch the folder again"
        )
    return folder / name


def _pooling(config: dict[str, Any], folder: Path) -> str:
    given = config.get("pooling_mode")
    modes = (
        [given] if isinstance(given, str) else list(given or [name for key, name in _LEGACY.items() if config.get(key)])
    )
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        raise BackboneError(
            f"{folder.name} pools by {' and '.join(modes) or 'nothing'}, and headstart by one of {', '.join(_POOLINGS)}: choose a pooling"
        )
    return _POOLINGS[modes[0]]


def _json(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BackboneError(f"{path} is no JSON: fetch the folder again") from error


def _converted(folder: Path) -> bytes:
    from headstart.backbones.hub import quiet
    from headstart.backbones.network import need

    transformers = need("transformers", f"reading the tokenizer of {folder.name}")
    expected = f"{folder.name} has no tokenizer.json"
    # Without a vocabulary transformers would hand out a tokenizer that knows no word.
    if not any(next(folder.glob(pattern), None) for pattern in _VOCABULARIES):
        raise BackboneError(f"{expected}, and no vocabulary that one could be made of: fetch the whole folder")
    try:
        with quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                str(folder), use_fast=True, local_files_only=True, trust_remote_code=False
            )
    except (OSError, ValueError, ImportError, KeyError, TypeError, AttributeError) as error:
        raise BackboneError(
            f"{expected}, and transformers cannot make one of its files: {str(error).strip().partition(chr(10))[0]}"
        ) from error
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or not hasattr(backend, "to_str"):
        raise BackboneError(
            f"{expected}, and its {type(tokenizer).__name__} has no such form: choose a model with a fast tokenizer"
        )
    return str(backend.to_str()).encode()
