"""What the processor has units for, as far as that changes what products of 8 or 16 bits come to."""

from functools import cache
from pathlib import Path

# As Linux names them: x86, then ARM.
_FLAGS = (
    *("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16"),
    *("asimd", "asimddp", "i8mm", "bf16"),
)


@cache
def units() -> tuple[str, ...]:
    """Those that it has, in a fixed order; none where the system does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ()
    lines = [line for line in text.splitlines() if line[:5] in {"flags", "Featu"}]
    told = set(lines[0].split()) if lines else set()
    return tuple(flag for flag in _FLAGS if flag in told)
