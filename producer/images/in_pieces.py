"""Opens a source to be read in pieces, from any row on, and says where it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from producer.images.formats import DIGITS, EXPLICIT_DIGITS, kind_of, locate
from producer.images.locations import name_of, origin_of
from producer.images.pieces.allowance import Allowance
from producer.images.preprocessing import AS_IS, Changes, Preprocessing
from producer.images.readers import FORMATS, Wanted

if TYPE_CHECKING:
    from producer.images.origin import DataOrigin
    from producer.images.pieces.piece import Pieces


def open_pieces(
    source: str | Path,
    preprocessing: Preprocessing = AS_IS,
    *,
    part: str | None = None,
    allowance: Allowance | None = None,
) -> tuple[Pieces, Changes] | None:
    """Return the rows of ``source`` in pieces, and what counts their changes; None if it is read as a whole.

    The arguments are those of `producer.images.source.read_images`, and so is what is raised.
    """
    if str(source) in (DIGITS, EXPLICIT_DIGITS):
        return None
    path, part = locate(source) if part is None else (Path(source), part)
    known = FORMATS[kind_of(path)]
    if known.in_pieces is None or (part is not None and not known.has_parts):
        return None
    changes = Changes()
    pieces = known.in_pieces(Wanted(path, part, preprocessing, changes, allowance or Allowance()))
    return None if pieces is None else (pieces, changes)


def open_in_pieces(
    source: str | Path,
    labels: str | Path | None,
    preprocessing: Preprocessing,
    part: str | None = None,
    allowance: Allowance | None = None,
) -> tuple[Pieces, DataOrigin, Changes] | None:
    """Return what ``source`` names, to be read in pieces, where it is, and what counts their changes.

    None: it is of a format, or prepared in a way, that `read_images` reads at once.

    Args:
        labels: a file of labels, which the caller reads.
        preprocessing: what is done to each image.
        part, allowance: as for `open_pieces`.

    Raises:
        ImageError: as `read_images` says.
    """
    opened = open_pieces(source, preprocessing, part=part, allowance=allowance)
    if opened is None:
        return None
    pieces, changes = opened
    is_resized_vector = len(pieces.shape) == 1 and preprocessing.changes_pixels
    if is_resized_vector or (labels is not None and pieces.classes is not None):
        return None
    path, part = locate(source) if part is None else (Path(source), part)
    origin = origin_of(name_of(path, part), path, part, labels, preprocessing, hashes=False)
    return None if origin is None else (pieces, origin, changes)
