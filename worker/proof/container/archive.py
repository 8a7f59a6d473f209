"""Reads and writes zip files that have one form only: equal content gives equal bytes.

There is no time, no attribute, no comment, no extra field and no gap between files. Names are lower case, in
ascending order. A reader rebuilds each header from the directory and compares it, so a byte that is changed
anywhere outside of the content is found. Sizes are below 4 GiB (zip's first version: PKWARE's APPNOTE.TXT,
sections 4.3.7, 4.3.12 and 4.3.16).
"""

from __future__ import annotations

import mmap
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from schema.errors import Corrupt, ParameterError

STORED, DEFLATED = 0, 8
DIRECTORY = "the zip directory"
LAST = ("manifest.json", "signature.json")
"""Names that follow all others, in this order."""

_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_ENTRY = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_VERSION, _DATE = 20, 33  # 2.0, and 1980-01-01, the first day that zip knows
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,59}(/[a-z0-9][a-z0-9.-]{0,59})?")
_MOST_BYTES, _MOST_FILES = 2**32 - 1, 2**16 - 1
_MOST_PLAIN = 2**30  # bytes of one file, inflated: a bomb must not fill the memory
_RATIO = 1032  # deflate cannot shrink data more (zlib.net/zlib_tech.html)


class DamagedPart(Corrupt):
    """Part of a bundle that is not as it was written; ``part`` names it."""

    def __init__(self, part: str, what: str) -> None:
        super().__init__(f"{part} {what}")
        self.part, self.what = part, what


@dataclass(frozen=True)
class BundleFile:
    """A file in a zip file.

    Attributes:
        start: offset of its content.
        stored: bytes of its content, deflated if ``method`` says so.
        size: bytes of its content, inflated.
    """

    name: str
    method: int
    crc: int
    stored: int
    size: int
    start: int

    @property
    def header(self) -> bytes:
        """Return the bytes before its content."""
        name = self.name.encode()
        sizes = (self.crc, self.stored, self.size)
        return _LOCAL.pack(b"PK\3\4", _VERSION, 0, self.method, 0, _DATE, *sizes, len(name), 0) + name

    @property
    def entry(self) -> bytes:
        """Return its bytes in the directory."""
        name = self.name.encode()
        what = (_VERSION, _VERSION, 0, self.method, 0, _DATE, self.crc, self.stored, self.size)
        rest = (len(name), 0, 0, 0, 0, 0, self.start - _LOCAL.size - len(name))
        return _ENTRY.pack(b"PK\1\2", *what, *rest) + name


def order(name: str) -> tuple[int, str]:
    """Return the key by which names are sorted."""
    return (LAST.index(name) + 1 if name in LAST else 0, name)


