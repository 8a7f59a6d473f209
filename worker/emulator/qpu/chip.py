"""Working graphs: the qubits and couplers of a chip that can be programmed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from schema.errors import ParameterError

if TYPE_CHECKING:
    from networkx import Graph  # type: ignore[import-untyped] # it has no types

IndexArray = NDArray[np.int32]

_ATTEMPTS = 100_000
# Smallest sizes the graph library can draw, and the largest one that is worth its memory.
SIZES = {"chimera": (1, 32), "pegasus": (2, 24), "zephyr": (1, 18)}


@dataclass(frozen=True)
class Design:
    """The description of a chip before its dead qubits are drawn.

    Attributes:
        topology: chimera (4 qubits a shore), pegasus, or zephyr (tile 4).
        size: m of the lattice, as in P16.
        dead: number of qubits that do not work.
        missing: number of couplers that do not work although both their qubits do.
        couplers: number of couplers that work in the end; ``missing`` then follows from it.

    Raises:
        ParameterError: the lattice cannot be made, or too little of it would work.
    """

    topology: str
    size: int
    dead: int = 0
    missing: int = 0
    couplers: int | None = None

    def __post_init__(self) -> None:
        if self.topology not in SIZES:
            raise ParameterError(f"unknown topology {self.topology!r}; available: {', '.join(SIZES)}")
        low, high = SIZES[self.topology]
        if not low <= self.size <= high:
            raise ParameterError(f"{self.topology} goes from size {low} to {high}, not {self.size}")
        if self.dead < 0 or self.missing < 0:
            raise ParameterError(f"dead and missing must be 0 or more, not {self.dead} and {self.missing}")


@dataclass(frozen=True, eq=False)
class EmulatedChip:
    """The working graph of a chip.

    Attributes:
        size: qubits of the whole lattice, working or not; indices are below it.
        qubits: (Q,) int32, ascending.
        couplers: (M, 2) int32, i < j, ascending.
    """

    topology: str
    shape: tuple[int, ...]
    size: int
    qubits: IndexArray
    couplers: IndexArray

    @cached_property
    def graph_id(self) -> str:
        """Return ten hexadecimal digits that follow from the working graph alone."""
        digest = hashlib.sha256(f"{self.topology}{self.shape}{self.size}".encode())
        digest.update(np.ascontiguousarray(self.qubits, "<i4").tobytes())
        digest.update(np.ascontiguousarray(self.couplers, "<i4").tobytes())
        return digest.hexdigest()[:10]

    @cached_property
    def ends(self) -> IndexArray:
        """Return the couplers as positions in ``qubits``, (M, 2) int32."""
        return np.searchsorted(self.qubits, self.couplers).astype(np.int32)

    @cached_property
    def groups(self) -> IndexArray | None:
        """Return the group, 0 or 1, that each coupler belongs to at its two qubits, (M, 2) int32.

        D-Wave limits the sum of J in each of a Zephyr qubit's two groups; on other topologies the sum at the
        qubit (None).
        """
        if self.topology != "zephyr":
            return None
        here, there = self._coordinates(self.couplers), self._coordinates(self.couplers[:, ::-1])
        u, _, _, j, z = here
        other_u, other_w, _, other_j, other_z = there
        external, odd = (other_z - z) // 2, z + j - other_z
        groups = np.where(u != other_u, 2 * z + j + 1 - other_w, np.where(j != other_j, odd, external)) % 2
        return np.asarray(groups, np.int32)

    def _coordinates(self, qubits: IndexArray) -> list[IndexArray]:
        """Return the Zephyr coordinates u, w, k, j, z of linear indices ``qubits``."""
        rest, coordinates = qubits, []
        for size in (self.shape[0], 2, self.shape[1], 2 * self.shape[0] + 1, 2):
            rest, coordinate = np.divmod(rest, size)
            coordinates.append(coordinate)
        return coordinates[::-1]


def make(design: Design, seed: int, generation: int = 0) -> EmulatedChip:
    """Make the chip of a ``design``; ``seed`` and ``generation`` decide which qubits are dead.

    Args:
        design: topology, size, and numbers of dead qubits and couplers.
        seed: start of the random stream.
        generation: 0 at first, one more for each change of the working graph; an ideal chip then loses a
            qubit.

    Raises:
        ParameterError: the design leaves nothing that works.
    """
    graph = _lattice(design)
    qubits = np.array(sorted(graph.nodes), np.int32)
    couplers = np.array(sorted((min(edge), max(edge)) for edge in graph.edges), np.int32)
    random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(generation,)))
    dead = max(design.dead, 1) if generation else design.dead
    qubits, couplers = _without_dead(design, qubits, couplers, dead, random)
    missing = design.missing if design.couplers is None else len(couplers) - design.couplers
    if missing >= len(couplers):
        raise ParameterError(f"{missing:,} of {len(couplers):,} couplers missing leaves none")
    working = np.sort(random.permutation(len(couplers))[missing:])
    return EmulatedChip(design.topology, _shape(design), _lattice_size(design), qubits, couplers[working])


def lattice_couplers(design: Design) -> EmulatedChip:
    """Return the ideal lattice of ``design``: all of its qubits and couplers."""
    return make(Design(design.topology, design.size), 0)


def _without_dead(
    design: Design, qubits: IndexArray, couplers: IndexArray, dead: int, random: np.random.Generator
) -> tuple[IndexArray, IndexArray]:
    """Draw dead qubits repeatedly until enough couplers remain."""
    if dead >= len(qubits) - 1:
        raise ParameterError(f"{dead:,} of {len(qubits):,} qubits dead leaves no coupler")
    wanted = 1 if design.couplers is None else design.couplers
    for _ in range(_ATTEMPTS):
        living = np.ones(_lattice_size(design), bool)
        living[random.choice(qubits, dead, replace=False)] = False
        left = couplers[living[couplers].all(axis=1)]
        if len(left) >= wanted:
            return qubits[living[qubits]], left
    raise ParameterError(f"no {dead:,} qubits leave {wanted:,} couplers when they are dead; ask for fewer")


def _lattice(design: Design) -> Graph:
    from dwave.graphs import chimera_graph, pegasus_graph, zephyr_graph

    draw = {"chimera": chimera_graph, "pegasus": pegasus_graph, "zephyr": zephyr_graph}
    return draw[design.topology](design.size)


def _shape(design: Design) -> tuple[int, ...]:
    m = design.size
    return {"chimera": (m, m, 4), "pegasus": (m,), "zephyr": (m, 4)}[design.topology]


def _lattice_size(design: Design) -> int:
    m = design.size
    return {"chimera": 8 * m * m, "pegasus": 24 * m * (m - 1), "zephyr": 16 * m * (2 * m + 1)}[
        design.topology
    ]
