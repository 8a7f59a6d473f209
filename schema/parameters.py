"""What a user may choose about a run: declared and checked here, stored in the run's row."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Any, Self, TypeVar, get_args

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo

from schema.errors import ParameterError

_Word = TypeVar("_Word", bound=StrEnum)

MAX_READS = 10_000  # the most that D-Wave's solvers take in one problem
MAX_SWEEPS = 1_000_000
MAX_POINTS = 100
MAX_BATCH_SIZE = 10_000  # images
_LIMITS = ("ge", "gt", "le", "min_length", "max_length")


class Solver(StrEnum):
    """Solvers by name."""

    LOCAL = "local"  # simulated annealing on this machine's processors
    EXACT = "exact"  # exact Boltzmann draws, where the network's structure allows them
    EMULATOR = "emulator"  # a server on this machine that speaks D-Wave's protocol
    DWAVE = "dwave"  # a QPU, by D-Wave's own configuration file or environment

    @property
    def is_remote(self) -> bool:
        """Return whether problems are sent over D-Wave's protocol, embedded on the qubits of a chip."""
        return self in (Solver.EMULATOR, Solver.DWAVE)


class Rule(StrEnum):
    """Consensus rules: how reads become class scores."""

    LOWEST_ENERGY_MEAN = "lowest_energy_mean"  # mean over the reads of lowest energy
    ALL_READS_MEAN = "all_reads_mean"  # mean over every read
    BOLTZMANN = "boltzmann"  # mean weighted by exp(-beta E)


class Visible(StrEnum):
    """How the visible units are treated."""

    SAMPLED = "sampled"  # the annealer decides about them too
    FOLDED = "folded"  # their values are folded into the biases of their neighbours


class Unembedding(StrEnum):
    """How the qubits of a chain become one unit's value."""

    MAJORITY_VOTE = "majority_vote"  # what most of its qubits say; on in a draw, as in Ocean
    DISCARD = "discard"  # reads with a broken chain do not count for the image
    WEIGHTED_RANDOM = "weighted_random"  # drawn by the share of its qubits that are on
    MINIMIZE_ENERGY = "minimize_energy"  # broken chains last, each to the lower energy given the rest


class Origin(StrEnum):
    """Where the weights of a network come from; stored in its row's `training`."""

    TRAINED = "trained"  # by a worker of this database
    IMPORTED = "imported"  # from a user's file
    SHIPPED = "shipped"  # with annealq


TRANSFERS = ("energy", "paper")  # how a network becomes Q: trained for it, or by softmax and copied


@dataclass(frozen=True, config=ConfigDict(strict=True, allow_inf_nan=False, extra="forbid"))
class Validated:
    """Base of dataclasses whose fields are checked against their limits when they are made.

    Raises:
        ParameterError: it names each wrong value, its limits and what was given.
    """

    @field_validator("*", mode="wrap")
    @classmethod
    def _leave_whole_numbers(cls, value: Any, check: ValidatorFunctionWrapHandler) -> Any:
        checked = check(value)
        return value if type(value) is int else checked  # 2 is not stored as 2.0: digests depend on it

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, values: Any, check: ValidatorFunctionWrapHandler) -> Self:
        try:
            checked: Self = check(values)
        except ValidationError as error:
            problems = (_problem(each["loc"], each["input"], each["msg"], cls) for each in error.errors())
            raise ParameterError("; ".join(problems)) from None
        return checked


@dataclasses.dataclass(frozen=True)
class QpuChoice:
    """The QPUs that a run may use, as its parameter `qpu` names them.

    Attributes:
        names: of solvers, in order of preference. With several, a run moves to the next one while one is
            offline; with one, it waits.
        features: of a solver, as in D-Wave's client; None: as its configuration says, or the largest QPU.
    """

    names: tuple[str, ...] = ()
    features: Mapping[str, Any] | None = None

    @property
    def has_several(self) -> bool:
        """Return whether a run may move to another QPU by itself."""
        return len(self.names) > 1

    @classmethod
    def parse(cls, text: str | None) -> QpuChoice:
        """Return the choice that ``text`` names: `NAME`, `NAME,OTHER`, features as a JSON object, or None.

        Raises:
            ParameterError: the names or the features are malformed.
        """
        if text is None:
            return cls()
        if not text.lstrip().startswith("{"):
            names = tuple(name.strip() for name in text.split(","))
            if not all(names):
                raise ParameterError(f"qpu is {text!r}: give one or more names with commas between them")
            return cls(tuple(dict.fromkeys(names)))
        try:
            features = json.loads(text)
        except ValueError as error:
            raise ParameterError(
                f"features of a solver must be one JSON object; {text!r} is not: {error}"
            ) from None
        return cls(features=features)

    def after(self, used: str | None) -> QpuChoice:
        """Return the choice of a run that ``used`` a QPU before: it stays there, unless several are named."""
        return self if used is None or self.has_several else QpuChoice((used,))


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


