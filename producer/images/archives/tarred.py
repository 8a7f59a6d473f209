"""Lists the members of a tar file, perhaps compressed by gzip, and reads them where they are.

Headers are read by `tarfile`, from a file that gives no more bytes than a header may have.
"""

from __future__ import annotations

import gzip
import tarfile
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from producer.images.archives.members import Member
from producer.images.limits import MAX_MEMBER_BYTES, MAX_MEMBERS, format_bytes
from producer.images.stream import open_stream, printable, translate_errors
from schema.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from producer.images.pieces.allowance import Allowance
    from producer.images.stream import Readable, Stream

MAX_HEADER_BYTES = 2**20
"""Bytes of one header of a tar file, which may hold a long name."""

MAX_NOTE_BYTES = 2**16
"""Bytes of a member that may hold a label."""

MAX_LISTED_BYTES = 2**30
"""Bytes of memory that the names and labels of all members may take."""

_MEMBER_BYTES = 500  # of memory: its name as text and as parts, its place


class TarFile:
    """The listed members of a tar file, which must not change while they are read."""

    def __init__(
        self,
        path: Path,
        allowance: Allowance,
        wanted: Callable[[tuple[str, ...]], bool] = lambda _: False,
    ) -> None:
        """List the members of ``path`` but for folders.

        Args:
            path: of the file.
            allowance: what it may need.
            wanted: whether the content of a member with these parts of its name is taken into `notes`, if it
                has at most ``MAX_NOTE_BYTES``.

        Raises:
            ImageError: not an intact tar file, too many members or bytes, or a member that is a link or
                another thing than a file.
        """
        self.path, self.name = path, printable(path)
        self.members: list[Member] = []
        self.notes: dict[int, bytes] = {}
        self._allowance, self._wanted = allowance, wanted
        self._signature = _signature(path)
        with open_stream(path) as stream:
            self._list(_Guarded(stream.file, self.name), stream)

    def _list(self, file: _Guarded, stream: Stream) -> None:
        held = 0
        is_packed = isinstance(stream.file, gzip.GzipFile)
        for info in _headers(file, self.name):
            parts = PurePosixPath(info.name).parts
            shown = f"{self.name}/{printable(info.name)}"
            if info.isdir() or not parts:
                continue
            if not info.isreg() or info.issparse():
                raise ImageError(f"{shown} is a link or not a file: archive the folder again with its files")
            if len(self.members) >= MAX_MEMBERS:
                raise ImageError(f"{self.name} has more than {MAX_MEMBERS:,} members: split it")
            if info.offset_data + info.size > stream.most:
                raise ImageError(f"{shown} is truncated: fetch the archive again")
            if is_packed:
                self._allowance.unpacked(self.name, info.offset_data + info.size)
            if info.size <= MAX_NOTE_BYTES and self._wanted(parts):
                self.notes[len(self.members)] = file.content(info.offset_data, info.size, shown)
                held += info.size
            self.members.append(Member(parts, info.offset_data, info.size))
            held += _MEMBER_BYTES + len(info.name)
            if held > MAX_LISTED_BYTES:
                raise ImageError(
                    f"{self.name} has more than {format_bytes(MAX_LISTED_BYTES)} of names: split it"
                )
            self._allowance.whole(held)

    @contextmanager
    def opened(self) -> Iterator[Callable[[int], bytes]]:
        """Yield a function that returns the bytes of the member of a number; quick in the order of the file.

        Raises:
            ImageError: the file has changed, or a member is too large or truncated.
        """
        if _signature(self.path) != self._signature:
            raise ImageError(f"{self.name} changed while it was read: try again")
        with open_stream(self.path) as stream:

            def content(number: int) -> bytes:
                parts, start, size = self.members[number]
                shown = f"{self.name}/{printable('/'.join(parts))}"
                if size > MAX_MEMBER_BYTES:
                    raise ImageError(
                        f"{shown} has {format_bytes(size)}, more than {format_bytes(MAX_MEMBER_BYTES)}: "
                        "scale it down"
                    )
                self._allowance.whole(2 * size)
                with translate_errors(self.path):
                    stream.file.seek(start)
                    data = stream.read(size)
                if len(data) < size:
                    raise ImageError(f"{shown} is truncated: fetch the archive again")
                return data

            yield content


class _Guarded:
    """A file that `tarfile` reads headers from, and cannot make read more than a header has, nor go back.

    Going back would unpack a compressed file from its start. `tarfile` goes back by one byte, to look whether
    a member is complete, and by more for negative sizes only.
    """

    def __init__(self, file: Readable, name: str) -> None:
        self._file, self._name = file, name
        self._last, self._is_back = b"", False
        self.is_at_end = False

    def read(self, size: int = -1) -> bytes:
        if self._is_back and size == 1:
            self._is_back = False
            return self._last
        if not 0 <= size <= MAX_HEADER_BYTES or self._is_back:
            raise ImageError(
                f"{self._name} has a header of more than {format_bytes(MAX_HEADER_BYTES)}: archive it again"
            )
        data = self._file.read(size)
        self._last, self.is_at_end = data[-1:], not data
        return data

    def seek(self, place: int) -> int:
        here = self._file.tell()
        self._is_back = place == here - 1 and self._last != b""
        if place < here and not self._is_back:
            raise ImageError(f"{self._name} has a damaged header: fetch it again")
        return place if self._is_back else self._file.seek(place)

    def tell(self) -> int:
        return self._file.tell() - self._is_back

    def content(self, start: int, size: int, name: str) -> bytes:
        """Return the bytes of the member ``name``; raise ImageError if there are fewer."""
        self.seek(start)
        data = self.read(size)
        if len(data) < size:
            raise ImageError(f"{name} is truncated: fetch the archive again")
        return data


def _headers(file: _Guarded, name: str) -> Iterator[tarfile.TarInfo]:
    """Yield the headers of a tar file; raise ImageError if one is damaged, or the end is missing."""
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:  # type: ignore[call-overload]
            while (info := archive.next()) is not None:
                yield info
                # They would keep what was read of every member.
                archive.members, archive.pax_headers = [], {}
    except (tarfile.TarError, RecursionError, ValueError, OverflowError) as error:
        raise ImageError(
            f"{name} is truncated or not an intact tar file ({error}): fetch it again"
        ) from error
    if file.is_at_end:
        raise ImageError(f"{name} is truncated (its end is missing): fetch it again")


def _signature(path: Path) -> tuple[int, int]:
    with translate_errors(path):
        status = path.stat()
        return status.st_size, status.st_mtime_ns
