"""The file list of a model directory: exactly the files of the listing, regular, inside, and with the digests it states."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from headstart.core.digests import sha256_file
from headstart.core.errors import ModelError

# Names that a model directory may hold: top-level files, and files one level down in assets/.
_NAME = re.compile(r"(assets/)?[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below `folder`, by its name with forward slashes."""
    return {name: sha256_file(folder / name) for name in sorted(names(folder))}


def check(folder: Path, listed: Mapping[str, str], *, manifest: str) -> None:
    """Check that the directory holds exactly the listed files, and that each has its digest.

    Raises:
        ModelError: a name is not allowed, a file is missing, unlisted, a link or no regular file, or has another digest.
    """
    for name in listed:
        if not _NAME.fullmatch(name) or ".." in name or name == manifest:
            raise ModelError(f"the model's file list names {name!r}, which no headstart model may hold")
    found = names(folder) - {manifest}
    missing, extra = sorted(set(listed) - found), sorted(found - set(listed))
    if missing:
        raise ModelError(
            f"the model lacks the file {missing[0]}, which its manifest lists; copy the whole directory again"
        )
    if extra:
        raise ModelError(f"the model holds the file {extra[0]}, which its manifest does not list; take it out")
    for name, digest in sorted(listed.items()):
        if sha256_file(folder / name) != digest:
            raise ModelError(
                f"the model's file {name} is not the one that was saved (its SHA-256 differs); copy it again"
            )


def names(folder: Path) -> set[str]:
    """The name of every file below `folder`, with forward slashes.

    Raises:
        ModelError: there is a link, something that is no regular file, or another folder than assets/.
        OSError: a folder cannot be read.
    """
    found: set[str] = set()
    for base, folders, files in os.walk(folder, followlinks=False, onerror=_raise):
        here = Path(base)
        for name in [*folders, *files]:
            path = here / name
            relative = path.relative_to(folder).as_posix()
            if path.is_symlink():
                raise ModelError(
                    f"the model holds a link, {relative}; a model directory consists of regular files only"
                )
            if name in files and not path.is_file():
                raise ModelError(f"the model holds {relative}, which is no regular file")
            if name in folders and relative != "assets":
                raise ModelError(f"the model holds the folder {relative}; only assets/ may be there")
        found |= {(here / name).relative_to(folder).as_posix() for name in files}
    return found


def _raise(error: OSError) -> None:
    raise error
