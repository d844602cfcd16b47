"""Data sets in the formats in which they are handed out, byte by byte as their publishers write them."""

import gzip
from pathlib import Path

import numpy as np


def idx(values: np.ndarray) -> bytes:
    """An IDX file of unsigned bytes."""
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes((0, 0, 8, values.ndim)) + sizes + values.astype(np.uint8).tobytes()


def mnist(
    folder: Path, *, n: int = 20, packed: bool = False, mark: str = "-"
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The four files; a digit's pixels are brighter the larger it is. Gives images and labels by part."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    made = {}
    for part, stem, count in (("train", "train", n), ("test", "t10k", n // 2)):
        labels = np.arange(count) % 10
        images = (20 * labels[:, None, None] + rng.integers(0, 40, (count, 28, 26))).astype(np.uint8)
        made[part] = images, labels
        for kind, values in (("images", images), ("labels", labels)):
            content = idx(values)
            name = f"{stem}-{kind}{mark}idx{values.ndim}-ubyte{'.gz' if packed else ''}"
            (folder / name).write_bytes(gzip.compress(content) if packed else content)
    return made


CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR100 = tuple(f"fine_{i}" for i in range(100))


def cifar(folder: Path, *, hundred: bool = False, binary: bool = False, n: int = 10) -> dict[str, np.ndarray]:
    """The files of CIFAR-10 or CIFAR-100. Row i of each batch has the label i % 10 or 99 - i; gives (n, 32, 32, 3) images by batch."""
    folder.mkdir(parents=True)
    names = ("train", "test") if hundred else (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
    labels = [99 - i for i in range(n)] if hundred else [i % 10 for i in range(n)]
    coarse = [i % 20 for i in range(n)]
    made = {}
    for seed, name in enumerate(names):
        made[name] = np.random.default_rng(seed).integers(0, 256, (n, 32, 32, 3)).astype(np.uint8)
        planes = made[name].transpose(0, 3, 1, 2).reshape(n, 3072)
        if binary:
            heads = np.array([coarse, labels] if hundred else [labels], dtype=np.uint8).T
            (folder / f"{name}.bin").write_bytes(np.hstack([heads, planes]).tobytes())
        else:
            told = {"fine_labels": labels, "coarse_labels": coarse} if hundred else {"labels": labels}
            (folder / name).write_bytes(pickle_2({"batch_label": name, **told, "data": planes}))
    classes = list(CIFAR100 if hundred else CIFAR10)
    if binary:
        listed = "fine_label_names.txt" if hundred else "batches.meta.txt"
        (folder / listed).write_text("\n".join(classes) + "\n\n", encoding="utf-8")
    else:
        meta = {"fine_label_names" if hundred else "label_names": classes}
        (folder / ("meta" if hundred else "batches.meta")).write_bytes(pickle_2(meta))
    return made


def pickle_2(value: object) -> bytes:
    """A pickle as Python 2 wrote it, in which the archives are handed out: texts are bytes, and arrays are reconstructed by name."""
    return b"\x80\x02" + _pickled(value) + b"."


def _pickled(value: object) -> bytes:
    if isinstance(value, str | bytes):
        text = value if isinstance(value, bytes) else value.encode()
        return (b"U" + bytes([len(text)]) if len(text) < 256 else b"T" + len(text).to_bytes(4, "little")) + text
    if isinstance(value, int):
        return b"J" + value.to_bytes(4, "little", signed=True)
    if isinstance(value, list):
        return b"](" + b"".join(map(_pickled, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(_pickled(key) + _pickled(held) for key, held in value.items()) + b"u"
    assert isinstance(value, np.ndarray)
    kind = b"cnumpy\ndtype\n" + b"U\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    shape = b"".join(map(_pickled, value.shape))
    begin = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    return begin + b"(K\x01" + b"(" + shape + b"t" + kind + b"\x89" + _pickled(value.tobytes()) + b"tb"
