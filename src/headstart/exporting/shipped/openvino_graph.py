"""The graph in `model.xml` and `model.bin`, run by OpenVINO."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np


def open_graph(folder: Path) -> tuple[Callable[[dict[str, np.ndarray]], np.ndarray], dict[str, str]]:
    """What turns a batch into probabilities, and what the file tells of itself."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # it would report the import over the network
    import openvino

    core = openvino.Core()
    model = core.read_model(folder / "model.xml")
    told = {name: model.get_rt_info([name]).astype(str) for name in ("headstart", "preparation")}
    narrow = json.loads(told["preparation"])["precision"].endswith("bfloat16")
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "bf16" if narrow else "f32"})

    def run(batch: dict[str, np.ndarray]) -> np.ndarray:
        return np.array(compiled(batch)["probabilities"])

    return run, told
