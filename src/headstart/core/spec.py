"""`BackboneSpec`: all that decides a row."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from headstart.core.errors import ModelError

# Part of every fingerprint. Raise it when a change of this package makes other rows from the same spec.
ROWS_VERSION = 2


@dataclass(frozen=True)
class BackboneSpec:
    """All that decides a row: equal specs give equal rows, to the tolerance of the precision.

    Attributes:
        source: the plug-in of `backbones` that knows the architecture: `embedded`, `timm`, `transformers`, `torch`, `toy`.
        name: the architecture's name within its source, such as `resnet50`.
        architecture: digest of what builds the network beside its weights, such as its configuration; empty where the name says it all.
        weights: digest of the weights' tensors, so that tuned weights are a new identity.
        layer: what is read: empty for the source's own default readout, a module path, or a negative block index such as `-2`.
        pooling: how tokens or positions become one row, such as `mean`, `cls`, `cls+mean` or `model` (the network's own).
        prepare: the recipe string of the preparation, such as `image(size=224, crop=0.875, ...)`.
        modality: `image`, `text` or `audio`.
        dim: d, the width of a row.
        precision: the arithmetic that the network runs in, such as `float32`.
    """

    source: str
    name: str
    architecture: str
    weights: str
    layer: str
    pooling: str
    prepare: str
    modality: str
    dim: int
    precision: str

    @cached_property
    def fingerprint(self) -> str:
        """32 hexadecimal digits: the first half of a cache key, whose second half is the sample's content digest."""
        payload = json.dumps({"rows": ROWS_VERSION, **dataclasses.asdict(self)}, sort_keys=True, ensure_ascii=False)
        return hashlib.blake2b(payload.encode(), digest_size=16).hexdigest()

    @property
    def title(self) -> str:
        """What a person calls it: `timm:resnet50`, with the layer where it is not the default one."""
        return f"{self.source}:{self.name}" + (f" at {self.layer}" if self.layer else "")

    def to_json(self) -> dict[str, Any]:
        """The spec as the manifest holds it."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> "BackboneSpec":
        """The spec that `to_json` wrote.

        Raises:
            ModelError: a key is missing or unknown, or has another type.
        """
        fields = {field.name: int if field.name == "dim" else str for field in dataclasses.fields(cls)}
        if not isinstance(value, dict) or set(value) != set(fields):
            raise ModelError(f"a backbone spec has the keys {', '.join(fields)}, and got {value!r}")
        wrong = [key for key, kind in fields.items() if type(value[key]) is not kind]
        if wrong:
            raise ModelError(f"the backbone spec's {', '.join(wrong)} has the wrong type")
        return cls(**value)


def title_of(specs: Sequence[BackboneSpec]) -> str:
    """What a person calls a backbone, with all layers that are read: `timm:resnet50 at layer3 and its last output`."""
    if len(specs) == 1:
        return specs[0].title
    layers = " and ".join(spec.layer or "its last output" for spec in specs)
    return f"{specs[0].source}:{specs[0].name} at {layers}"
