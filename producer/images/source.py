"""Finds the format of a source that a user named, and reads it into a set of images."""

from __future__ import annotations

import functools
import hashlib
import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from producer.images.archives.open import open_tar, open_zip
from producer.images.arrays.cifar import CifarPieces
from producer.images.arrays.cifar_files import find_cifar
from producer.images.arrays.idx import find_idx_files, find_labels_file, open_idx, open_idx_images
from producer.images.arrays.npy import open_npy
from producer.images.arrays.npz import open_npz, open_npz_labels
from producer.images.arrays.table import read_label_table, read_table
from producer.images.columns.open import open_arrow, open_parquet
from producer.images.columns.pieces import ColumnPieces
from producer.images.digits import read_digits
from producer.images.formats import DIGITS, EXPLICIT_DIGITS, SourceKind, exists, kind_of, locate
from producer.images.imageset import ImageSet
from producer.images.origin import DataOrigin
from producer.images.pictures.folder import find_part, read_folder
from producer.images.pictures.paths import open_path_table
from producer.images.pictures.picture import read_picture
from producer.images.pictures.pictures import PicturePieces
from producer.images.pieces.allowance import Allowance
from producer.images.pieces.gathering import gather
from producer.images.pieces.preparation import prepare
from producer.images.pieces.shards import choose_split
from producer.images.preprocessing import (
    AS_IS,
    Changes,
    DifferentSizesError,
    Fit,
    LaterColourError,
    Preprocessing,
    ReadAs,
)
from producer.images.stream import printable, translate_errors
from producer.images.values.kinds import to_images
from producer.images.values.labels import to_labels
from schema.errors import ImageError
from schema.network.layers import ImageInput, Input
from schema.quantities import count_text
from schema.shapes import ImageShape

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from producer.images.pieces.piece import Pieces
    from producer.images.pieces.stored import StoredArray

Array: TypeAlias = "NDArray[np.generic] | StoredArray"

_IN_PIECES = (
    *(SourceKind.PARQUET, SourceKind.ARROW, SourceKind.ZIP, SourceKind.TAR, SourceKind.PATHS),
    SourceKind.CIFAR,
)
_WITH_PARTS = (SourceKind.NPZ, SourceKind.FOLDER, *_IN_PIECES)


class _Raw(NamedTuple):
    """The result of a reader, before images and labels are validated; ``labels_name`` is for messages."""

    images: Array
    labels: Array | None = None
    labels_name: str | None = None
    classes: tuple[str, ...] | None = None
    sources: tuple[str, ...] | None = None
    is_prepared: bool = False
    """Pictures were counted and prepared one by one, as they were read."""


def read_images(
    source: str | Path,
    labels: str | Path | None = None,
    preprocessing: Preprocessing = AS_IS,
    *,
    part: str | None = None,
    allowance: Allowance | None = None,
    takes: Callable[[bool], Input | None] | None = None,
) -> ImageSet:
    """Return the validated images that ``source`` names, with their labels, if any.

    Args:
        source: ``digits`` (``sklearn:digits`` if a file has that name), or a path of a format that
            `producer.images.formats` recognises, with a part of it after a colon: a split, an array of an
            .npz or a folder, as in ``file.npz:test``.
        labels: a file of labels (IDX, .npy, .npz, or text with one per line) that replace the source's own.
            Without it, the labels of IDX images are searched for next to them.
        preprocessing: what is done to each image; ``ImageSet.notes`` says what was changed or left out.
        part: such a part of ``source``, whose name is then taken as it is, colons included.
        allowance: what reading may need, in addition to the limits of `producer.images.limits`.
        takes: returns the input of the network that takes the images, if it is known: pictures are resized as
            it says, unless ``preprocessing`` has a size. It is asked with False, and, if it returned None,
            with True once pictures turn out to have different sizes.

    Raises:
        DifferentSizesError: the pictures have different sizes, and nothing says to which they are resized.
        ImageError: a file is missing, damaged, hostile or inconsistent; nothing is unpickled.
    """
    if source in (DIGITS, EXPLICIT_DIGITS) and isinstance(source, str):
        return _named(source, labels, preprocessing)
    try:
        path, part = locate(source) if part is None else (Path(source), part)
        known, allowance = None if takes is None else takes(False), allowance or Allowance()
        try:
            return _read_path(source, path, part, labels, preprocessing, allowance, known)
        except DifferentSizesError:
            found = takes(True) if takes is not None and known is None else None
            if found is None:
                raise
            return _read_path(source, path, part, labels, preprocessing, allowance, found)
    except MemoryError as error:
        raise ImageError(
            f"{printable(source)} needs more memory than this process may use: split it, or scale it down"
        ) from error


