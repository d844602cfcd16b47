"""Steps of headstart's loop, or of a bare one on the same tensors: `_tune_step.py loop|bare SET BACKBONE SIZE WARM STEPS`.

Prints `{"seconds": [...], "bytes": ...}`: of each step after the first ones, and that training adds to the process at its peak. The data is in memory before,
for both: the loop reads it from a mapped file, whose pages would count as its own. The bare loop is forward, backward and optimiser: bfloat16
autocast, AdamW in one kernel, the same network with all its weights trained, on batches that lie ready. What the network itself was given for
speed, it has in both: the layout of convolutions, those in groups in float32, the plain attention, a table of the words that occur. The steps are
enough for a moving average.
"""

import json
import resource
import sys
import time
from dataclasses import replace
from typing import Any

import numpy as np
import psutil

import headstart as hs
from figures import DATA
from headstart.backbones.backbone import BackboneRequest
from headstart.backbones.choice import open_backbone
from headstart.backbones.network import NetworkBackbone
from headstart.heads.fitted import Linear
from headstart.tasks import TASKS

MOST = 2000


def main() -> int:
    """Time them."""
    import torch

    from headstart.tuning import choice, loop, vocabulary
    from headstart.tuning.augmentation import Augmentation
    from headstart.tuning.batches import Batches
    from headstart.tuning.classifier import Trainable
    from headstart.tuning.devices import attention_for, open_accelerator, to_layout
    from headstart.tuning.losses import LossOptions
    from headstart.tuning.materials import labelled
    from headstart.tuning.schedule import Leg
    from headstart.tuning.views import Views

    which, name, asked, size, warm, steps = sys.argv[1:]
    request = replace(BackboneRequest.parse(asked), prepare={"size": int(size)} if int(size) else {})
    backbone = open_backbone(request)
    assert isinstance(backbone, NetworkBackbone)
    train = hs.read(str(DATA / name)).part("train")
    samples = train.take(np.linspace(0, len(train) - 1, MOST).astype(int))
    task = TASKS.get("single_label")
    targets = task.encode(samples.table.column("target"), None)
    views = Views.of(samples, backbone.preparation)
    weights, varied = np.ones(len(samples)), Augmentation(samples.modality)
    material = labelled(views, targets, task=task, options=LossOptions(), augmentation=varied, weights=weights)
    accelerator = open_accelerator(narrow=True)
    chosen = choice.parse("full", backbone.module.feed.net, n=len(samples))
    width, classes = backbone.specs[0].dim, len(targets.labels)
    head = Linear(np.zeros((width, classes), np.float32), np.zeros(classes), "softmax")
    opened = Trainable.of(backbone, head, strategy=chosen.strategy, options=chosen.options)
    vocabulary.narrow(opened, views)
    to_layout(opened, accelerator)
    leg = Leg("steps", 1e-5, 1e-5, int(warm) + int(steps), 32, 0)
    batches = Batches(views, size=leg.batch, seed=leg.seed)
    ready = [_batch(material, batches.at(step)) for step in range(leg.steps)]
    before = psutil.Process().memory_info().rss
    ends: list[float] = []
    if which == "loop":
        loop.train(
            opened, material, leg=leg, accelerator=accelerator, progress=lambda *_: ends.append(time.perf_counter())
        )
    else:
        opened.train_mode()
        optimizer = torch.optim.AdamW(opened.parameters().values(), lr=1e-5, fused=True)
        with attention_for("cpu"):
            for values, lengths, labels in ready:
                with torch.autocast("cpu", torch.bfloat16):
                    scores = opened.classifier(values, lengths)
                loss: Any = torch.nn.functional.cross_entropy(scores, labels)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                ends.append(time.perf_counter())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": np.diff(ends)[int(warm) :].tolist(), "bytes": max(0, peak - before)}))
    return 0


def _batch(material: Any, chosen: tuple[np.ndarray, np.ndarray]) -> tuple[Any, Any, Any]:
    import torch

    samples, numbers = chosen
    batch = material.views.batch(numbers)
    lengths, values = (torch.from_numpy(np.ascontiguousarray(each)) for each in (batch.lengths, batch.values))
    return values, lengths, material.targets[torch.from_numpy(samples)]


if __name__ == "__main__":
    sys.exit(main())
