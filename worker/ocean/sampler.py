"""A `dimod.Sampler` over the annealers of this process, for BQMs that have the shape of a network."""

from __future__ import annotations

import secrets
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import dimod
import numpy as np
from dimod.core.sampler import Sampler
from dimod.exceptions import BinaryQuadraticModelStructureError

from schema.errors import ParameterError, Refused
from schema.parameters import Solver, solver
from worker.annealers.base import LocalAnnealer
from worker.annealers.exact import ExactAnnealer
from worker.annealers.simulated import SimulatedAnnealer
from worker.ocean.heads import as_network

_READS = 100


class AnnealqSampler(Sampler):
    """Samples BQMs that have the shape of a network, by annealq's local annealer or exact draws.

    It is for models that `annealq networks export --bqm` writes, and for others of their shape; it has no
    QPU. On a QPU take `dwave.system.FixedEmbeddingComposite` with the chains of `annealq embeddings export`.

    Args:
        solver_name: ``local`` (simulated annealing), or ``exact``: independent draws from exp(-beta E) / Z.
        classes: the class units of the BQMs; None: they are recognised, see `heads.as_network`.

    Raises:
        ParameterError: it has no such solver.

    Examples:
        >>> bqm = dimod.BinaryQuadraticModel({}, {"ac": -2, "bc": 1, "ad": 1, "bd": -1, "cd": 4}, "BINARY")
        >>> AnnealqSampler().sample(bqm, num_reads=20, seed=1).first.energy
        -2.0
    """

    def __init__(self, solver_name: str = "local", classes: Sequence[Hashable] | None = None) -> None:
        self._solver, self._classes = solver(solver_name), classes
        if self._solver.is_remote:
            raise ParameterError(
                f"solver {self._solver} has qubits: take `dwave.system.FixedEmbeddingComposite` with the "
                "chains of `annealq embeddings export`, or local or exact"
            )

    @property
    def properties(self) -> dict[str, Any]:
        """Return the solver and the class units that were given."""
        return {"solver": self._solver.value, "classes": self._classes}

    @property
    def parameters(self) -> dict[str, Any]:
        """Return the parameters of `sample`, each with the properties that limit it: none."""
        own = "num_sweeps" if self._solver is Solver.LOCAL else "beta"
        return {name: [] for name in ("num_reads", "seed", own)}

    def sample(self, bqm: dimod.BinaryQuadraticModel, **parameters: Any) -> dimod.SampleSet:
        """Return reads of ``bqm``, in the order in which they were drawn.

        Args:
            bqm: of any vartype.
            parameters: ``num_reads`` 1 to 10,000, by default 100; ``seed`` 0 or more, by default random;
                ``num_sweeps`` of the local annealer, by default 40; ``beta``, the inverse temperature of
                exact draws, by default 1 / the smallest scale of the couplings.

        Raises:
            BinaryQuadraticModelStructureError: the BQM does not have the shape of a network, or is too large
                for the solver.
            ParameterError: a parameter is unknown or out of range.
        """
        given = self._checked(parameters)
        shaped = as_network(bqm, self._classes)
        annealer = self._annealer(given)
        seed = secrets.randbits(32) if given["seed"] is None else int(given["seed"])
        linear = shaped.linear[np.newaxis]
        try:
            reads = annealer.sample(shaped.model, linear, int(given["num_reads"]), seed)
        except Refused as error:
            text = f"{error}; take solver local" if self._solver is Solver.EXACT else str(error)
            raise BinaryQuadraticModelStructureError(text) from None
        values = reads.bits[0].view(np.int8)
        if bqm.vartype is dimod.SPIN:
            values = 2 * values - np.int8(1)
        info = {"seed": seed, "timing": {"sampling_us": round(reads.elapsed_s * 1e6)}}
        labelled = (values, shaped.variables)
        found: dimod.SampleSet = dimod.SampleSet.from_samples_bqm(  # type: ignore[no-untyped-call]
            labelled, bqm, info=info
        )
        return found

    def _checked(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        if unknown := sorted(set(parameters) - set(self.parameters)):
            known = ", ".join(self.parameters)
            raise ParameterError(
                f"unknown parameter {unknown[0]!r} of solver {self._solver}: known are {known}"
            )
        return {**dict.fromkeys(self.parameters), "num_reads": _READS, **parameters}

    def _annealer(self, given: Mapping[str, Any]) -> LocalAnnealer:
        if self._solver is Solver.EXACT:
            return ExactAnnealer(given["beta"])
        return SimulatedAnnealer() if given["num_sweeps"] is None else SimulatedAnnealer(given["num_sweeps"])