@dataclass(frozen=True)
class Availability:
    """Where a parameter counts: solvers that have it, and whether a calibration may choose its value."""

    solvers: tuple[Solver, ...] = tuple(Solver)
    calibrated: bool = True


_QUBITS = Availability((Solver.EMULATOR, Solver.DWAVE))


def _declare(default: Any, description: str, availability: Availability | None = None, **limits: Any) -> Any:
    field: FieldInfo = Field(default, description=description, **limits)
    field.metadata.append(availability or Availability())
    return field


@dataclass(frozen=True)
class Parameters(Validated):
    """Sampling and consensus parameters of a run.

    A new parameter is declared here, as a field, and nowhere else: the options of `annealq classify`, the
    fields of POST /v1/runs, their descriptions and limits, schedules and stored runs follow from it. The two
    other places that it touches are the code in the worker that applies it, and, if a calibration compares
    several values of it, `producer.calibration.enqueue.ParameterGrid`.
    """

    reads: int = _declare(
        100, f"Anneals for each image, 1 to {MAX_READS:,}; default: 100.", ge=1, le=MAX_READS
    )
    # Start of every random stream.
    seed: int = _declare(
        0, "The same seed gives the same reads.", Availability(calibrated=False), ge=0, le=2**63 - 1
    )
    visible: Visible = _declare(
        Visible.SAMPLED, "Visible units: sampled (default), or folded into biases.", strict=False
    )
    rule: Rule = _declare(
        Rule.LOWEST_ENERGY_MEAN,
        "How reads become class scores; default: lowest_energy_mean.",
        strict=False,
    )
    fraction: float = _declare(
        0.1, "Share of lowest-energy reads used; default: 0.1.", title="share of reads", gt=0, le=1
    )
    sweeps: int | None = _declare(
        None,
        "Sweeps of the local annealer for each read.",
        Availability((Solver.LOCAL,)),
        ge=1,
        le=MAX_SWEEPS,
    )
    lam: float | None = _declare(
        None, "One-hot penalty; default: the network's.", title="one-hot penalty", ge=0
    )
    # In the reciprocal unit of the energies.
    beta: float = _declare(
        1.0, "Inverse temperature of `boltzmann`; default: 1.", title="inverse temperature", gt=0
    )
    # Standard deviation of Gaussian errors while sampling, as a fraction of the largest |h| and |J| that the
    # network can give. Energies and scores are computed without it.
    noise: float = _declare(
        0.0,
        "Errors on h and J, as a fraction of their ranges: 0.02, say.",
        Availability((Solver.LOCAL, Solver.EXACT), calibrated=False),
        title="fraction of the ranges of h and J",
        ge=0,
        le=1,
    )
    qpu: str | None = _declare(
        None,
        "With qubits: a solver's name, several with commas to use the first that is online, or features as "
        "JSON as in D-Wave's client; default: what its configuration says, or the largest. emulator-pegasus "
        "and emulator-zephyr are the emulator's.",
        _QUBITS,
        min_length=1,
        max_length=500,
    )
    tiles: int | None = _declare(
        None, "With qubits: images in one problem at most; default: as many as fit.", _QUBITS, ge=1, le=10_000
    )
    # A multiple of `worker.embedding.model.chain_strength.torque`.
    chain_strength: float | None = _declare(
        None,
        "With qubits: as a multiple of the root mean square of the couplings times the root of the mean "
        "degree; default: 1.414.",
        _QUBITS,
        gt=0,
    )
    scale: float | None = _declare(
        None,
        "With qubits: share of the room in the ranges of h and J; above 1 the largest h are clipped; "
        "default: 1.",
        _QUBITS,
        gt=0,
        le=100,
    )
    annealing_time_us: float | None = _declare(
        None, "With qubits: microseconds of one anneal; default: the solver's.", _QUBITS, gt=0
    )
    anneal_schedule: Annotated[tuple[tuple[float, float], ...] | None, BeforeValidator(_schedule)] = _declare(
        None, "With qubits: points [[us, s], ...] instead of an annealing time.", _QUBITS
    )
    unembedding: Unembedding = _declare(
        Unembedding.MINIMIZE_ENERGY,
        "With qubits: how a chain becomes one value; default: minimize_energy.",
        _QUBITS,
        strict=False,
    )

    def __post_init__(self) -> None:
        """Raise ParameterError for values that exclude each other, or a QPU that cannot be read."""
        QpuChoice.parse(self.qpu)
        if self.anneal_schedule is not None and self.annealing_time_us is not None:
            raise ParameterError("choose an annealing time or an anneal schedule, not both")

    def check_for(self, solver: Solver) -> None:
        """Raise ParameterError for a parameter that is chosen, and that ``solver`` does not have."""
        for name, field in fields_of(Parameters).items():
            having = scope(field).solvers
            if solver not in having and getattr(self, name) != field.default:
                raise ParameterError(
                    f"solver {solver} has no {_words(name)}: leave it out, or choose solver "
                    f"{' or '.join(having)}"
                )

    def to_dict(self) -> dict[str, Any]:
        """Return the values by name, ready for JSON; what only qubits have is left out where not chosen."""
        of_qubits = {name: f.default for name, f in fields_of(Parameters).items() if scope(f) is _QUBITS}
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in of_qubits or value != of_qubits[name]
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Parameters:
        """Return the parameters of ``values`` by name; raise ParameterError for an unknown name."""
        names = {field.name for field in fields(cls)}
        if unknown := set(values) - names:
            raise ParameterError(f"unknown parameter {min(unknown)!r}; known: {', '.join(sorted(names))}")
        return cls(**values)


