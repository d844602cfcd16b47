"""The size budget of `src`, read from the syntax tree: `make check` runs it, and `tests/arch` calls it.

What the admired code bases keep: no function over 60 lines, files under 400, at most 2 positional and 8 parameters in all, no `**kwargs`
in a public function. Dataclasses are counted by none of these: they are what replaces a long list of parameters.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"

FUNCTION_LINES = 60
FILE_LINES = 400
PARAMETERS = 8
POSITIONAL = 2
FORBIDDEN_NAMES = frozenset({"utils", "common", "helpers", "misc"})

# What takes more positional parameters than two, each with its reason.
EXEMPT = {
    "__exit__": "Python calls it with three",
    "__call__": "a protocol of callbacks: what calls it decides",
    "silent": "it is such a callback: progress(stage, done, total)",
}


@dataclass(frozen=True)
class Function:
    """One function of a file.

    Attributes:
        node: its syntax tree.
        public: whether it and the class around it have public names, and no function is around it.
        method: whether its first parameter is `self` or `cls`.
    """

    node: ast.FunctionDef | ast.AsyncFunctionDef
    public: bool
    method: bool

    @property
    def lines(self) -> int:
        """Its lines, decorators and docstring included."""
        first = min([self.node.lineno, *(mark.lineno for mark in self.node.decorator_list)])
        return (self.node.end_lineno or self.node.lineno) - first + 1


def violations(source: Path) -> list[str]:
    """Every breach of the budget under `source`, one sentence each, with the file and the line."""
    found: list[str] = []
    for path in sorted(source.rglob("*.py")):
        where = path.relative_to(source).as_posix()
        text = path.read_text(encoding="utf-8")
        found += [f"{where}{breach}" for breach in _of_file(path.stem, text)]
        for function in _functions(ast.parse(text)):
            found += [f"{where}:{function.node.lineno}: {function.node.name} {breach}" for breach in _of(function)]
    for folder in sorted(path for path in source.rglob("*") if path.is_dir() and path.name in FORBIDDEN_NAMES):
        where = folder.relative_to(source).as_posix()
        found.append(f"{where}: a room says what is in it, and {folder.name!r} does not")
    return found


def plugin_violations(room: Path, not_plugins: frozenset[str]) -> list[str]:
    """What the files of one plug-in room lack: a first docstring line, which is the catalogue entry, and the object `PLUGIN`."""
    found: list[str] = []
    for path in sorted(room.glob("[a-z]*.py")):
        if path.stem in not_plugins:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if not (ast.get_docstring(tree) or "").split("\n", 1)[0].strip():
            found.append(f"{room.name}/{path.name} has no first docstring line: it is the plug-in's catalogue entry")
        if "PLUGIN" not in _assigned(tree):
            found.append(f"{room.name}/{path.name} assigns no PLUGIN at its top level: it is the plug-in's object")
    return found


def lengths(source: Path) -> list[int]:
    """The lines of every function under `source`, sorted."""
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in source.rglob("*.py"))
    return sorted(function.lines for tree in trees for function in _functions(tree))


def _of_file(stem: str, text: str) -> Iterator[str]:
    count = len(text.splitlines())
    if count >= FILE_LINES:
        yield f": {count} lines, and a file has fewer than {FILE_LINES}"
    if stem in FORBIDDEN_NAMES:
        yield f": a file says what is in it, and {stem!r} does not"


def _of(function: Function) -> Iterator[str]:
    if function.lines > FUNCTION_LINES:
        yield f"has {function.lines} lines, and a function has at most {FUNCTION_LINES}"
    arguments = function.node.args
    positional = [*arguments.posonlyargs, *arguments.args][1 if function.method else 0 :]
    total = len(positional) + len(arguments.kwonlyargs)
    if total > PARAMETERS:
        yield f"takes {total} parameters, and a function takes at most {PARAMETERS}: past that a dataclass is missing"
    if not function.public:
        return
    if len(positional) > POSITIONAL and function.node.name not in EXEMPT:
        yield f"takes {len(positional)} positional parameters, and a public function takes at most {POSITIONAL}"
    if arguments.kwarg is not None:
        yield f"takes **{arguments.kwarg.arg}, and a public function names its parameters"


def _functions(tree: ast.Module) -> Iterator[Function]:
    pending: list[tuple[ast.AST, bool, bool]] = [(node, True, False) for node in tree.body]
    while pending:
        node, public, in_class = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            static = any(isinstance(mark, ast.Name) and mark.id == "staticmethod" for mark in node.decorator_list)
            yield Function(node, public and not _private(node.name), in_class and not static)
            pending += [(child, False, False) for child in node.body]
        elif isinstance(node, ast.ClassDef):
            pending += [(child, public and not _private(node.name), True) for child in node.body]
        else:
            pending += [(child, public, in_class) for child in ast.iter_child_nodes(node)]


def _private(name: str) -> bool:
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def _assigned(tree: ast.Module) -> set[str]:
    targets = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    targets += [node.target for node in tree.body if isinstance(node, ast.AnnAssign)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def rooms() -> Iterator[tuple[Path, frozenset[str]]]:
    """Each plug-in room of the house: its folder, and the stems of its files that are no plug-ins.

    Found by reading: a room is a package whose `__init__.py` builds a `Registry("headstart.ROOM", ...)`.
    """
    for init in sorted(SOURCE.rglob("__init__.py")):
        for node in ast.walk(ast.parse(init.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Registry":
                constants = [leaf for leaf in ast.walk(node) if isinstance(leaf, ast.Constant)]
                sets = [leaf for leaf in ast.walk(node) if isinstance(leaf, ast.Set)]
                inside = {leaf.value for braces in sets for leaf in ast.walk(braces) if isinstance(leaf, ast.Constant)}
                if any(leaf.value == ".".join(init.parent.relative_to(SOURCE).parts) for leaf in constants):
                    yield init.parent, frozenset(str(stem) for stem in inside)


def main() -> int:
    """Print every breach and the distribution of lengths; 1 where there is a breach."""
    found = violations(SOURCE)
    for room, not_plugins in rooms():
        found += plugin_violations(room, not_plugins)
    for sentence in found:
        print(sentence)
    sizes = lengths(SOURCE)
    median, ninetieth = sizes[len(sizes) // 2], sizes[len(sizes) * 9 // 10]
    print(f"size budget: {len(found)} breaches; {len(sizes)} functions, median {median} lines, 90 % up to {ninetieth}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
