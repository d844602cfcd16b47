"""Tar archives, listed without unpacking: what lies in one, and where."""

import io
import tarfile
from dataclasses import dataclass

from headstart.core.errors import DataError
from headstart.data.places import open_or_unpack


@dataclass(frozen=True)
class Member:
    """One file of an archive.

    Attributes:
        name: with its folders, as the archive has it.
        archive: the absolute path of the archive.
        gzipped: whether that is packed.
        begin: where the member's bytes begin, in the unpacked archive.
        size: how many these are.
    """

    name: str
    archive: str
    gzipped: bool
    begin: int
    size: int

    def content(self) -> bytes:
        """Its bytes.

        Raises:
            DataError: the archive cannot be read any more.
        """
        whole = open_or_unpack(self.archive, gzipped=self.gzipped)
        return bytes(whole[self.begin : self.begin + self.size])


def members_of(path: str) -> list[Member]:
    """The files in a `.tar`, or in a `.tar.gz` or `.tgz`, in order; hidden ones apart.

    Args:
        path: absolute.

    Raises:
        DataError: it is damaged or cut off; names the member where that shows.
    """
    gzipped = not path.lower().endswith(".tar")
    whole = open_or_unpack(path, gzipped=gzipped)
    stream = io.BytesIO(whole) if isinstance(whole, bytes) else whole
    found: list[Member] = []
    named: dict[str, tuple[int, int]] = {}
    last = "its first member"
    try:
        stream.seek(0)
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            for entry in archive:
                last = f"its member {entry.name}"
                if entry.offset_data + entry.size > len(whole):
                    raise DataError(
                        f"{path}: the member {entry.name} is cut off: the archive ends before it does; download it again"
                    )
                if entry.isdir() or entry.name.rsplit("/", 1)[-1].startswith("."):
                    continue
                if (
                    entry.issparse()
                    or not (entry.isfile() or entry.islnk())
                    or (entry.islnk() and entry.linkname not in named)
                ):
                    raise DataError(
                        f"{path}: the member {entry.name} is no plain file: pack it again without links and holes"
                    )
                where = named[entry.linkname] if entry.islnk() else (entry.offset_data, entry.size)
                named[entry.name] = where
                found.append(Member(entry.name, path, gzipped, *where))
            # A header that makes no sense ends the loop as the end of the archive does, which is a block of zeros.
            if archive.offset >= len(whole):
                raise tarfile.ReadError("it ends without the block that ends an archive")
            if any(whole[archive.offset : archive.offset + tarfile.BLOCKSIZE]):
                raise tarfile.ReadError("what follows is no header of a member")
    except (tarfile.TarError, OSError, ValueError) as error:
        raise DataError(f"{path} is a damaged archive at or after {last} ({error}): download it again") from error
    return found
