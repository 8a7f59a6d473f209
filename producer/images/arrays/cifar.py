"""Reads the binary versions of CIFAR-10 and CIFAR-100: records of one size, one image each.

A record is a label, for CIFAR-100 a coarse and a fine one, then 1,024 bytes each of red, green and blue, row
by row (cs.toronto.edu/~kriz/cifar.html, "Binary version").
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from producer.images.arrays.cifar_files import COLOURS, PIXELS, SIDE, VERSIONS, Version
from producer.images.pieces.piece import Piece, Shard
from producer.images.pieces.preparation import prepare
from producer.images.stream import open_regular, printable, refuse_exit, translate_errors
from schema.errors import ImageError
from schema.quantities import count_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from producer.images.pieces.allowance import Allowance
    from producer.images.preprocessing import Changes, Preprocessing

MAX_NAMES_BYTES = 10_000
"""Bytes of a file of class names; that of CIFAR-100 has 927."""

_AT_A_TIME = 300  # records of a piece, about a mebibyte


@dataclass(frozen=True)
class _Records:
    """Records in a file: their number and version."""

    path: Path
    count: int
    version: Version


class CifarPieces:
    """Records of CIFAR as `producer.images.pieces.piece.Pieces`; colour, (32, 32, 3)."""

    def __init__(
        self,
        name: str,
        paths: Sequence[Path],
        preprocessing: Preprocessing,
        changes: Changes,
        allowance: Allowance,
    ) -> None:
        """Check the sizes of the files.

        Args:
            name: of the source, for messages.
            paths: of the files, in the order of their rows.
            preprocessing: what is done to each image.
            changes: counts what was changed, at each reading.
            allowance: what they may need.

        Raises:
            ImageError: a file is missing, or its size is not that of whole records.
        """
        self.name, self._preprocessing, self._changes = name, preprocessing, changes
        self._files = [_measured(path) for path in paths]
        self.count = sum(file.count for file in self._files)
        allowance.images(self.count)
        self.shape = (*(preprocessing.size or (SIDE, SIDE)), COLOURS)
        self.dtype, self.labelled = np.dtype(np.uint8), True
        version = self._files[0].version
        self.classes = _class_names(paths[0].with_name(version.names), version.classes)
        starts = np.cumsum([0, *(file.count for file in self._files)]).tolist()
        self.shards = tuple(
            Shard(printable(file.path), start) for file, start in zip(self._files, starts, strict=False)
        )

    def read_labels(self) -> NDArray[np.int64]:
        """Return the label of each image, as `Pieces.read_labels` does."""
        return np.concatenate([piece.labels for piece in self._unprepared(0) if piece.labels is not None])

    def read(self, first: int = 0) -> Iterator[Piece]:
        """Yield the images from row ``first`` on, as `Pieces.read` does."""
        for piece in self._unprepared(first):
            yield replace(piece, images=prepare(piece.images, self._preprocessing, self._changes))

    def _unprepared(self, first: int) -> Iterator[Piece]:
        for number, (file, shard) in enumerate(zip(self._files, self.shards, strict=True)):
            size = file.version.head + PIXELS
            start = max(first - shard.first, 0)
            with open_regular(file.path) as opened:
                opened.seek(start * size)
                for row in range(start, file.count, _AT_A_TIME):
                    wanted = min(_AT_A_TIME, file.count - row) * size
                    data = np.frombuffer(opened.read(wanted), np.uint8)
                    if len(data) < wanted:
                        raise ImageError(f"{shard.path} changed while it was read: try again")
                    yield _piece(data.reshape(-1, size), number, shard.first + row, file)


def _piece(records: NDArray[np.uint8], shard: int, row: int, file: _Records) -> Piece:
    labels = records[:, file.version.head - 1].astype(np.int64)
    if int(labels.max()) >= file.version.classes:
        wrong = int(np.argmax(labels >= file.version.classes))
        raise ImageError(
            f"{printable(file.path)} has label {labels[wrong]} in image {row + wrong:,}, and "
            f"{file.version.classes} classes: it is damaged or not of CIFAR, fetch it again"
        )
    planes = records[:, file.version.head :].reshape(-1, COLOURS, SIDE, SIDE)
    rows = np.arange(row, row + len(records), dtype=np.int64)
    return Piece(shard, rows, np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels, None)


def _measured(path: Path) -> _Records:
    with translate_errors(path):
        size = path.stat().st_size
    for version in VERSIONS:
        if size > 0 and size % (version.head + PIXELS) == 0:
            return _Records(path, size // (version.head + PIXELS), version)
    raise ImageError(
        f"{printable(path)} has {count_text(size, 'byte')}, which are not whole records of CIFAR-10 (3,073 "
        "bytes) or CIFAR-100 (3,074): fetch it again"
    )


def _class_names(path: Path, count: int) -> tuple[str, ...] | None:
    """Return the names in ``path``, one a line; None if it is missing or has other than ``count``."""
    if not path.is_file():
        return None
    refuse_exit(path, path.parent)
    with open_regular(path) as file:
        lines = file.read(MAX_NAMES_BYTES).decode("utf-8", "replace").split()
    names = tuple(printable(line) for line in lines)
    return names if len(names) == count == len(set(names)) else None
