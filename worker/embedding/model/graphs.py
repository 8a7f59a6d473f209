"""The two graphs of an embedding: the interactions of a model, and the couplers of a chip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from schema.codecs import chip_graphs
from schema.errors import Refused

if TYPE_CHECKING:
    from worker.qubo.energy_model import EnergyModel

IndexArray = NDArray[np.int32]

TOPOLOGIES = {"chimera": 3, "pegasus": 1, "zephyr": 2}  # and how many numbers give the shape
_MAX_QUBITS = 1 << 20


@dataclass(frozen=True, eq=False)
class Interactions:
    """The interaction graph of a model, without its biases.

    Attributes:
        sizes: units in each layer, the class layer last.
        edges: (m, 2) int32, i < j, sorted, each once.
        digest: of units and edges, in hex; see `EnergyModel.graph_digest`.
    """

    sizes: tuple[int, ...]
    edges: IndexArray
    digest: str

    @classmethod
    def of(cls, model: EnergyModel) -> Interactions:
        """Return the interaction graph of ``model``."""
        return cls(model.sizes, model.edges, model.graph_digest)

    @property
    def units(self) -> int:
        """Number of units, n."""
        return sum(self.sizes)


@dataclass(frozen=True, eq=False)
class SolverGraph:
    """The working qubits and couplers of a solver, as the solver states them.

    Attributes:
        name: of the solver.
        graph_id: names this set of working qubits and couplers.
        topology: chimera, pegasus or zephyr.
        shape: of the ideal lattice: (16,) for P16, (12, 4) for Z12.
        size: number of qubits of the ideal lattice; indices are below it.
        qubits: (Q,) int32, in the order of the solver's own list, in which problems are encoded.
        couplers: (M, 2) int32, in the order of the solver's own list.
    """

    name: str
    graph_id: str
    topology: str
    shape: tuple[int, ...]
    size: int
    qubits: IndexArray
    couplers: IndexArray

    @classmethod
    def from_properties(cls, name: str, graph_id: str, properties: Mapping[str, Any]) -> SolverGraph:
        """Read the graph of solver ``name`` with ``graph_id`` from its ``properties`` (SAPI).

        Raises:
            Refused: qubits and couplers are missing, the topology is unknown, or indices are invalid.
        """
        try:
            topology = properties["topology"]
            kind, shape = str(topology["type"]), tuple(int(side) for side in topology["shape"])
            size = int(properties["num_qubits"])
            qubits = np.array(properties["qubits"], dtype=np.int32).reshape(-1)
            couplers = np.array(properties["couplers"], dtype=np.int32).reshape(-1, 2)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise Refused(f"solver {name} does not describe its qubits as a QPU does: {error!r}") from None
        if TOPOLOGIES.get(kind, 0) > len(shape) or kind not in TOPOLOGIES:
            raise Refused(f"solver {name} has topology {kind}{list(shape)}; known: {', '.join(TOPOLOGIES)}")
        graph = cls(name, graph_id, kind, shape, size, qubits, couplers)
        if not graph._is_sound():
            raise Refused(f"solver {name} states couplers or qubits that are not on its chip")
        return graph

    @classmethod
    def from_stored(
        cls, name: str, graph_id: str, properties: Mapping[str, Any], data: bytes, counts: tuple[int, int]
    ) -> SolverGraph:
        """Read the graph of solver ``name`` with ``graph_id`` from what `schema.tables.Chip` stores.

        Args:
            properties: of the solver, without its qubits and couplers.
            data: these; see `schema.codecs.chip_graphs`.
            counts: their numbers.

        Raises:
            Corrupt: ``data`` are damaged.
            Refused: as `from_properties` says.
        """
        qubits, couplers = chip_graphs.decode(data, *counts)
        return cls.from_properties(name, graph_id, {**properties, "qubits": qubits, "couplers": couplers})

    @cached_property
    def working(self) -> NDArray[np.bool_]:
        """(size,) bool: which qubits of the ideal lattice work."""
        working = np.zeros(self.size, dtype=np.bool_)
        working[self.qubits] = True
        return working

    def _is_sound(self) -> bool:
        if not (0 < self.size <= _MAX_QUBITS and len(self.qubits) and len(self.couplers)):
            return False
        inside = self.qubits.min() >= 0 and self.qubits.max() < self.size
        if not inside or len(np.unique(self.qubits)) < len(self.qubits):
            return False
        ends = self.couplers
        if ends.min() < 0 or ends.max() >= self.size or np.any(ends[:, 0] == ends[:, 1]):
            return False
        keys = np.sort(ends.astype(np.int64), axis=1) @ [self.size, 1]
        return bool(self.working[ends].all()) and len(np.unique(keys)) == len(keys)
