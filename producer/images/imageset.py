"""A validated set of images, and parts of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from producer.images.limits import MAX_LABEL
from producer.images.origin import DataOrigin
from producer.images.pieces.collector import in_pieces, take_rows
from producer.images.stream import printable
from schema.codecs.arrays import images_digest
from schema.codecs.pieces import pieces
from schema.errors import ImageError, ParameterError
from schema.quantities import count_text
from schema.shapes import BRIGHTEST, ImageArray, ImageShape

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


MOST_OFFERED = 20
"""Largest number of classes in a message."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """At least one image, or vector, all of one shape, with their labels, class names and files, if known."""

    name: str
    """Name for display: ``digits``, or the name of the file or folder."""
    images: ImageArray
    """(N, H, W) uint8 grey, (N, H, W, 3) uint8 colour, or (N, D) float32 vectors, all finite; C order.

    Many images are in a file that is mapped, and read-only.
    """
    labels: NDArray[np.int64] | None
    """(N,) int64; each an index into ``classes`` when there are class names; None when unlabelled."""
    classes: tuple[str, ...] | None
    """Names of the classes, when the source has them."""
    sources: tuple[str, ...] | None
    """One file name per image, relative to the folder they were read from; None for other sources."""
    notes: tuple[str, ...] = ()
    """What was changed or left out when the source was read, for display."""
    origin: DataOrigin | None = None
    """Where they came from; None: no command names these images."""
    scales: bool = False
    """Pixels from 0 to 255 are scaled to the range that a network takes."""

    @property
    def shape(self) -> ImageShape:
        """Return the shape of an image."""
        return ImageShape.of(self.images)

    @property
    def stored_origin(self) -> dict[str, Any] | None:
        """Return the origin with the notes, as rows store it; None: no command names these images."""
        return None if self.origin is None else replace(self.origin, notes=self.notes).to_dict()

    def limit(self, n: int) -> ImageSet:
        """Return the first ``n`` images, or all if there are fewer; raise ParameterError if ``n`` < 1."""
        if n < 1:
            raise ParameterError(f"a limit of {count_text(n, 'image')} is too small: give 1 or more")
        if n >= len(self.images):
            return self
        return self._take(slice(n), None if self.origin is None else replace(self.origin, limit=n))

    def skip(self, n: int) -> ImageSet:
        """Return all but the first ``n`` images; raise ParameterError if none would be left, or ``n`` < 0."""
        if not 0 <= n < len(self.images):
            raise ParameterError(
                f"{self.name} has {count_text(len(self.images), 'image')}: {n} cannot be skipped"
            )
        return self._take(slice(n, None), None)

    def sample(self, n: int, seed: int) -> ImageSet:
        """Return ``n`` images drawn with ``seed``, in their order; those of fewer are among those of more."""
        drawn = np.random.default_rng(seed).permutation(len(self.images))[:n]
        return self if n >= len(self.images) else self._take(np.sort(drawn), None)

    def split(self, n: int, seed: int) -> tuple[ImageSet, ImageSet]:
        """Return the images but ``n``, and those ``n``, which are drawn with ``seed``, in their order.

        Raises:
            ParameterError: one of the two would be empty.
        """
        if not 1 <= n < len(self.images):
            raise ParameterError(
                f"{self.name} has {count_text(len(self.images), 'image')}: {n} of them cannot be set apart"
            )
        drawn = np.random.default_rng(seed).permutation(len(self.images))
        return self._take(np.sort(drawn[n:]), None), self._take(np.sort(drawn[:n]), None)

    def only(self, classes: Iterable[str | int]) -> ImageSet:
        """Return the images of ``classes`` in their order, with unchanged labels and class names.

        Each class is one of the source's class names, or else a label (``7`` or ``"7"``).

        Raises:
            ImageError: there are no labels, no class was given, or a class has no image.
        """
        chosen = tuple(str(name).strip() for name in classes)
        rows = rows_of_classes(self.name, self.labels, self.classes, chosen)
        origin = self.origin
        if origin is not None:  # a command chooses classes once, and before the limit
            is_first = origin.classes is None and origin.limit is None
            origin = replace(origin, classes=tuple(dict.fromkeys(chosen))) if is_first else None
        return self._take(rows, origin)

    def scalable(self) -> ImageSet:
        """Return the same images, whose pixels are scaled to the range of the network that takes them."""
        origin = None if self.origin is None else replace(self.origin, scale_pixels=True)
        return replace(self, scales=True, origin=origin)

    def scaled(self, maximum: int) -> ImageSet:
        """Return the images with 0 to 255 scaled to 0 to ``maximum``, if they are scalable."""
        if not self.is_scaled_to(maximum):
            return self
        table = np.rint(np.arange(BRIGHTEST + 1) * (maximum / BRIGHTEST)).astype(np.uint8)
        return replace(self, images=in_pieces(table.__getitem__, self.images), scales=False)

    def is_scaled_to(self, maximum: int) -> bool:
        """Return whether `scaled` changes the images."""
        return self.scales and maximum != BRIGHTEST and not self.shape.is_vector

    def brightest(self) -> int:
        """Return the largest value of a pixel."""
        return max(int(piece.max()) for piece in pieces(self.images))

    def digest(self, *before: bytes) -> str:
        """Return the SHA-256 of ``before``, and of shape, values and labels of the images."""
        return images_digest(before, self.images, self.labels)

    def _take(self, rows: NDArray[np.intp] | slice, origin: DataOrigin | None) -> ImageSet:
        images, labels, sources = self.images, self.labels, self.sources
        if isinstance(rows, slice):
            sources = None if sources is None else sources[rows]
            images = images[rows]
        else:
            sources = None if sources is None else tuple(sources[row] for row in rows.tolist())
            images = take_rows(images, rows)
        labels = None if labels is None else labels[rows]
        return replace(self, images=images, labels=labels, sources=sources, origin=origin)


def rows_of_classes(
    name: str, labels: NDArray[np.int64] | None, names: tuple[str, ...] | None, classes: Iterable[str]
) -> NDArray[np.intp]:
    """Return the rows whose label is one of ``classes``, ascending.

    Args:
        name: of the source, for messages.
        labels: (N,) of all rows, or None.
        names: of the classes of the source, or None.
        classes: names, or labels as text.

    Raises:
        ImageError: there are no labels, no class was given, or a class has no row.
    """
    if labels is None:
        raise ImageError(f"{name} has no labels to choose classes by: give a file of labels, too")
    chosen = {each: _label(each, names) for each in classes}
    present = set(np.unique(labels).tolist())
    missing = [each for each, label in chosen.items() if label not in present]
    if missing or not chosen:
        problem = f"has no image of class {printable(missing[0])!r}" if missing else "needs a class"
        raise ImageError(f"{name} {problem}: choose among {_offer(labels, names)}")
    return np.flatnonzero(np.isin(labels, list(chosen.values())))


def _label(name: str, classes: tuple[str, ...] | None) -> int:
    """Return the label of a class name or number; -1, which no image has, if there is none."""
    if classes is not None and name in classes:
        return classes.index(name)
    is_label = name.isascii() and name.isdigit() and len(name) <= len(str(MAX_LABEL))
    return int(name) if is_label else -1


def _offer(labels: NDArray[np.int64], classes: tuple[str, ...] | None) -> str:
    present = np.unique(labels).tolist()
    names = [str(label) if classes is None else classes[label] for label in present]
    return ", ".join(names[:MOST_OFFERED]) + (", ..." if len(names) > MOST_OFFERED else "")
