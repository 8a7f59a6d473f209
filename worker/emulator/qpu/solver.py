"""A solver in SAPI's sense: a chip with its ranges, parameters and timing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from schema.errors import ParameterError
from worker.emulator.qpu.chip import EmulatedChip, make
from worker.emulator.qpu.imperfections import Imperfections
from worker.emulator.qpu.parameters import DESCRIPTIONS

if TYPE_CHECKING:
    from worker.emulator.qpu.presets import ChipModel
    from worker.emulator.qpu.timing import TimingModel

GATE_SOLVER = "emulator-gate"
GATE_CATEGORIES = ("hybrid", "qpu")


@dataclass(frozen=True, eq=False)
class EmulatedSolver:
    """A solver between two changes of its working graph.

    ``generation`` counts these changes.
    """

    name: str
    model: ChipModel
    chip: EmulatedChip
    generation: int

    @classmethod
    def make(cls, name: str, model: ChipModel, seed: int, generation: int = 0) -> EmulatedSolver:
        """Make the solver ``name`` from the ``model`` of its chip, ``seed`` and ``generation``.

        Raises:
            ParameterError: the model's design leaves nothing that works.
        """
        if model.chip is None:
            return cls(name, model, make(model.design, seed + model.salt, generation), generation)
        return cls(name, model, model.chip, generation)

    def check_regraph(self) -> None:
        """Raise ParameterError if the working graph cannot change."""
        if self.model.chip is not None:
            raise ParameterError(f"{self.name} is the twin of a chip: it has the graph of this chip")

    @property
    def timing(self) -> TimingModel:
        return self.model.timing

    @cached_property
    def imperfections(self) -> Imperfections:
        """Return the errors of the chip as it is until its working graph changes."""
        return Imperfections(self.chip, self.model.errors, self.generation, self.model.known)

    @property
    def identity(self) -> dict[str, Any]:
        """Return name and graph id in the form of a problem's ``solver``."""
        return {"name": self.name, "version": {"graph_id": self.chip.graph_id}}

    @cached_property
    def limits(self) -> dict[str, Any]:
        """Return all properties but the graph."""
        timing, ranges = self.timing, self.model.ranges
        coupling = "per_qubit_coupling_range" if self.chip.groups is None else "per_group_coupling_range"
        parameters, fast = dict(DESCRIPTIONS), {"fast_anneal_time_range": ranges.fast_anneal_time}
        if ranges.fast_anneal_time is None:
            del parameters["fast_anneal"]
            fast = {}
        return {
            "category": "qpu",
            "chip_id": self.name,
            "tags": list(ranges.tags),
            "topology": {"type": self.chip.topology, "shape": list(self.chip.shape)},
            "num_qubits": self.chip.size,
            "supported_problem_types": ["ising", "qubo"],
            "parameters": parameters,
            "h_range": ranges.h,
            "j_range": ranges.j,
            "extended_j_range": ranges.extended_j,
            coupling: ranges.coupling,
            "num_reads_range": [1, 10_000],
            "annealing_time_range": ranges.annealing_time,
            **fast,
            "default_annealing_time": timing.default_annealing_time,
            "h_gain_schedule_range": [-4.0, 4.0],
            "max_h_gain_schedule_points": 20,
            "max_anneal_schedule_points": 12,
            "programming_thermalization_range": [0.0, 10_000.0],
            "default_programming_thermalization": timing.default_programming_thermalization,
            "readout_thermalization_range": [0.0, 10_000.0],
            "default_readout_thermalization": timing.default_readout_thermalization,
            "problem_run_duration_range": [0.0, 1_000_000.0],
            "problem_timing_data": timing.data(),
        }

    @property
    def properties(self) -> dict[str, Any]:
        """Return all properties; problems are encoded in the order of qubits and couplers."""
        return {**self.limits, "qubits": self.chip.qubits.tolist(), "couplers": self.chip.couplers.tolist()}

    @property
    def description(self) -> str:
        topology = self.chip.topology.capitalize()
        return (
            f"annealq's emulator of a {topology} {topology[0]}{self.chip.shape[0]} QPU: "
            f"{len(self.chip.qubits):,} qubits, {len(self.chip.couplers):,} couplers"
        )


def gate_definition(category: str) -> dict[str, Any]:
    """Return the definition of a gate-model solver: it has no graph, and takes no problem of an annealer.

    ``category`` is hybrid in the client's mocks; the client takes one of category qpu for the largest QPU.
    """
    return {
        "identity": {"name": GATE_SOLVER},
        "status": "ONLINE",
        "description": "a gate-model solver, listed only: the emulator takes no problems for it",
        "properties": {
            "category": category,
            "chip_id": GATE_SOLVER,
            "supported_problem_types": ["qcdl"],
            "parameters": {"shots": "How often the circuit is run.", "time_limit": "Longest run time in s."},
            "max_shots": 10_000,
            "quota_conversion_rate": 1,
        },
        "avg_load": 0.0,
    }
