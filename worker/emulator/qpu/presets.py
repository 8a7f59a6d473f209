"""Chips by name: working graphs, ranges, times, temperatures and errors like those of D-Wave's QPUs.

Qubits, couplers, times and the average single-qubit temperature, whose inverse is beta, are those of the page
"Per-QPU Solver Properties and Schedules" (solver_properties_specific.rst in the documentation of the Ocean
SDK).
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, field, replace

from schema.errors import ParameterError
from worker.emulator.qpu.chip import Design, EmulatedChip
from worker.emulator.qpu.imperfections import (
    LIKE_ADVANTAGE,
    LIKE_ADVANTAGE2,
    ChipErrors,
    PersistentErrors,
)
from worker.emulator.qpu.timing import (
    ADVANTAGE,
    ADVANTAGE2,
    DWAVE_2000Q,
    TimingModel,
    advantage2,
    readout_curve,
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MAX_SOLVERS = 16


@dataclass(frozen=True)
class SolverRanges:
    """The values that a family of chips accepts; h and J without unit, times in microseconds.

    ``coupling`` limits the sum of a qubit's J; on Zephyr that of each of its two groups of couplers.
    """

    h: tuple[float, float]
    coupling: tuple[float, float]
    annealing_time: tuple[float, float]
    fast_anneal_time: tuple[float, float] | None = (0.005, 2000.0)
    tags: tuple[str, ...] = ("lower_noise",)
    j: tuple[float, float] = (-1.0, 1.0)
    extended_j: tuple[float, float] = (-2.0, 1.0)


# Like the solvers of each family in D-Wave's documentation.
_RANGES = {
    "pegasus": SolverRanges((-4.0, 4.0), (-18.0, 15.0), (0.5, 2000.0)),
    "zephyr": SolverRanges((-4.0, 4.0), (-13.0, 10.0), (0.5, 2000.0)),
    "chimera": SolverRanges((-2.0, 2.0), (-9.0, 6.0), (1.0, 2000.0), fast_anneal_time=None),
}
_TIMING = {"pegasus": ADVANTAGE, "zephyr": ADVANTAGE2, "chimera": DWAVE_2000Q}


@dataclass(frozen=True)
class ChipModel:
    """A chip before its dead qubits are drawn, with all that does not depend on them.

    Attributes:
        design: the working graph.
        own_timing: times of a problem, None for those of the topology.
        beta: inverse temperature of reads, for h and J as programmed.
        errors: of h, J, readout and charges.
        salt: with the seed of the graph it decides which qubits are dead.
        own_ranges: of h, J and times, None for those of the topology.
        chip, known: working graph and errors of a twin; None: both are drawn.
    """

    design: Design
    own_timing: TimingModel | None = None
    beta: float = 5.0
    errors: ChipErrors = field(default_factory=ChipErrors)
    salt: int = 0
    own_ranges: SolverRanges | None = None
    chip: EmulatedChip | None = None
    known: PersistentErrors | None = None

    @property
    def ranges(self) -> SolverRanges:
        return self.own_ranges or _RANGES[self.design.topology]

    @property
    def timing(self) -> TimingModel:
        return self.own_timing or _TIMING[self.design.topology]


_PEGASUS, _ZEPHYR = (
    Design("pegasus", 16, dead=28, couplers=40_088),
    Design("zephyr", 12, dead=286, couplers=40_409),
)
CHIPS = {
    "advantage-system6": ChipModel(_PEGASUS, ADVANTAGE, 4.5, LIKE_ADVANTAGE),
    "advantage-system4": ChipModel(
        Design("pegasus", 16, dead=13, couplers=40_279),
        TimingModel(14_100.0, readout_curve(17.0, 235.0, 5627), 20.5),
        5.05,
        LIKE_ADVANTAGE,
    ),
    "advantage2-system1": ChipModel(
        Design("zephyr", 12, dead=223, couplers=41_515),
        advantage2(33_600.0, 101.0, 60.6, 4577),
        8.9,
        LIKE_ADVANTAGE2,
    ),
    "advantage2-system2": ChipModel(_ZEPHYR, advantage2(24_500.0, 95.0, 20.6, 4514), 8.4, LIKE_ADVANTAGE2),
    "advantage2-system4": ChipModel(
        Design("zephyr", 6, dead=46, couplers=10_537),
        advantage2(8_000.0, 45.0, 20.6, 1202),
        8.4,
        LIKE_ADVANTAGE2,
    ),
}
# As large, cold and exact as Advantage_system6 and Advantage2_system2; but a problem that is sent again has
# the same reads and the charge that was estimated.
_STILL = {"h_drift": 0.0, "charge": 0.0}
SOLVERS = {
    "emulator-pegasus": ChipModel(
        _PEGASUS, beta=4.5, errors=replace(LIKE_ADVANTAGE, h_random=0.01, **_STILL)
    ),
    "emulator-zephyr": ChipModel(
        _ZEPHYR, beta=8.4, errors=replace(LIKE_ADVANTAGE2, h_random=0.007, **_STILL)
    ),
    "emulator-pegasus-ideal": ChipModel(Design("pegasus", 16)),
    "emulator-zephyr-ideal": ChipModel(Design("zephyr", 12)),
    "emulator-chimera": ChipModel(Design("chimera", 16)),
}
DEFAULT = ("emulator-pegasus", "emulator-zephyr")


def check_name(name: str) -> None:
    """Raise ParameterError when ``name`` cannot be a solver's."""
    if not _NAME.fullmatch(name):
        raise ParameterError(
            f"{name!r:.80} cannot be a solver's name; use up to 64 letters, digits, dots and hyphens"
        )


