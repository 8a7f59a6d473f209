"""Lists the members of a zip archive, and reads them where they are."""

from __future__ import annotations

import stat
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from producer.images.archives.members import Member
from producer.images.limits import MAX_MEMBER_BYTES, MAX_MEMBERS, format_bytes
from producer.images.stream import PACKINGS, open_archive, printable, translate_errors
from schema.errors import ImageError

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from producer.images.pieces.allowance import Allowance

_MEMBER_BYTES = 1_500  # of memory: what zipfile holds of it, its name as parts


class ZipMembers:
    """The listed members of a zip archive, which must not change while they are read."""

    def __init__(self, path: Path, allowance: Allowance) -> None:
        """List the members of ``path`` but for folders.

        Raises:
            ImageError: not an intact archive, too many members or bytes, or a symbolic link.
        """
        self.path, self.name, self.notes = path, printable(path), dict[int, bytes]()
        self._allowance = allowance
        with open_archive(path) as archive:
            infos = archive.infolist()
            if len(infos) > MAX_MEMBERS:
                raise ImageError(
                    f"{self.name} has {len(infos):,} members, more than {MAX_MEMBERS:,}: split it"
                )
            allowance.whole(_MEMBER_BYTES * len(infos))
            allowance.unpacked(self.name, sum(info.file_size for info in infos))
            self.members: list[Member] = []
            self._infos: list[zipfile.ZipInfo] = []
            for info in infos:
                parts = PurePosixPath(info.filename).parts
                if info.is_dir() or not parts:
                    continue
                if stat.S_ISLNK(info.external_attr >> 16):
                    raise ImageError(
                        f"{self._shown(info)} is a link: archive the folder again with its files"
                    )
                self.members.append(Member(parts, info.header_offset, info.file_size))
                self._infos.append(info)

    @contextmanager
    def opened(self) -> Iterator[Callable[[int], bytes]]:
        """Yield a function that returns the bytes of the member of a number.

        Raises:
            ImageError: the archive has changed, or a member is too large, damaged, encrypted, or compressed
                otherwise than by deflate.
        """
        with open_archive(self.path) as archive:
            if len(archive.infolist()) < len(self._infos):
                raise ImageError(f"{self.name} changed while it was read: try again")
            yield lambda number: self._content(archive, self._infos[number])

    def _content(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
        name = self._shown(info)
        if info.compress_type not in PACKINGS:
            raise ImageError(f"{name} has an unknown compression: unpack the archive, and give the folder")
        if info.file_size > MAX_MEMBER_BYTES:
            raise ImageError(
                f"{name} has {format_bytes(info.file_size)}, more than {format_bytes(MAX_MEMBER_BYTES)}: "
                "scale it down"
            )
        self._allowance.whole(2 * info.file_size)
        with translate_errors(self.path):
            try:
                with archive.open(info) as member:
                    # Without a number it would unpack all that the member holds, whatever its header says.
                    return member.read(info.file_size + 1)
            except (NotImplementedError, RuntimeError) as error:
                raise ImageError(f"{name} cannot be unpacked ({error}): unpack the archive first") from error

    def _shown(self, info: zipfile.ZipInfo) -> str:
        return printable(f"{self.name}/{info.filename}")
