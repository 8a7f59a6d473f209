"""A model as a chip is programmed with it: encoded once, then one row of h for each problem."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from schema.parameters import Parameters
from worker.embedding.model.chain_strength import DEFAULT_CHAIN_STRENGTH, torque
from worker.embedding.model.graphs import Interactions, SolverGraph
from worker.embedding.model.placement import Placement, place_tiling
from worker.embedding.model.scale import Ranges, fit_scale
from worker.qubo.ising import spin_form
from worker.qubo.noise import largest_h
from worker.sapi import wire

if TYPE_CHECKING:
    from schema.codecs.tiling import Tiling
    from worker.qubo.energy_model import EnergyModel

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ChipProgram:
    """A model on a tiling, ready to be sent.

    scale: what h and J are multiplied by; the same for all images and tiles. chain_strength: in the model's
    units, before that. quad: the couplings as the wire has them, with ``placement``'s number of tiles.
    """

    model: EnergyModel
    placement: Placement
    ranges: Ranges
    scale: float
    chain_strength: float
    quad: str
    _parts: dict[int, ChipProgram] = field(default_factory=dict, repr=False)

    @property
    def tiles(self) -> int:
        """Images in one problem."""
        return self.placement.tiling.tiles

    def take(self, images: int) -> ChipProgram:
        """The same with the first so many tiles only, for a last problem that is not full."""
        if images == self.tiles:
            return self
        if images not in self._parts:
            self._parts[images] = _encode(
                self.model,
                place_tiling(
                    self.placement.graph,
                    Interactions.of(self.model),
                    self.placement.tiling.take(slice(images)),
                ),
                self.ranges,
                self.scale,
                self.chain_strength,
            )
        return self._parts[images]

    def lin(self, linear: FloatArray) -> str:
        """The biases of a problem as the wire has them, for linear parts (k, n) of k images (BINARY)."""
        h = spin_form(linear, self.model.edges, self.model.couplings).h * self.scale
        low, high = self.ranges.h
        return wire.encode_doubles(np.clip(self.placement.linear(h), low, high))


def encode_program(
    model: EnergyModel,
    alpha: float,
    graph: SolverGraph,
    tiling: Tiling,
    ranges: Ranges,
    parameters: Parameters,
) -> ChipProgram:
    """Place a model, and choose its chain strength and its scale.

    alpha: the feature values of the model's network lie in [-alpha, alpha]; so the scale depends on no image.

    Raises:
        Refused: the tiling does not suit the model or the chip.
    """
    placement = place_tiling(graph, Interactions.of(model), tiling)
    J = model.couplings / 4.0
    relative = DEFAULT_CHAIN_STRENGTH if parameters.chain_strength is None else parameters.chain_strength
    chain_strength = relative * torque(J, model.units)
    share = 1.0 if parameters.scale is None else parameters.scale
    scale = fit_scale(placement, largest_h(model, alpha), J, chain_strength, ranges, share)
    return _encode(model, placement, ranges, scale, chain_strength)


def _encode(
    model: EnergyModel, placement: Placement, ranges: Ranges, scale: float, chain_strength: float
) -> ChipProgram:
    couplings = placement.quadratic(model.couplings / 4.0 * scale, chain_strength * scale)
    return ChipProgram(model, placement, ranges, scale, chain_strength, wire.encode_doubles(couplings))
