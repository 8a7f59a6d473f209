"""Finds out whether a request names a large source, which is read in pieces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from producer.images.formats import locate
from producer.images.imageset import ImageSet, rows_of_classes
from producer.images.in_pieces import open_in_pieces
from producer.images.origin import DataOrigin
from producer.images.pieces.allowance import Allowance
from producer.images.preprocessing import DifferentSizesError, Fit, Preprocessing, ReadAs
from producer.images.readers import read_labels
from producer.images.source import for_network
from producer.images.stores import StoredSource, is_stored, readable
from producer.images.values.labels import to_labels
from producer.intake.references import refuse_unnamed
from producer.intake.source import READ_IN_PIECES_BYTES, LargeSource, named
from producer.runs.request import ClassificationRequest
from schema.errors import ImageError, ParameterError
from schema.network.layers import Input

Takes = Callable[[bool], Input | None]
"""Returns the input of the network that takes the images; see `producer.images.source.read_images`."""


def source_for(
    request: ClassificationRequest,
    takes: Takes | None = None,
    part: str | None = None,
    allowance: Allowance | None = None,
) -> LargeSource | None:
    """Return the large source that ``request`` names; None: it is small, or cannot be read in pieces.

    Args:
        takes, part, allowance: as for `producer.images.source.read_images`.

    Raises:
        ImageError: it cannot be used.
    """
    is_counted = request.limit is not None and request.skip_unreadable  # images, and not rows
    if request.by_reference and (request.classes is not None or is_counted):
        raise ParameterError(
            "by reference all rows are taken: leave out --classes, and --skip-unreadable with --limit"
        )
    if is_counted:
        return None
    known = None if takes is None else takes(False)
    source = _opened(request, known, part, allowance)
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
        source = None if found is None else _opened(request, found, part, allowance)
        if source is None:
            raise
    if request.name is not None:
        source = replace(source, origin=replace(source.origin, name=request.name))
    return replace(source, by_reference=request.by_reference)


def read_or_open(
    request: ClassificationRequest, takes: Takes | None = None, allowance: Allowance | None = None
) -> tuple[ImageSet, LargeSource | None]:
    """Return the images of ``request``; of a large source its first ones, and the source.

    Args:
        takes, allowance: as for `producer.images.source.read_images`.

    Raises:
        ImageError: they cannot be used.
    """
    source = source_for(request, takes, allowance=allowance)
    if source is not None:
        return source.head(), source
    return read_at_once(request, takes, allowance), None


def read_at_once(
    request: ClassificationRequest, takes: Takes | None = None, allowance: Allowance | None = None
) -> ImageSet:
    """Return the images of ``request``, also those of an object store; arguments as for `read_or_open`."""
    with readable(request.data) as data:
        images = replace(request, data=data).read(allowance, takes)
    if images.origin is None or not is_stored(request.data):
        return images
    return replace(images, origin=replace(images.origin, data=request.data))


def _opened(
    request: ClassificationRequest, takes: Input | None, part: str | None, allowance: Allowance | None
) -> LargeSource | None:
    wanted = for_network(request.preprocessing, takes)
    opened = _open(request.data, request.labels, wanted, part, allowance)
    return None if opened is None else _select(opened, request.classes, request.limit, request.scale_pixels)


def source_of(origin: DataOrigin, takes: Input | None = None, *, is_uploaded: bool = False) -> LargeSource:
    """Return the source of ``origin``, that of a run whose images were being read from it.

    Args:
        origin: where it is.
        takes: input of the network of the run; None: it resizes nothing.
        is_uploaded: it was sent, and errors have the name that its sender gave it.

    Raises:
        ImageError: it is not there any more, or cannot be used.
    """
    read_as = None if origin.read_as is None else ReadAs(origin.read_as)
    preprocessing = Preprocessing.parse(
        origin.resize, Fit(origin.fit or Fit.CROP), origin.invert, origin.skip_unreadable, read_as
    )
    sent_as = _sent_as(origin.data, origin.labels, origin.name) if is_uploaded else None
    try:
        with named(None, sent_as):
            opened = _open(origin.data, origin.labels, for_network(preprocessing, takes))
            source = None
            if opened is not None:
                source = _select(opened, origin.classes, origin.limit, origin.scale_pixels)
    except ImageError as error:
        raise ImageError(f"the source cannot be read on: {error}; restore it, or cancel the run") from error
    if source is None:
        raise ImageError(
            f"{origin.data} cannot be read in pieces any more: restore it as it was, or cancel the run"
        )
    return replace(source, origin=replace(source.origin, name=origin.name), sent_as=sent_as)


def uploaded(source: LargeSource, name: str) -> LargeSource:
    """Return ``source``, whose files were sent; the sender's name for them is ``name``."""
    origin = source.origin
    return replace(
        source, origin=replace(origin, name=name), sent_as=_sent_as(origin.data, origin.labels, name)
    )


def _sent_as(data: str, labels: str | None, name: str) -> tuple[tuple[str, str], ...]:
    path, _ = locate(data)
    names = [] if labels is None else [(labels, "labels")]
    return (*names, (str(path), name), (path.name, name))


def _open(
    data: str,
    labels: str | None,
    preprocessing: Preprocessing,
    part: str | None = None,
    allowance: Allowance | None = None,
) -> LargeSource | None:
    """Return the source ``data`` with all of its rows; None: it cannot be read in pieces."""
    stored = StoredSource(data) if is_stored(data) else None
    with named(stored):
        opened = open_in_pieces(
            data if stored is None else stored.path, labels, preprocessing, part, allowance
        )
    if opened is None:
        return None
    pieces, origin, changes = opened
    if stored is not None:
        origin = replace(origin, data=data)
    numbers = None if labels is None else to_labels(read_labels(labels, allowance), pieces.count, labels)
    return LargeSource(pieces, origin, numbers, changes=changes, stored=stored)


def _select(
    source: LargeSource, classes: tuple[str, ...] | None, limit: int | None, scale_pixels: bool
) -> LargeSource:
    """Return ``source`` with the rows of ``classes`` only, and the first ``limit`` of these."""
    rows, count = None, source.pieces.count
    if classes is not None:
        classes = tuple(dict.fromkeys(each.strip() for each in classes))
        rows = _rows(source, classes)
        count = len(rows)
    own_limit = limit if limit is not None and limit < count else None
    origin = replace(source.origin, classes=classes, limit=own_limit, scale_pixels=scale_pixels)
    return replace(source, origin=origin, rows=None if rows is None else rows[:own_limit])


def _rows(source: LargeSource, classes: tuple[str, ...]) -> NDArray[np.intp]:
    if source.labels is not None:
        return rows_of_classes(source.name, source.labels, None, classes)
    pieces = source.pieces
    return rows_of_classes(source.name, pieces.read_labels(), pieces.classes, classes)
