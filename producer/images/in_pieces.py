"""Opens a source to be read in pieces, from any row on, and says where it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from producer.images.formats import DIGITS, EXPLICIT_DIGITS, SourceKind, kind_of, locate
from producer.images.pieces.npy import NpyPieces, can_read
from producer.images.preprocessing import ReadAs
from producer.images.source import name_of, open_pieces, origin_of
from producer.images.stores import is_stored

if TYPE_CHECKING:
    from pathlib import Path

    from producer.images.origin import DataOrigin
    from producer.images.pieces.piece import Pieces
    from producer.images.preprocessing import Preprocessing


def open_in_pieces(
    source: str | Path, labels: str | Path | None, preprocessing: Preprocessing
) -> tuple[Pieces, DataOrigin, tuple[str, ...]] | None:
    """Return what ``source`` names, to be read in pieces, where it is, and remarks on it, for display.

    None: it is of a format, or prepared in a way, that `read_images` reads at once.

    Args:
        labels: a file of labels, which the caller reads.
        preprocessing: what is done to each image.

    Raises:
        ImageError: as `read_images` says.
    """
    if source in (DIGITS, EXPLICIT_DIGITS) or is_stored(str(source)):
        return None
    path, part = locate(source)
    pieces: Pieces
    remarks: tuple[str, ...] = ()
    if kind_of(path) is SourceKind.NPY and part is None:
        is_images = preprocessing.read_as in (None, ReadAs.IMAGES)
        if preprocessing.changes_pixels or not is_images or not can_read(path):
            return None
        pieces = NpyPieces(path)
    else:
        opened = open_pieces(source, preprocessing)
        if opened is None:
            return None
        pieces, changes = opened
        remarks = tuple(changes.remarks)
        is_resized_vector = len(pieces.shape) == 1 and preprocessing.changes_pixels
        if is_resized_vector or (labels is not None and pieces.classes is not None):
            return None
    origin = origin_of(name_of(path, part), path, part, labels, preprocessing, hashes=False)
    return None if origin is None else (pieces, origin, remarks)
