"""A judge in the model directory: its keys of the manifest and `judge.safetensors`. docs/format.md is normative."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from headstart.core.errors import ModelError
from headstart.evaluation.conformal import Conformal
from headstart.evaluation.outliers import OutlierStatistics
from headstart.model import json_types as kinds
from headstart.model.judge import Bond, Judge, Neighbourhood

NAME = "judge.safetensors"

Expected = Mapping[str, tuple[str, tuple[int | None, ...]]]
"""Type and shape of each tensor; None is any length."""

# Stored rows have length 1, up to rounding to float16.
_LONGEST = 1 + 1e-2
_CONFORMAL: dict[str, kinds.Kind] = {
    "coverage": kinds.is_number,
    "quantile": kinds.is_number,
    "by_label": kinds.either(kinds.is_null, kinds.list_of(kinds.either(kinds.is_null, kinds.is_number))),
    "n": kinds.is_count,
    "spread": kinds.is_number,
    "of": kinds.is_text,
}
_OUTLIER: dict[str, kinds.Kind] = {
    "threshold": kinds.is_number,
    "k": kinds.is_count,
    "rows": kinds.is_count,
    "directions": kinds.is_count,
    "centres": kinds.is_count,
    "measures": kinds.is_count,
    "held_out": kinds.is_count,
    "of": kinds.is_text,
}


def describe(judge: Judge | None) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The manifest's `conformal` and `outlier`."""
    if judge is None:
        return None, None
    sets, outliers = judge.conformal, judge.outliers
    conformal = None
    if sets is not None:
        by_label = None if sets.by_label is None else list(sets.by_label)
        conformal = dataclasses.asdict(sets) | {"by_label": by_label, "of": judge.bond.head}
    if outliers is None:
        return conformal, None
    return conformal, {
        "threshold": outliers.threshold,
        "k": outliers.k,
        "rows": len(outliers.rows),
        "directions": len(outliers.within),
        "centres": len(outliers.centres),
        "measures": len(outliers.held_out),
        "held_out": len(outliers.joint),
        "of": judge.bond.backbone,
    }


def tensors(judge: Judge | None) -> dict[str, np.ndarray]:
    """What `judge.safetensors` holds; empty where there is no such file."""
    if judge is None or judge.outliers is None or judge.neighbours is None:
        return {}
    found = judge.outliers
    ids = json.dumps(list(judge.neighbours.ids), ensure_ascii=False).encode("utf-8", "surrogatepass")
    arrays = {
        "mean": found.mean,
        "directions": found.directions,
        "within": found.within,
        "centres": found.centres,
        "rows": found.rows.astype(np.float16),
        "held_out": found.held_out,
        "joint": found.joint,
        "labels": judge.neighbours.labels,
        "ids": np.frombuffer(ids, np.uint8),
    }
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def check(
    conformal: Mapping[str, Any] | None,
    outlier: Mapping[str, Any] | None,
    *,
    k: int,
    link: str,
    files: Mapping[str, str],
) -> None:
    """Refuse what no judge of such a model says of itself in the manifest.

    Args:
        conformal: the manifest's key.
        outlier: the manifest's key.
        k: the number of labels.
        link: the head's.
        files: the manifest's list of files.

    Raises:
        ModelError: keys, types or values are others, or the file is listed without the key, or the key is there without the file.
    """
    for name, value, types in (("conformal", conformal, _CONFORMAL), ("outlier", outlier, _OUTLIER)):
        if value is None:
            continue
        if set(value) != set(types):
            raise ModelError(f"the manifest's {name} has the keys {', '.join(types)}; this one differs")
        if wrong := kinds.wrong_keys(value, types):
            raise ModelError(f"the manifest's {name} has values of the wrong type for {', '.join(wrong)}")
    if (outlier is None) is (NAME in files):
        raise ModelError(f"the model's {NAME} and the manifest's outlier belong together, and one of them is missing")
    if conformal is not None and not _is_conformal(conformal, k=k, link=link):
        raise ModelError("the manifest's conformal holds what no sets or intervals of such a model are made with")
    if outlier is not None and not _is_outlier(outlier):
        raise ModelError("the manifest's outlier holds sizes or a threshold that no such statistics have")


