"""A large source of images: what is read of it, and how its files are recognised."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from producer.images.imageset import ImageSet
from producer.images.origin import DataOrigin
from producer.images.preprocessing import Changes
from producer.images.stream import printable, translate_errors
from schema.codecs import arrays
from schema.errors import ImageError
from schema.quantities import count_text

if TYPE_CHECKING:
    from producer.images.pieces.piece import Piece, Pieces
    from producer.images.stores import StoredSource

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
        rows: (n,) int64, ascending: the only ones that are taken; None: the first N, or all.
        changes: counts what is changed and left out as it is read.
        stored: has its files, if they are in an object store.
        sent_as: paths of uploaded files, each with the name that its sender gave it; None: not uploaded.
        by_reference: batches name its rows instead of holding images.
    """

    pieces: Pieces
    origin: DataOrigin
    labels: NDArray[np.int64] | None = None
    rows: NDArray[np.intp] | None = None
    changes: Changes = field(default_factory=Changes)
    stored: StoredSource | None = None
    sent_as: tuple[tuple[str, str], ...] | None = None
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
        """Return the number of rows that are taken; some of them may turn out to have no image."""
        if self.rows is not None:
            return len(self.rows)
        limit = self.origin.limit
        return self.pieces.count if limit is None else min(self.pieces.count, limit)

    @property
    def end(self) -> int:
        """Return the row before which all rows are that are taken."""
        if self.rows is None:
            return self.count
        return int(self.rows[-1]) + 1 if len(self.rows) else 0

    @property
    def nbytes(self) -> int:
        """Return the bytes of all images, decoded."""
        return self.count * math.prod(self.pieces.shape) * self.pieces.dtype.itemsize

    @property
    def files(self) -> Sequence[SourceFile]:
        """Return the files that it reads, as they are now; raise ImageError if one cannot be found."""
        paths = [*(shard.path for shard in self.pieces.shards), self.origin.labels]
        files = [SourceFile.at(Path(path)) for path in paths if path is not None]
        if (stored := self.stored) is None:
            return files
        return [replace(file, path=stored.shown(file.path)) for file in files]

    def digest(self) -> str:
        """Return a digest of its files as they are now: of their paths, sizes and times."""
        return arrays.digest(arrays.canonical({"files": [file.to_dict() for file in self.files]}))

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
        if self.rows is not None:  # rows before the next one that is taken are not decoded
            following = self.rows[np.searchsorted(self.rows, first) :]
            first = int(following[0]) if len(following) else self.end
        if first < self.end:
            with named(self.stored, self.sent_as):
                yield from self._parts(first)

    def _parts(self, first: int) -> Iterator[Part]:
        for piece in self.pieces.read(first):
            taken = self._taken(piece.rows)
            if len(taken):
                yield Part(self._images(piece, taken), piece.rows[taken], piece.shard)
            if piece.rows[-1] >= self.end - 1:
                return

    def _taken(self, rows: NDArray[np.int64]) -> NDArray[np.intp]:
        """Return the indices of those of ``rows`` that are taken."""
        if self.rows is None:
            return np.flatnonzero(rows < self.end)
        places = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        return np.flatnonzero(self.rows[places] == rows)

    def _images(self, piece: Piece, taken: NDArray[np.intp]) -> ImageSet:
        """Return the images of ``piece`` at the indices ``taken``."""
        is_whole = len(taken) == len(piece.rows)
        labels = None if piece.labels is None else piece.labels[taken]
        images = ImageSet(
            name=self.name,
            images=piece.images if is_whole else piece.images[taken],
            labels=labels if self.labels is None else self.labels[piece.rows[taken]],
            classes=self.pieces.classes if self.labels is None else None,
            sources=None if piece.names is None else tuple(piece.names[k] for k in taken.tolist()),
            notes=self.notes,
        )
        return images.scalable() if self.origin.scale_pixels else images


@contextmanager
def named(stored: StoredSource | None, sent_as: tuple[tuple[str, str], ...] | None = None) -> Iterator[None]:
    """Raise ImageError with the address of ``stored``, or the names of uploaded files, in place of paths."""
    with nullcontext() if stored is None else stored.named():
        try:
            yield
        except ImageError as error:
            text = str(error)
            for path, name in sent_as or ():
                text = text.replace(path, name)
            error.args = (text, *error.args[1:])
            raise


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
