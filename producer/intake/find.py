"""Finds out whether a request names a large source, which is read in pieces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from producer.images.in_pieces import open_in_pieces
from producer.images.origin import DataOrigin
from producer.images.preprocessing import DifferentSizesError, Fit, Preprocessing, ReadAs
from producer.images.readers import read_labels
from producer.images.source import for_network
from producer.images.values.labels import to_labels
from producer.intake.references import refuse_unnamed
from producer.intake.source import READ_IN_PIECES_BYTES, LargeSource
from producer.runs.request import ClassificationRequest
from schema.errors import ImageError, ParameterError
from schema.network.layers import Input


def source_for(
    request: ClassificationRequest, takes: Callable[[bool], Input | None] | None = None
) -> LargeSource | None:
    """Return the large source that ``request`` names; None: it is small, or cannot be read in pieces.

    ``takes`` is that of `producer.images.source.read_images`.

    Raises:
        ImageError: it cannot be used.
    """
    is_counted = request.limit is not None and request.skip_unreadable  # images, and not rows
    if request.classes is not None or is_counted:
        if request.by_reference:
            raise ParameterError(
                "by reference all rows are taken: leave out --classes, and --skip-unreadable with --limit"
            )
        return None
    known = None if takes is None else takes(False)
    source = _opened(request, known)
    if request.by_reference:
        if source is None:
            raise ImageError(f"{request.data} cannot be read in pieces: leave --by-reference out")
        refuse_unnamed(source)
    elif source is None or source.nbytes < READ_IN_PIECES_BYTES:
        return None
    try:
        source.head()
    except DifferentSizesError:
        found = takes(True) if takes is not None and known is None else None
        source = None if found is None else _opened(request, found)
        if source is None:
            raise
    if request.name is not None:
        source = replace(source, origin=replace(source.origin, name=request.name))
    return replace(source, by_reference=request.by_reference)


def _opened(request: ClassificationRequest, takes: Input | None) -> LargeSource | None:
    wanted = for_network(request.preprocessing, takes)
    return _open(request.data, request.labels, wanted, request.limit, scale_pixels=request.scale_pixels)


def source_of(origin: DataOrigin, takes: Input | None = None) -> LargeSource:
    """Return the source of ``origin``, that of a run whose images were being read from it.

    ``takes`` is the input of the network of the run; None: it resizes nothing.

    Raises:
        ImageError: it is not there any more, or cannot be used.
    """
    read_as = None if origin.read_as is None else ReadAs(origin.read_as)
    preprocessing = Preprocessing.parse(
        origin.resize, Fit(origin.fit or Fit.CROP), origin.invert, origin.skip_unreadable, read_as
    )
    wanted = for_network(preprocessing, takes)
    try:
        source = _open(origin.data, origin.labels, wanted, origin.limit, scale_pixels=origin.scale_pixels)
    except ImageError as error:
        raise ImageError(f"the source cannot be read on: {error}; restore it, or cancel the run") from error
    if source is None:
        raise ImageError(
            f"{origin.data} cannot be read in pieces any more: restore it as it was, or cancel the run"
        )
    return replace(source, origin=replace(source.origin, name=origin.name))


def _open(
    data: str, labels: str | None, preprocessing: Preprocessing, limit: int | None, *, scale_pixels: bool
) -> LargeSource | None:
    opened = open_in_pieces(data, labels, preprocessing)
    if opened is None:
        return None
    pieces, origin, changes = opened
    own_limit = limit if limit is not None and limit < pieces.count else None
    origin = replace(origin, limit=own_limit, scale_pixels=scale_pixels)
    if labels is None:
        return LargeSource(pieces, origin, None, changes)
    return LargeSource(pieces, origin, to_labels(read_labels(labels), pieces.count, labels), changes)
