"""◆ One file a reader: from what a person has to `Samples`."""

from headstart.core.registry import Registry
from headstart.data.reading import Reader

READERS: Registry[Reader] = Registry("headstart.data.readers", "reader", Reader)
