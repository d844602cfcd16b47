"""`predict.py`: one runtime, one modality and the answers, joined to one program that needs no headstart."""

import ast
import sys
from importlib import resources

_ROOM = "headstart.exporting.shipped"
_LIBRARIES = {"image": "pillow>=11", "text": "tokenizers>=0.20", "audio": "soundfile>=0.12"}
_HEAD = '''"""Answers of a model that headstart exported: `python predict.py INPUT...` prints one line of JSON for each input.

One that cannot be read, or at which the runtime fails, has an "error" in the place of an answer, and the status is 3 then. It needs what requirements.txt lists and nothing else. The graph holds all from {values} to calibrated probabilities; `Preparation` is what
comes before it, and has to be followed to the letter wherever the graph is used without this program.
"""
'''
_VALUES = {"image": "pixels", "text": "token ids", "audio": "samples"}


def program(modality: str, runtime: str) -> str:
    """The source of `predict.py`.

    Args:
        modality: `image`, `text` or `audio`.
        runtime: the name of the format.
    """
    parts = [_split(_source(each)) for each in (modality, f"{runtime}_graph", "answers")]
    imports = _imports([node for taken, _ in parts for node in taken])
    bodies = "\n\n".join(body for _, body in parts)
    return f"{_HEAD.format(values=_VALUES[modality])}\n{imports}\n\n{bodies}"


def requirements(modality: str, runtime: str) -> str:
    """What `predict.py` needs, as lines of requirements.txt."""
    return "\n".join(["numpy>=1.26", _LIBRARIES[modality], runtime]) + "\n"


def _source(name: str) -> str:
    return (resources.files(_ROOM) / f"{name}.py").read_text(encoding="utf-8")


def _split(source: str) -> tuple[list[ast.Import | ast.ImportFrom], str]:
    """The imports at the top of a part, and what follows them."""
    tree, lines = ast.parse(source), source.splitlines()
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    last = imports[-1].end_lineno if imports else 0
    return imports, "\n".join(lines[last:]).strip("\n") + "\n"


def _imports(nodes: list[ast.Import | ast.ImportFrom]) -> str:
    """All imports once, those of Python's own library first; those of other parts are left out."""
    lines: dict[str, set[str]] = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            lines |= {
                f"import {each.name}" + (f" as {each.asname}" if each.asname else ""): set() for each in node.names
            }
        elif not (node.module or "").startswith(_ROOM):
            lines.setdefault(f"from {node.module} import ", set()).update(each.name for each in node.names)
    own: list[str] = []
    others: list[str] = []
    for line, names in sorted(lines.items(), key=lambda each: (each[0].startswith("from"), each[0])):
        root = line.split()[1].split(".")[0]
        (own if root in sys.stdlib_module_names else others).append(line + ", ".join(sorted(names)))
    return "\n".join([*own, "", *others]) + "\n"
