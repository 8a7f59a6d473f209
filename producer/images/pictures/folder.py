"""Lists a folder of pictures: flat (unlabelled), or one sub-folder per class."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from producer.images.pictures.entry import (
    SUFFIXES,
    ListedFile,
    Pictures,
    is_litter,
    is_picture,
    sort_classes,
)
from producer.images.pictures.pictures import PicturePieces
from producer.images.pieces.allowance import Allowance
from producer.images.pieces.gathering import gather
from producer.images.pieces.piece import Shard
from producer.images.preprocessing import AS_IS, NOT_PICTURES, Changes
from producer.images.stream import open_regular, printable, refuse_exit, translate_errors
from schema.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from producer.images.preprocessing import Preprocessing
    from schema.shapes import ImageArray

MOST_OFFERED = 8
"""Largest number of folders in a message."""

DATA_SUFFIXES = (".npz", ".npy", ".csv", ".zip", "-ubyte", ".npy.gz", ".csv.gz", "-ubyte.gz")


class Folder(NamedTuple):
    """Pictures of a folder: uint8, labels and class names when it has class folders, file names."""

    images: ImageArray
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...] | None
    sources: tuple[str, ...]


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
        ImageError: no pictures, pictures both next to and inside class folders, a class folder without any,
            a picture that cannot be read, pictures of different sizes, or a symbolic link out of the folder.
    """
    changes = Changes() if changes is None else changes
    allowance = Allowance() if allowance is None else allowance
    top = _list(path, path)
    inside = {folder: _list(folder, path) for folder in top.folders}
    if not top.pictures and not any(contents.pictures for contents in inside.values()):
        raise ImageError(
            f"{printable(path)} has no pictures ({', '.join(sorted(SUFFIXES))}) in it or its "
            f"folders{_instead(top)}"
        )
    for contents in (top, *inside.values()):
        left_out = contents.others if contents is top else [*contents.others, *contents.folders]
        for other in left_out:
            changes.leave_out(printable(other.relative_to(path).as_posix()), NOT_PICTURES)
    by_name = {folder.name: contents.pictures for folder, contents in inside.items()}
    by_class = {printable(name): by_name[name] for name in sort_classes(list(by_name))}
    pictures = _flat(path, top.pictures, by_class) if top.pictures else _by_class(path, by_class)
    rows = gather(PicturePieces(pictures, preprocessing, changes, allowance), allowance)
    return Folder(rows.images, rows.labels, pictures.classes, rows.names or ())


def _flat(path: Path, pictures: list[Path], by_class: dict[str, list[Path]]) -> Pictures:
    """Return the ``pictures`` in ``path`` itself; raise ImageError if its folders have some, too."""
    name = printable(path)
    for folder, others in by_class.items():
        if others:
            raise ImageError(
                f"{name} has pictures both in itself and in {folder}: "
                "move them all into class folders, or all into one folder"
            )
    return Pictures(name, len(pictures), partial(_entries, path, pictures), None, None, [Shard(name, 0)])


def _by_class(path: Path, by_class: dict[str, list[Path]]) -> Pictures:
    """Return the pictures of class folders; raise ImageError if one has none."""
    name = printable(path)
    for folder, found in by_class.items():
        if not found:
            raise ImageError(f"{name}/{folder} is a class folder without pictures: remove it or fill it")
    pictures = [picture for found in by_class.values() for picture in found]
    labels = np.repeat(np.arange(len(by_class)), [len(found) for found in by_class.values()])
    entries = partial(_entries, path, pictures)
    return Pictures(name, len(pictures), entries, labels, tuple(by_class), [Shard(name, 0)])


def find_part(path: Path, part: str) -> Path:
    """Return the folder ``part`` in ``path``; raise ImageError if there is none, or if it leads out of it."""
    folders = {folder.name: folder for folder in _list(path, path).folders}
    if part in folders:
        return folders[part]
    offered = ", ".join(printable(f"{path}:{name}") for name in sorted(folders)[:MOST_OFFERED])
    way_out = f"choose one of {offered}" if offered else "it has no folders, leave it out"
    raise ImageError(f"{printable(path)} has no folder called {printable(part)!r}: {way_out}")


def _entries(path: Path, pictures: list[Path], first: int) -> Iterator[ListedFile]:
    for each in pictures[first:]:
        inside = printable(each.relative_to(path).as_posix())
        yield ListedFile(printable(each), inside, partial(open_regular, each))


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
