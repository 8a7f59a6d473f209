"""From the qubits of an answer to the units of its images, as `dwave.embedding.unembed_sampleset` does it.

Broken chains are those whose qubits disagree. All of it works on bits, on reads in columns: a chain's qubits
are rows next to each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schema.errors import Corrupt
from schema.parameters import Unembedding
from schema.tiling import Tiling

BitArray = NDArray[np.uint8]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Unembedded:
    """The reads of a problem, image by image.

    bits: (k, R, n) uint8. kept: (k, R) bool, reads that count for the image; all True but with `discard`.
    chain_breaks: (k, n) float64, share of reads in which each chain is broken.
    """

    bits: BitArray
    kept: NDArray[np.bool_]
    chain_breaks: FloatArray


def unembed(
    physical: BitArray,
    tiling: Tiling,
    rule: Unembedding = Unembedding.MAJORITY_VOTE,
    *,
    seed: int = 0,
    spin: tuple[FloatArray, FloatArray] | None = None,
) -> Unembedded:
    """Units (k, R, n) of reads (R, A) uint8, whose columns are the tiling's qubits, rising.

    seed: of the draws of `weighted_random`.
    spin: h (k, n) and symmetric J (n, n) of the model in SPIN form, for `minimize_energy`.

    Raises:
        Corrupt: the reads have another number of qubits than the tiling.
    """
    if physical.ndim != 2 or physical.shape[1] != len(tiling.qubits):
        raise Corrupt(
            f"an answer has {physical.shape[-1]} qubits where its embedding has {len(tiling.qubits)}"
        )
    columns = np.argsort(np.argsort(tiling.qubits))
    counts = _count_on(np.ascontiguousarray(physical.T)[columns], tiling)
    lengths = tiling.lengths.astype(counts.dtype)[..., np.newaxis]
    broken = (counts > 0) & (counts < lengths)
    if rule is Unembedding.WEIGHTED_RANDOM:
        drawn = np.random.default_rng(seed).random(counts.shape)
        on = drawn * lengths < counts
    else:
        on = 2 * counts.astype(np.int32) >= lengths  # a draw is on, as in Ocean
    if rule is Unembedding.MINIMIZE_ENERGY and broken.any():
        if spin is None:
            raise ValueError("minimize_energy needs the model in SPIN form")
        _minimize(on, broken, *spin)
    kept = np.ones((tiling.tiles, len(physical)), dtype=np.bool_)
    if rule is Unembedding.DISCARD:
        kept &= ~broken.any(axis=1)
    bits = np.ascontiguousarray(on.transpose(0, 2, 1)).view(np.uint8)
    return Unembedded(bits, kept, broken.mean(axis=2))


def _count_on(rows: BitArray, tiling: Tiling) -> NDArray[np.integer]:
    """(k, n, R): how many qubits of each chain are on, from rows (T, R) in the tiling's order."""
    kind = np.uint8 if tiling.longest_chain < 256 else np.uint16
    counts = np.add.reduceat(rows, tiling.starts[:-1], axis=0, dtype=kind)
    return counts.reshape(tiling.tiles, tiling.units, rows.shape[1])


def _minimize(on: NDArray[np.bool_], broken: NDArray[np.bool_], h: FloatArray, J: FloatArray) -> None:
    """Set the broken units of (k, n, R), in place: the one with the largest local field first, and so on.

    The rule of `dwave.embedding.MinimizeEnergy`: broken units count for nothing until they are set.
    """
    tile, read = np.nonzero(broken.any(axis=1))
    open_units = broken[tile, :, read]
    spins = np.where(open_units, 0.0, 2.0 * on[tile, :, read] - 1.0)
    field = h[tile] + spins @ J
    rows = np.arange(len(tile))
    while len(rows):
        unit = np.where(open_units[rows], np.abs(field[rows]), -1.0).argmax(axis=1)
        value = np.where(field[rows, unit] > 0.0, -1.0, 1.0)
        spins[rows, unit] = value
        field[rows] += value[:, np.newaxis] * J[unit]
        open_units[rows, unit] = False
        rows = rows[open_units[rows].any(axis=1)]
    on[tile, :, read] = spins > 0.0
