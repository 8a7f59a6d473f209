"""A source of images as pieces: a few megabytes of rows at a time, from any row on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Piece:
    """Some rows of a source, at least one, all of one shard, decoded, checked and prepared."""

    shard: int
    """Index of their shard in `Pieces.shards`."""
    rows: NDArray[np.int64]
    """(n,) int64, ascending: the number of each row in the whole source, from 0. Numbers of pictures that
    were left out as unreadable are missing."""
    images: NDArray[np.uint8 | np.float32]
    """(n, *shape) of `Pieces.dtype`, C order."""
    labels: NDArray[np.int64] | None
    """(n,) int64, or None for unlabelled sources."""
    names: tuple[str, ...] | None
    """One file name per row, as the source has it; None where it has none."""


@dataclass(frozen=True)
class Shard:
    """One file of a source."""

    path: str
    """Path or address, for messages and to find it again."""
    first: int
    """Number of its first row in the whole source."""


class Pieces(Protocol):
    """A source that is read in pieces, any number of times, in bounded memory.

    Opening one checks headers, schema and all labels, and decodes the first row; pictures and vectors are
    checked as they are read.
    """

    @property
    def name(self) -> str:
        """Return the name of the source, for messages."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one row: (H, W), (H, W, 3) or (D,)."""

    @property
    def dtype(self) -> np.dtype[np.uint8 | np.float32]:
        """Return the type of the values: uint8 for pictures, float32 for vectors."""

    @property
    def count(self) -> int:
        """Return the number of rows, also of those that may turn out to be unreadable."""

    @property
    def labelled(self) -> bool:
        """Return whether the rows have labels."""

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Return the names of the classes, or None."""

    @property
    def shards(self) -> tuple[Shard, ...]:
        """Return the files of the source, in the order of their rows."""

    def read_labels(self) -> NDArray[np.int64] | None:
        """Return the label of each row, (count,) int64, without decoding images; None: there are none.

        Raises:
            ImageError: as `read`.
        """

    def read(self, first: int = 0) -> Iterator[Piece]:
        """Yield the rows from number ``first`` on, in their order; rows before it are not decoded.

        Raises:
            ImageError: a row cannot be read or is inconsistent with the others, or the source has changed.
        """
