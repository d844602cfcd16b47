"""◆ One file a method: candidates for a smaller or faster model, and the contract that chooses among them."""

from headstart.compression.method import Method
from headstart.core.registry import Registry

METHODS: Registry[Method] = Registry(
    "headstart.compression", "compression method", Method, frozenset({"contract", "matching", "measuring", "method"})
)
