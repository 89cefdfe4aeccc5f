"""Zip archives: their members, each a file of its own, and never written to the disk.

The bound on bytes is on all members together, and a member gives no more than its entry says. Only members that are
stored or deflated are read, since Python unpacks the other methods without a bound.
"""

import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from kline_core.bars.readers.contents import read_bounded, too_large, unpacked, unreadable
from kline_core.errors import InputError

ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
"""How an archive begins, the second one if it is empty."""
_ENTRY = b"PK\x01\x02"
_MOST_MEMBERS = 200_000
"""An entry of the list of members takes some fifty bytes, and some six hundred once it is read."""
_OFFICE = "[Content_Types].xml"
_ENCRYPTED, _UTF8 = 0x1, 0x800
_DAMAGE = (zipfile.BadZipFile, OSError, EOFError, zlib.error, ValueError, NotImplementedError, RuntimeError)


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive."""

    archive: zipfile.ZipFile
    entry: zipfile.ZipInfo
    path: Path
    """The archive's path with the member's name behind it, for reports and as the name of the file."""
    max_bytes: int

    def contents(self) -> bytes:
        """Its bytes, unpacked.

        Raises `InputError` if it is encrypted or damaged, its name leads out of the archive, or it holds too much.
        """
        if self.entry.flag_bits & _ENCRYPTED:
            raise InputError(
                f"{self.path}: is encrypted; unpack it with its password, and deliver what is in it",
                source=str(self.path),
            )
        if leads_out(self.entry.filename):
            raise InputError(
                f"{self.path}: its name leads out of the archive; rename it within, or unpack the archive",
                source=str(self.path),
            )
        if self.entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(
                f"{self.path}: is packed by another method than deflate; pack it again, or unpack the archive",
                source=str(self.path),
            )
        try:
            with self.archive.open(self.entry) as stream:
                data = read_bounded(stream, self.max_bytes, self.entry.file_size + 1)
        except _DAMAGE as error:
            raise unreadable(self.path, error) from error
        if len(data) != self.entry.file_size:
            raise unreadable(self.path, EOFError("it ends before its time"))
        if data.startswith(ZIP) and not is_workbook(data):
            raise InputError(f"{self.path}: is an archive within an archive; unpack it first", source=str(self.path))
        return unpacked(data, self.path, self.max_bytes)


def members(data: bytes, path: Path, max_bytes: int) -> list[Member]:
    """Files in an archive, those in its folders too, in the order in which it lists them.

    Raises `InputError` if it is damaged, or its members together hold more than `max_bytes`, or are too many.
    """
    archive = opened(data, path, max_bytes)
    return [
        Member(archive, entry, _below(path, _name(entry)), max_bytes)
        for entry in archive.infolist()
        if not entry.is_dir()
    ]


def opened(data: bytes, path: Path, max_bytes: int) -> zipfile.ZipFile:
    """An archive whose members together hold no more than `max_bytes`. Raises `InputError`, as `members` does."""
    # Counted before they are read, each entry in the list begins so.
    if data.count(_ENTRY) > _MOST_MEMBERS:
        raise InputError(
            f"{path}: holds more than {_MOST_MEMBERS} files; unpack it into a folder", source=str(path), value=path
        )
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except _DAMAGE as error:
        raise unreadable(path, error) from error
    if sum(entry.file_size for entry in archive.infolist()) > max_bytes:
        raise too_large(path, max_bytes)
    return archive


def is_workbook(data: bytes) -> bool:
    """Whether an archive is a file of an office program, by the members that it lists; false if it is damaged."""
    if _OFFICE.encode() not in data or data.count(_ENTRY) > _MOST_MEMBERS:
        return False
    try:
        return _OFFICE in zipfile.ZipFile(io.BytesIO(data)).namelist()
    except _DAMAGE:
        return False


def leads_out(name: str) -> bool:
    """Whether the name of a member, taken for a path, lies outside the folder that it is unpacked into."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or ":" in path.parts[0]


def _below(path: Path, name: str) -> Path:
    # Never above the archive, whatever the name is.
    parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part != "/"]
    return path.joinpath(*parts) if parts else path / "unnamed"


def _name(entry: zipfile.ZipInfo) -> str:
    """Name of a member; one that is not said to be UTF-8 often is, or is in the encoding of a Chinese Windows."""
    if entry.flag_bits & _UTF8 or entry.filename.isascii():
        return entry.filename
    for encoding in ("utf-8", "gb18030"):
        try:
            return entry.filename.encode("cp437").decode(encoding)
        except UnicodeError:
            continue
    return entry.filename