def models(solvers: list[str], chips: list[str]) -> dict[str, ChipModel]:
    """Return chips by the names of their solvers.

    Args:
        solvers: each a known ``NAME``, ``all``, or ``NAME=TOPOLOGY:SIZE[:DEAD[:MISSING]]``, which has no
        errors. chips: each one of `CHIPS`, or ``NAME=CHIP`` for another one of its kind, with other dead
            qubits.

    Raises:
        ParameterError: one is unknown, malformed or named twice.
    """
    chosen: dict[str, ChipModel] = {}
    listed = [_chip(text) for text in chips]
    for text in solvers or ([] if chips else list(DEFAULT)):
        listed += SOLVERS.items() if text == "all" else [_solver(text)]
    for name, model in listed:
        if name in chosen:
            raise ParameterError(f"the solver {name} is there twice")
        chosen[name] = model
    if len(chosen) > _MAX_SOLVERS:
        raise ParameterError(f"at most {_MAX_SOLVERS} solvers, not {len(chosen)}")
    return chosen


def _chip(text: str) -> tuple[str, ChipModel]:
    name, equals, kind = text.partition("=")
    kind = kind if equals else name
    if kind not in CHIPS:
        raise ParameterError(f"unknown chip {kind!r:.80}; available: {', '.join(CHIPS)}, or NAME=CHIP")
    check_name(name)
    return name, replace(CHIPS[kind], salt=0 if name == kind else zlib.crc32(name.encode()))


def _solver(text: str) -> tuple[str, ChipModel]:
    name, equals, shape = text.partition("=")
    if not equals:
        if name not in SOLVERS:
            raise ParameterError(
                f"unknown solver {name!r}; available: {', '.join(SOLVERS)}, all,"
                " or NAME=TOPOLOGY:SIZE[:DEAD[:MISSING]]"
            )
        return name, SOLVERS[name]
    topology, *numbers = shape.split(":")
    if not _NAME.fullmatch(name) or not 1 <= len(numbers) <= 3 or not all(n.isdecimal() for n in numbers):
        raise ParameterError(
            f"{text!r} must be NAME=TOPOLOGY:SIZE[:DEAD[:MISSING]], such as tiny=pegasus:4:3:5"
        )
    return name, ChipModel(Design(topology, *(int(number[:9]) for number in numbers)))
