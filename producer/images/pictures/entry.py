"""Pictures that are listed and not yet read; names of pictures, and names that are passed over."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    import numpy as np
    from numpy.typing import NDArray

    from producer.images.pieces.piece import Shard

SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".pgm", ".ppm", ".pbm", ".pnm", ".tif", ".tiff")
)

LITTER = frozenset(("thumbs.db", "desktop.ini", "__macosx", "@eadir"))
"""Files and folders of operating systems, in addition to names that begin with a dot."""


class Entry(Protocol):
    """A picture that is not read yet."""

    @property
    def name(self) -> str:
        """Return its name, for messages."""

    @property
    def source(self) -> str:
        """Return its path within the folder or archive, or what a table calls it."""

    @property
    def open(self) -> Callable[[], AbstractContextManager[BinaryIO]]:
        """Return what opens it; raises ImageError if it cannot be opened."""


class ListedFile(NamedTuple):
    """An `Entry` of a folder or archive."""

    name: str
    source: str
    open: Callable[[], AbstractContextManager[BinaryIO]]


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures that were listed and not yet read.

    Attributes:
        name: of the source, for messages.
        count: of the pictures.
        entries: yields them from a row on, in their order.
        labels: (N,) of all rows, or None.
        classes: names of the classes, or None.
        shards: files that hold them, and the first row of each.
    """

    name: str
    count: int
    entries: Callable[[int], Iterator[Entry]]
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...] | None
    shards: Sequence[Shard]


def is_picture(name: str) -> bool:
    """Return whether ``name`` has the suffix of a picture."""
    return PurePath(name).suffix.lower() in SUFFIXES


def is_litter(name: str) -> bool:
    """Return whether a file or folder of this ``name`` is an operating system's, or hidden."""
    return name.startswith(".") or name.lower() in LITTER


def sort_classes(names: list[str]) -> list[str]:
    """Return the ``names`` of class folders sorted, by value if all are numbers."""
    numbered = all(name.isascii() and name.isdigit() for name in names)
    return sorted(names, key=lambda name: (int(name[:20]) if numbered else 0, name))
