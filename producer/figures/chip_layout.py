"""Positions of the qubits of a chip in figures, by their linear indices.

The indices are those of dwave.graphs' `chimera_coordinates`, `pegasus_coordinates` and `zephyr_coordinates`,
which are D-Wave's own; the positions are those of its `chimera_layout`, `pegasus_layout` and `zephyr_layout`,
except for the unit of length. See https://docs.dwavequantum.com, "QPU architecture: topologies".
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from schema.errors import Corrupt

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int32]

# Start of the segments on the twelve lines of a Pegasus group, modulo 12: vertical and horizontal.
_PEGASUS_OFFSETS = np.array([[2, 10, 6], [6, 2, 10]]).repeat(4, axis=1)
_PEGASUS_LINES = 12
# Two lines that an odd coupler joins are drawn as a pair; pegasus_layout moves each by this distance.
_PEGASUS_PAIR = 0.1


def places(topology: str, shape: tuple[int, ...], qubits: IndexArray) -> FloatArray:
    """Return x and y (Q, 2) float64 of ``qubits`` (Q,), about one unit between adjacent lines, y upwards.

    ``topology`` and ``shape`` are as the solver states them: pegasus (16,), zephyr (12, 4), chimera
    (16, 16, 4).

    Raises:
        Corrupt: an unknown topology, or a qubit that is not part of it.
    """
    try:
        place = _LAYOUTS[topology]
        along_x, along_y = place(shape, qubits)
    except (KeyError, ValueError, IndexError):
        raise Corrupt(f"some qubits are not part of topology {topology}{list(shape)}") from None
    return np.stack([along_x, -along_y], axis=1).astype(np.float64)


def lattice(topology: str, shape: tuple[int, ...]) -> IndexArray:
    """Return all qubits (Q,) int32 of a chip without defects, ascending; raise Corrupt if it is unknown.

    ``topology`` and ``shape`` are as for `places`. The indices of a Pegasus include 8 (m - 1) qubits that do
    not exist: those at its border that cross no other.
    """
    if topology == "chimera":
        return np.arange(2 * shape[0] * shape[1] * shape[2], dtype=np.int32)
    if topology == "zephyr":
        return np.arange(4 * shape[1] * shape[0] * (2 * shape[0] + 1), dtype=np.int32)
    if topology != "pegasus":
        raise Corrupt(f"topology {topology} is unknown: known are {', '.join(_LAYOUTS)}")
    m = shape[0]
    qubits = np.arange(24 * m * (m - 1), dtype=np.int32)
    _, w, k, _ = np.unravel_index(qubits, (2, m, _PEGASUS_LINES, m - 1))
    line = _PEGASUS_LINES * w + k
    # Perpendicular segments begin at 2 at the earliest and end at 12 m - 3 at the latest.
    return qubits[(line >= 2) & (line <= _PEGASUS_LINES * m - 3)]


def _chimera(shape: tuple[int, ...], qubits: IndexArray) -> tuple[FloatArray, FloatArray]:
    # Cells are crosses: vertical qubits (u = 0) side by side, horizontal ones below each other.
    rows, columns, tracks = shape[:3]
    row, column, u, k = np.unravel_index(qubits, (rows, columns, 2, tracks))
    middle, cell = tracks // 2, tracks + 3
    offset = np.where(k < middle, k, k + 1)
    along_x = column * cell + np.where(u == 1, middle, offset)
    along_y = row * cell + np.where(u == 1, offset, middle)
    return along_x.astype(np.float64), along_y.astype(np.float64)


def _pegasus(shape: tuple[int, ...], qubits: IndexArray) -> tuple[FloatArray, FloatArray]:
    # Each qubit is at the middle of its segment.
    m = shape[0]
    u, w, k, z = np.unravel_index(qubits, (2, m, _PEGASUS_LINES, m - 1))
    across = _PEGASUS_LINES * w + k + np.where(k % 2, -_PEGASUS_PAIR, _PEGASUS_PAIR)
    along = _PEGASUS_LINES * z + _PEGASUS_OFFSETS[u, k] + (_PEGASUS_LINES - 1) / 2
    return np.where(u == 1, along, across), np.where(u == 1, across, along)


def _zephyr(shape: tuple[int, ...], qubits: IndexArray) -> tuple[FloatArray, FloatArray]:
    # Each qubit is at the middle of its segment; the two segments j of a track are a little apart.
    m, tracks = shape[:2]
    u, w, k, j, z = np.unravel_index(qubits, (2, 2 * m + 1, tracks, 2, m))
    across = 2 * tracks * w + 2 * k + 0.625 * j
    along = 2 * tracks * (2 * z + j + 1) - 0.625
    return np.where(u == 1, along, across), np.where(u == 1, across, along)


_Layout = Callable[[tuple[int, ...], IndexArray], tuple[FloatArray, FloatArray]]
_LAYOUTS: dict[str, _Layout] = {"chimera": _chimera, "pegasus": _pegasus, "zephyr": _zephyr}
