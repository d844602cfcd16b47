"""The program in `model.pt2`, run by torch."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch


def open_graph(folder: Path) -> tuple[Callable[[dict[str, np.ndarray]], np.ndarray], dict[str, str]]:
    """What turns a batch into probabilities, and what the file tells of itself."""
    told = {"headstart.txt": "", "preparation.txt": ""}
    network = torch.export.load(folder / "model.pt2", extra_files=told).module()

    def run(batch: dict[str, np.ndarray]) -> np.ndarray:
        with torch.inference_mode():
            found, _ = network(*(torch.from_numpy(each) for each in batch.values()))
        return np.asarray(found.numpy())

    return run, {name.removesuffix(".txt"): text for name, text in told.items()}
