"""What a user may choose about a run, checked once, kept in the run's row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, TypeVar

from schema.errors import ParameterError

_Word = TypeVar("_Word", bound=StrEnum)

MAX_READS = 10_000  # the most that D-Wave's solvers take in one problem
MAX_SWEEPS = 1_000_000


class Solver(StrEnum):
    """Solvers by name."""

    LOCAL = "local"  # simulated annealing on this machine's processors
    EXACT = "exact"  # exact Boltzmann draws, where the network's structure allows them


class Rule(StrEnum):
    """Consensus rules: how reads become class scores."""

    LOWEST_ENERGY_MEAN = "lowest_energy_mean"  # mean over the reads of lowest energy
    ALL_READS_MEAN = "all_reads_mean"  # mean over every read
    BOLTZMANN = "boltzmann"  # mean weighted by exp(-beta E)


class Visible(StrEnum):
    """What becomes of the visible units."""

    SAMPLED = "sampled"  # the annealer decides about them too
    FOLDED = "folded"  # their values are folded into the biases of their neighbours


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

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Parameters:
        """Read back what `to_dict` wrote; raises ParameterError for a name it does not know."""
        known = {field.name for field in fields(cls)}
        if unknown := set(values) - known:
            raise ParameterError(f"unknown parameter {min(unknown)!r}; known: {', '.join(sorted(known))}")
        return cls(**values)


def solver(name: str) -> Solver:
    """A solver by name; raises ParameterError that lists the names."""
    return _word("solver", name, Solver)


def _whole(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ParameterError(f"{name} is {value!r}; a whole number from {low:,} to {high:,} is needed")


def _word(name: str, value: str, words: type[_Word]) -> _Word:
    try:
        return words(value)
    except ValueError:
        raise ParameterError(f"unknown {name} {value!r}; choose one of: {', '.join(words)}") from None
