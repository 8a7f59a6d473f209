"""What a user may choose about a run: declared and checked here, stored in the run's row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from itertools import pairwise
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic.dataclasses import dataclass

from schema.errors import ParameterError
from schema.parameters.choices import Gauge, Rule, Solver, Unembedding, Visible
from schema.parameters.declarations import Availability, Validated, declare, fields_of, scope, words
from schema.parameters.qpu_choice import QpuChoice
from schema.parameters.rounds import MAX_READS, Round, read_rounds

MAX_SWEEPS = 1_000_000
MAX_POINTS = 100
MAX_ANNEAL_US = 10_000  # D-Wave's QPUs take 2,000 at most: `annealing_time_range` in their properties
MAX_BATCH_SIZE = 10_000  # images
_MOST_SOURCES = 8  # of a network
_QUBITS = Availability((Solver.EMULATOR, Solver.DWAVE))
_LATER = ("rounds", "confidence", "by_class", "without")  # not in digests of earlier versions


def _schedule(points: Any) -> tuple[tuple[float, float], ...] | None:
    if points is None:
        return None
    try:
        schedule = tuple((float(time_us), float(s)) for time_us, s in points)
    except (TypeError, ValueError):
        raise ParameterError("an anneal schedule is a list of points [microseconds, s]") from None
    times = [time_us for time_us, _ in schedule]
    ascending = all(before < after for before, after in pairwise(times))
    inside = all(math.isfinite(time_us) and 0 <= s <= 1 for time_us, s in schedule)
    if not 2 <= len(schedule) <= MAX_POINTS or times[0] != 0 or not ascending or not inside:
        raise ParameterError(
            f"an anneal schedule has 2 to {MAX_POINTS} points [microseconds, s]: ascending times from 0, "
            "s from 0 to 1"
        )
    return schedule


def _names(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) and name for name in value):
        raise ParameterError(f"without must be a list of names of sources, not {value!r:.80}")
    if len(value) > _MOST_SOURCES:
        raise ParameterError(f"{len(value)} sources to leave out are too many: name at most {_MOST_SOURCES}")
    return tuple(sorted(set(value))) or None


@dataclass(frozen=True)
class Parameters(Validated):
    """Sampling and consensus parameters of a run.

    A new parameter is declared here, as a field, and nowhere else: the options of `annealq classify`, the
    fields of POST /v1/runs, their descriptions and limits, schedules and stored runs follow from it. The two
    other places that it touches are the code in the worker that applies it, and, if a calibration compares
    several values of it, `producer.calibration.enqueue.ParameterGrid`.
    """

    reads: int = declare(
        100,
        "Anneals for each image, or auto: the number and rounds that cost least by the calibration. Default: "
        "auto with qubits and a calibration, else 100.",
        Availability(automatic=True),
        ge=1,
        le=MAX_READS,
    )
    # None is left out of what is stored: digests of runs without rounds depend on it.
    rounds: Annotated[tuple[Round, ...] | None, BeforeValidator(read_rounds)] = declare(
        None,
        "Further rounds [[reads, gap, share], ...]: images without a class or with an energy gap below `gap` "
        "are read `reads` more times, the most uncertain first, at most that share of all; all reads of an "
        "image count.",
    )
    # Start of every random stream.
    seed: int = declare(
        0, "The same seed gives the same reads.", Availability(calibrated=False), ge=0, le=2**63 - 1
    )
    visible: Visible = declare(
        Visible.SAMPLED, "Visible units: sampled, or folded into biases (default with qubits).", strict=False
    )
    rule: Rule = declare(
        Rule.LOWEST_ENERGY_MEAN,
        "How reads become class scores; default: lowest_energy_mean.",
        strict=False,
    )
    fraction: float = declare(
        0.1, "Share of lowest-energy reads used; default: 0.1.", title="share of reads", gt=0, le=1
    )
    sweeps: int | None = declare(
        None,
        "Sweeps of the local annealer for each read.",
        Availability((Solver.LOCAL,)),
        ge=1,
        le=MAX_SWEEPS,
    )
    lam: float | None = declare(
        None, "One-hot penalty; default: the network's.", title="one-hot penalty", ge=0
    )
    # In the reciprocal unit of the energies.
    beta: float = declare(
        1.0, "Inverse temperature of `boltzmann`; default: 1.", title="inverse temperature", gt=0
    )
    # Standard deviation of Gaussian errors while sampling, as a fraction of the largest |h| and |J| that the
    # network can give. Energies and scores are computed without it.
    noise: float = declare(
        0.0,
        "Errors on h and J, as a fraction of their ranges: 0.02, say.",
        Availability((Solver.LOCAL, Solver.EXACT), calibrated=False),
        title="fraction of the ranges of h and J",
        ge=0,
        le=1,
    )
    qpu: str | None = declare(
        None,
        "With qubits: a solver's name; several with commas, which share the batches; `any` for all that take "
        "the network; `cheapest` for the least QPU time; or features as JSON as in D-Wave's client. Default: "
        "what its configuration says, or the largest. emulator-pegasus and emulator-zephyr are the "
        "emulator's.",
        _QUBITS,
        min_length=1,
        max_length=500,
    )
    tiles: int | None = declare(
        None, "With qubits: images in one problem at most; default: as many as fit.", _QUBITS, ge=1, le=10_000
    )
    # A multiple of `worker.embedding.model.chain_strength.torque`.
    chain_strength: float | None = declare(
        None,
        "With qubits: as a multiple of the root mean square of the couplings times the root of the mean "
        "degree; default: 1.414.",
        _QUBITS,
        gt=0,
    )
    scale: float | None = declare(
        None,
        "With qubits: share of the room in the ranges of h and J; above 1 the largest h are clipped; "
        "default: 1.",
        _QUBITS,
        gt=0,
        le=100,
    )
    annealing_time_us: float | None = declare(
        None,
        "With qubits: microseconds of one anneal; default: the solver's.",
        _QUBITS,
        gt=0,
        le=MAX_ANNEAL_US,
    )
    anneal_schedule: Annotated[tuple[tuple[float, float], ...] | None, BeforeValidator(_schedule)] = declare(
        None, "With qubits: points [[us, s], ...] instead of an annealing time.", _QUBITS
    )
    gauge: Gauge = declare(
        Gauge.NONE,
        "With qubits: reverse spins at random, of whole tiles or of single units; default: none.",
        _QUBITS,
        strict=False,
    )
    unembedding: Unembedding = declare(
        Unembedding.MINIMIZE_ENERGY,
        "With qubits: how a chain becomes one value; default: minimize_energy.",
        _QUBITS,
        strict=False,
    )

    confidence: float | None = declare(
        None,
        "Give each image a set of classes that holds the right one with this probability, such as 0.99, by a "
        "calibration with the same settings; default: no sets.",
        Availability(calibrated=False),
        ge=0.5,
        le=0.9999,
    )
    by_class: bool = declare(
        False,
        "With a confidence: the images of each class have it, not only all together; needs more validation "
        "images.",
        Availability(calibrated=False),
    )

    # Sources of the network, in alphabetical order.
    without: Annotated[tuple[str, ...] | None, BeforeValidator(_names)] = declare(
        None,
        "A source of the network that is left out: the biases h of its visible units are 0. The network must "
        "have been trained with source dropout for it.",
        Availability(calibrated=False),
    )

    def __post_init__(self) -> None:
        """Raise ParameterError for values that exclude each other, or a QPU that cannot be read."""
        QpuChoice.parse(self.qpu)
        if self.by_class and self.confidence is None:
            raise ParameterError("by class needs a confidence: give one, such as 0.99")
        if self.anneal_schedule is not None and self.annealing_time_us is not None:
            raise ParameterError("choose an annealing time or an anneal schedule, not both")

    def check_for(self, solver: Solver) -> None:
        """Raise ParameterError for a parameter that is chosen, and that ``solver`` does not have."""
        for name, field in fields_of(Parameters).items():
            having = scope(field).solvers
            if solver not in having and getattr(self, name) != field.default:
                raise ParameterError(
                    f"solver {solver} has no {words(name)}: leave it out, or choose solver "
                    f"{' or '.join(having)}"
                )

    def to_dict(self) -> dict[str, Any]:
        """Return the values by name, ready for JSON; of some, such as those of qubits, only where chosen."""
        left_out = {
            name: f.default
            for name, f in fields_of(Parameters).items()
            if scope(f) is _QUBITS or name in _LATER
        }
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in left_out or value != left_out[name]
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Parameters:
        """Return the parameters of ``values`` by name; raise ParameterError for an unknown name."""
        names = {field.name for field in fields(cls)}
        if unknown := set(values) - names:
            raise ParameterError(f"unknown parameter {min(unknown)!r}; known: {', '.join(sorted(names))}")
        return cls(**values)
