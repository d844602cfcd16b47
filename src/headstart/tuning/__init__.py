"""◆ One file a strategy: which weights of a network are trained, and how they are folded back into it."""

from headstart.core.registry import Registry
from headstart.tuning.strategy import Strategy

STRATEGIES: Registry[Strategy] = Registry(
    "headstart.tuning",
    "strategy",
    Strategy,
    not_plugins=frozenset(
        {
            "strategy",
            "choice",
            "classifier",
            "views",
            "batches",
            "augmentation",
            "losses",
            "loop",
            "checkpoint",
            "runs",
            "schedule",
            "gate",
            "interpolation",
            "mirroring",
            "ladder",
            "activations",
            "tracking",
            "devices",
            "materials",
            "teaching",
            "looks",
            "soft_head",
        }
    ),
)
