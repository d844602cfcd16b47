"""What an exported file tells of itself: the model's manifest, and how its inputs are prepared."""

import json
from collections.abc import Mapping

from headstart.backbones.runtimes import INT8, INT8_BFLOAT16
from headstart.core import recipes
from headstart.core.spec import BackboneSpec
from headstart.model.manifest import Manifest


def told(
    manifest: Manifest, spec: BackboneSpec, *, assets: tuple[str, ...], shares: bool, precision: str
) -> Mapping[str, str]:
    """The metadata, each a text.

    `headstart` is the manifest without its list of files: task, labels, prior, decision rule, temperature, what makes sets and finds outliers,
    and the report of the fit. `preparation` is what `predict.py` goes by, and `labels` is there for whoever reads nothing else. A network in 8 bits
    is known by the digest of its files: what hangs on that cannot stand in one of them, and is empty there.

    Args:
        manifest: of the exported model.
        spec: the first of the backbone.
        assets: the names of the files that the preparation needs.
        shares: whether the graph takes shares of views.
        precision: what the graph is run in.
    """
    _, options = recipes.split(spec.prepare)
    described = {"options": options, "assets": list(assets), "shares": shares, "precision": precision}
    whole = json.loads(manifest.to_bytes())
    whole["files"] = {}
    if precision in (INT8, INT8_BFLOAT16):
        for each in filter(None, (whole["conformal"], whole["outlier"])):
            each["of"] = ""
        for each in whole["backbone"]["specs"]:
            each["weights"] = ""
    return {
        "headstart": json.dumps(whole, ensure_ascii=False),
        "preparation": json.dumps(described, ensure_ascii=False),
        "labels": json.dumps(manifest.labels, ensure_ascii=False),
    }
