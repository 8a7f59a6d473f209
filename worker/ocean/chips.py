"""A stored chip for functions of D-Wave's Ocean that take a sampler to know its qubits, without a service.

`dwave.inspector.show` asks its sampler for a `dwave.cloud` solver, `dwave.embedding` for an adjacency.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import dimod
from dimod.core.sampler import Sampler
from dimod.core.structured import Structured
from dwave.cloud.solver import StructuredSolver

from schema.errors import AnnealqError


class StoredChip(Sampler, Structured):
    """The qubits and couplers of a chip, as `annealq embeddings chip NAME --output FILE` writes them."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        """Describe the solver with these ``data`` of D-Wave's solver API."""
        self.solver = StructuredSolver(None, dict(data))

    @classmethod
    def read(cls, path: str | Path) -> StoredChip:
        """Return the chip in the JSON file ``path``."""
        return cls(json.loads(Path(path).read_text(encoding="utf-8")))

    @property
    def properties(self) -> dict[str, Any]:
        """Return the properties of the solver."""
        properties: dict[str, Any] = self.solver.properties
        return properties

    @property
    def parameters(self) -> dict[str, Any]:
        """Return no parameter: it cannot sample."""
        return {}

    @property
    def nodelist(self) -> list[Hashable]:
        """Return the working qubits."""
        return sorted(self.solver.nodes)

    @property
    def edgelist(self) -> list[tuple[Hashable, Hashable]]:
        """Return the working couplers."""
        return sorted(self.solver.undirected_edges)

    def sample(self, bqm: dimod.BinaryQuadraticModel, **parameters: Any) -> NoReturn:
        """Raise AnnealqError: a stored chip cannot sample ``bqm``, whatever the ``parameters``."""
        del parameters
        raise AnnealqError(
            f"chip {self.solver.name} is stored, not connected: sample {bqm.num_variables} variables with "
            "`dwave.system.DWaveSampler`"
        )