def open_pieces(
    source: str | Path,
    preprocessing: Preprocessing = AS_IS,
    *,
    part: str | None = None,
    allowance: Allowance | None = None,
) -> tuple[Pieces, Changes] | None:
    """Return the rows of ``source`` in pieces, and what counts their changes; None if it is read as a whole.

    The arguments are those of `read_images`, and so is what is raised.
    """
    path, part = locate(source) if part is None else (Path(source), part)
    if str(source) in (DIGITS, EXPLICIT_DIGITS) or (kind := kind_of(path)) not in _IN_PIECES:
        return None
    changes = Changes()
    return _open_pieces(kind, path, part, preprocessing, changes, allowance or Allowance()), changes


def _read_path(
    source: str | Path,
    path: Path,
    part: str | None,
    labels: str | Path | None,
    preprocessing: Preprocessing,
    allowance: Allowance,
    takes: Input | None,
) -> ImageSet:
    kind, changes, asked = kind_of(path), Changes(), preprocessing
    preprocessing = for_network(preprocessing, takes)
    if kind is SourceKind.IDX and path.is_dir():
        path = choose_split(path, {split: [each] for split, each in find_idx_files(path).items()}, part)[0]
    elif part is not None and kind not in _WITH_PARTS:
        raise ImageError(
            f"{printable(path)} is a {kind} and has one set of images: leave {printable(part)!r} out"
        )
    inner = path if part is None or kind is not SourceKind.FOLDER else find_part(path, part)
    raw = _read(kind, inner, part, preprocessing, changes, allowance)
    if labels is None and kind is SourceKind.IDX:
        labels = find_labels_file(path)
    if labels is not None:
        raw = _relabel(raw, path, labels, allowance)
    images = _validated(name_of(path, part), printable(source), raw, preprocessing, changes, allowance)
    return replace(images, origin=origin_of(images.name, path, part, labels, asked))


def for_network(preprocessing: Preprocessing, takes: Input | None) -> Preprocessing:
    """Return ``preprocessing``, and what the network with the input ``takes`` says, if it takes pictures."""
    if not isinstance(takes, ImageInput):
        return preprocessing
    coloured = replace(preprocessing, colour=takes.image_shape.is_colour)
    if takes.resize is None or preprocessing.size is not None:
        return coloured
    return replace(coloured, size=takes.image_shape.size, fit=Fit(takes.resize), exact=True)


def origin_of(
    name: str,
    path: Path,
    part: str | None,
    labels: str | Path | None,
    preprocessing: Preprocessing,
    *,
    hashes: bool = True,
) -> DataOrigin | None:
    """Return where the images called ``name`` come from; None: that cannot be stored or shown as it is.

    Args:
        path, part, labels, preprocessing: those of the source.
        hashes: read the files to their ends, for the digests of their bytes.
    """
    labels_path, labels_part = (None, None) if labels is None else locate(labels)
    labels_text = None if labels_path is None else _absolute(labels_path, labels_part)
    data, size = _absolute(path, part), preprocessing.size
    if any(text != printable(text) for text in (data, labels_text or "")):
        return None
    return DataOrigin(
        data=data,
        name=name,
        labels=labels_text,
        sha256=file_digest(path) if hashes else None,
        labels_sha256=file_digest(labels_path) if hashes and labels_path is not None else None,
        read_as=None if preprocessing.read_as is None else preprocessing.read_as.value,
        resize=None if size is None else f"{size[0]}x{size[1]}",
        fit=None if size is None else preprocessing.fit.value,
        invert=preprocessing.invert,
        skip_unreadable=preprocessing.skip_unreadable,
    )


def _absolute(path: Path, part: str | None) -> str:
    return str(path.absolute()) + (f":{part}" if part else "")


def file_digest(path: Path) -> str | None:
    """Return the SHA-256 of the bytes of ``path``; None for a folder."""
    with translate_errors(path):
        if path.is_dir():
            return None
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def is_unchanged(origin: DataOrigin) -> bool:
    """Return whether ``origin`` names images that are on this machine and, if in a file, as they were."""
    if origin.uploaded:
        return False
    files = [(origin.data, origin.sha256), (origin.labels, origin.labels_sha256)]
    for source, sha256 in files:
        if source is None or source in (DIGITS, EXPLICIT_DIGITS):
            continue
        path, _ = locate(source)
        try:
            status = path.stat()
            if stat.S_ISDIR(status.st_mode) != (sha256 is None):
                return False
            if sha256 is not None and _known_digest(path, status.st_size, status.st_mtime_ns) != sha256:
                return False
        except (OSError, ValueError, ImageError):
            return False
    return True


@functools.lru_cache(maxsize=64)
def _known_digest(path: Path, _size: int, _modified_ns: int) -> str | None:
    """Return the digest of ``path``, which is read again once its size or time has changed."""
    return file_digest(path)


