"""Reads the pictures of a folder or an archive into one array, one at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from producer.images.limits import MAX_BYTES, MAX_IMAGES, format_bytes
from producer.images.pictures.entry import SUFFIXES, Entry
from producer.images.pictures.picture import decode
from producer.images.pieces.allowance import Allowance
from producer.images.pieces.collector import collect
from producer.images.preprocessing import UNREADABLE, DifferentSizesError, LaterColourError
from schema.errors import ImageError
from schema.quantities import count_text
from schema.shapes import ImageArray, ImageShape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from producer.images.preprocessing import Changes, Preprocessing


@dataclass(frozen=True)
class Listing:
    """Pictures directly in a folder or archive, and those of each class folder, in the order of reading."""

    name: str
    top: list[Entry]
    by_class: dict[str, list[Entry]]


class Folder(NamedTuple):
    """Pictures of a folder: uint8, labels and class names when it has class folders, file names."""

    images: ImageArray
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...] | None
    sources: tuple[str, ...]


def read_listing(
    listing: Listing, preprocessing: Preprocessing, changes: Changes, allowance: Allowance | None = None
) -> Folder:
    """Return the pictures of ``listing``, prepared; ``changes`` counts what was changed and left out.

    ``allowance`` is what they may need.

    Raises:
        ImageError: no pictures, pictures both next to and inside class folders, a class folder without any,
            a picture that cannot be read, or pictures of different sizes.
    """
    allowance = allowance or Allowance()
    if listing.top:
        _refuse_mixture(listing)
        images, kept = _read_all(listing.name, listing.top, preprocessing, changes, allowance)
        return Folder(images, None, None, tuple(listing.top[row].source for row in kept))
    for name, entries in listing.by_class.items():
        if not entries:
            raise ImageError(
                f"{listing.name}/{name} is a class folder without pictures: remove it or fill it"
            )
    pictures = [entry for entries in listing.by_class.values() for entry in entries]
    counts = [len(entries) for entries in listing.by_class.values()]
    labels = np.repeat(np.arange(len(counts)), counts)
    images, kept = _read_all(listing.name, pictures, preprocessing, changes, allowance)
    sources = tuple(pictures[row].source for row in kept)
    return Folder(images, labels[kept], tuple(listing.by_class), sources)


def suffixes() -> str:
    """Return the suffixes of pictures, for messages."""
    return ", ".join(sorted(SUFFIXES))


def _read_all(
    name: str, pictures: list[Entry], preprocessing: Preprocessing, changes: Changes, allowance: Allowance
) -> tuple[ImageArray, list[int]]:
    """Return the pictures, grey or coloured, and their rows in ``pictures``."""
    allowance.names(len(pictures))
    allowance.images(1 if preprocessing.skip_unreadable else len(pictures))
    readable = _readable(pictures, preprocessing, changes, allowance)
    row, first = next(readable, (0, None))
    if first is None:
        raise ImageError(f"{name} has no pictures that can be read: remove or repair them")
    _check_size(name, len(pictures), first)
    allowance.values(name, len(pictures) * first.size)
    size, kept = first.shape, [row]
    if first.ndim == 3 and preprocessing.colour is None:
        readable = _readable(pictures, replace(preprocessing, colour=True), changes, allowance, row + 1)

    def prepared() -> Iterator[NDArray[np.uint8]]:
        yield first
        for row, image in readable:
            if image.ndim > len(size):
                raise LaterColourError(pictures[row].name)
            if image.shape != size:
                sizes = f"{_size(pictures[kept[0]], size)}, {_size(pictures[row], image.shape)}"
                raise DifferentSizesError(
                    f"{name} has pictures of different sizes ({sizes})", size, image.shape
                )
            kept.append(row)
            yield image

    return collect(len(pictures), ImageShape(size), prepared()), kept


def _readable(
    pictures: list[Entry],
    preprocessing: Preprocessing,
    changes: Changes,
    allowance: Allowance,
    start: int = 0,
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    for row, picture in enumerate(pictures[start:], start=start):
        try:
            with picture.open() as file:
                image = decode(file, picture.name, preprocessing, changes, allowance)
        except ImageError as error:
            if not preprocessing.skip_unreadable:
                raise ImageError(f"{error}; --skip-unreadable leaves such files out") from error
            changes.leave_out(picture.source, UNREADABLE)
            continue
        yield row, image


def _check_size(name: str, count: int, first: NDArray[np.uint8]) -> None:
    needed = count * first.size
    if count > MAX_IMAGES or needed > MAX_BYTES:
        raise ImageError(
            f"{name} has {count_text(count, 'picture')}, {format_bytes(needed)}, more than {MAX_IMAGES:,} or "
            f"{format_bytes(MAX_BYTES)}: split it, or scale them down with --resize"
        )


def _size(picture: Entry, size: tuple[int, ...]) -> str:
    return f"{picture.name} is {size[0]} x {size[1]}"


def _refuse_mixture(listing: Listing) -> None:
    for name, pictures in listing.by_class.items():
        if pictures:
            raise ImageError(
                f"{listing.name} has pictures both in itself and in {name}: "
                "move them all into class folders, or all into one folder"
            )
