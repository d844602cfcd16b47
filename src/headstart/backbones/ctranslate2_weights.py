"""Reading CTranslate2's `model.bin`, formats 5 and 6: names, shapes and plain arrays, nothing that could run.

Layout, little-endian: uint32 version; a string (the model's kind); uint32 revision; uint32 count; then for each variable a string (its
name), uint8 rank, uint32 for each axis, uint8 type, uint32 bytes, the bytes; then uint32 count of aliases, each two strings. A string
is a uint16 length that counts a closing zero byte.
"""

import struct
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.errors import BackboneError

_VERSIONS = (5, 6)
_TYPES: dict[int, np.dtype[Any]] = {
    0: np.dtype("<f4"),
    1: np.dtype("i1"),
    2: np.dtype("<i2"),
    3: np.dtype("<i4"),
    4: np.dtype("<f2"),
}


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a `model.bin` by their CTranslate2 names.

    Raises:
        BackboneError: the file is truncated, or of another format.
    """
    cursor = _Cursor(path.read_bytes(), path)
    version = cursor.number("<I")
    if version not in _VERSIONS:
        raise BackboneError(f"{path} is not CTranslate2's model.bin of format 5 or 6: it begins with format {version}")
    cursor.text()
    cursor.number("<I")
    arrays: dict[str, np.ndarray] = {}
    for _ in range(cursor.number("<I")):
        name = cursor.text()
        shape = tuple(cursor.number("<I") for _ in range(cursor.number("<B")))
        kind = cursor.number("<B")
        content = cursor.take(cursor.number("<I"))
        if kind not in _TYPES or len(content) != _TYPES[kind].itemsize * int(np.prod(shape, dtype=np.int64)):
            raise BackboneError(f"{path} is damaged: {name} has type {kind}, shape {shape} and {len(content)} bytes")
        arrays[name] = np.frombuffer(content, _TYPES[kind]).reshape(shape)
    return arrays


def whisper_encoder(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The encoder's tensors under transformers' names, as float32. Fused query, key and value are split; keys have no bias."""
    found: dict[str, np.ndarray] = {}

    def copy(theirs: str, ours: str) -> None:
        for kind, ending in (("weight", "weight"), ("bias", "bias")):
            found[f"{ours}.{ending}"] = arrays[f"encoder/{theirs}/{kind}"].astype(np.float32)

    def norm(theirs: str, ours: str) -> None:
        found[f"{ours}.weight"] = arrays[f"encoder/{theirs}/gamma"].astype(np.float32)
        found[f"{ours}.bias"] = arrays[f"encoder/{theirs}/beta"].astype(np.float32)

    copy("conv1", "conv1")
    copy("conv2", "conv2")
    found["embed_positions.weight"] = arrays["encoder/position_encodings/encodings"].astype(np.float32)
    norm("layer_norm", "layer_norm")
    blocks = len(
        {
            name.split("/")[1]
            for name in arrays
            if name.startswith("encoder/layer_") and not name.startswith("encoder/layer_norm")
        }
    )
    for block in range(blocks):
        theirs, ours = f"layer_{block}", f"layers.{block}"
        fused, bias = (
            arrays[f"encoder/{theirs}/self_attention/linear_0/{kind}"].astype(np.float32) for kind in ("weight", "bias")
        )
        for part, name in enumerate(("q_proj", "k_proj", "v_proj")):
            rows = slice(part * fused.shape[0] // 3, (part + 1) * fused.shape[0] // 3)
            found[f"{ours}.self_attn.{name}.weight"] = fused[rows]
            if name != "k_proj":
                found[f"{ours}.self_attn.{name}.bias"] = bias[rows]
        copy(f"{theirs}/self_attention/linear_1", f"{ours}.self_attn.out_proj")
        norm(f"{theirs}/self_attention/layer_norm", f"{ours}.self_attn_layer_norm")
        norm(f"{theirs}/ffn/layer_norm", f"{ours}.final_layer_norm")
        copy(f"{theirs}/ffn/linear_0", f"{ours}.fc1")
        copy(f"{theirs}/ffn/linear_1", f"{ours}.fc2")
    return found


class _Cursor:
    """A place in the file's bytes."""

    def __init__(self, content: bytes, path: Path) -> None:
        self.content, self.path, self.at = memoryview(content), path, 0

    def take(self, size: int) -> memoryview:
        if self.at + size > len(self.content):
            raise BackboneError(
                f"{self.path} is truncated: it ends at byte {len(self.content)}, and {self.at + size} are needed"
            )
        self.at += size
        return self.content[self.at - size : self.at]

    def number(self, kind: str) -> int:
        return int(struct.unpack(kind, self.take(struct.calcsize(kind)))[0])

    def text(self) -> str:
        return bytes(self.take(self.number("<H"))).rstrip(b"\0").decode("utf-8", "replace")
