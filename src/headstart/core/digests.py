"""Digests: what a sample, a file or a set of tensors is, independent of where it lies."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

SAMPLE_DIGEST_BYTES = 16
_CHUNK = 1 << 20


def of_bytes(content: bytes) -> bytes:
    """The 16-byte BLAKE2b digest that identifies a sample's content."""
    return hashlib.blake2b(content, digest_size=SAMPLE_DIGEST_BYTES).digest()


def of_text(text: str) -> bytes:
    """The digest of a text sample: of its UTF-8 bytes, exactly as given."""
    return of_bytes(text.encode("utf-8", "surrogatepass"))


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def of_tensors(tensors: Mapping[str, np.ndarray]) -> str:
    """The identity of a set of weights, as 32 hexadecimal digits: names, types, shapes and bytes, in the order of the names.

    The container (safetensors, .pth, CTranslate2) does not enter, so the same weights have the same digest wherever they come from.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        array = np.asarray(tensors[name], order="C")
        digest.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
