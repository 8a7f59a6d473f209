"""Biases of a model on a chip: indices are computed once for each tiling, then there are arrays only.

The result is that of `dwave.embedding.embed_bqm`, but for what `chain_biases` adds. A unit's linear bias h is
shared evenly by the qubits of its chain, a quadratic bias J evenly by all couplers between the two chains,
and each coupler within a chain gets minus the chain strength.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from schema.codecs.tiling import Tiling
from schema.errors import Refused
from worker.embedding.model.graphs import Interactions, SolverGraph

FloatArray = NDArray[np.float64]
IndexList = NDArray[np.intp]
Values = TypeVar("Values", FloatArray, IndexList)

_CHAIN = -1
_UNUSED = -2


@dataclass(frozen=True, eq=False)
class Placement:
    """A tiling on a chip, in the order of the solver's own lists.

    Attributes:
        graph: the chip, with Q qubits.
        tiling: k tiles of n units.
        active: (A,) int32, the qubits in use, ascending: the columns of the solver's answers.
        columns: (T,) intp, the column of each qubit of a chain, in the tiling's order.
        slots: (T,) intp, the position of that qubit in the solver's list.
        owners: (T,) intp, its chain: tile * n + unit.
        shares: (T,) float64, 1 / length of that chain.
        terms: (P,) intp, for each coupler between qubits in use, in the solver's order: the edge that it
            serves, -1 within a chain, -2 if it is not used.
        parts: (P,) float64, 1 / number of couplers that serve that edge in that tile; 0 if it serves none.
        couplers: (P, 2) intp, the two qubits of each of these couplers.
    """

    graph: SolverGraph
    tiling: Tiling
    active: NDArray[np.int32]
    columns: IndexList
    slots: IndexList
    owners: IndexList
    shares: FloatArray
    terms: IndexList
    parts: FloatArray
    couplers: IndexList

    @cached_property
    def chains(self) -> IndexList:
        """Return (P, 2) intp: the chains that each coupler between qubits in use joins, as in ``owners``."""
        owner = np.empty(len(self.active), np.intp)
        owner[self.columns] = self.owners
        return owner[np.searchsorted(self.active, self.couplers)]

    @property
    def is_used(self) -> NDArray[np.bool_]:
        """Return (P,) bool: whether each of ``couplers`` serves an edge or a chain."""
        return np.asarray(self.terms != _UNUSED)

    def linear(self, h: FloatArray, balance: FloatArray | float = 0.0) -> FloatArray:
        """Return linear biases (Q,) float64 in the solver's order, NaN if unused, for ``h`` (k, n).

        To the even share of each qubit of a chain ``balance`` (T,) is added, see `chain_biases`.
        """
        biases = self._unused.copy()
        values = h.ravel().take(self.owners)
        values *= self.shares
        values += balance
        biases[self.slots] = values
        return biases

    @cached_property
    def _unused(self) -> FloatArray:
        return np.full(len(self.graph.qubits), np.nan)

    def quadratic(self, J: FloatArray, chain_strength: float) -> FloatArray:
        """Return quadratic biases (P,) float64 of couplers in use, for ``J`` (m,) and ``chain_strength``."""
        values = J[np.maximum(self.terms, 0)] * self.parts
        values[self.terms == _CHAIN] = -chain_strength
        return values

    def turned(self, first: int) -> Placement:
        """Return the same qubits and couplers with the first image on tile ``first``, the next on the next.

        The first tile follows the last. Arrays of T qubits are rolled, as `Placement.roll` rolls others.
        """
        tiling = self.tiling.span(first, self.tiling.tiles)
        return replace(
            self,
            tiling=tiling,
            columns=self.roll(self.columns, first),
            slots=self.roll(self.slots, first),
            owners=np.repeat(np.arange(tiling.lengths.size), tiling.lengths.ravel()),
            shares=self.roll(self.shares, first),
        )

    def roll(self, values: Values, first: int) -> Values:
        """Return ``values`` (T,) in the order of qubits of `turned`."""
        return np.roll(values, -int(self.tiling.starts[first * self.tiling.units]))


def place_tiling(graph: SolverGraph, interactions: Interactions, tiling: Tiling) -> Placement:
    """Return the placement of a tiling on a chip.

    Args:
        graph: the chip.
        interactions: the model's n units and m edges.
        tiling: chains of n units in each of k tiles.

    Raises:
        Refused: the tiling has another number of units, uses a qubit that does not work, or an edge has no
            coupler.

    Examples:
        Two units on a chip of three qubits in a line; unit 0 has a chain of two:

        >>> graph = SolverGraph("line", "1", "zephyr", (1, 4), 48, np.arange(3), np.array([[0, 1], [1, 2]]))
        >>> pair = Interactions((2,), np.array([[0, 1]]), "pair")
        >>> placement = place_tiling(graph, pair, Tiling.from_chains([[[0, 1], [2]]]))
        >>> placement.linear(np.array([[1.0, 0.5]])).tolist()
        [0.5, 0.5, 0.5]
        >>> placement.quadratic(np.array([-0.25]), chain_strength=2.0).tolist()
        [-2.0, -0.25]
    """
    if tiling.units != interactions.units:
        raise Refused(f"the embedding has {tiling.units} units, the model {interactions.units}")
    if tiling.qubits.max() >= graph.size or not graph.working[tiling.qubits].all():
        raise Refused(f"the embedding uses qubits that do not work on {graph.name} ({graph.graph_id})")
    lengths = tiling.lengths.ravel()
    owners = np.repeat(np.arange(len(lengths)), lengths)
    owner_of = np.full(graph.size, -1, dtype=np.intp)
    owner_of[tiling.qubits] = owners
    slot_of = np.zeros(graph.size, dtype=np.intp)
    slot_of[graph.qubits] = np.arange(len(graph.qubits))
    active = np.sort(tiling.qubits)
    couplers = graph.couplers[(owner_of[graph.couplers] >= 0).all(axis=1)].astype(np.intp)
    terms, parts = _assign(interactions, tiling, owner_of[couplers])
    return Placement(
        graph=graph,
        tiling=tiling,
        active=active,
        columns=np.searchsorted(active, tiling.qubits),
        slots=slot_of[tiling.qubits],
        owners=owners,
        shares=1.0 / np.repeat(lengths, lengths),
        terms=terms,
        parts=parts,
        couplers=couplers,
    )


def choose_tile(image: int, count: int, earlier: Iterable[tuple[int, int, int]], tiles: int) -> int:
    """Return the tile for the first of ``count`` images from ``image`` on; the others lie on the next tiles.

    No image lies on a tile that it lay on in the ``earlier`` problems (first image, count, first tile), while
    any of the ``tiles`` is left; then on those that it lay on least often.

    >>> choose_tile(0, 3, [], tiles=3)
    0
    >>> choose_tile(2, 1, [(0, 3, 0), (2, 1, 0)], tiles=3)  # image 2 lay on tile 2, then on tile 0
    1
    """
    used = Counter(
        (tile + image - first) % tiles
        for first, number, tile in earlier
        if first < image + count and image < first + number
    )
    return min(range(tiles), key=lambda tile: used[tile])


def _assign(interactions: Interactions, tiling: Tiling, owners: IndexList) -> tuple[IndexList, FloatArray]:
    """Return which edge each coupler serves, and its part of it; it joins the chains ``owners`` (P, 2)."""
    n, m = tiling.units, len(interactions.edges)
    low, high = np.sort(owners, axis=1).T
    tile = low // n
    joins = tile == high // n
    edge_of = np.full(n * n, _UNUSED, dtype=np.intp)
    edge_of[interactions.edges[:, 0].astype(np.intp) * n + interactions.edges[:, 1]] = np.arange(m)
    terms = np.where(joins, edge_of[(low % n) * n + high % n], _UNUSED)
    terms[low == high] = _CHAIN
    serves = terms >= 0
    served = tile[serves] * m + terms[serves]
    counts = np.bincount(served, minlength=tiling.tiles * m)
    if not counts.all():
        missing = int(np.flatnonzero(counts == 0)[0])
        i, j = interactions.edges[missing % m]
        raise Refused(f"in tile {missing // m} no working coupler joins units {i} and {j}")
    parts = np.zeros(len(terms))
    parts[serves] = 1.0 / counts[served]
    return terms, parts
