"""The manifest: what a model directory says of itself. Parsed strictly: unknown and missing keys are refused."""

import dataclasses
import json
import math
import stat
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.core.errors import ModelError
from headstart.data.modalities import MODALITIES
from headstart.evaluation.calibration import TEMPERATURES
from headstart.heads.fitted import ACTIVATIONS, LINKS, MOST_LAYERS
from headstart.model import json_types as kinds
from headstart.model import judge_files
from headstart.model.upgrading import upgraded

# Frozen, and read for ever; docs/format.md is normative.
FORMAT = 1
KIND = "features+head"
NAME = "manifest.json"
ASSETS = "assets"
_MOST_BYTES = 64 << 20
# The fewest labels that a head with this link can tell apart. Of numbers there are none at all.
_FEWEST_LABELS = {"softmax": 2, "sigmoid": 1}
_HEADS = {
    "linear": {"kind", "link"},
    "neighbours": {"kind", "link", "k", "sharpness"},
    "mlp": {"kind", "link", "activation", "widths"},
}
# Shares are counts over a total: their sum differs from 1 by rounding alone.
_PRIOR_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Manifest:
    """Every key of `manifest.json`, in the order in which it is written. docs/format.md says what each means."""

    format: int
    kind: str
    headstart: str
    created: str
    task: str
    labels: list[str]
    inputs: list[dict[str, str]]
    reading: dict[str, str | bool | None]
    backbone: dict[str, Any]
    libraries: dict[str, str]
    machine: str
    head: dict[str, Any]
    recipe: str
    prior: list[float] | None
    deployment_prior: list[float] | None
    rule: dict[str, Any]
    temperature: float
    conformal: dict[str, Any] | None
    outlier: dict[str, Any] | None
    fit: dict[str, Any]
    licences: list[dict[str, str]]
    files: dict[str, str]

    def to_bytes(self) -> bytes:
        """The manifest as UTF-8 JSON."""
        text = json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False, allow_nan=False)
        return (text + "\n").encode("utf-8")

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """The manifest of the model directory `folder`.

        Raises:
            ModelError: there is none, it is no regular file, is too large, or is not what `from_bytes` takes.
            OSError: it cannot be read.
        """
        return cls.from_bytes(content(folder))

    @classmethod
    def from_bytes(cls, content: bytes) -> "Manifest":
        """The manifest that `to_bytes` wrote.

        Raises:
            ModelError: it is no JSON, repeats, lacks or adds a key, has a value of another type or one that no model has, or is of a
                format or kind that this version does not know.
        """
        value = parse(content)
        _check_version(value)
        value = upgraded(value)
        names = [field.name for field in dataclasses.fields(cls)]
        missing, unknown = [n for n in names if n not in value], [n for n in value if n not in names]
        if missing or unknown:
            raise ModelError(f"{NAME} lacks the keys {missing} and has the unknown keys {unknown}")
        wrong = kinds.wrong_keys(value, _TYPES)
        if wrong:
            raise ModelError(f"{NAME} has values of the wrong type for {', '.join(wrong)}")
        manifest = cls(**value)
        _check_head(manifest.head)
        _check_labels(manifest)
        _check_prior(manifest)
        _check_deployment(manifest)
        _check_judge(manifest)
        low, high = TEMPERATURES
        if not low <= manifest.temperature <= high:
            raise ModelError(
                f"the model's temperature has to be above 0, from {low:g} to {high:g}, and is {manifest.temperature}"
            )
        if len(manifest.inputs) != 1 or manifest.inputs[0]["modality"] not in MODALITIES.names():
            known = ", ".join(MODALITIES.names())
            raise ModelError(f"the model has to have one input, of the modality {known}, and has {manifest.inputs}")
        return manifest


def content(folder: Path) -> bytes:
    """The bytes of a directory's manifest, after its kind and size were looked at.

    Raises:
        ModelError: there is none, it is no regular file or too large.
        OSError: it cannot be read.
    """
    path = folder / NAME
    try:
        found = path.lstat()
    except FileNotFoundError as error:
        raise ModelError(f"{folder} is no headstart model: it has no {NAME}") from error
    if not stat.S_ISREG(found.st_mode):
        raise ModelError(f"{folder} is no headstart model: its {NAME} is no regular file")
    if found.st_size > _MOST_BYTES:
        raise ModelError(f"{folder} is no headstart model: its {NAME} is larger than {_MOST_BYTES >> 20} MiB")
    return path.read_bytes()


def parse(content: bytes) -> dict[str, Any]:
    """The JSON object in a manifest, of whatever format.

    Raises:
        ModelError: it is no JSON object in UTF-8, or one with repeated keys, or with numbers or texts that nothing can be done with.
    """
    try:
        value = json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_no_repeats,
            parse_constant=_no_constant,
            parse_float=_float,
            parse_int=_int,
        )
        # Escapes can spell half a character, which no output takes.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (RecursionError, ValueError) as error:
        raise ModelError(f"{NAME} is not the JSON of a headstart model: {error}") from error
    if not isinstance(value, dict):
        raise ModelError(f"{NAME} has to hold one JSON object, and holds a {type(value).__name__}")
    return value


