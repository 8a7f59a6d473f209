"""A solver in SAPI's sense: a chip with its ranges, parameters and timing; and the solvers by name."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from schema.errors import ParameterError
from worker.emulator.qpu.chip import Design, EmulatedChip, make
from worker.emulator.qpu.parameters import DESCRIPTIONS
from worker.emulator.qpu.timing import ADVANTAGE, ADVANTAGE2, DWAVE_2000Q, TimingModel

# As many qubits and couplers as Advantage_system6 and Advantage2_system2 have in D-Wave's documentation.
DESIGNS = {
    "emulator-pegasus": Design("pegasus", 16, dead=28, couplers=40_088),
    "emulator-zephyr": Design("zephyr", 12, dead=286, couplers=40_409),
    "emulator-pegasus-ideal": Design("pegasus", 16),
    "emulator-zephyr-ideal": Design("zephyr", 12),
    "emulator-chimera": Design("chimera", 16),
}
DEFAULT = ("emulator-pegasus", "emulator-zephyr")
GATE_SOLVER = "emulator-gate"
GATE_CATEGORIES = ("hybrid", "qpu")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MAX_SOLVERS = 16


@dataclass(frozen=True)
class SolverRanges:
    """The values that a family of chips accepts; h and J without unit, times in microseconds.

    ``coupling`` limits the sum of a qubit's J; on Zephyr that of each of its two groups of couplers.
    """

    timing: TimingModel
    h: tuple[float, float]
    coupling: tuple[float, float]
    annealing_time: tuple[float, float]
    fast_anneal_time: tuple[float, float] | None = (0.005, 2000.0)
    tags: tuple[str, ...] = ("lower_noise",)
    j: tuple[float, float] = (-1.0, 1.0)
    extended_j: tuple[float, float] = (-2.0, 1.0)


# Like the solvers of each family in D-Wave's documentation.
_RANGES = {
    "pegasus": SolverRanges(ADVANTAGE, (-4.0, 4.0), (-18.0, 15.0), (0.5, 2000.0)),
    "zephyr": SolverRanges(ADVANTAGE2, (-4.0, 4.0), (-13.0, 10.0), (0.5, 2000.0)),
    "chimera": SolverRanges(DWAVE_2000Q, (-2.0, 2.0), (-9.0, 6.0), (1.0, 2000.0), fast_anneal_time=None),
}


@dataclass(frozen=True, eq=False)
class EmulatedSolver:
    """A solver between two changes of its working graph.

    ``generation`` counts these changes.
    """

    name: str
    design: Design
    chip: EmulatedChip
    generation: int

    @classmethod
    def make(cls, name: str, design: Design, seed: int, generation: int = 0) -> EmulatedSolver:
        """Make the solver ``name`` from ``design``, ``seed`` and ``generation``.

        Raises:
            ParameterError: the design leaves nothing that works.
        """
        return cls(name, design, make(design, seed, generation), generation)

    @property
    def ranges(self) -> SolverRanges:
        return _RANGES[self.design.topology]

    @property
    def timing(self) -> TimingModel:
        return self.ranges.timing

    @property
    def identity(self) -> dict[str, Any]:
        """Return name and graph id in the form of a problem's ``solver``."""
        return {"name": self.name, "version": {"graph_id": self.chip.graph_id}}

    @cached_property
    def limits(self) -> dict[str, Any]:
        """Return all properties but the graph."""
        timing, ranges = self.timing, self.ranges
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


def check_name(name: str) -> None:
    """Raise ParameterError when ``name`` cannot be a solver's."""
    if not _NAME.fullmatch(name):
        raise ParameterError(
            f"{name!r:.80} cannot be a solver's name; use up to 64 letters, digits, dots and hyphens"
        )


def designs(texts: list[str]) -> dict[str, Design]:
    """Return solvers by name from texts: a known ``NAME``, ``all``, or
    ``NAME=TOPOLOGY:SIZE[:DEAD[:MISSING]]``.

    Raises:
        ParameterError: one of ``texts`` is unknown, malformed or named twice.
    """
    chosen: dict[str, Design] = {}
    for text in texts or list(DEFAULT):
        for name, design in DESIGNS.items() if text == "all" else [_design(text)]:
            if name in chosen:
                raise ParameterError(f"the solver {name} is there twice")
            chosen[name] = design
    if len(chosen) > _MAX_SOLVERS:
        raise ParameterError(f"at most {_MAX_SOLVERS} solvers, not {len(chosen)}")
    return chosen


def _design(text: str) -> tuple[str, Design]:
    name, equals, shape = text.partition("=")
    if not equals:
        if name not in DESIGNS:
            raise ParameterError(
                f"unknown solver {name!r}; available: {', '.join(DESIGNS)}, all,"
                " or NAME=TOPOLOGY:SIZE[:DEAD[:MISSING]]"
            )
        return name, replace(DESIGNS[name])
    topology, *numbers = shape.split(":")
    if not _NAME.fullmatch(name) or not 1 <= len(numbers) <= 3 or not all(n.isdecimal() for n in numbers):
        raise ParameterError(
            f"{text!r} must be NAME=TOPOLOGY:SIZE[:DEAD[:MISSING]], such as tiny=pegasus:4:3:5"
        )
    return name, Design(topology, *(int(number[:9]) for number in numbers))
