"""All formats of images in one table, each with its readers: at once, in pieces, or both."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from producer.images.archives.open import open_tar, open_zip
from producer.images.arrays.cifar import CifarPieces
from producer.images.arrays.cifar_files import find_cifar
from producer.images.arrays.idx import open_idx, open_idx_images
from producer.images.arrays.npy import open_npy
from producer.images.arrays.npz import open_npz, open_npz_labels
from producer.images.arrays.table import read_label_table, read_table
from producer.images.columns.open import open_arrow, open_parquet
from producer.images.columns.pieces import ColumnPieces
from producer.images.formats import SourceKind, kind_of, locate
from producer.images.pictures.folder import open_folder
from producer.images.pictures.paths import open_path_table
from producer.images.pictures.picture import read_picture
from producer.images.pictures.pictures import PicturePieces
from producer.images.pieces.gathering import gather
from producer.images.pieces.npy import NpyPieces, can_read
from producer.images.pieces.shards import choose_split
from producer.images.preprocessing import ReadAs
from producer.images.stream import printable
from schema.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from producer.images.columns.layout import Columns
    from producer.images.pictures.entry import Pictures
    from producer.images.pieces.allowance import Allowance
    from producer.images.pieces.piece import Pieces
    from producer.images.pieces.stored import StoredArray
    from producer.images.preprocessing import Changes, Preprocessing

Array: TypeAlias = "NDArray[np.generic] | StoredArray"


class Wanted(NamedTuple):
    """What is read: a path, a part of it, what is done to each image, and what counts that and limits it."""

    path: Path
    part: str | None
    preprocessing: Preprocessing
    changes: Changes
    allowance: Allowance


class Raw(NamedTuple):
    """The result of a reader, before images and labels are validated; ``labels_name`` is for messages."""

    images: Array
    labels: Array | None = None
    labels_name: str | None = None
    classes: tuple[str, ...] | None = None
    sources: tuple[str, ...] | None = None
    is_prepared: bool = False
    """Pictures were counted and prepared one by one, as they were read."""


class Format(NamedTuple):
    """How a format is read.

    Attributes:
        at_once: returns all images; None: they are the pieces, one after the other.
        in_pieces: opens the rows to be read from any of them on; it returns None if this source cannot be
            read so, and is None if none of the format can.
        has_parts: a part of it may be named: a split, an array, a folder.
    """

    at_once: Callable[[Wanted], Raw] | None = None
    in_pieces: Callable[[Wanted], Pieces | None] | None = None
    has_parts: bool = False


def read_raw(kind: SourceKind, wanted: Wanted) -> Raw:
    """Return the images of a source of ``kind``; raise ImageError, as its reader says."""
    at_once, in_pieces, _ = FORMATS[kind]
    if at_once is not None:
        return at_once(wanted)
    pieces = None if in_pieces is None else in_pieces(wanted)
    if pieces is None:
        raise AssertionError(f"no reader of {kind}")
    rows = gather(pieces, wanted.allowance)
    return Raw(rows.images, rows.labels, None, pieces.classes, rows.names, is_prepared=True)


def read_labels(source: str | Path, allowance: Allowance | None = None) -> Array:
    """Return the unvalidated array in a file of labels ``source``; raise ImageError if it holds none.

    ``allowance`` is what it may need.
    """
    path, part = locate(source)
    name = path.name.lower().removesuffix(".gz")
    if name.endswith((".csv", ".txt")):
        return read_label_table(path, allowance)
    match kind_of(path):
        case SourceKind.NPZ:
            return open_npz_labels(path, part, allowance)
        case SourceKind.NPY:
            return open_npy(path, allowance)
        case SourceKind.IDX:
            return open_idx(path, allowance)
        case kind:
            raise ImageError(
                f"{printable(path)} is a {kind}, which holds no labels: give IDX, .npy, .npz, .csv or .txt"
            )


def _read_npz(wanted: Wanted) -> Raw:
    arrays = open_npz(wanted.path, wanted.part, wanted.allowance)
    if arrays.other_name is not None:
        wanted.changes.remarks.append(f"labels are those of {printable(arrays.other_name)!r}")
    return Raw(arrays.images, arrays.labels, classes=arrays.classes)


def _read_npy(wanted: Wanted) -> Raw:
    return Raw(open_npy(wanted.path, wanted.allowance))


def _open_npy(wanted: Wanted) -> Pieces | None:
    """Return the images of a .npy file that can be nothing else, and are taken as they are."""
    is_images = wanted.preprocessing.read_as in (None, ReadAs.IMAGES)
    if wanted.preprocessing.changes_pixels or not is_images or not can_read(wanted.path):
        return None
    return NpyPieces(wanted.path)


def _read_csv(wanted: Wanted) -> Raw:
    is_vectors = wanted.preprocessing.read_as is ReadAs.VECTORS
    return Raw(*read_table(wanted.path, wanted.changes, wanted.allowance, is_vectors=is_vectors))


def _read_picture(wanted: Wanted) -> Raw:
    path, _, preprocessing, changes, allowance = wanted
    picture = read_picture(path, preprocessing, changes, allowance)
    return Raw(picture[np.newaxis], sources=(printable(path.name),), is_prepared=True)


def _read_idx(wanted: Wanted) -> Raw:
    return Raw(open_idx_images(wanted.path, wanted.allowance))


def _open_folder(wanted: Wanted) -> Pieces:
    return _pictures(open_folder(wanted.path, wanted.part, wanted.changes), wanted)


def _open_paths(wanted: Wanted) -> Pieces:
    return _pictures(open_path_table(wanted.path, wanted.part, wanted.allowance), wanted)


def _open_zip(wanted: Wanted) -> Pieces:
    return _pictures(open_zip(wanted.path, wanted.part, wanted.changes, wanted.allowance), wanted)


def _open_tar(wanted: Wanted) -> Pieces:
    return _pictures(open_tar(wanted.path, wanted.part, wanted.changes, wanted.allowance), wanted)


def _pictures(pictures: Pictures, wanted: Wanted) -> Pieces:
    return PicturePieces(pictures, wanted.preprocessing, wanted.changes, wanted.allowance)


def _open_cifar(wanted: Wanted) -> Pieces:
    path, part, preprocessing, changes, allowance = wanted
    paths = choose_split(path, find_cifar(path), part) if path.is_dir() else [path]
    return CifarPieces(printable(path), paths, preprocessing, changes, allowance)


def _open_parquet(wanted: Wanted) -> Pieces:
    return _columns(open_parquet(wanted.path, wanted.part, wanted.changes), wanted)


def _open_arrow(wanted: Wanted) -> Pieces:
    return _columns(open_arrow(wanted.path, wanted.part, wanted.changes), wanted)


def _columns(columns: Columns, wanted: Wanted) -> Pieces:
    return ColumnPieces(columns, wanted.preprocessing, wanted.changes, wanted.allowance)


FORMATS: Mapping[SourceKind, Format] = {
    SourceKind.NPZ: Format(_read_npz, has_parts=True),
    SourceKind.NPY: Format(_read_npy, _open_npy),
    SourceKind.CSV: Format(_read_csv),
    SourceKind.IDX: Format(_read_idx),
    SourceKind.PICTURE: Format(_read_picture),
    SourceKind.FOLDER: Format(None, _open_folder, has_parts=True),
    SourceKind.PATHS: Format(None, _open_paths, has_parts=True),
    SourceKind.ZIP: Format(None, _open_zip, has_parts=True),
    SourceKind.TAR: Format(None, _open_tar, has_parts=True),
    SourceKind.CIFAR: Format(None, _open_cifar, has_parts=True),
    SourceKind.PARQUET: Format(None, _open_parquet, has_parts=True),
    SourceKind.ARROW: Format(None, _open_arrow, has_parts=True),
}
"""Each format that is read. A folder of IDX files has parts, too, which are files."""
