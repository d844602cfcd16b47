"""What the processor has units for."""

from pathlib import Path

import pytest

from headstart.core import processor


def test_units_are_those_that_the_system_tells() -> None:
    processor.units.cache_clear()
    told = Path("/proc/cpuinfo").read_text(encoding="utf-8").split() if Path("/proc/cpuinfo").exists() else []
    assert processor.units() == tuple(flag for flag in processor._FLAGS if flag in told)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "processor : 0\nflags\t\t: fpu avx2 avx512f avx512_vnni\n\nprocessor : 1\nflags : bf16\n",
            ("avx2", "avx512f", "avx512_vnni"),
        ),
        ("Features\t: fp asimd asimddp\n", ("asimd", "asimddp")),
        ("model name : avx2\n", ()),
        ("", ()),
    ],
)
def test_flags_are_read_from_their_line(text: str, found: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    processor.units.cache_clear()
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: text)
    assert processor.units() == found
    processor.units.cache_clear()
