"""The binary digits 0 to 4 of 5 x 5 pixels, in the manner of Higham and Bedford, Figure 3."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROWS = (
    ("#####", "#...#", "#...#", "#...#", "#####"),
    ("..#..", ".##..", "..#..", "..#..", ".###."),
    ("####.", "....#", ".###.", "#....", "#####"),
    ("#####", "....#", "..###", "....#", "#####"),
    ("#..#.", "#..#.", "#####", "...#.", "...#."),
)


def images() -> NDArray[np.uint8]:
    """The five images (5, 5, 5) uint8 in {0, 1}; image k shows the digit k."""
    marks = np.array([[list(row) for row in digit] for digit in _ROWS])
    return np.where(marks == "#", 1, 0).astype(np.uint8)


def labels() -> NDArray[np.int64]:
    """The five labels (5,) int64: 0 to 4."""
    return np.arange(len(_ROWS), dtype=np.int64)
