"""Names of the members of an archive: which are refused, and which classes and splits they make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from producer.images.pictures.entry import SUFFIXES, is_litter, is_picture, sort_classes
from producer.images.preprocessing import NOT_PICTURES
from producer.images.stream import printable
from schema.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from producer.images.preprocessing import Changes

MOST_OFFERED = 8
"""Largest number of folders in a message."""

DATA_SUFFIXES = (".bin", "-ubyte", "-ubyte.gz", ".parquet", ".arrow", ".npz", ".npy", "data_batch_1")
"""Endings of files of data that are not pictures."""

_DEEPEST = 2  # parts of a name: a class folder and a picture in it


class Member(NamedTuple):
    """A file in an archive: the parts of its name, its first byte and its bytes."""

    parts: tuple[str, ...]
    start: int
    size: int


class Archive(Protocol):
    """The listed members of a file."""

    @property
    def name(self) -> str:
        """Return its path, for messages."""

    @property
    def members(self) -> list[Member]:
        """Return all members but folders."""

    @property
    def notes(self) -> dict[int, bytes]:
        """Return the content of small members that may hold labels, by their number."""

    def opened(self) -> AbstractContextManager[Callable[[int], bytes]]:
        """Yield a function that returns the bytes of the member of a number; raise ImageError."""


def check_names(archive: Archive) -> None:
    """Raise ImageError if the name of a member is absolute, leads out of the archive, or is there twice."""
    seen: set[tuple[str, ...]] = set()
    for member in archive.members:
        shown = f"{archive.name}/{printable('/'.join(member.parts))}"
        if member.parts[0] == "/" or ".." in member.parts or any("\\" in part for part in member.parts):
            raise ImageError(
                f"{shown} is not the name of a file inside of an archive: archive the folder again"
            )
        if member.parts in seen:
            raise ImageError(f"{shown} is there twice: archive the folder again")
        seen.add(member.parts)


@dataclass(frozen=True, eq=False)
class Arranged:
    """Pictures among the members of an archive.

    Attributes:
        members: the number of each, in the order of reading.
        names: of each, relative to the folder that holds all.
        labels: (N,) of class folders, or None.
        classes: names of these folders, or None.
    """

    members: list[int]
    names: list[str]
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...] | None

    def sorted_by(self, parts: Sequence[tuple[str, ...]]) -> Arranged:
        """Return the same pictures sorted by class, then by the ``parts`` of the name of each member."""
        labels = [0] * len(self.members) if self.labels is None else self.labels.tolist()
        order = sorted(range(len(self.members)), key=lambda row: (labels[row], parts[self.members[row]]))
        return Arranged(
            [self.members[row] for row in order],
            [self.names[row] for row in order],
            None if self.labels is None else self.labels[order],
            self.classes,
        )


def arrange(names: Sequence[tuple[str, ...]], part: str | None, changes: Changes, archive: str) -> Arranged:
    """Return the pictures among members of these ``names``, each of which is parts of a path.

    A folder that holds everything else is passed over. Pictures are those directly in the archive, or those
    of one folder per class.

    Args:
        names: of all members but folders.
        part: a folder of which only the content is taken, as ``train``.
        changes: counts members that are not pictures.
        archive: its name, for messages.

    Raises:
        ImageError: no pictures, pictures both next to and inside class folders, no folder called ``part``,
            or class folders in folders and no ``part``.
    """
    kept = [row for row, parts in enumerate(names) if parts and not any(map(is_litter, parts))]
    kept, start = _inside(names, kept, part, archive)
    pictures = [row for row in kept if is_picture(names[row][-1])]
    shallow = [row for row in pictures if len(names[row]) - start <= _DEEPEST]
    if not shallow:
        raise _no_pictures(
            archive, [names[row][start:] for row in pictures], [names[row][-1] for row in kept]
        )
    chosen = set(shallow)
    for row in kept:
        if row not in chosen:
            changes.leave_out(printable("/".join(names[row][start:])), NOT_PICTURES)
    shown = [printable("/".join(names[row][start:])) for row in shallow]
    folders = [printable(names[row][start]) if len(names[row]) - start == _DEEPEST else "" for row in shallow]
    if set(folders) == {""}:
        return Arranged(shallow, shown, None, None)
    if "" in folders:
        raise ImageError(
            f"{archive} has pictures both in itself and in {max(folders)}: "
            "move them all into class folders, or all into one folder"
        )
    classes = tuple(sort_classes(list(set(folders))))
    numbers = {name: label for label, name in enumerate(classes)}
    return Arranged(shallow, shown, np.array([numbers[name] for name in folders], np.int64), classes)


def _inside(
    names: Sequence[tuple[str, ...]], kept: list[int], part: str | None, archive: str
) -> tuple[list[int], int]:
    """Return the members of the folder ``part``, or all, and the number of folders that all are in."""
    start = int(len({names[row][0] for row in kept}) == 1 and all(len(names[row]) > 1 for row in kept))
    if part is None:
        return kept, start
    for depth in (start, 0):
        inside = [row for row in kept if len(names[row]) > depth + 1 and names[row][depth] == part]
        if inside:
            return inside, depth + 1
    raise ImageError(
        f"{archive} has no folder called {printable(part)!r}: "
        f"{_offer(archive, {names[row][start] for row in kept if len(names[row]) > start + 1})}"
    )


def _no_pictures(archive: str, deeper: list[tuple[str, ...]], files: list[str]) -> ImageError:
    if deeper:
        return ImageError(
            f"{archive} has folders of class folders: {_offer(archive, {x[0] for x in deeper})}"
        )
    data = next((name for name in files if name.endswith(DATA_SUFFIXES)), None)
    if data is not None:
        return ImageError(
            f"{archive} holds {printable(data)}, which is not read within an archive: unpack it, and give "
            "the folder"
        )
    return ImageError(f"{archive} has no pictures ({', '.join(sorted(SUFFIXES))}) in it or its folders")


def _offer(archive: str, folders: set[str]) -> str:
    offered = [printable(f"{archive}:{folder}") for folder in sorted(folders)]
    return (
        f"choose one of {', '.join(offered[:MOST_OFFERED])}{', ...' if len(offered) > MOST_OFFERED else ''}"
    )
