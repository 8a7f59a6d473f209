"""Lists a folder of pictures: flat (unlabelled), or one sub-folder per class."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from producer.images.pictures.entries import Folder, Listing, read_listing, suffixes
from producer.images.pictures.entry import Entry, is_litter, is_picture, sort_classes
from producer.images.preprocessing import AS_IS, NOT_PICTURES, Changes
from producer.images.stream import open_regular, printable, refuse_exit, translate_errors
from schema.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path

    from producer.images.pieces.allowance import Allowance
    from producer.images.preprocessing import Preprocessing

MOST_OFFERED = 8
"""Largest number of folders in a message."""

DATA_SUFFIXES = (".npz", ".npy", ".csv", ".zip", "-ubyte", ".npy.gz", ".csv.gz", "-ubyte.gz")


class _Contents(NamedTuple):
    pictures: list[Path]
    folders: list[Path]
    others: list[Path]


def read_folder(
    path: Path,
    preprocessing: Preprocessing = AS_IS,
    changes: Changes | None = None,
    allowance: Allowance | None = None,
) -> Folder:
    """Return all pictures in ``path``, prepared, sorted by class folder, then by name.

    Class folders are sorted by name, or by value if all are numbers. Hidden files, ``Thumbs.db`` and the
    like are ignored; ``changes`` counts files without the suffix of a picture, and folders inside class
    folders, which are left out.

    Raises:
        ImageError: as `read_listing`, or a symbolic link out of the folder.
    """
    changes = Changes() if changes is None else changes
    top = _list(path, path)
    inside = {folder: _list(folder, path) for folder in top.folders}
    if not top.pictures and not any(contents.pictures for contents in inside.values()):
        raise ImageError(
            f"{printable(path)} has no pictures ({suffixes()}) in it or its folders{_instead(top)}"
        )
    for contents in (top, *inside.values()):
        left_out = contents.others if contents is top else [*contents.others, *contents.folders]
        for other in left_out:
            changes.leave_out(printable(other.relative_to(path).as_posix()), NOT_PICTURES)
    by_name = {folder.name: contents.pictures for folder, contents in inside.items()}
    by_class = {printable(name): _entries(path, by_name[name]) for name in sort_classes(list(by_name))}
    listing = Listing(printable(path), _entries(path, top.pictures), by_class)
    return read_listing(listing, preprocessing, changes, allowance)


def find_part(path: Path, part: str) -> Path:
    """Return the folder ``part`` in ``path``; raise ImageError if there is none, or if it leads out of it."""
    folders = {folder.name: folder for folder in _list(path, path).folders}
    if part in folders:
        return folders[part]
    offered = ", ".join(printable(f"{path}:{name}") for name in sorted(folders)[:MOST_OFFERED])
    way_out = f"choose one of {offered}" if offered else "it has no folders, leave it out"
    raise ImageError(f"{printable(path)} has no folder called {printable(part)!r}: {way_out}")


def _entries(path: Path, pictures: list[Path]) -> list[Entry]:
    return [
        Entry(printable(each), printable(each.relative_to(path).as_posix()), partial(open_regular, each))
        for each in pictures
    ]


def _list(path: Path, root: Path) -> _Contents:
    found = _Contents([], [], [])
    with translate_errors(path), os.scandir(path) as entries:
        for entry in entries:
            if is_litter(entry.name):
                continue
            with translate_errors(path / entry.name):
                is_folder = entry.is_dir()
            if (is_folder or is_picture(entry.name)) and entry.is_symlink():
                refuse_exit(path / entry.name, root)
            kind = found.folders if is_folder else found.pictures if is_picture(entry.name) else found.others
            kind.append(path / entry.name)
    return _Contents(*(sorted(paths) for paths in found))


def _instead(top: _Contents) -> str:
    """Return what the user may have meant: a folder further down, or a file of arrays in this one."""
    deeper = next((folder for folder in top.folders if _list(folder, folder).folders), None)
    data = next((other for other in top.others if other.name.lower().endswith(DATA_SUFFIXES)), None)
    meant = deeper or data
    return "" if meant is None else f"; did you mean {printable(meant)}?"
