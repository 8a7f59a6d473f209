"""A large source of images: what is read of it, and how its files are recognised."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from producer.images.imageset import ImageSet
from producer.images.origin import DataOrigin
from producer.images.preprocessing import Changes
from producer.images.stream import printable, translate_errors
from schema.errors import ImageError
from schema.quantities import count_text

if TYPE_CHECKING:
    from producer.images.pieces.piece import Pieces
    from schema.shapes import ImageArray

READ_IN_PIECES_BYTES = 64 * 2**20
"""Bytes of images from which on a source is read in pieces; smaller ones are enqueued in one transaction."""


class Part(NamedTuple):
    """Some images of one file, and the row of each in the whole source, (n,) int64, ascending."""

    images: ImageSet
    rows: NDArray[np.int64]
    shard: int

    def cut(self, start: int, end: int) -> Part:
        """Return the images from ``start`` to before ``end``."""
        images, labels, sources = self.images.images, self.images.labels, self.images.sources
        part = replace(
            self.images,
            images=images[start:end],
            labels=None if labels is None else labels[start:end],
            sources=None if sources is None else sources[start:end],
        )
        return Part(part, self.rows[start:end], self.shard)


@dataclass(frozen=True, eq=False)
class LargeSource:
    """A source that is read in pieces, from any row on.

    Attributes:
        pieces: reads it.
        origin: where it is, and what is taken of it.
        labels: (N,) int64 of another file, one for each row; None: its own, if any.
        changes: counts what is changed and left out as it is read.
        by_reference: batches name its rows instead of holding images.
    """

    pieces: Pieces
    origin: DataOrigin
    labels: NDArray[np.int64] | None = None
    changes: Changes = field(default_factory=Changes)
    by_reference: bool = False

    @property
    def name(self) -> str:
        """Return the name of the images, for display."""
        return self.origin.name

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what was changed and left out so far, for display."""
        return self.changes.uncounted()

    @property
    def count(self) -> int:
        """Return the number of rows that are read."""
        limit = self.origin.limit
        return self.pieces.count if limit is None else min(self.pieces.count, limit)

    @property
    def nbytes(self) -> int:
        """Return the bytes of all images, decoded."""
        return self.count * math.prod(self.pieces.shape) * self.pieces.dtype.itemsize

    @property
    def files(self) -> Sequence[SourceFile]:
        """Return the files that it reads, as they are now; raise ImageError if one cannot be found."""
        paths = [shard.path for shard in self.pieces.shards]
        return [SourceFile.at(Path(path)) for path in [*paths, self.origin.labels] if path is not None]

    def head(self) -> ImageSet:
        """Return the first images, a few megabytes; raise ImageError if there are none."""
        for part in self.read():
            return replace(part.images, origin=self.origin)
        raise ImageError(f"{self.name} holds no images: give another source")

    def read(self, first: int = 0) -> Iterator[Part]:
        """Yield the images from row ``first`` on, a few megabytes at a time.

        Raises:
            ImageError: a row cannot be used; it names the row.
        """
        for piece in self.pieces.read(first):
            rows = piece.rows[piece.rows < self.count]
            if len(rows):
                yield Part(self._images(piece.images[: len(rows)], rows, piece), rows, piece.shard)
            if len(rows) < len(piece.rows):
                return

    def _images(self, values: ImageArray, rows: NDArray[np.int64], piece: Any) -> ImageSet:
        labels = piece.labels[: len(rows)] if self.labels is None and piece.labels is not None else None
        images = ImageSet(
            name=self.name,
            images=values,
            labels=labels if self.labels is None else self.labels[rows],
            classes=self.pieces.classes if self.labels is None else None,
            sources=None if piece.names is None else piece.names[: len(rows)],
            notes=self.notes,
        )
        return images.scalable() if self.origin.scale_pixels else images


@dataclass(frozen=True)
class SourceFile:
    """A file, recognised by its path, its size and the time of its latest change."""

    path: str
    bytes: int
    modified_ns: int

    @classmethod
    def at(cls, path: Path) -> Self:
        """Return the file at ``path`` as it is now; raise ImageError if it cannot be found."""
        with translate_errors(path):
            status = path.stat()
        return cls(str(path.absolute()), status.st_size, status.st_mtime_ns)

    def to_dict(self) -> dict[str, Any]:
        """Return the file ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return what `to_dict` made ``values`` of."""
        return cls(values["path"], values["bytes"], values["modified_ns"])


def difference(before: Sequence[SourceFile], now: Sequence[SourceFile]) -> str | None:
    """Return what differs between the files ``before`` and ``now``, for display; None: nothing."""
    if len(before) != len(now):
        return f"it has {count_text(len(now), 'file')} instead of {len(before):,}"
    for old, new in zip(before, now, strict=True):
        if old.path != new.path:
            return f"it has {printable(new.path)} in place of {printable(old.path)}"
        if old.bytes != new.bytes:
            return f"{printable(new.path)} has {count_text(new.bytes, 'byte')} instead of {old.bytes:,}"
        if old.modified_ns != new.modified_ns:
            return f"{printable(new.path)} was written again"
    return None
