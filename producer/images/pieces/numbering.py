"""Checks that labels are whole numbers in range, and numbers those that are names of classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from producer.images.limits import MAX_LABEL
from producer.images.pictures.entry import sort_classes
from producer.images.stream import printable
from schema.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def whole_numbers(piece: NDArray[np.generic], first: int, name: str) -> NDArray[np.int64]:
    """Return ``piece`` of the labels of ``name``, whose first is that of image ``first``, as int64.

    Raises:
        ImageError: one is not a whole number in 0..``MAX_LABEL``.
    """
    if piece.dtype.kind in "iu" and len(piece) and int(piece.min()) >= 0 and int(piece.max()) <= MAX_LABEL:
        return piece.astype(np.int64)
    numbers = piece.astype(np.float64)
    _refuse(numbers != np.rint(numbers), numbers, first, "not a whole number", name)
    _refuse((numbers < 0) | (numbers > MAX_LABEL), numbers, first, f"not in 0..{MAX_LABEL}", name)
    return numbers.astype(np.int64)


def _refuse(wrong: NDArray[np.bool_], numbers: NDArray[np.float64], first: int, why: str, name: str) -> None:
    """Raise ImageError for the first label that is ``wrong``, if any."""
    if wrong.any():
        row = int(np.argmax(wrong))
        label = f"label {numbers[row]:.15g} for image {first + row:,} (counted from 0)"
        raise ImageError(f"{name} has {label}, which is {why}: number classes from 0")


MAX_CLASS_NAME = 1_000
"""Characters of a label that is the name of a class."""


class TextLabels(NamedTuple):
    """(N,) int64 labels of rows, and the names of the classes if the texts were names."""

    labels: NDArray[np.int64]
    classes: tuple[str, ...] | None


def number_texts(texts: Sequence[str], name: str) -> TextLabels:
    """Return the labels that ``texts`` are: whole numbers, or names of classes, which are sorted.

    Args:
        texts: one for each row, at least one.
        name: of the source, for messages.

    Raises:
        ImageError: an empty or too long text, too many different ones, or a number that is too large.
    """
    different = set(texts)
    if all(text.isascii() and text.isdigit() and len(text) <= len(str(MAX_LABEL)) for text in different):
        return TextLabels(whole_numbers(np.array([int(text) for text in texts]), 0, name), None)
    longest = max(different, key=len)
    if "" in different or len(longest) > MAX_CLASS_NAME or len(different) > MAX_LABEL + 1:
        problem = "an empty one" if "" in different else repr(printable(longest[:40]))
        raise ImageError(
            f"{name} has labels that are not numbers or names of classes ({problem} among "
            f"{len(different):,} different): give one number or name per row"
        )
    names = sort_classes(list(different))
    numbers = {text: number for number, text in enumerate(names)}
    labels = np.fromiter((numbers[text] for text in texts), np.int64, len(texts))
    return TextLabels(labels, tuple(map(printable, names)))