class Writer:
    """Writes files to an open ``file`` one after the other, in the order of `order`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._end = file, 0
        self.members: list[BundleFile] = []

    def add(self, name: str, content: bytes, *, deflate: bool) -> bytes:
        """Write ``content`` as ``name``, deflated if asked for and if that is shorter; return what is stored.

        Raises:
            ParameterError: the zip file or one of its files would be too large.
        """
        if self.members and order(self.members[-1].name) >= order(name):
            raise ValueError(f"{name} follows {self.members[-1].name}")
        stored, method = content, STORED
        if deflate and len(packed := _deflated(content)) < len(content):
            stored, method = packed, DEFLATED
        start = self._end + _LOCAL.size + len(name)
        self._end = start + len(stored)
        if self._end > _MOST_BYTES or len(content) > _MOST_PLAIN:
            raise ParameterError(f"{name} makes the bundle larger than 4 GiB: bundle a run of fewer images")
        if len(self.members) >= _MOST_FILES:
            raise ParameterError(f"a bundle has at most {_MOST_FILES:,} files: bundle a run of fewer images")
        member = BundleFile(name, method, zlib.crc32(content), len(stored), len(content), start)
        self._file.write(member.header + stored)
        self.members.append(member)
        return stored

    def close(self) -> None:
        """Write the directory; the file remains open."""
        self._file.write(_directory(self.members, self._end))


class BundleArchive:
    """A zip file that is read: its ``members`` by name. Raises DamagedPart unless it has the one form.

    Use it as a context manager.
    """

    def __init__(self, path: Path) -> None:
        """Open the file ``path``.

        Raises:
            ParameterError: it cannot be read, or is too large.
            DamagedPart: it is not in the form in which bundles are written.
        """
        try:
            with path.open("rb") as file:
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or "it is empty"
            raise ParameterError(f"{path} cannot be read: {why}") from None
        with ExitStack() as on_failure:
            on_failure.callback(self._data.close)
            self.members = {member.name: member for member in self._read_directory()}
            on_failure.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._data.close()

    def stored(self, name: str) -> bytes:
        """Return the content of the file ``name`` as it is stored; raise DamagedPart if there is none."""
        member = self._member(name)
        return self._data[member.start : member.start + member.stored]

    def content(self, name: str) -> bytes:
        """Return the content of the file ``name``; raise DamagedPart if it is damaged, or there is none."""
        member, stored = self._member(name), self.stored(name)
        plain = stored if member.method == STORED else _inflated(member, stored)
        if zlib.crc32(plain) != member.crc:
            raise DamagedPart(name, "has another CRC-32 than its zip header says")
        return plain

    def _member(self, name: str) -> BundleFile:
        if name not in self.members:
            raise DamagedPart(name, "is not in the bundle")
        return self.members[name]

    def _read_directory(self) -> Iterator[BundleFile]:
        """Yield the files, each compared with its header and with the one form of the directory."""
        data, end_at = self._data, len(self._data) - _END.size
        if (
            end_at < 0
            or len(data) > _MOST_BYTES
            or (data[:2] != b"PK" and data[end_at : end_at + 2] != b"PK")
        ):
            raise DamagedPart(DIRECTORY, "is missing: this is not a bundle of annealq")
        _, _, _, count, _, size, start, _ = _END.unpack(data[end_at:])
        if (
            data[end_at:] != _END.pack(b"PK\5\6", 0, 0, count, count, size, start, 0)
            or start + size != end_at
        ):
            raise DamagedPart(DIRECTORY, "has an end record that does not fit")
        place, expected, previous = start, 0, ""
        for index in range(count):
            member = self._read_entry(place, end_at, f"entry {index} (after {previous or 'none'})")
            if previous and order(previous) >= order(member.name):
                raise DamagedPart(DIRECTORY, f"names {member.name} after {previous}")
            header = member.header
            if member.start != expected + len(header) or member.start + member.stored > start:
                raise DamagedPart(DIRECTORY, f"has a wrong offset or size of {member.name}")
            if (there := data[expected : member.start]) != header:
                raise _mismatch(member, there)
            yield member
            place, expected, previous = place + len(member.entry), member.start + member.stored, member.name
        if place != end_at or expected != start:
            raise DamagedPart(DIRECTORY, f"has other bytes after {previous or 'its start'} than it should")

    def _read_entry(self, place: int, end: int, which: str) -> BundleFile:
        """Return the file of the entry of the directory at ``place``; ``which`` names it in errors."""
        if place + _ENTRY.size > end:
            raise DamagedPart(DIRECTORY, f"ends before {which}")
        fields = _ENTRY.unpack(self._data[place : place + _ENTRY.size])
        method, crc, stored, size, length, offset = (fields[k] for k in (4, 7, 8, 9, 10, 16))
        raw = self._data[place + _ENTRY.size : place + _ENTRY.size + min(length, 200)]
        name = raw.decode("ascii", "replace")
        if _NAME.fullmatch(name) is None:
            raise DamagedPart(DIRECTORY, f"has a name in {which} that a bundle cannot have: {name[:60]!r}")
        member = BundleFile(name, method, crc, stored, size, offset + _LOCAL.size + length)
        if self._data[place : place + len(member.entry)] != member.entry:
            raise DamagedPart(DIRECTORY, f"has other fields in its entry of {name} than it should")
        if method not in (STORED, DEFLATED) or (method == STORED and stored != size):
            raise DamagedPart(DIRECTORY, f"has a wrong method or size of {name}")
        if size > min(_MOST_PLAIN, _RATIO * stored + 64):
            raise DamagedPart(DIRECTORY, f"claims {size:,} bytes of {name}, more than {stored:,} can be")
        return member


def _mismatch(member: BundleFile, there: bytes) -> DamagedPart:
    """Return what is wrong with a ``member`` whose header is ``there`` instead of its own."""
    name = there[_LOCAL.size :].decode("ascii", "replace")
    if name != member.name:
        return DamagedPart(DIRECTORY, f"names {member.name} where the header of the file says {name!r}")
    return DamagedPart(name, f"has a zip header that differs from its entry in {DIRECTORY}")


def _directory(members: list[BundleFile], start: int) -> bytes:
    entries = b"".join(member.entry for member in members)
    return entries + _END.pack(b"PK\5\6", 0, 0, len(members), len(members), len(entries), start, 0)


def _deflated(content: bytes) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9)
    return stream.compress(content) + stream.flush()


def _inflated(member: BundleFile, stored: bytes) -> bytes:
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = stream.decompress(stored, member.size + 1)
    except zlib.error as error:
        raise DamagedPart(member.name, f"cannot be inflated: {error}") from None
    if len(plain) != member.size or not stream.eof or stream.unused_data:
        raise DamagedPart(member.name, "inflates to another size than its zip header says")
    return plain
