"""Lists a zip archive of pictures: flat, or one folder per class. Nothing is extracted to a disk."""

from __future__ import annotations

import io
from contextlib import contextmanager
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from producer.images.limits import MAX_MEMBER_BYTES, MAX_MEMBERS, format_bytes
from producer.images.pictures.entries import Folder, Listing, read_listing, suffixes
from producer.images.pictures.entry import Entry, is_litter, is_picture, sort_classes
from producer.images.pieces.allowance import Allowance
from producer.images.preprocessing import NOT_PICTURES
from producer.images.stream import PACKINGS, open_archive, printable, translate_errors
from schema.errors import ImageError

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterator
    from pathlib import Path

    from producer.images.preprocessing import Changes, Preprocessing


def read_archive(
    path: Path, preprocessing: Preprocessing, changes: Changes, allowance: Allowance | None = None
) -> Folder:
    """Return the pictures in the zip archive ``path`` as `read_folder` does for a folder.

    A folder that holds everything else is passed over. Links are never followed: a member is only read as
    the bytes of a picture.

    Raises:
        ImageError: as `read_listing`; not an intact archive; too many members or too large ones, compressed
            otherwise than by deflate, or encrypted.
    """
    allowance = allowance or Allowance()
    with open_archive(path) as archive:
        members = _members(archive, path)
        prefix = _common_folder([parts for parts, _ in members])
        top: list[Entry] = []
        classes: dict[str, list[Entry]] = {}
        for parts, info in sorted(members, key=lambda member: member[0]):
            inner = parts[prefix:]
            source = printable("/".join(inner))
            if len(inner) > 2 or not is_picture(inner[-1]):
                changes.leave_out(source, NOT_PICTURES)
                continue
            opened = partial(_open, archive, info, path, allowance)
            entry = Entry(printable(f"{path}/{info.filename}"), source, opened)
            (top if len(inner) == 1 else classes.setdefault(printable(inner[0]), [])).append(entry)
        if not top and not classes:
            raise ImageError(f"{printable(path)} has no pictures ({suffixes()}) in it or its folders")
        by_class = {name: classes[name] for name in sort_classes(list(classes))}
        return read_listing(Listing(printable(path), top, by_class), preprocessing, changes, allowance)


def _members(archive: zipfile.ZipFile, path: Path) -> list[tuple[tuple[str, ...], zipfile.ZipInfo]]:
    """Return the files of ``archive`` with the parts of their names, without litter."""
    infos = archive.infolist()
    if len(infos) > MAX_MEMBERS:
        raise ImageError(f"{printable(path)} has {len(infos):,} members, more than {MAX_MEMBERS:,}: split it")
    named = [(PurePosixPath(info.filename).parts, info) for info in infos if not info.is_dir()]
    return [(parts, info) for parts, info in named if parts and not any(is_litter(part) for part in parts)]


def _common_folder(names: list[tuple[str, ...]]) -> int:
    """Return 1 if all members are in one folder, else 0."""
    return int(len({parts[0] for parts in names}) == 1 and all(len(parts) > 1 for parts in names))


@contextmanager
def _open(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, allowance: Allowance
) -> Iterator[BinaryIO]:
    name = printable(f"{path}/{info.filename}")
    if info.compress_type not in PACKINGS:
        raise ImageError(f"{name} has an unknown compression: unpack the archive, and give the folder")
    if info.file_size > MAX_MEMBER_BYTES:
        raise ImageError(
            f"{name} has {format_bytes(info.file_size)}, more than {format_bytes(MAX_MEMBER_BYTES)}: "
            "scale it down"
        )
    allowance.whole(info.file_size)
    with translate_errors(path):
        try:
            with archive.open(info) as member:
                # Without a number it would unpack all that the member holds, whatever its header announces.
                data = member.read(info.file_size + 1)
        except (NotImplementedError, RuntimeError) as error:
            raise ImageError(f"{name} cannot be unpacked ({error}): unpack the archive first") from error
    yield io.BytesIO(data)
