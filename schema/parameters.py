"""What a user may choose about a run, checked once, kept in the run's row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from itertools import pairwise
from typing import Any, TypeVar

from schema.errors import ParameterError

_Word = TypeVar("_Word", bound=StrEnum)

MAX_READS = 10_000  # the most that D-Wave's solvers take in one problem
MAX_SWEEPS = 1_000_000
MAX_TILES = 10_000
MAX_POINTS = 100
MAX_QPU = 500
MAX_SCALE = 100.0


class Solver(StrEnum):
    """Solvers by name."""

    LOCAL = "local"  # simulated annealing on this machine's processors
    EXACT = "exact"  # exact Boltzmann draws, where the network's structure allows them
    EMULATOR = "emulator"  # a server on this machine that speaks D-Wave's protocol
    DWAVE = "dwave"  # a QPU, by D-Wave's own configuration file or environment

    @property
    def is_remote(self) -> bool:
        """Whether problems are sent over D-Wave's protocol, embedded on the qubits of a chip."""
        return self in (Solver.EMULATOR, Solver.DWAVE)


class Rule(StrEnum):
    """Consensus rules: how reads become class scores."""

    LOWEST_ENERGY_MEAN = "lowest_energy_mean"  # mean over the reads of lowest energy
    ALL_READS_MEAN = "all_reads_mean"  # mean over every read
    BOLTZMANN = "boltzmann"  # mean weighted by exp(-beta E)


class Visible(StrEnum):
    """What becomes of the visible units."""

    SAMPLED = "sampled"  # the annealer decides about them too
    FOLDED = "folded"  # their values are folded into the biases of their neighbours


class Unembedding(StrEnum):
    """How the qubits of a chain become one unit's value."""

    MAJORITY_VOTE = "majority_vote"  # what most of its qubits say; on in a draw, as in Ocean
    DISCARD = "discard"  # reads with a broken chain do not count for the image
    WEIGHTED_RANDOM = "weighted_random"  # drawn by the share of its qubits that are on
    MINIMIZE_ENERGY = "minimize_energy"  # broken ones last, each to the lower energy given the rest


class Origin(StrEnum):
    """Where the weights of a network come from; kept in its row's `training`."""

    TRAINED = "trained"  # by a worker of this database
    IMPORTED = "imported"  # from a user's file
    SHIPPED = "shipped"  # with annealq


TRANSFERS = ("energy", "paper")  # how a network becomes Q: trained for it, or by softmax and copied


