"""Finds the format of a source that a user named, and reads it into a set of images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from producer.images.arrays.idx import find_idx_files, find_labels_file
from producer.images.digits import read_digits
from producer.images.formats import DIGITS, EXPLICIT_DIGITS, SourceKind, exists, kind_of, locate
from producer.images.imageset import ImageSet
from producer.images.locations import name_of, origin_of
from producer.images.origin import DataOrigin
from producer.images.pieces.allowance import Allowance
from producer.images.pieces.preparation import prepare
from producer.images.pieces.shards import choose_split
from producer.images.preprocessing import (
    AS_IS,
    Changes,
    DifferentSizesError,
    Fit,
    LaterColourError,
    Preprocessing,
)
from producer.images.readers import FORMATS, Raw, Wanted, read_labels, read_raw
from producer.images.stream import printable
from producer.images.values.kinds import to_images
from producer.images.values.labels import to_labels
from schema.errors import ImageError
from schema.network.layers import ImageInput, Input
from schema.quantities import count_text
from schema.shapes import ImageShape

if TYPE_CHECKING:
    from collections.abc import Callable


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
    elif part is not None and not FORMATS[kind].has_parts:
        raise ImageError(
            f"{printable(path)} is a {kind} and has one set of images: leave {printable(part)!r} out"
        )
    raw = _read(kind, Wanted(path, part, preprocessing, changes, allowance))
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


def _read(kind: SourceKind, wanted: Wanted) -> Raw:
    try:
        return read_raw(kind, wanted)
    except LaterColourError:
        wanted.changes.clear()
        coloured = replace(wanted.preprocessing, colour=True)
        return read_raw(kind, wanted._replace(preprocessing=coloured))


def _relabel(raw: Raw, path: Path, labels: str | Path, allowance: Allowance) -> Raw:
    if raw.classes is not None and raw.is_prepared:
        raise ImageError(
            f"{printable(path)} takes its labels from its folders: leave {printable(labels)} out"
        )
    return raw._replace(labels=read_labels(labels, allowance), labels_name=printable(labels))


def _validated(
    name: str, source: str, raw: Raw, preprocessing: Preprocessing, changes: Changes, allowance: Allowance
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
