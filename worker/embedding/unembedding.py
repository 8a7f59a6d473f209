"""From the qubits of an answer to the units of its images, as `dwave.embedding.unembed_sampleset` does it.

Broken chains are those whose qubits disagree. Eight reads share a byte: a majority vote is a few logical
operations on whole rows of bytes, for all chains of one length at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from schema.errors import Corrupt
from schema.parameters import Unembedding
from schema.tiling import Tiling

BitArray = NDArray[np.uint8]
FloatArray = NDArray[np.float64]
IndexList = NDArray[np.intp]

# Shifts and masks that transpose an 8 x 8 bit matrix held in 64 bits (Warren, Hacker's Delight, 7-3).
_SWAPS = ((7, 0x00AA00AA00AA00AA), (14, 0x0000CCCC0000CCCC), (28, 0x00000000F0F0F0F0))


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
    reads = len(physical)
    rows = _pack_reads(physical)
    majority, broken = _vote(rows, tiling)
    kept = np.ones((tiling.tiles, reads), dtype=np.bool_)
    if rule is Unembedding.DISCARD:
        any_broken = np.bitwise_or.reduce(broken.reshape(tiling.tiles, tiling.units, -1), axis=1)
        kept &= np.unpackbits(any_broken, axis=1, count=reads) == 0
    bits = _unpack_reads(majority, reads, tiling)
    if rule is Unembedding.WEIGHTED_RANDOM:
        bits = _draw(physical, tiling, seed)
    elif rule is Unembedding.MINIMIZE_ENERGY and broken.any():
        if spin is None:
            raise ValueError("minimize_energy needs the model in SPIN form")
        _minimize(bits, _unpack_reads(broken, reads, tiling).view(np.bool_), *spin)
    counts = np.bitwise_count(broken).sum(axis=1, dtype=np.int64)
    return Unembedded(bits, kept, counts.reshape(tiling.tiles, tiling.units) / reads)


def _pack_reads(bits: BitArray) -> BitArray:
    """(R, A) bits to (A, ceil(R / 8)) bytes that hold eight reads of a qubit each, the first one highest."""
    reads, columns = bits.shape
    packed = np.zeros((-(-reads // 8) * 8, -(-columns // 8)), dtype=np.uint8)
    packed[:reads] = np.packbits(bits, axis=1)
    blocks = packed.reshape(-1, 8, packed.shape[1]).transpose(0, 2, 1)
    words = np.ascontiguousarray(blocks).view(">u8").astype(np.uint64)[..., 0]
    for shift, mask in _SWAPS:
        swapped = (words ^ (words >> np.uint64(shift))) & np.uint64(mask)
        words ^= swapped ^ (swapped << np.uint64(shift))
    rows = words[..., np.newaxis].astype(">u8").view(np.uint8).reshape(len(words), -1)
    return np.ascontiguousarray(rows.T[:columns])


def _unpack_reads(rows: BitArray, reads: int, tiling: Tiling) -> BitArray:
    """(k n, ceil(R / 8)) bytes of eight reads each to bits (k, R, n)."""
    bits = np.unpackbits(rows, axis=1, count=reads)
    return np.ascontiguousarray(bits.reshape(tiling.tiles, tiling.units, reads).transpose(0, 2, 1))


def _vote(rows: BitArray, tiling: Tiling) -> tuple[BitArray, BitArray]:
    """Majority of each chain, on in a draw as in Ocean, and whether it is broken; both (k n, bytes)."""
    majority = np.empty((tiling.lengths.size, rows.shape[1]), dtype=np.uint8)
    broken = np.empty_like(majority)
    for chains, columns in _by_length(tiling):
        qubits = [rows[column] for column in columns]
        on_all, on_any = qubits[0].copy(), qubits[0].copy()
        for one in qubits[1:]:
            on_all &= one
            on_any |= one
        broken[chains] = on_any & ~on_all
        majority[chains] = on_any if len(qubits) <= 2 else _at_least(qubits, -(-len(qubits) // 2))
    return majority, broken


def _at_least(rows: list[BitArray], least: int) -> BitArray:
    """Where at least so many of the rows are on: counted in binary, one row for each digit of the counts."""
    digits: list[BitArray] = []
    for row in rows:
        carry = row
        for place, digit in enumerate(digits):
            digits[place], carry = digit ^ carry, digit & carry
        if len(digits) < len(rows).bit_length():
            digits.append(carry)
    more = np.zeros_like(rows[0])
    equal = ~more
    for place in reversed(range(len(digits))):
        if least >> place & 1:
            equal &= digits[place]
        else:
            more |= equal & digits[place]
            equal &= ~digits[place]
    return more | equal


@lru_cache(maxsize=64)
def _by_length(tiling: Tiling) -> list[tuple[IndexList, IndexList]]:
    """Chains (G,) of each length L, and the columns (L, G) of their qubits among all, rising."""
    columns = np.argsort(np.argsort(tiling.qubits))
    lengths = tiling.lengths.ravel()
    groups = []
    for length in np.unique(lengths):
        chains = np.flatnonzero(lengths == length)
        places = tiling.starts[chains] + np.arange(length)[:, np.newaxis]
        groups.append((chains, columns[places]))
    return groups


def _draw(physical: BitArray, tiling: Tiling, seed: int) -> BitArray:
    """Each unit on with the share of its qubits that are on, (k, R, n)."""
    columns = np.argsort(np.argsort(tiling.qubits))
    counts = np.add.reduceat(physical[:, columns], tiling.starts[:-1], axis=1, dtype=np.int32)
    drawn = np.random.default_rng(seed).random(counts.shape)
    on = drawn * tiling.lengths.ravel() < counts
    bits = on.reshape(len(physical), tiling.tiles, tiling.units).transpose(1, 0, 2)
    return np.ascontiguousarray(bits).view(np.uint8)


def _minimize(bits: BitArray, broken: NDArray[np.bool_], h: FloatArray, J: FloatArray) -> None:
    """Set the broken units of (k, R, n), in place: the one with the largest local field first, and so on.

    The rule of `dwave.embedding.MinimizeEnergy`: broken units count for nothing until they are set.
    """
    tile, read = np.nonzero(broken.any(axis=2))
    open_units = broken[tile, read]
    spins = np.where(open_units, 0.0, 2.0 * bits[tile, read] - 1.0)
    field = h[tile] + spins @ J
    rows = np.arange(len(tile))
    while len(rows):
        unit = np.where(open_units[rows], np.abs(field[rows]), -1.0).argmax(axis=1)
        value = np.where(field[rows, unit] > 0.0, -1.0, 1.0)
        spins[rows, unit] = value
        field[rows] += value[:, np.newaxis] * J[unit]
        open_units[rows, unit] = False
        rows = rows[open_units[rows].any(axis=1)]
    bits[tile, read] = spins > 0.0
