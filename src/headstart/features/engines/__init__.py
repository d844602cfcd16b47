"""◆ One file an engine: how a backbone is run on the hardware that is there."""

from headstart.core.registry import Registry
from headstart.features.engine import Engine

ENGINES: Registry[Engine] = Registry("headstart.features.engines", "engine", Engine)