def _check_version(value: Mapping[str, Any]) -> None:
    version = value.get("format")
    if type(version) is not int or not 0 <= version <= FORMAT:
        raise ModelError(
            f"this headstart reads models up to format {FORMAT} and this model is of format {version!r}; install a newer headstart"
        )
    if value.get("kind") != KIND:
        raise ModelError(f"this headstart knows models of kind {KIND!r}, and this one is of kind {value.get('kind')!r}")


def _check_head(head: Mapping[str, Any]) -> None:
    kind, link = head.get("kind"), head.get("link")
    if link not in LINKS:
        raise ModelError(f"the model's head has the link {link!r}, and there are {', '.join(LINKS)}")
    if not isinstance(kind, str) or kind not in _HEADS or set(head) != _HEADS[kind]:
        raise ModelError(f"the model's head is described as {head}, which is neither linear, neighbours nor mlp")
    if kind == "neighbours" and not (kinds.is_count(head["k"]) and head["k"] and kinds.is_number(head["sharpness"])):
        raise ModelError(f"the model's head states no valid number of neighbours or sharpness: {head}")
    if kind == "mlp":
        _check_mlp(head["activation"], head["widths"])


def _check_mlp(activation: Any, widths: Any) -> None:
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise ModelError(f"the model's head has the activation {activation!r}, and there are {', '.join(ACTIVATIONS)}")
    if not kinds.list_of(kinds.is_count)(widths) or not 1 <= len(widths) <= MOST_LAYERS or 0 in widths:
        raise ModelError(
            f"the model's head has to state the widths of its 1 to {MOST_LAYERS} hidden layers, and states another thing"
        )


def _check_labels(manifest: Manifest) -> None:
    labels, link = manifest.labels, manifest.head["link"]
    if len(set(labels)) != len(labels) or "" in labels:
        raise ModelError("the model's labels have to be distinct names, and one is empty or there twice")
    if link not in _FEWEST_LABELS and labels:
        raise ModelError(f"the model predicts numbers, and states {len(labels)} labels")
    fewest = _FEWEST_LABELS.get(link, 0)
    if len(labels) < fewest:
        raise ModelError(f"a head with the link {link} has at least {fewest} labels, and the model has {len(labels)}")


def _check_prior(manifest: Manifest) -> None:
    prior = manifest.prior
    if prior is None:
        return
    if len(prior) != len(manifest.labels) or not prior:
        raise ModelError("the model's prior has another length than its labels")
    if not all(0 <= share <= 1 for share in prior):
        raise ModelError("the model's prior has to hold shares from 0 to 1, and holds others")
    total = math.fsum(prior)
    if manifest.head["link"] == "softmax" and abs(total - 1) > _PRIOR_TOLERANCE:
        raise ModelError(f"the model's prior has to add up to 1, and adds up to {total:.6g}")


def _check_deployment(manifest: Manifest) -> None:
    shares = manifest.deployment_prior
    if shares is None:
        return
    if manifest.head["link"] != "softmax" or manifest.prior is None:
        raise ModelError(f"the model states a deployment prior, and {manifest.task} has none")
    if len(shares) != len(manifest.labels) or not all(0 < share < 1 for share in shares):
        raise ModelError(
            "the model's deployment prior has to hold a share between 0 and 1 for each label, and does not"
        )
    if abs(math.fsum(shares) - 1) > _PRIOR_TOLERANCE:
        raise ModelError(f"the model's deployment prior has to add up to 1, and adds up to {math.fsum(shares):.6g}")


def _check_judge(manifest: Manifest) -> None:
    link, k = manifest.head["link"], len(manifest.labels)
    judge_files.check(manifest.conformal, manifest.outlier, k=k, link=link, files=manifest.files)


_TYPES: dict[str, kinds.Kind] = {
    "format": kinds.is_count,
    "kind": kinds.is_text,
    "headstart": kinds.is_text,
    "created": kinds.is_text,
    "task": kinds.is_text,
    "labels": kinds.list_of(kinds.is_text),
    "inputs": kinds.list_of(kinds.record(("name", "modality"), kinds.is_text)),
    "reading": kinds.is_map,
    "backbone": kinds.is_map,
    "libraries": kinds.map_of(kinds.is_text),
    "machine": kinds.is_text,
    "head": kinds.is_map,
    "recipe": kinds.is_text,
    "prior": kinds.either(kinds.is_null, kinds.list_of(kinds.is_number)),
    "deployment_prior": kinds.either(kinds.is_null, kinds.list_of(kinds.is_number)),
    "rule": kinds.is_map,
    "temperature": kinds.is_number,
    "conformal": kinds.either(kinds.is_null, kinds.is_map),
    "outlier": kinds.either(kinds.is_null, kinds.is_map),
    "fit": kinds.is_map,
    "licences": kinds.list_of(kinds.record(("of", "licence"), kinds.is_text)),
    "files": kinds.map_of(kinds.is_text),
}


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"a key is there twice: {twice!r}")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:40]} is too large")
    return value


def _int(text: str) -> int:
    # 19 digits and a sign: every whole number of 64 bits.
    if len(text) > 20:
        raise ValueError(f"the number {text[:40]} is too large")
    return int(text)
