"""◆ One file a format: what leaves Python. An export carries all from prepared inputs to calibrated probabilities."""

from headstart.core.registry import Registry
from headstart.exporting.format import Format

FORMATS: Registry[Format] = Registry(
    "headstart.exporting",
    "export format",
    Format,
    frozenset({"directory", "format", "parity", "program", "resampling", "scorer", "spectra", "told", "tracing"}),
)
