"""Unembedding, as of `dwave.embedding.unembed_sampleset`: from reads of qubits to values of units.

A chain is broken in a read if its qubits disagree. Reads arrive packed, eight qubits to a byte. They are
transposed to eight reads to a byte, so that a majority vote is a few bitwise operations on rows of bytes: the
qubits of a chain that are on are counted in binary, one row for each binary digit ("bit slicing"), and the
counts are compared with half the length. All chains are counted at once, longest first.

Ties are on, as in Ocean.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, reduce
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from schema.codecs.tiling import Tiling
from schema.errors import Corrupt
from schema.parameters import Unembedding
from worker.qubo.exact_sums import summable

BitArray = NDArray[np.uint8]
FloatArray = NDArray[np.float64]
IndexList = NDArray[np.intp]

# Distances of the rows of 8 x 8 bits, or bytes, that exchange values, and the masks of these. The first bit
# of a byte is the highest, the first byte of a word the lowest.
_BITS = ((4, 0x0F0F0F0F0F0F0F0F), (2, 0x3333333333333333), (1, 0x5555555555555555))
_BYTES = ((4, 0x00000000FFFFFFFF), (2, 0x0000FFFF0000FFFF), (1, 0x00FF00FF00FF00FF))
_BLOCK_BYTES = 1 << 19  # of local fields at a time: they stay in the cache
_SIZE, _AFTER_INF = np.uint32(0x7FFFFFFF), np.uint32(0x00800000)  # of the bits of a float32


@dataclass(frozen=True, eq=False)
class Unembedded:
    """The reads of a problem, image by image.

    Attributes:
        bits: (k, R, n) uint8 in {0, 1}, values of units; a view of (k, n, R) in memory.
        counted: (k, R) bool, reads that count for the image; False only with the rule `discard`.
        chain_breaks: (k, n) float64, share of the reads in which each chain is broken.
    """

    bits: BitArray
    counted: NDArray[np.bool_]
    chain_breaks: FloatArray


def unembed(
    physical: BitArray,
    tiling: Tiling,
    rule: Unembedding = Unembedding.MAJORITY_VOTE,
    *,
    seed: int = 0,
    spin: tuple[FloatArray, FloatArray] | None = None,
) -> Unembedded:
    """Return the values of units from the reads of a tiling's qubits.

    Args:
        physical: (R, ceil(A / 8)) uint8, reads of the A qubits of ``tiling``, ascending; eight qubits to a
            byte, the first one in the highest bit.
        tiling: chains of n units in each of k tiles.
        rule: for broken chains. ``majority_vote``; ``discard``: majority vote, and the read does not count
            for an image of which a chain is broken; ``weighted_random``: on with the probability that is the
            share of qubits that are on; ``minimize_energy``: broken units are set one after the other to
            lower the energy.
        seed: of the random choices of ``weighted_random``.
        spin: h (k, n) and symmetric J (n, n) of the model in SPIN form, for ``minimize_energy``.

    Raises:
        Corrupt: the reads have another number of qubits than the tiling.

    Examples:
        Two reads of one tile with the chains 0-1-2 and 3; in the second read the first chain is broken:

        >>> reads = np.packbits(np.array([[1, 1, 1, 0], [1, 0, 0, 1]], dtype=np.uint8), axis=1)
        >>> out = unembed(reads, Tiling.from_chains([[[0, 1, 2], [3]]]))
        >>> out.bits.tolist(), out.chain_breaks.tolist()
        ([[[1, 0], [0, 1]]], [[0.5, 0.0]])
    """
    qubits = len(tiling.qubits)
    if physical.ndim != 2 or physical.shape[1] != -(-qubits // 8):
        raise Corrupt(
            f"a read of {physical.shape[-1]} bytes does not hold the {qubits} qubits of its embedding"
        )
    reads = len(physical)
    rows = _transpose(physical)
    majority, broken = _majority(rows, tiling)
    counted = np.ones((tiling.tiles, reads), dtype=np.bool_)
    if rule is Unembedding.DISCARD:
        any_broken = np.bitwise_or.reduce(broken.reshape(tiling.tiles, tiling.units, -1), axis=1)
        counted &= np.unpackbits(any_broken, axis=1, count=reads) == 0
    bits = _unpack_reads(majority, reads, tiling)
    if rule is Unembedding.WEIGHTED_RANDOM:
        bits = _weighted_random(np.unpackbits(physical, axis=1, count=qubits), tiling, seed)
    elif rule is Unembedding.MINIMIZE_ENERGY and broken.any():
        if spin is None:
            raise ValueError("minimize_energy needs the model in SPIN form")
        _minimize_energy(bits, _unpack_reads(broken, reads, tiling).view(np.bool_), *spin)
    counts = np.bitwise_count(broken.view(np.uint64)).sum(axis=1, dtype=np.int64)
    return Unembedded(bits, counted, counts.reshape(tiling.tiles, tiling.units) / reads)


def _transpose(packed: BitArray) -> BitArray:
    """Transpose bits: (R, W) bytes of eight qubits to (8 W, ceil(R / 64) * 8) bytes of eight reads.

    The first qubit or read is in the highest bit. Blocks of 8 x 8 bits in words of 64 are transposed by three
    exchanges (Warren, Hacker's Delight, 2nd edition, 7-3), then blocks of bytes in the same way.
    """
    reads, width = packed.shape
    groups, wide = -(-reads // 64) * 8, -(-width // 8) * 8
    padded = np.zeros((8, groups, wide), dtype=np.uint8)
    for place in range(8):
        rows = packed[place::8]
        padded[place, : len(rows), :width] = rows
    words = padded.view("<u8")
    for apart, mask in _BITS:
        _swap_bits(words.reshape(-1, 2, apart, groups * wide // 8)[:, ::-1], apart, mask)
    # Bytes of a qubit lie W apart by now: moving them one by one would take longer than all the rest.
    for apart, mask in _BYTES:
        _swap_bits(words.reshape(-1, 2, apart, wide // 8), 8 * apart, mask)
    blocks = words.reshape(8, groups // 8, 8, wide // 8).transpose(3, 2, 0, 1)
    return np.ascontiguousarray(blocks).view(np.uint8).reshape(-1, groups)[: 8 * width]


def _swap_bits(pairs: NDArray[np.uint64], shift: int, mask: int) -> None:
    """Exchange, in ``pairs`` of words (m, 2, apart, N), bits of the first with bits of the second, in place.

    Those of the first lie ``shift`` bits above ``mask``, those of the second under it.
    """
    above, under = pairs[:, 0], pairs[:, 1]
    changed = above >> np.uint64(shift)
    changed ^= under
    changed &= np.uint64(mask)
    under ^= changed
    changed <<= np.uint64(shift)
    above ^= changed


def _unpack_reads(rows: BitArray, reads: int, tiling: Tiling) -> BitArray:
    """Unpack (k n, >= ceil(R / 8)) bytes of eight reads to bits (k, R, n), a view of (k, n, R) in memory."""
    bits = np.unpackbits(rows, axis=1, count=reads)
    return bits.reshape(tiling.tiles, tiling.units, reads).transpose(0, 2, 1)


@dataclass(frozen=True, eq=False)
class _VoteChains:
    """The C chains of a tiling by descending length, for counting.

    Attributes:
        places: (C,) index of each of the tiling's chains in that order.
        columns: for each position in a chain, the columns (m,) of the qubits of the m chains that are that
            long.
        half: half the length, rounded up, of the m chains of several qubits; for each binary digit, the
            lowest first, (m, 1) uint8 of all ones or none.
        full: the same of the length.
    """

    places: IndexList
    columns: list[IndexList]
    half: list[BitArray]
    full: list[BitArray]


@lru_cache(maxsize=64)
def _vote_chains(tiling: Tiling) -> _VoteChains:
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
    return _VoteChains(np.argsort(order), columns, half, full)


def _all_ones(bits: NDArray[np.integer]) -> BitArray:
    return (bits * 0xFF).astype(np.uint8)


def _majority(rows: BitArray, tiling: Tiling) -> tuple[BitArray, BitArray]:
    """Return the majority of each chain, and whether it is broken; both (k n, bytes)."""
    chains = _vote_chains(tiling)
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
    """Add bits (m, bytes) to the first m of the counts, which are at most ``most`` afterwards."""
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
    """Return where the counts are these numbers."""
    return ~reduce(np.bitwise_or, (digit ^ number for digit, number in zip(digits, numbers, strict=True)))


def _at_least(digits: list[BitArray], least: list[BitArray]) -> BitArray:
    """Return where the counts reach ``least``: unless the highest digit that differs is lower."""
    reached = np.full_like(digits[0], 0xFF)
    for digit, needed in zip(digits, least, strict=True):
        reached &= digit | ~needed
        reached |= digit & ~needed
    return reached


def _weighted_random(physical: BitArray, tiling: Tiling, seed: int) -> BitArray:
    """Return units (k, R, n), each on with the share of its qubits that are on."""
    columns = np.argsort(np.argsort(tiling.qubits))
    counts = np.add.reduceat(physical[:, columns], tiling.starts[:-1], axis=1, dtype=np.int32)
    drawn = np.random.default_rng(seed).random(counts.shape)
    on = drawn * tiling.lengths.ravel() < counts
    bits = on.reshape(len(physical), tiling.tiles, tiling.units).transpose(1, 0, 2)
    return np.ascontiguousarray(bits).view(np.uint8)


def _minimize_energy(bits: BitArray, broken: NDArray[np.bool_], h: FloatArray, J: FloatArray) -> None:
    """Set the broken units of (k, R, n), in place: those with the largest local field first.

    This is the rule of `dwave.embedding.MinimizeEnergy`: broken units count 0 until they are set. Fields have
    the same bits on all machines.
    """
    reads, units = bits.shape[1:]
    linear = h.astype(np.float32)
    couplings = summable(J, np.abs(J).sum(axis=1).max(), np.float32).astype(np.float32)
    spins = (2 * bits.view(np.int8) - np.int8(1)) * ~broken
    count = broken.sum(axis=2, dtype=np.int16).ravel()
    # Reads with the most broken units come first. Numbers of 16 bits are sorted in linear time.
    order = np.argsort(-count, kind="stable")[: np.count_nonzero(count)]
    step = max(1, _BLOCK_BYTES // (4 * units))
    for start in range(0, len(order), step):
        rows = order[start : start + step]
        tile, read = np.divmod(rows, reads)
        known = spins[tile, read]
        fields = known.astype(np.float32) @ couplings
        fields += linear[tile]
        fields = np.where(known == 0, fields, np.float32(-np.inf))
        states = (known > 0).view(np.uint8)
        _set_in_order(states, fields, count[rows], couplings)
        bits[tile, read] = states


def _set_in_order(
    states: BitArray, fields: NDArray[np.float32], count: NDArray[np.int16], J: NDArray[np.float32]
) -> None:
    """Set the broken units of N reads in ``states`` (N, n), in place.

    Args:
        fields: (N, n) their local fields while all of them count 0, -inf where a unit is not broken; they are
            changed.
        count: (N,) how many of the units are broken, descending.
        J: (n, n) symmetric.
    """
    changes = np.concatenate((J, -J))  # of all fields by a unit that is set to 1, or to -1
    sizes, added = np.empty(fields.shape, np.uint32), np.empty_like(fields)
    values, flat = states.ravel(), fields.ravel()
    starts = np.arange(0, fields.size, len(J))
    left = np.bincount(count)[::-1].cumsum()[::-1]  # number of reads with at least that many broken units
    for active, more in pairwise((*left[1:].tolist(), 0)):
        # Floats above 0 have the order of the integers of the same bits. What follows inf is negative, so
        # units that are set come last.
        np.bitwise_and(fields[:active].view(np.uint32), _SIZE, out=sizes[:active])
        sizes[:active] += _AFTER_INF
        chosen = sizes[:active].view(np.int32).argmax(axis=1)
        places = starts[:active] + chosen
        is_on = flat.take(places) <= 0.0
        values[places] = is_on
        flat[places] = -np.inf
        # The fields of reads without any other broken unit are not needed any more.
        chosen += len(J) * ~is_on
        changes.take(chosen[:more], axis=0, out=added[:more], mode="clip")
        fields[:more] += added[:more]
