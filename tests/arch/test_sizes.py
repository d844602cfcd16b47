"""The size budget holds, and each of its rules finds a planted breach."""

from pathlib import Path

import pytest

from support.tools import tool

sizes = tool("sizes")


def test_the_source_keeps_the_budget() -> None:
    assert sizes.violations(sizes.SOURCE) == []


def test_functions_are_short() -> None:
    lengths = sizes.lengths(sizes.SOURCE)
    assert len(lengths) > 100
    assert lengths[len(lengths) // 2] <= 20
    assert lengths[len(lengths) * 9 // 10] < 35


def test_every_plugin_has_its_entry_and_its_object() -> None:
    rooms = dict(sizes.rooms())
    assert {room.name for room in rooms} >= {"backbones", "heads", "modalities", "readers", "tasks"}
    assert [sentence for room, others in rooms.items() for sentence in sizes.plugin_violations(room, others)] == []


LONG = "def long():\n" + "    x = 1\n" * 60
WIDE = "def _wide(a, b, *, c, d, e, f, g, h, i): ..."
PLANTED = {
    "long": (LONG, "long has 61 lines, and a function has at most 60"),
    "decorated": ("@mark\n" + LONG.replace("    x = 1\n", "", 1), "long has 61 lines, and a function has at most 60"),
    "wide": (WIDE, "_wide takes 9 parameters, and a function takes at most 8"),
    "positional": ("def f(a, b, c): ...", "f takes 3 positional parameters, and a public function takes at most 2"),
    "method": ("class A:\n    def f(self, a, b, c): ...", "f takes 3 positional parameters"),
    "static": ("class A:\n    @staticmethod\n    def f(a, b, c): ...", "f takes 3 positional parameters"),
    "constructor": ("class A:\n    def __init__(self, a, b, c): ...", "__init__ takes 3 positional parameters"),
    "conditional": ("if True:\n    def f(a, b, c): ...", "f takes 3 positional parameters"),
    "async": ("async def f(a, b, c): ...", "f takes 3 positional parameters"),
    "kwargs": ("def f(**options): ...", "f takes **options, and a public function names its parameters"),
    "file": ("x = 1\n" * 400, "400 lines, and a file has fewer than 400"),
}
KEPT = {
    "long": LONG.replace("    x = 1\n", "", 1),
    "wide": "def f(a, b, *, c, d, e, f, g, h): ...",
    "private": "def _f(a, b, c, **rest): ...",
    "hidden": "class _A:\n    def f(self, a, b, c): ...",
    "inner": "def f():\n    def g(a, b, c, **rest): ...",
    "method": "class A:\n    def f(self, a, b): ...\n    @classmethod\n    def g(cls, a, b): ...",
    "exit": "class A:\n    def __exit__(self, kind, error, trace): ...",
    "file": "x = 1\n" * 399,
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_breach_is_found(tmp_path: Path, name: str) -> None:
    source, sentence = PLANTED[name]
    (tmp_path / "planted.py").write_text(source, encoding="utf-8")
    found = sizes.violations(tmp_path)
    assert len(found) == 1, found
    assert found[0].startswith("planted.py:")
    assert sentence in found[0]


@pytest.mark.parametrize("name", KEPT)
def test_what_keeps_the_budget_passes(tmp_path: Path, name: str) -> None:
    (tmp_path / "kept.py").write_text(KEPT[name], encoding="utf-8")
    assert sizes.violations(tmp_path) == []


@pytest.mark.parametrize("name", ["utils", "common", "helpers", "misc"])
def test_a_name_that_says_nothing_is_found(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text("", encoding="utf-8")
    (tmp_path / "room" / name).mkdir(parents=True)
    found = sizes.violations(tmp_path)
    assert len(found) == 2, found
    assert all(repr(name) in sentence for sentence in found)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("PLUGIN = 1", "planted.py has no first docstring line"),
        ('"""\n\nLate."""\nPLUGIN: int = 1', None),
        ('"""A fine entry."""', "planted.py assigns no PLUGIN"),
        ('"""A fine entry."""\ndef f():\n    PLUGIN = 1', "planted.py assigns no PLUGIN"),
        ('"""A fine entry."""\nPLUGIN = 1', None),
    ],
)
def test_a_plugin_without_entry_or_object_is_found(tmp_path: Path, source: str, sentence: str | None) -> None:
    (tmp_path / "planted.py").write_text(source, encoding="utf-8")
    (tmp_path / "contract.py").write_text("", encoding="utf-8")
    (tmp_path / "__init__.py").write_text("", encoding="utf-8")
    found = sizes.plugin_violations(tmp_path, frozenset({"contract"}))
    assert len(found) == (0 if sentence is None else 1), found
    assert sentence is None or sentence in found[0]
