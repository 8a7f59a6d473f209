"""The binary digits 0 to 4 of 5 x 5 pixels, in the manner of Higham and Bedford, Figure 3; their flips."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from producer.images.imageset import ImageSet

_ROWS = (
    ("#####", "#...#", "#...#", "#...#", "#####"),
    ("..#..", ".##..", "..#..", "..#..", ".###."),
    ("####.", "....#", ".###.", "#....", "#####"),
    ("#####", "....#", "..###", "....#", "#####"),
    ("#..#.", "#..#.", "#####", "...#.", "...#."),
)


def images() -> NDArray[np.uint8]:
    """Return the five images (5, 5, 5) uint8 in {0, 1}; image k shows the digit k."""
    drawn = np.array([[list(row) for row in digit] for digit in _ROWS])
    return np.where(drawn == "#", np.uint8(1), np.uint8(0))


def digits() -> ImageSet:
    """Return the five digits, labelled."""
    return ImageSet("digits5x5", images(), np.arange(len(_ROWS), dtype=np.int64), None, None)


def flips() -> ImageSet:
    """Return all 125 images that differ from a digit by one pixel, labelled as that digit."""
    clean = images().reshape(len(_ROWS), 1, -1)
    flipped = clean ^ np.eye(clean.shape[2], dtype=np.uint8)
    labels = np.repeat(np.arange(len(_ROWS), dtype=np.int64), clean.shape[2])
    return ImageSet("digits5x5, one pixel flipped", flipped.reshape(-1, 5, 5), labels, None, None)