def _is_conformal(value: Mapping[str, Any], *, k: int, link: str) -> bool:
    if not (0 < value["coverage"] < 1 and 0 <= value["spread"] < 1 and value["n"] >= 1 and value["quantile"] >= 0):
        return False
    by_label = value["by_label"]
    if link == "identity":
        return by_label is None
    quantiles = [value["quantile"], *(each for each in by_label or [] if each is not None)]
    return link == "softmax" and by_label is not None and len(by_label) == k and all(0 <= q <= 1 for q in quantiles)


def _is_outlier(value: Mapping[str, Any]) -> bool:
    sizes = all(value[key] >= 1 for key in ("rows", "directions", "centres", "held_out"))
    return sizes and 0 < value["threshold"] < 1 and value["measures"] in {2, 3} and 1 <= value["k"] <= value["rows"]


def expected(outlier: Mapping[str, Any], *, dim: int) -> Expected:
    """The tensors of `judge.safetensors`, by the manifest's `outlier` and the width of a row."""
    s, r, m = outlier["rows"], outlier["directions"], outlier["held_out"]
    return {
        "mean": ("F32", (dim,)),
        "directions": ("F32", (dim, r)),
        "within": ("F64", (r,)),
        "centres": ("F64", (outlier["centres"], r)),
        "rows": ("F16", (s, dim)),
        "held_out": ("F64", (outlier["measures"], m)),
        "joint": ("F64", (m,)),
        "labels": ("I64", (s,)),
        "ids": ("U8", (None,)),
    }


def build(
    conformal: Mapping[str, Any] | None, outlier: Mapping[str, Any] | None, *, found: Mapping[str, np.ndarray], k: int
) -> Judge | None:
    """The judge that `describe` and `tensors` wrote.

    Args:
        conformal: the manifest's key, after `check`.
        outlier: the manifest's key, after `check`.
        found: the tensors, as `expected`; empty where there are none.
        k: the number of labels.

    Raises:
        ModelError: a tensor holds values that no judge has.
    """
    if conformal is None and outlier is None:
        return None
    sets = None
    if conformal is not None:
        by_label = conformal["by_label"]
        quantiles = None if by_label is None else tuple(None if q is None else float(q) for q in by_label)
        values = {key: float(conformal[key]) for key in ("coverage", "quantile", "spread")}
        sets = Conformal(**values, by_label=quantiles, n=conformal["n"])
    bond = Bond("" if conformal is None else conformal["of"], "" if outlier is None else outlier["of"])
    if outlier is None:
        return Judge(sets, None, None, bond)
    _check_values(found, k=k)
    rows = found["rows"].astype(np.float32)
    statistics = OutlierStatistics(
        **{name: found[name] for name in ("mean", "directions", "within", "centres", "held_out", "joint")},
        rows=rows,
        k=outlier["k"],
        threshold=float(outlier["threshold"]),
    )
    return Judge(sets, statistics, Neighbourhood(rows, found["mean"], _ids(found), found["labels"]), bond)


def _check_values(found: Mapping[str, np.ndarray], *, k: int) -> None:
    labels, joint = found["labels"], found["joint"]
    if np.abs(found["rows"]).max() > _LONGEST:
        raise ModelError(f"{NAME} holds rows that are longer than 1")
    if not (found["within"] > 0).all():
        raise ModelError(f"{NAME} holds variances that are not above 0")
    if (np.diff(found["held_out"], axis=1) < 0).any() or (np.diff(joint) < 0).any() or joint[0] < 0 or joint[-1] > 1:
        raise ModelError(f"{NAME} holds distances or ranks of held-out rows that are not sorted, or no ranks")
    if labels.min() < -1 or labels.max() >= max(k, 0):
        raise ModelError(f"{NAME} holds labels that the model does not have")


def _ids(found: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    try:
        ids = json.loads(found["ids"].tobytes().decode("utf-8", "surrogatepass"))
    except (RecursionError, ValueError) as error:
        raise ModelError(f"{NAME} does not name its rows: {error}") from error
    if not kinds.list_of(kinds.is_text)(ids) or len(ids) != len(found["rows"]):
        raise ModelError(f"{NAME} has to name each of its rows once, as a list of texts")
    return tuple(ids)
