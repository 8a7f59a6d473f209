"""A stored chip for functions of D-Wave's Ocean that take a sampler to know its qubits, without a service.

`dwave.inspector.show` asks its sampler for a `dwave.cloud` solver, `dwave.embedding` for an adjacency.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import dimod
import numpy as np
import pybase64
from dimod.core.sampler import Sampler
from dimod.core.structured import Structured
from dwave.cloud.computation import Future
from dwave.cloud.solver import StructuredSolver
from numpy.typing import NDArray

from schema.errors import AnnealqError, ParameterError


class StoredChip(Sampler, Structured):
    """The qubits and couplers of a chip, as `annealq embeddings chip NAME --output FILE` writes them."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        """Describe the solver with these ``data`` of D-Wave's solver API."""
        self.solver = StructuredSolver(None, dict(data))

    @classmethod
    def read(cls, path: str | Path) -> StoredChip:
        """Return the chip in the JSON file ``path``."""
        return cls(json.loads(Path(path).read_text(encoding="utf-8")))

    def response(self, qubits: dimod.SampleSet) -> Future:
        """Return the answer of the solver to a problem of this chip, as `dwave.cloud` has it.

        Args:
            qubits: of `annealq runs samples RUN --physical`, or a sample set of the same form.

        Raises:
            ParameterError: they are not spins of qubits of a problem that this chip answered.
        """
        (about,) = qubits.info.get("annealq", {}).get("problems", [{}])
        graph_id = about.get("graph_id")
        if qubits.vartype is not dimod.SPIN or graph_id != self.solver.graph_id:
            raise ParameterError(
                f"the sample set is of graph {graph_id} ({qubits.vartype.name}), this chip is graph "
                f"{self.solver.graph_id}: give that of `annealq runs samples RUN --physical`"
            )
        order = np.argsort(np.asarray(qubits.variables))
        bits = qubits.record.sample[:, order] > 0
        answer = {
            "format": "qp",
            "active_variables": _encoded(np.asarray(qubits.variables)[order], "<i4"),
            "solutions": _encoded(np.packbits(bits, axis=1), "u1"),
            "energies": _encoded(qubits.record.energy, "<f8"),
            "num_occurrences": _encoded(qubits.record.num_occurrences, "<i4"),
            "num_variables": self.solver.num_qubits,
            "timing": qubits.info["timing"],
        }
        # The only way to an answer without a connection; the client is pinned to this minor version.
        found = Future(self.solver, about["sapi_id"])
        found.label, found.remote_status = about["label"], "COMPLETED"
        found.time_received, found.time_solved = (
            datetime.fromisoformat(about[name]) for name in ("sent_at", "answered_at")
        )
        found._set_message({"status": found.remote_status, "type": "ising", "answer": answer})
        return found

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


def _encoded(values: NDArray[Any], dtype: str) -> str:
    return pybase64.b64encode_as_string(np.ascontiguousarray(values, dtype).tobytes())
