"""The grid of a calibration: parameters that its runs differ in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any

from schema.errors import ParameterError
from schema.parameters import Parameters, QpuChoice, Solver, Visible

READS = 1_000  # as many as the paper made; fewer are compared from the same samples
# Multiples of the network's own one-hot penalty. The first one wins a tie.
FACTORS = (1.0, 0.5, 2.0, 4.0)
# On qubits every run is charged: fewer reads and penalties, but also chain strengths and scales.
EMBEDDED_READS = 100
EMBEDDED_FACTORS = (1.0, 2.0)
CHAIN_STRENGTHS = (1.414, 1.0)  # Ocean's prefactor first
SCALES = (1.0, 2.0)


MAX_SETTINGS = 200  # each is a run over all images
# Values that belong to a QPU, by the words of a message.
_QPU_ONLY = {
    "chain_strengths": "chain strengths belong",
    "scales": "scales belong",
    "qpu": "qpu belongs",
    "tiles": "tiles belongs",
    "crossed": "crossed belongs",
}


VISIBLES = (Visible.FOLDED, Visible.SAMPLED)  # sampling them costs about ten times as much


@dataclass(frozen=True)
class ParameterGrid:
    """Parameters of the runs of a calibration. Reads, unembedding, rule and fraction are compared afterwards.

    Attributes:
        lams: one-hot penalties; None: ``factors`` times the network's own.
        sweeps: sweeps of the local annealer; None among them: its default.
        reads: maximum number of reads.
        visibles: how visible units are treated.
        seed, qpu, tiles: the same in all runs.
        factors: multiples of the network's own penalty, used if ``lams`` is None.
        chain_strengths, scales: for solvers with qubits; None among them: the default.
        crossed: every value is combined with all others; else the first values of all are, and each other
            value with the first ones of the rest.
    """

    lams: tuple[float, ...] | None = None
    sweeps: tuple[int | None, ...] = (None,)
    reads: int = READS
    visibles: tuple[Visible, ...] = (Visible.SAMPLED,)
    seed: int = 0
    factors: tuple[float, ...] = FACTORS
    chain_strengths: tuple[float | None, ...] = (None,)
    scales: tuple[float | None, ...] = (None,)
    qpu: str | None = None
    tiles: int | None = None
    crossed: bool = True

    @classmethod
    def of(cls, solver: Solver, **values: Any) -> ParameterGrid:
        """Return the grid of the fields ``values`` for ``solver``; those that are None have their defaults.

        Raises:
            ParameterError: ``solver`` does not have one of them, or a value is out of range.
        """
        given = {name: value for name, value in values.items() if value is not None and value is not False}
        foreign = [words for name, words in _QPU_ONLY.items() if name in given and not solver.is_remote]
        if foreign:
            raise ParameterError(f"solver {solver} has no qubits: {foreign[0]} to a QPU")
        grid = cls.embedded(**given) if solver.is_remote else cls(**given)
        grid.parameters(dict.fromkeys(Visible, 1.0))  # checks them
        return grid

    @classmethod
    def embedded(cls, **values: Any) -> ParameterGrid:
        """Return a grid with the fields ``values`` for qubits.

        Raises:
            ParameterError: sweeps or several QPUs are named.
        """
        if QpuChoice.parse(values.get("qpu")).has_several:
            raise ParameterError("a calibration is for one chip: name one with --qpu NAME")
        if values.get("sweeps", (None,)) != (None,):
            raise ParameterError("sweeps are only for the local annealer: omit --sweeps")
        defaults: dict[str, Any] = {
            "reads": EMBEDDED_READS,
            "visibles": VISIBLES,
            "factors": EMBEDDED_FACTORS,
            "chain_strengths": CHAIN_STRENGTHS,
            "scales": SCALES,
            "crossed": False,
        }
        return cls(**(defaults | values))

    def parameters(self, own_lams: Mapping[Visible, float | None]) -> list[Parameters]:
        """Return the parameters of each run.

        Args:
            own_lams: the network's one-hot penalty by visible units; None: it comes with the weights, and is
                not varied unless ``lams`` are given.

        Raises:
            ParameterError: a value is out of range, or there are more than `MAX_SETTINGS` combinations.
        """
        fixed = Parameters(reads=self.reads, seed=self.seed, qpu=self.qpu, tiles=self.tiles)
        lams = self.factors if self.lams is None else self.lams
        axes = (self.visibles, lams, self.sweeps, self.chain_strengths, self.scales)
        number = prod(map(len, axes)) if self.crossed else 1 + sum(len(values) - 1 for values in axes)
        if number > MAX_SETTINGS:
            raise ParameterError(
                f"a calibration compares at most {MAX_SETTINGS} settings, and these are {number:,}: give "
                "fewer values, or do not cross them"
            )
        chosen: dict[Parameters, None] = {}
        for visible, lam, sweeps, strength, scale in product(*axes) if self.crossed else _in_turns(axes):
            own = own_lams[visible]
            penalty = lam if self.lams is not None else None if own is None else lam * own
            chosen[
                replace(
                    fixed,
                    visible=visible,
                    lam=penalty,
                    sweeps=sweeps,
                    chain_strength=strength,
                    scale=scale,
                )
            ] = None
        return list(chosen)


def _in_turns(axes: Sequence[Sequence[Any]]) -> Iterator[tuple[Any, ...]]:
    """Yield the first values of all ``axes``, then each other value with the first ones of the rest."""
    first = tuple(values[0] for values in axes)
    yield first
    for axis in reversed(range(len(axes))):
        for value in axes[axis][1:]:
            yield (*first[:axis], value, *first[axis + 1 :])
