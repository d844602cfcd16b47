"""Plug-in rooms: one file is one plug-in, its stem is its name, its first docstring line is its catalogue entry.

Listing imports nothing: names come from the files of the room and from entry points, descriptions from parsing the source.
Third parties add plug-ins by entry points in the group `headstart.ROOM`, for example `headstart.heads`.
"""

import ast
import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Generic, TypeVar

from headstart.core.errors import UsageError, suggest

P = TypeVar("P")


@dataclass(frozen=True)
class Registry(Generic[P]):
    """The plug-ins of one room.

    Attributes:
        package: the room, for example `headstart.heads`.
        noun: what one plug-in is called in an error, for example `head`.
        not_plugins: the stems of files in the room that are no plug-ins.
        base: the class of which every `PLUGIN` must be an instance.
    """

    package: str
    noun: str
    base: type[P]
    not_plugins: frozenset[str] = frozenset()

    def names(self) -> tuple[str, ...]:
        """The names of all plug-ins, sorted, without importing any."""
        return tuple(sorted({*self._files(), *self._entry_points()}))

    def catalogue(self) -> dict[str, str]:
        """Each name with its one-line description, without importing any plug-in of the house."""
        entries = {name: _first_docstring_line(path) for name, path in self._files().items()}
        for name, point in self._entry_points().items():
            entries.setdefault(name, f"from {point.value}")
        return dict(sorted(entries.items()))

    def get(self, name: str) -> P:
        """The plug-in called `name`, imported now.

        Raises:
            UsageError: there is none of that name, or what the name leads to is no plug-in of this room.
        """
        if name in self._files():
            plugin = importlib.import_module(f"{self.package}.{name}").PLUGIN
        elif name in self._entry_points():
            plugin = self._entry_points()[name].load()
        else:
            raise UsageError(f"there is no {self.noun} called {name!r}.{suggest(name, self.names())}")
        if not isinstance(plugin, self.base):
            raise UsageError(f"{self.noun} {name!r} is a {type(plugin).__name__}, and has to be a {self.base.__name__}")
        return plugin

    def _files(self) -> Mapping[str, Path]:
        return _plugin_files(self.package, self.not_plugins)

    def _entry_points(self) -> Mapping[str, metadata.EntryPoint]:
        return entry_points(self.package)


@cache
def entry_points(group: str) -> Mapping[str, metadata.EntryPoint]:
    """The entry points of a group by name. Asked of every installed distribution once a process: that reads hundreds of files."""
    return {point.name: point for point in metadata.entry_points(group=group)}


@cache
def _plugin_files(package: str, not_plugins: frozenset[str]) -> Mapping[str, Path]:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return {}
    room = Path(next(iter(spec.submodule_search_locations)))
    return {path.stem: path for path in sorted(room.glob("[a-z]*.py")) if path.stem not in not_plugins}


def _first_docstring_line(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.split("\n", 1)[0].strip()
