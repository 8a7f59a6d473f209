"""Reads a folder of pictures: flat (unlabelled), or one sub-folder per class."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from producer.images.limits import MAX_BYTES, MAX_IMAGES, format_bytes
from producer.images.picture import SUFFIXES, is_picture, read_picture
from producer.images.stream import printable, translate_errors
from schema.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LITTER = frozenset(("thumbs.db", "desktop.ini", "__macosx", "@eadir"))
"""Files and folders of operating systems, in addition to names that begin with a dot."""


class Folder(NamedTuple):
    """Pictures of a folder: (N, H, W) uint8, labels and class names when it has class folders, file names."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...] | None
    sources: tuple[str, ...]


class _Listing(NamedTuple):
    pictures: list[Path]
    folders: list[Path]


def read_folder(path: Path) -> Folder:
    """Return all pictures in ``path``, sorted by class folder, then by name.

    Class folders are sorted by name, or by value if all are numbers. Hidden files, ``Thumbs.db`` and the
    like, files without the suffix of a picture, and folders inside class folders are ignored.

    Raises:
        ImageError: no pictures, pictures both next to and inside class folders, a class folder without any,
            a picture that cannot be read, pictures of different sizes, or a symbolic link out of the folder.
    """
    top = _list(path, path)
    inside = {folder: _list(folder, path).pictures for folder in top.folders}
    if top.pictures:
        _refuse_mixture(path, inside)
        return Folder(_read_all(path, top.pictures), None, None, _sources(path, top.pictures))
    if not any(inside.values()):
        raise ImageError(
            f"{printable(path)} has no pictures ({_suffixes()}) in it or its folders{_deeper(top)}"
        )
    return _read_classes(path, inside)


def _read_classes(path: Path, inside: dict[Path, list[Path]]) -> Folder:
    for folder, pictures in inside.items():
        if not pictures:
            raise ImageError(f"{printable(folder)} is a class folder without pictures: remove it or fill it")
    pictures = [picture for pictures in inside.values() for picture in pictures]
    labels = np.repeat(np.arange(len(inside)), [len(pictures) for pictures in inside.values()])
    classes = tuple(printable(folder.name) for folder in inside)
    return Folder(_read_all(path, pictures), labels, classes, _sources(path, pictures))


def _list(path: Path, root: Path) -> _Listing:
    pictures, folders = [], []
    with translate_errors(path), os.scandir(path) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name.lower() in LITTER:
                continue
            with translate_errors(path / entry.name):
                is_folder = entry.is_dir()
            if (is_folder or is_picture(entry.name)) and entry.is_symlink():
                _refuse_exit(path / entry.name, root)
            if is_folder:
                folders.append(path / entry.name)
            elif is_picture(entry.name):
                pictures.append(path / entry.name)
    numbered = all(folder.name.isascii() and folder.name.isdigit() for folder in folders)
    folders.sort(key=lambda folder: (int(folder.name[:20]) if numbered else 0, folder.name))
    return _Listing(sorted(pictures), folders)


def _refuse_exit(link: Path, root: Path) -> None:
    # A folder of somebody else must not make us read files that only we can read.
    with translate_errors(link):
        if not link.resolve().is_relative_to(root.resolve()):
            raise ImageError(
                f"{printable(link)} is a symbolic link out of {printable(root)}: copy its target"
            )


def _read_all(path: Path, pictures: list[Path]) -> NDArray[np.uint8]:
    first = read_picture(pictures[0])
    count, needed = len(pictures), len(pictures) * first.size
    if count > MAX_IMAGES or needed > MAX_BYTES:
        raise ImageError(
            f"{printable(path)} has {count:,} pictures, {format_bytes(needed)}, "
            f"more than {MAX_IMAGES:,} or {format_bytes(MAX_BYTES)}: split it or scale them down"
        )
    images = np.empty((count, *first.shape), np.uint8)
    images[0] = first
    for row, picture in enumerate(pictures[1:], start=1):
        image = read_picture(picture)
        if image.shape != first.shape:
            raise ImageError(
                f"{printable(path)} has pictures of different sizes ({_size(pictures[0], first)}, "
                f"{_size(picture, image)}): scale them to one size"
            )
        images[row] = image
    return images


def _size(picture: Path, image: NDArray[np.uint8]) -> str:
    height, width = image.shape
    return f"{printable(picture)} is {height} x {width}"


def _sources(path: Path, pictures: list[Path]) -> tuple[str, ...]:
    return tuple(printable(picture.relative_to(path).as_posix()) for picture in pictures)


def _refuse_mixture(path: Path, inside: dict[Path, list[Path]]) -> None:
    for folder, pictures in inside.items():
        if pictures:
            raise ImageError(
                f"{printable(path)} has pictures both in itself and in {printable(folder.name)}: "
                "move them all into class folders, or all into one folder"
            )


def _deeper(top: _Listing) -> str:
    for folder in top.folders:
        if _list(folder, folder).folders:
            return f"; did you mean {printable(folder)}?"
    return ""


def _suffixes() -> str:
    return ", ".join(sorted(SUFFIXES))
