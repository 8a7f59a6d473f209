"""Reads the binary versions of CIFAR-10 and CIFAR-100: records of one size, one image each.

A record is a label, for CIFAR-100 a coarse and a fine one, then 1,024 bytes each of red, green and blue, row
by row (cs.toronto.edu/~kriz/cifar.html, "Binary version").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from producer.images.pieces.piece import Piece, Shard
from producer.images.stream import open_regular, printable, refuse_exit, translate_errors
from schema.errors import ImageError
from schema.quantities import count_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from producer.images.pieces.allowance import Allowance

SIDE, COLOURS = 32, 3
PIXELS = SIDE * SIDE * COLOURS
"""Bytes of an image."""

SUFFIX = ".bin"

MAX_NAMES_BYTES = 10_000
"""Bytes of a file of class names; that of CIFAR-100 has 927."""

_AT_A_TIME = 300  # records of a piece, about a mebibyte


class _Version(NamedTuple):
    """The files of a version by split, its file of class names, their number, and bytes before the pixels."""

    files: dict[str, tuple[str, ...]]
    names: str
    classes: int
    head: int


VERSIONS = (
    _Version(
        {"train": tuple(f"data_batch_{k}.bin" for k in range(1, 6)), "test": ("test_batch.bin",)},
        "batches.meta.txt",
        10,
        1,
    ),
    _Version({"train": ("train.bin",), "test": ("test.bin",)}, "fine_label_names.txt", 100, 2),
)


PICKLES = ({"data_batch_1", "batches.meta"}, {"train", "test", "meta"})
"""Names of files of the versions for Python."""


def is_cifar(path: Path) -> bool:
    """Return whether the file ``path`` may be one of CIFAR by its name and size."""
    with translate_errors(path):
        size = path.stat().st_size
    is_whole = any(size % (version.head + PIXELS) == 0 for version in VERSIONS)
    return path.name.lower().endswith(SUFFIX) and size > 0 and is_whole


def find_cifar(folder: Path) -> dict[str, list[Path]]:
    """Return the files of CIFAR in ``folder`` by split; empty if there are none.

    Raises:
        ImageError: a file is missing, or a symbolic link out of the folder; the folder has the pickles.
    """
    with translate_errors(folder):
        names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if any(pickles <= names for pickles in PICKLES):
        raise ImageError(
            f"{printable(folder)} is CIFAR for Python, in pickles, which can run code and are never read: "
            "fetch the binary version, cifar-10-binary.tar.gz or cifar-100-binary.tar.gz, and unpack it"
        )
    for version in VERSIONS:
        files = [name for split in version.files.values() for name in split]
        if version.names not in names and not set(files) <= names:
            continue
        missing = next((name for name in files if name not in names), None)
        if missing is not None:
            raise ImageError(f"{printable(folder)} lacks {missing}: unpack the archive of CIFAR again")
        for name in (*files, version.names):
            refuse_exit(folder / name, folder)
        return {split: [folder / name for name in names] for split, names in version.files.items()}
    return {}


@dataclass(frozen=True)
class _Records:
    """Records in a file: their number and version."""

    path: Path
    count: int
    version: _Version


class CifarPieces:
    """Records of CIFAR as `producer.images.pieces.piece.Pieces`; colour, (32, 32, 3)."""

    def __init__(self, name: str, paths: Sequence[Path], allowance: Allowance) -> None:
        """Check sizes and all labels.

        Args:
            name: of the source, for messages.
            paths: of the files, in the order of their rows.
            allowance: what they may need.

        Raises:
            ImageError: a file is missing, its size is not that of whole records, or a label is too large.
        """
        self.name = name
        self._files = [_measured(path) for path in paths]
        self.count = sum(file.count for file in self._files)
        allowance.images(self.count)
        self.shape, self.dtype, self.labelled = (SIDE, SIDE, COLOURS), np.dtype(np.uint8), True
        version = self._files[0].version
        self.classes = _class_names(paths[0].with_name(version.names), version.classes)
        starts = np.cumsum([0, *(file.count for file in self._files)]).tolist()
        self.shards = tuple(
            Shard(printable(file.path), start) for file, start in zip(self._files, starts, strict=False)
        )

    def read(self, first: int = 0) -> Iterator[Piece]:
        """Yield the images from row ``first`` on, as `Pieces.read` does."""
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
        f"{printable(path)} has {count_text(size, 'byte')}, which are no whole records of CIFAR-10 (3,073 "
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
