"""A validated set of images, and how to take a part of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from producer.images.limits import MAX_LABEL
from producer.images.stream import printable
from schema.errors import ImageError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

MOST_OFFERED = 20
"""Classes that a message names before it breaks off."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """At least one image, all of one size, with what is known of them."""

    name: str
    """For people: ``digits``, or the name of the file or folder."""
    images: NDArray[np.uint8]
    """(N, H, W) uint8 grey, C order."""
    labels: NDArray[np.int64] | None
    """(N,) int64; each an index into ``classes`` when there are class names; None when unlabelled."""
    classes: tuple[str, ...] | None
    """Names of the classes, when the source has them."""
    sources: tuple[str, ...] | None
    """One file name per image, relative to the folder they were read from; None for other sources."""

    def limit(self, n: int) -> ImageSet:
        """The first ``n`` images, or all when there are fewer.

        Raises:
            ParameterError: ``n`` is less than 1.
        """
        if n < 1:
            raise ParameterError(f"a limit of {n} images; it must be 1 or more")
        return self if n >= len(self.images) else self._take(np.arange(n))

    def skip(self, n: int) -> ImageSet:
        """All but the first ``n`` images.

        Raises:
            ParameterError: none would be left, or ``n`` is negative.
        """
        if not 0 <= n < len(self.images):
            raise ParameterError(f"{self.name}: cannot skip {n} of its {len(self.images):,} images")
        return self._take(np.arange(n, len(self.images)))

    def only(self, classes: Iterable[str | int]) -> ImageSet:
        """The images of these classes, in their order, with labels and class names as they were.

        Each class is a name of the source's, or else a label (``7`` or ``"7"``).

        Raises:
            ImageError: there are no labels, no class was given, or no image is of a class.
        """
        if self.labels is None:
            raise ImageError(f"{self.name}: has no labels to choose classes by; give a file of labels too")
        chosen = {str(name).strip(): _label(str(name).strip(), self.classes) for name in classes}
        missing = [name for name, label in chosen.items() if label not in self.labels]
        if missing or not chosen:
            problem = f"no image is of class {printable(missing[0])!r}" if missing else "no class was chosen"
            offer = _offer(self.labels, self.classes)
            raise ImageError(f"{self.name}: {problem}; choose among {offer}")
        return self._take(np.flatnonzero(np.isin(self.labels, list(chosen.values()))))

    def _take(self, rows: NDArray[np.intp]) -> ImageSet:
        return replace(
            self,
            images=self.images[rows],
            labels=None if self.labels is None else self.labels[rows],
            sources=None if self.sources is None else tuple(self.sources[row] for row in rows.tolist()),
        )


def _label(name: str, classes: tuple[str, ...] | None) -> int:
    """The label that a class name or number stands for; -1, which no image has, for none."""
    if classes is not None and name in classes:
        return classes.index(name)
    is_label = name.isascii() and name.isdigit() and len(name) <= len(str(MAX_LABEL))
    return int(name) if is_label else -1


def _offer(labels: NDArray[np.int64], classes: tuple[str, ...] | None) -> str:
    present = np.unique(labels).tolist()
    names = [str(label) if classes is None else classes[label] for label in present]
    return ", ".join(names[:MOST_OFFERED]) + (", ..." if len(names) > MOST_OFFERED else "")