def _named(source: str, labels: str | Path | None, preprocessing: Preprocessing) -> ImageSet:
    if labels is not None:
        raise ImageError(f"{source} has labels of its own: leave the file of labels out")
    if preprocessing.changes_pixels:
        raise ImageError(f"{source} has images of 8 x 8 pixels from 0 to 16: leave --resize and --invert out")
    if source == DIGITS and exists(Path(source)):
        raise ImageError(
            f"{source} is both a data set and a file or folder here: "
            f"write ./{source} for the file or folder, {EXPLICIT_DIGITS} for the data set"
        )
    images = read_digits()
    return replace(images, origin=DataOrigin(source, images.name))


def name_of(path: Path, part: str | None) -> str:
    """Return the last part of the path, also for ``.`` and ``..``."""
    named = path if path.name.strip(".") else path.resolve()
    return printable(named.name or named) + (f":{printable(part)}" if part else "")


def _read(
    kind: SourceKind,
    path: Path,
    part: str | None,
    preprocessing: Preprocessing,
    changes: Changes,
    allowance: Allowance,
) -> _Raw:
    try:
        return _read_once(kind, path, part, preprocessing, changes, allowance)
    except LaterColourError:
        changes.clear()
        return _read_once(kind, path, part, replace(preprocessing, colour=True), changes, allowance)


def _read_once(
    kind: SourceKind,
    path: Path,
    part: str | None,
    preprocessing: Preprocessing,
    changes: Changes,
    allowance: Allowance,
) -> _Raw:
    match kind:
        case SourceKind.NPZ:
            arrays = open_npz(path, part, allowance)
            if arrays.other_name is not None:
                changes.remarks.append(f"labels are those of {printable(arrays.other_name)!r}")
            return _Raw(arrays.images, arrays.labels, classes=arrays.classes)
        case SourceKind.NPY:
            return _Raw(open_npy(path, allowance))
        case SourceKind.CSV:
            is_vectors = preprocessing.read_as is ReadAs.VECTORS
            images, labels = read_table(path, changes, allowance, is_vectors=is_vectors)
            return _Raw(images, labels)
        case SourceKind.PICTURE:
            picture = read_picture(path, preprocessing, changes, allowance)
            return _Raw(picture[np.newaxis], sources=(printable(path.name),), is_prepared=True)
        case SourceKind.FOLDER:
            folder = read_folder(path, preprocessing, changes, allowance)
            return _Raw(folder.images, folder.labels, None, folder.classes, folder.sources, is_prepared=True)
        case SourceKind.IDX:
            return _Raw(open_idx_images(path, allowance))
        case _:
            pieces = _open_pieces(kind, path, part, preprocessing, changes, allowance)
            rows = gather(pieces, allowance)
            return _Raw(rows.images, rows.labels, None, pieces.classes, rows.names, is_prepared=True)


def _open_pieces(
    kind: SourceKind,
    path: Path,
    part: str | None,
    preprocessing: Preprocessing,
    changes: Changes,
    allowance: Allowance,
) -> Pieces:
    if kind is SourceKind.PATHS:
        return PicturePieces(open_path_table(path, part, allowance), preprocessing, changes, allowance)
    if kind in (SourceKind.ZIP, SourceKind.TAR):
        open_members = open_zip if kind is SourceKind.ZIP else open_tar
        pictures = open_members(path, part, changes, allowance)
        return PicturePieces(pictures, preprocessing, changes, allowance)
    if kind is SourceKind.CIFAR:
        paths = choose_split(path, find_cifar(path), part) if path.is_dir() else [path]
        return CifarPieces(printable(path), paths, preprocessing, changes, allowance)
    open_columns = open_parquet if kind is SourceKind.PARQUET else open_arrow
    return ColumnPieces(open_columns(path, part, changes), preprocessing, changes, allowance)


def _relabel(raw: _Raw, path: Path, labels: str | Path, allowance: Allowance) -> _Raw:
    if raw.classes is not None and raw.is_prepared:
        raise ImageError(
            f"{printable(path)} takes its labels from its folders: leave {printable(labels)} out"
        )
    return raw._replace(labels=read_labels(labels, allowance), labels_name=printable(labels))


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


def _validated(
    name: str, source: str, raw: _Raw, preprocessing: Preprocessing, changes: Changes, allowance: Allowance
) -> ImageSet:
    if raw.is_prepared:
        images = np.asarray(raw.images)
    else:
        count = raw.labels.shape[0] if raw.labels is not None and raw.labels.shape else None
        images = to_images(raw.images, source, preprocessing, changes, allowance, labels=count)
    labels = None
    if raw.labels is not None:
        allowance.labels(len(images))
        labels = to_labels(raw.labels, len(images), raw.labels_name or source)
        if raw.classes is not None and int(labels.max()) >= len(raw.classes):
            raise ImageError(
                f"{raw.labels_name or source} has label {labels.max():,}, and {source} has "
                f"{count_text(len(raw.classes), 'name')} of classes: make them agree"
            )
    if not raw.is_prepared and not ImageShape.of(images).is_vector:
        images = prepare(images, preprocessing, changes)
    return ImageSet(name, images, labels, raw.classes, raw.sources, changes.notes())
