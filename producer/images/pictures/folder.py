"""Lists a folder of pictures: flat (unlabelled), or one sub-folder per class."""

from __future__ import annotations

import os
from functools import partial
from itertools import accumulate
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
from producer.images.pieces.piece import Shard
from producer.images.preprocessing import NOT_PICTURES, Changes
from producer.images.stream import open_regular, printable, refuse_exit, translate_errors
from schema.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


MOST_OFFERED = 8
"""Largest number of folders in a message."""

DATA_SUFFIXES = (".npz", ".npy", ".csv", ".zip", "-ubyte", ".npy.gz", ".csv.gz", "-ubyte.gz")


class _Contents(NamedTuple):
    pictures: list[Path]
    folders: list[Path]
    others: list[Path]


def open_folder(path: Path, part: str | None, changes: Changes) -> Pictures:
    """Return the pictures in ``path``, or in its folder ``part``, sorted by class folder, then by name.

    Class folders are sorted by name, or by value if all are numbers. Hidden files, ``Thumbs.db`` and the
    like are ignored; ``changes`` counts files without the suffix of a picture, and folders inside class
    folders, which are left out.

    Raises:
        ImageError: no pictures, pictures both next to and inside class folders, a class folder without any,
            or a symbolic link out of the folder.
    """
    path = path if part is None else _find_part(path, part)
    top = _list(path, path)
    inside = {folder: _list(folder, path) for folder in top.folders}
    if not top.pictures and not any(contents.pictures for contents in inside.values()):
        suffixes = ", ".join(sorted(SUFFIXES))
        raise ImageError(
            f"{printable(path)} has no pictures ({suffixes}) in it or its folders{_instead(top)}"
        )
    for contents in (top, *inside.values()):
        left_out = contents.others if contents is top else [*contents.others, *contents.folders]
        for other in left_out:
            changes.leave_out(printable(other.relative_to(path).as_posix()), NOT_PICTURES)
    by_name = {folder.name: contents.pictures for folder, contents in inside.items()}
    by_class = {name: by_name[name] for name in sort_classes(list(by_name))}
    return _flat(path, top.pictures, by_class) if top.pictures else _by_class(path, by_class)


def _flat(path: Path, pictures: list[Path], by_class: dict[str, list[Path]]) -> Pictures:
    """Return the ``pictures`` in ``path`` itself; raise ImageError if its folders have some, too."""
    name = printable(path)
    for folder, others in by_class.items():
        if others:
            raise ImageError(
                f"{name} has pictures both in itself and in {printable(folder)}: "
                "move them all into class folders, or all into one folder"
            )
    return Pictures(name, len(pictures), partial(_entries, path, pictures), None, None, [Shard(name, 0)])


def _by_class(path: Path, by_class: dict[str, list[Path]]) -> Pictures:
    """Return the pictures of class folders; raise ImageError if one has none."""
    name = printable(path)
    for folder, found in by_class.items():
        if not found:
            raise ImageError(
                f"{name}/{printable(folder)} is a class folder without pictures: remove it or fill it"
            )
    pictures = [picture for found in by_class.values() for picture in found]
    counts = [len(found) for found in by_class.values()]
    starts = accumulate(counts, initial=0)
    return Pictures(
        name,
        len(pictures),
        partial(_entries, path, pictures),
        np.repeat(np.arange(len(counts)), counts),
        tuple(map(printable, by_class)),
        [Shard(printable(path / folder), start) for folder, start in zip(by_class, starts, strict=False)],
    )


def _find_part(path: Path, part: str) -> Path:
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
