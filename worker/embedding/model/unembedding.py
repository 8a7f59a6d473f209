"""From the qubits of an answer to the units of its images, as `dwave.embedding.unembed_sampleset` does it.

Broken chains are those whose qubits disagree. Eight reads share a byte: a majority vote is a few logical
operations on whole rows of bytes, for all chains of one length at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, reduce

import numpy as np
from numpy.typing import NDArray

from schema.codecs.tiling import Tiling
from schema.errors import Corrupt
from schema.parameters import Unembedding

BitArray = NDArray[np.uint8]
FloatArray = NDArray[np.float64]
IndexList = NDArray[np.intp]

# Transposing 8 x 8 bits, or bytes: rows so far apart exchange what is under the mask (Warren, Hacker's
# Delight, 7-3). The first bit of a byte is the highest, the first byte of a word the lowest.
_BITS = ((4, 0x0F0F0F0F0F0F0F0F), (2, 0x3333333333333333), (1, 0x5555555555555555))
_BYTES = ((4, 0x00000000FFFFFFFF), (2, 0x0000FFFF0000FFFF), (1, 0x00FF00FF00FF00FF))


@dataclass(frozen=True, eq=False)
class Unembedded:
    """The reads of a problem, image by image.

    bits: (k, R, n) uint8, a view of (k, n, R) in memory. kept: (k, R) bool, reads that count for the image;
    all True but with `discard`. chain_breaks: (k, n) float64, share of reads in which each chain is broken.
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
    """Units (k, R, n) of reads of the tiling's A qubits, rising.

    physical: (R, ceil(A / 8)) uint8, eight qubits to a byte, the first one highest.
    seed: of the draws of `weighted_random`.
    spin: h (k, n) and symmetric J (n, n) of the model in SPIN form, for `minimize_energy`.

    Raises:
        Corrupt: the reads have another number of qubits than the tiling.
    """
    qubits = len(tiling.qubits)
    if physical.ndim != 2 or physical.shape[1] != -(-qubits // 8):
        raise Corrupt(
            f"a read of {physical.shape[-1]} bytes does not hold the {qubits} qubits of its embedding"
        )
    reads = len(physical)
    rows = _transpose(physical)
    majority, broken = _vote(rows, tiling)
    kept = np.ones((tiling.tiles, reads), dtype=np.bool_)
    if rule is Unembedding.DISCARD:
        any_broken = np.bitwise_or.reduce(broken.reshape(tiling.tiles, tiling.units, -1), axis=1)
        kept &= np.unpackbits(any_broken, axis=1, count=reads) == 0
    bits = _unpack_reads(majority, reads, tiling)
    if rule is Unembedding.WEIGHTED_RANDOM:
        bits = _draw(np.unpackbits(physical, axis=1, count=qubits), tiling, seed)
    elif rule is Unembedding.MINIMIZE_ENERGY and broken.any():
        if spin is None:
            raise ValueError("minimize_energy needs the model in SPIN form")
        _minimize(bits, _unpack_reads(broken, reads, tiling).view(np.bool_), *spin)
    counts = np.bitwise_count(broken.view(np.uint64)).sum(axis=1, dtype=np.int64)
    return Unembedded(bits, kept, counts.reshape(tiling.tiles, tiling.units) / reads)


def _transpose(packed: BitArray) -> BitArray:
    """(R, W) bytes of eight qubits to (8 W, ceil(R / 64) * 8) bytes of eight reads, the first one highest."""
    reads, width = packed.shape
    groups, wide = -(-reads // 64) * 8, -(-width // 8) * 8
    padded = np.zeros((8, groups, wide), dtype=np.uint8)
    for place in range(8):
        rows = packed[place::8]
        padded[place, : len(rows), :width] = rows
    words = padded.view("<u8")
    for apart, mask in _BITS:
        _exchange(words.reshape(-1, 2, apart, groups * wide // 8)[:, ::-1], apart, mask)
    # Bytes of a qubit lie W apart by now: moving them one by one would take longer than all the rest.
    for apart, mask in _BYTES:
        _exchange(words.reshape(-1, 2, apart, wide // 8), 8 * apart, mask)
    blocks = words.reshape(8, groups // 8, 8, wide // 8).transpose(3, 2, 0, 1)
    return np.ascontiguousarray(blocks).view(np.uint8).reshape(-1, groups)[: 8 * width]


def _exchange(pairs: NDArray[np.uint64], shift: int, mask: int) -> None:
    """Of pairs of words (m, 2, apart, N): the first ones' bits that lie ``shift`` above the mask, with the
    second ones' bits under it.
    """
    above, under = pairs[:, 0], pairs[:, 1]
    changed = above >> np.uint64(shift)
    changed ^= under
    changed &= np.uint64(mask)
    under ^= changed
    changed <<= np.uint64(shift)
    above ^= changed


def _unpack_reads(rows: BitArray, reads: int, tiling: Tiling) -> BitArray:
    """(k n, >= ceil(R / 8)) bytes of eight reads each to bits (k, R, n), a view of (k, n, R) in memory."""
    bits = np.unpackbits(rows, axis=1, count=reads)
    return bits.reshape(tiling.tiles, tiling.units, reads).transpose(0, 2, 1)


@dataclass(frozen=True, eq=False)
class _Chains:
    """The chains of a tiling by falling length, and where their qubits lie among all, rising.

    places: (C,) of each chain in that order. columns: for each place in a chain, the qubits (m,) of those m
    that are so long. half, full: of the m chains with several qubits, half the length, rounded up, and the
    length; for each binary digit, the lowest first, (m, 1) uint8 of all ones or none.
    """

    places: IndexList
    columns: list[IndexList]
    half: list[BitArray]
    full: list[BitArray]


@lru_cache(maxsize=64)
def _chains(tiling: Tiling) -> _Chains:
    rank = np.argsort(np.argsort(tiling.qubits))
    lengths = tiling.lengths.ravel()
    order = np.argsort(-lengths, kind="stable")
    columns = []
    for place in range(int(lengths.max())):
        longer = order[: int((lengths > place).sum())]
        columns.append(rank[tiling.starts[longer] + place])
    several = lengths[order][: int((lengths > 1).sum()), np.newaxis]
    digits = range(len(columns).bit_length())
    half, full = ([_all_ones(n >> digit & 1) for digit in digits] for n in ((several + 1) // 2, several))
    return _Chains(np.argsort(order), columns, half, full)


def _all_ones(bits: NDArray[np.integer]) -> BitArray:
    return (bits * 0xFF).astype(np.uint8)


def _vote(rows: BitArray, tiling: Tiling) -> tuple[BitArray, BitArray]:
    """Majority of each chain, on in a draw as in Ocean, and whether it is broken; both (k n, bytes).

    The qubits that are on are counted in binary, one array for each digit, for all chains at once.
    """
    chains = _chains(tiling)
    majority = rows.take(chains.columns[0], axis=0)
    broken = np.zeros_like(majority)
    if len(chains.columns) > 1:
        several = len(chains.columns[1])
        digits = [majority[:several].copy()]
        for place, columns in enumerate(chains.columns[1:], start=2):
            _add(digits, rows.take(columns, axis=0), most=place)
        majority[:several] = _at_least(digits, chains.half)
        broken[:several] = reduce(np.bitwise_or, digits) & ~_equal(digits, chains.full)
    return majority.take(chains.places, axis=0), broken.take(chains.places, axis=0)


def _add(digits: list[BitArray], carry: BitArray, most: int) -> None:
    """Add bits (m, bytes) to the first m of the counts, which are ``most`` at most afterwards."""
    m = len(carry)
    for digit in digits:
        both = digit[:m] & carry
        digit[:m] ^= carry
        carry = both
    if len(digits) < most.bit_length():
        highest = np.zeros_like(digits[0])
        highest[:m] = carry
        digits.append(highest)


def _equal(digits: list[BitArray], numbers: list[BitArray]) -> BitArray:
    """Where the counts are these numbers."""
    return ~reduce(np.bitwise_or, (digit ^ wanted for digit, wanted in zip(digits, numbers, strict=True)))


def _at_least(digits: list[BitArray], least: list[BitArray]) -> BitArray:
    """Where the counts reach ``least``: they do unless the highest digit that differs is lower."""
    reached = np.full_like(digits[0], 0xFF)
    for digit, needed in zip(digits, least, strict=True):
        reached &= digit | ~needed
        reached |= digit & ~needed
    return reached


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
