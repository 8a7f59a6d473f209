"""Where each term of a model goes on a chip: computed once for a tiling, then arrays only.

The biases are those of `dwave.embedding.embed_bqm`: a unit's h is shared evenly by the qubits of its chain,
an edge's J evenly by the couplers between two chains, and every coupler within a chain gets minus the chain
strength.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schema.codecs.tiling import Tiling
from schema.errors import Refused
from worker.embedding.model.graphs import Interactions, SolverGraph

FloatArray = NDArray[np.float64]
IndexList = NDArray[np.intp]

_CHAIN = -1
_IDLE = -2


@dataclass(frozen=True, eq=False)
class Placement:
    """A tiling on a chip, seen from the chip's own lists.

    active: (A,) int32, the qubits in use, rising: the columns of the solver's answers.
    columns: (T,) intp, the column of each chained qubit, in the tiling's order.
    slots: (T,) intp, where in the solver's list of qubits it stands.
    owners: (T,) intp, which chain it is in: tile * n + unit. shares: (T,) float64, 1 / length of that chain.
    terms: (P,) intp, for each coupler between qubits in use, in the solver's order: the edge that it serves,
        -1 within a chain, -2 where it serves none.
    parts: (P,) float64, 1 / number of couplers that serve that edge in that tile; 0 where there is none.
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

    def linear(self, h: FloatArray) -> FloatArray:
        """Biases (Q,) float64 in the solver's order of qubits, NaN where not in use, for h (k, n)."""
        biases = np.full(len(self.graph.qubits), np.nan)
        biases[self.slots] = h.ravel()[self.owners] * self.shares
        return biases

    def quadratic(self, J: FloatArray, chain_strength: float) -> FloatArray:
        """Couplings (P,) float64 of the couplers between qubits in use, for J (m,) and a chain strength."""
        values = J[np.maximum(self.terms, 0)] * self.parts
        values[self.terms == _CHAIN] = -chain_strength
        return values


def place_tiling(graph: SolverGraph, interactions: Interactions, tiling: Tiling) -> Placement:
    """The placement of a tiling of these interactions.

    Raises:
        Refused: the tiling has other units, uses a qubit that does not work, or an edge has no coupler.
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
    terms, parts = _assign(graph, interactions, tiling, owner_of)
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
    )


def _assign(
    graph: SolverGraph, interactions: Interactions, tiling: Tiling, owner_of: IndexList
) -> tuple[IndexList, FloatArray]:
    """What each coupler between qubits in use serves, and its part of it."""
    n, m = tiling.units, len(interactions.edges)
    ends = owner_of[graph.couplers]
    ends = ends[(ends >= 0).all(axis=1)]
    low, high = np.sort(ends, axis=1).T
    tile = low // n
    joins = tile == high // n
    edge_of = np.full(n * n, _IDLE, dtype=np.intp)
    edge_of[interactions.edges[:, 0].astype(np.intp) * n + interactions.edges[:, 1]] = np.arange(m)
    terms = np.where(joins, edge_of[(low % n) * n + high % n], _IDLE)
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
