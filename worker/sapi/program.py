"""Encodes a model on a chip for the wire: J once, as `quad`, and h for each problem, as `lin`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from schema.parameters import Gauge, Parameters
from worker.embedding.model.chain_biases import balance_chains, usual_values
from worker.embedding.model.chain_strength import DEFAULT_CHAIN_STRENGTH, torque
from worker.embedding.model.graphs import Interactions, SolverGraph
from worker.embedding.model.placement import Placement, place_tiling
from worker.embedding.model.scale import Ranges, fit_scale
from worker.qubo.ising import spin_form
from worker.qubo.noise import range_of_h
from worker.sapi import wire

if TYPE_CHECKING:
    from schema.codecs.tiling import Tiling
    from worker.qubo.energy_model import EnergyModel

FloatArray = NDArray[np.float64]

_PARTS = 16


@dataclass(frozen=True, eq=False)
class ChipProgram:
    """A model embedded on a chip and encoded for submission, but for the h of each problem's images."""

    model: EnergyModel  # logical, BINARY
    placement: Placement  # the qubits and couplers of its tiles
    ranges: Ranges  # limits of h and J of the chip
    scale: float  # what h and J are multiplied by; the same for all images and tiles
    chain_strength: float  # in the model's units, before scaling
    balance: FloatArray  # (T,) what is added to the even share of h of each qubit, scaled
    coupled: FloatArray  # (T,) sum of |J| over the couplers of each qubit, scaled
    couplings: FloatArray  # (P,) J of all couplers in use, scaled
    quad: str  # the same, encoded
    # those of problems that are not full, or begin on another tile, by first tile and number of images
    _parts: LRUCache[tuple[int, int], ChipProgram] = field(
        default_factory=lambda: LRUCache(_PARTS), repr=False
    )

    @property
    def tiles(self) -> int:
        """Return the number of images in one problem."""
        return self.placement.tiling.tiles

    def on_tiles(self, first: int, images: int) -> ChipProgram:
        """Return the program of ``images`` tiles from ``first`` on; the first tile follows the last."""
        if (first, images) == (0, self.tiles):
            return self
        program = self._parts.get((first, images))
        if program is None:
            is_full = images == self.tiles
            program = self._turned(first) if is_full else self._part(first, images)
            self._parts[first, images] = program
        return program

    def _turned(self, first: int) -> ChipProgram:
        """Return the program of all tiles, with the first image on tile ``first``; J is the same."""
        placement = self.placement
        return replace(
            self,
            placement=placement.turned(first),
            balance=placement.roll(self.balance, first),
            coupled=placement.roll(self.coupled, first),
            _parts=LRUCache(_PARTS),
        )

    def _part(self, first: int, images: int) -> ChipProgram:
        whole = self.placement.tiling
        placement = place_tiling(self.placement.graph, Interactions.of(self.model), whole.span(first, images))
        balance = self.placement.roll(self.balance, first)[: len(placement.owners)]
        return _encode_quad(self.model, placement, self.ranges, self.scale, self.chain_strength, balance)

    def encode_problem(
        self, first_tile: int, linear: FloatArray, coupling_bias: float, signs: FloatArray | None
    ) -> tuple[str, str]:
        """Encode a problem as `lin` and `quad`: of images with the linear terms ``linear`` (k, n) float64.

        They lie on the tiles from ``first_tile`` on; for the rest see `encode_linear`.
        """
        program = self.on_tiles(first_tile, len(linear))
        return program.encode_linear(linear, coupling_bias, signs), program.encode_quadratic(signs)

    def encode_linear(
        self, linear: FloatArray, coupling_bias: float = 0.0, signs: FloatArray | None = None
    ) -> str:
        """Encode the h of `linear_biases` as `lin`."""
        return wire.encode_doubles(self.linear_biases(linear, coupling_bias, signs))

    def linear_biases(
        self, linear: FloatArray, coupling_bias: float = 0.0, signs: FloatArray | None = None
    ) -> FloatArray:
        """Return h (Q,) float64 in the solver's order, NaN if unused, as it is sent.

        It is that of the linear terms ``linear`` (k, n) float64 of k images (BINARY).
        h makes up for ``coupling_bias``, the field that couplers of |J| = 1 put on a qubit of the chip: that
        is a field of the qubits, which ``signs`` of their chains, see `gauges`, do not reverse.
        """
        h = spin_form(linear, self.model.edges, self.model.couplings).h * self.scale
        balance, (low, high) = self.balance, self.ranges.h
        if signs is not None:
            h = h * signs
            balance = balance * self.signs_of_chains(signs)[self.placement.owners]
        added = balance - coupling_bias * self.coupled
        biases = self.placement.linear(h, added)
        return np.clip(biases, low, high, out=biases)

    def encode_quadratic(self, signs: FloatArray | None = None) -> str:
        """Encode J as `quad`, the couplings between chains reversed by their ``signs``."""
        if signs is None or signs.shape[1] == 1:  # no coupler joins two tiles
            return self.quad
        chains = self.signs_of_chains(signs)
        ends = self.placement.chains
        return wire.encode_doubles(self.couplings * chains[ends[:, 0]] * chains[ends[:, 1]])

    def signs_of_chains(self, signs: FloatArray) -> FloatArray:
        """Return the sign (k n,) of each chain, tile by tile, of ``signs`` (k, 1) or (k, n)."""
        return np.broadcast_to(signs, self.placement.tiling.lengths.shape).ravel()


def encode_program(
    model: EnergyModel,
    alpha: float,
    graph: SolverGraph,
    tiling: Tiling,
    ranges: Ranges,
    parameters: Parameters,
) -> ChipProgram:
    """Place ``model`` on a chip, choose its chain strength and its scale, and encode its J.

    Feature values lie in [-``alpha``, ``alpha``], so the scale depends on no image. The chip has ``graph``
    and ``ranges`` of h and J, ``tiling`` the qubits of each tile; ``parameters`` may set chain strength and
    scale.

    Raises:
        Refused: the tiling does not suit the model or the chip.
    """
    placement = place_tiling(graph, Interactions.of(model), tiling)
    J = model.couplings / 4.0
    relative = DEFAULT_CHAIN_STRENGTH if parameters.chain_strength is None else parameters.chain_strength
    chain_strength = relative * torque(J, model.units)
    share = 1.0 if parameters.scale is None else parameters.scale
    h = range_of_h(model, alpha)
    is_gauged, reverses = parameters.gauge is not Gauge.NONE, parameters.gauge is Gauge.UNIT
    scale = fit_scale(placement, np.maximum(-h[0], h[1]), J, chain_strength, ranges, share, reverses=reverses)
    usual = usual_values(model.units, model.class_units)
    low, high = ranges.h
    if is_gauged:
        low, high = max(low, -high), min(high, -low)
    balance = balance_chains(placement, J, usual, h, (low / scale, high / scale))
    return _encode_quad(model, placement, ranges, scale, chain_strength, balance * scale)


def _encode_quad(
    model: EnergyModel,
    placement: Placement,
    ranges: Ranges,
    scale: float,
    chain_strength: float,
    balance: FloatArray,
) -> ChipProgram:
    couplings = placement.quadratic(model.couplings / 4.0 * scale, chain_strength * scale)
    ends = np.searchsorted(placement.active, placement.couplers)
    coupled = np.bincount(ends.ravel(), np.repeat(np.abs(couplings), 2), len(placement.active))
    return ChipProgram(
        model,
        placement,
        ranges,
        scale,
        chain_strength,
        balance,
        np.asarray(coupled[placement.columns], np.float64),
        couplings,
        wire.encode_doubles(couplings),
    )