@dataclass(frozen=True)
class Parameters:
    """Sampling and consensus parameters of a run.

    Attributes:
        reads: anneals for each image, 1 to 10,000.
        seed: start of every random stream; the same seed gives the same reads.
        visible: whether visible units are sampled or folded.
        rule: consensus rule.
        fraction: share of reads of lowest energy that `lowest_energy_mean` keeps, in (0, 1].
        beta: inverse temperature of `boltzmann`, above 0, in the energies' units.
        sweeps: sweeps of the local annealer for each read; None: its default.
        lam: weight of the one-hot penalty; None: the network's own.
        noise: standard deviation of Gaussian errors on h and J while sampling, as a fraction of the largest
            |h| and |J| that the network can give, 0 to 1. Energies and scores are computed without it.
        qpu: for solvers with qubits, as is all that follows: a solver's name, or features as JSON, as in
            D-Wave's configuration; None: what that says.
        tiles: images in one problem, at most; None: as many as the chip holds.
        chain_strength: above 0, as a multiple of `worker.embedding.model.chain_strength.torque`; None: 1.414.
        scale: share of the room in the solver's ranges of h and J that the model takes, above 0, up to 100;
            above 1 the largest h are clipped. None: 1.
        annealing_time_us: microseconds of one anneal; None: the solver's default.
        anneal_schedule: points (microseconds, s) instead, at least two.
        unembedding: how the qubits of a chain become one value.
    """

    reads: int = 100
    seed: int = 0
    visible: Visible = Visible.SAMPLED
    rule: Rule = Rule.LOWEST_ENERGY_MEAN
    fraction: float = 0.1
    sweeps: int | None = None
    lam: float | None = None
    beta: float = 1.0
    noise: float = 0.0
    qpu: str | None = None
    tiles: int | None = None
    chain_strength: float | None = None
    scale: float | None = None
    annealing_time_us: float | None = None
    anneal_schedule: tuple[tuple[float, float], ...] | None = None
    unembedding: Unembedding = Unembedding.MAJORITY_VOTE

    def __post_init__(self) -> None:
        """Raises ParameterError naming the value, its limits and what was given."""
        _whole("reads", self.reads, 1, MAX_READS)
        _whole("seed", self.seed, 0, 2**63 - 1)
        if self.sweeps is not None:
            _whole("sweeps", self.sweeps, 1, MAX_SWEEPS)
        object.__setattr__(self, "visible", _word("visible", self.visible, Visible))
        object.__setattr__(self, "rule", _word("rule", self.rule, Rule))
        if not 0 < self.fraction <= 1:
            raise ParameterError(
                f"fraction is {self.fraction}; the share of reads to keep is above 0, up to 1"
            )
        if not (math.isfinite(self.beta) and self.beta > 0):
            raise ParameterError(f"beta is {self.beta}; the inverse temperature is a finite number above 0")
        if self.lam is not None and not (math.isfinite(self.lam) and self.lam >= 0):
            raise ParameterError(f"lam is {self.lam}; the one-hot penalty is a finite number, 0 or more")
        if not 0 <= self.noise <= 1:
            raise ParameterError(f"noise is {self.noise}; a fraction of the range of h and J, from 0 to 1")
        self._check_embedded()

    def _check_embedded(self) -> None:
        """What only solvers with qubits have."""
        if self.qpu is not None and not 1 <= len(self.qpu) <= MAX_QPU:
            raise ParameterError(f"qpu names a solver in 1 to {MAX_QPU} characters, not {len(self.qpu)}")
        if self.tiles is not None:
            _whole("tiles", self.tiles, 1, MAX_TILES)
        _above_zero("chain strength", self.chain_strength, math.inf)
        _above_zero("scale", self.scale, MAX_SCALE)
        _above_zero("annealing time", self.annealing_time_us, math.inf)
        object.__setattr__(self, "unembedding", _word("unembedding", self.unembedding, Unembedding))
        if self.anneal_schedule is None:
            return
        if self.annealing_time_us is not None:
            raise ParameterError("choose an annealing time or an anneal schedule, not both")
        object.__setattr__(self, "anneal_schedule", _schedule(self.anneal_schedule))

    def check_for(self, solver: Solver) -> None:
        """Raises ParameterError for a parameter that is chosen, and that the solver does not have."""
        for name, unchosen in {**_QUBITS_ONLY, **_LOCAL_ONLY}.items():
            if getattr(self, name) == unchosen or _has(solver, name):
                continue
            having = " or ".join(other for other in Solver if _has(other, name))
            words = name.removesuffix("_us").replace("_", " ")
            raise ParameterError(f"solver {solver} has no {words}: leave it out, or choose solver {having}")

    def to_dict(self) -> dict[str, Any]:
        """By name, ready for JSON; what only some solvers have is left out where it is not chosen."""
        values = asdict(self)
        return {name: value for name, value in values.items() if value != _QUBITS_ONLY.get(name, _ALWAYS)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Parameters:
        """Read back what `to_dict` wrote; raises ParameterError for a name it does not know."""
        known = {field.name for field in fields(cls)}
        if unknown := set(values) - known:
            raise ParameterError(f"unknown parameter {min(unknown)!r}; known: {', '.join(sorted(known))}")
        return cls(**values)


_ALWAYS = object()
# What is not chosen, by name: parameters of solvers with qubits, and of those in a worker's own process.
_QUBITS_ONLY: dict[str, Any] = {
    "qpu": None,
    "tiles": None,
    "chain_strength": None,
    "scale": None,
    "annealing_time_us": None,
    "anneal_schedule": None,
    "unembedding": Unembedding.MAJORITY_VOTE,
}
_LOCAL_ONLY: dict[str, Any] = {"sweeps": None, "noise": 0.0}


def _has(solver: Solver, name: str) -> bool:
    if name == "sweeps":
        return solver is Solver.LOCAL
    return solver.is_remote == (name in _QUBITS_ONLY)


def solver(name: str) -> Solver:
    """A solver by name; raises ParameterError that lists the names."""
    return _word("solver", name, Solver)


def _whole(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ParameterError(f"{name} is {value!r}; a whole number from {low:,} to {high:,} is needed")


def _above_zero(name: str, value: float | None, most: float) -> None:
    if value is not None and not (math.isfinite(value) and 0 < value <= most):
        limit = "a finite number above 0" if most == math.inf else f"above 0, up to {most:g}"
        raise ParameterError(f"{name} is {value}; {limit} is needed")


def _schedule(points: Any) -> tuple[tuple[float, float], ...]:
    try:
        schedule = tuple((float(at), float(s)) for at, s in points)
    except (TypeError, ValueError):
        raise ParameterError("an anneal schedule is a list of points [microseconds, s]") from None
    times = [at for at, _ in schedule]
    rising = all(before < after for before, after in pairwise(times))
    inside = all(math.isfinite(at) and 0 <= s <= 1 for at, s in schedule)
    if not 2 <= len(schedule) <= MAX_POINTS or times[0] != 0 or not rising or not inside:
        raise ParameterError(
            f"an anneal schedule has 2 to {MAX_POINTS} points [microseconds, s]: times from 0 that rise, "
            "s from 0 to 1"
        )
    return schedule


def _word(name: str, value: str, words: type[_Word]) -> _Word:
    try:
        return words(value)
    except ValueError:
        raise ParameterError(f"unknown {name} {value!r}; choose one of: {', '.join(words)}") from None
