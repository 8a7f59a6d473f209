"""One picture of a folder, an archive or a table; which names are passed over; the order of classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

LITTER = frozenset(("thumbs.db", "desktop.ini", "__macosx", "@eadir"))
"""Files and folders of operating systems, in addition to names that begin with a dot."""


class Entry(NamedTuple):
    """A picture: its name for messages, its path within the folder or archive, and how it is opened."""

    name: str
    source: str
    open: Callable[[], AbstractContextManager[BinaryIO]]


def is_litter(name: str) -> bool:
    """Return whether a file or folder of this ``name`` is an operating system's, or hidden."""
    return name.startswith(".") or name.lower() in LITTER


def sort_classes(names: list[str]) -> list[str]:
    """Return the ``names`` of class folders sorted, by value if all are numbers."""
    numbered = all(name.isascii() and name.isdigit() for name in names)
    return sorted(names, key=lambda name: (int(name[:20]) if numbered else 0, name))
