"""◆ One file a strategy: which weights of a network are trained, and how they are folded back into it."""

from headstart.core.registry import Registry
from headstart.tuning.strategies.strategy import Strategy

STRATEGIES: Registry[Strategy] = Registry(
    "headstart.tuning.strategies", "strategy", Strategy, not_plugins=frozenset({"strategy"})
)
