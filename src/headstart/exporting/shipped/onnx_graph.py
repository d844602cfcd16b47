"""The graph in `model.onnx`, run by onnxruntime."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime


def open_graph(folder: Path) -> tuple[Callable[[dict[str, np.ndarray]], np.ndarray], dict[str, str]]:
    """What turns a batch into probabilities, and what the file tells of itself."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    path = str(folder / "model.onnx")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(batch: dict[str, np.ndarray]) -> np.ndarray:
        (found,) = session.run(["probabilities"], batch)
        return np.asarray(found)

    return run, dict(session.get_modelmeta().custom_metadata_map)