def fields_of(kind: type) -> dict[str, FieldInfo]:
    """Return the declarations of a validated dataclass ``kind`` by name: type, limits, description."""
    declared: dict[str, FieldInfo] = kind.__pydantic_fields__  # type: ignore[attr-defined]
    return declared


def scope(field: FieldInfo) -> Availability:
    """Return where the parameter that ``field`` declares counts."""
    return next(about for about in field.metadata if isinstance(about, Availability))


def plain_type(field: FieldInfo) -> Any:
    """Return the type of ``field``, without None where it may be left out."""
    return next((kind for kind in get_args(field.annotation) if kind is not type(None)), field.annotation)


def is_structured(field: FieldInfo) -> bool:
    """Return whether a value of ``field`` is written as JSON where only text can be given."""
    kind = plain_type(field)
    return kind not in (int, float, str) and not issubclass(kind, StrEnum)


def limits_of(field: FieldInfo) -> dict[str, Any]:
    """Return the limits of ``field`` by pydantic's names: ge, gt, le, min_length, max_length."""
    return {
        name: getattr(about, name) for about in field.metadata for name in _LIMITS if hasattr(about, name)
    }


def solver(name: str) -> Solver:
    """Return the solver called ``name``; raise ParameterError that lists the names."""
    try:
        return Solver(name)
    except ValueError:
        raise ParameterError(_unknown("solver", name, Solver)) from None


def solver_key(solver: str, parameters: Mapping[str, Any], used: str | None = None) -> str:
    """Return the key of a ``solver``: its kind, with the QPU names or features in a run's ``parameters``.

    A run that ``used`` a QPU before has the key of that one, unless several are named.
    """
    chosen = parameters.get("qpu")
    if used is not None and not QpuChoice.parse(chosen).has_several:
        chosen = used
    return solver if chosen is None else f"{solver}:{chosen}"


def _words(name: str) -> str:
    return name.removesuffix("_us").replace("_", " ")


def _unknown(name: str, value: object, words: type[StrEnum]) -> str:
    return f"unknown {name} {value!r}; choose one of: {', '.join(words)}"


def _problem(place: tuple[int | str, ...], value: object, message: str, kind: type) -> str:
    """Return what is wrong with ``value``, and what can be used instead."""
    name = str(place[0])
    field = fields_of(kind).get(name)
    wanted = None if field is None else plain_type(field)
    if isinstance(wanted, type) and issubclass(wanted, StrEnum):
        return _unknown(name, value, wanted)
    if field is None or not limits_of(field):
        return f"{_words(name)}: {message}"
    given = f"{len(value)} characters long" if isinstance(value, str) and wanted is str else repr(value)
    title = f"the {field.title}" if field.title else "it"
    return f"{_words(name)} is {given}; {title} must be {_limits(field)}"


def _limits(field: FieldInfo) -> str:
    """Return the limits of ``field`` in words: `a whole number from 1 to 10,000`."""
    limits, kind = limits_of(field), plain_type(field)
    if kind is str:
        return f"{limits['min_length']:,} to {limits['max_length']:,} characters long"
    if kind is int:
        return f"a whole number from {_number(limits['ge'])} to {_number(limits['le'])}"
    low = f"above {limits['gt']:g}" if "gt" in limits else f"at least {limits['ge']:g}"
    return f"{low} and at most {limits['le']:g}" if "le" in limits else f"a finite number {low}"


def _number(number: int) -> str:
    return f"{number:,}" if abs(number) >= 10_000 else str(number)
