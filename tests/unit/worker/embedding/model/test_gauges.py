"""Spins that are reversed change nothing but what a chip adds by itself."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from schema.codecs.tiling import Tiling
from schema.parameters import Gauge, Parameters
from worker.embedding.model.gauges import draw_signs, reverse_back
from worker.embedding.model.graphs import Interactions, SolverGraph
from worker.embedding.model.placement import place_tiling
from worker.embedding.model.scale import Ranges, fit_scale
from worker.qubo.energy_model import EnergyModel
from worker.sapi.program import ChipProgram, encode_program

RANGES = Ranges(h=(-4.0, 4.0), J=(-2.0, 1.0), J_at_qubit=(-18.0, 15.0))


def doubles(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f8")


def program(model: EnergyModel, chip: SolverGraph, tiling: Tiling, gauge: Gauge) -> ChipProgram:
    return encode_program(model, 1.0, chip, tiling, RANGES, Parameters(gauge=gauge))


def energies(program: ChipProgram, lin: str, quad: str, bits: np.ndarray) -> np.ndarray:
    """Return the energies (R,) of reads (R, A) of h and J as sent, added up in one order."""
    placement, spins = program.placement, 2.0 * bits - 1.0
    h, J = doubles(lin)[np.searchsorted(placement.graph.qubits, placement.active)], doubles(quad)
    ends = np.searchsorted(placement.active, placement.couplers)
    fields, couplings = h * spins, J * spins[:, ends[:, 0]] * spins[:, ends[:, 1]]
    return np.array([sum(row.tolist()) for row in np.hstack((fields, couplings))])


@pytest.mark.parametrize("gauge", [Gauge.TILE, Gauge.UNIT])
@pytest.mark.parametrize("first", [0, 2])
def test_reversed_spins_leave_each_energy_as_it_was_to_the_bit(
    model: EnergyModel, chip: SolverGraph, tiling: Tiling, gauge: Gauge, first: int
) -> None:
    made = program(model, chip, tiling, gauge).on_tiles(first, tiling.tiles)
    linear = np.random.default_rng(1).normal(size=(tiling.tiles, model.units))
    signs = draw_signs(gauge, (7, 3, 1), tiling.tiles, model.units)
    assert signs is not None
    assert (signs < 0).any()
    sent = made.encode_linear(linear, 0.0, signs), made.encode_quadratic(signs)
    placement, J = made.placement, doubles(made.quad)
    assert doubles(sent[1])[placement.terms == -1].max() < 0.0  # chains stay ferromagnetic
    assert (doubles(sent[1]) == J).all() == (gauge is Gauge.TILE)
    read = np.random.default_rng(2).integers(0, 2, (5, len(placement.active)), np.uint8)
    back = reverse_back(np.packbits(read, axis=1), placement.tiling, signs)
    plain = np.unpackbits(back, axis=1, count=read.shape[1])
    assert (plain != read).any()
    expected = energies(made, made.encode_linear(linear), made.quad, plain)
    assert energies(made, *sent, read).tolist() == expected.tolist()


@pytest.mark.parametrize("gauge", [Gauge.TILE, Gauge.UNIT])
def test_what_makes_up_for_the_field_of_couplers_is_not_reversed(
    model: EnergyModel, chip: SolverGraph, tiling: Tiling, gauge: Gauge
) -> None:
    made = program(model, chip, tiling, gauge)
    linear = np.zeros((tiling.tiles, model.units))
    signs = draw_signs(gauge, (7, 3, 1), tiling.tiles, model.units)
    with_bias, without = (doubles(made.encode_linear(linear, bias, signs)) for bias in (-0.01, 0.0))
    np.testing.assert_allclose((with_bias - without)[made.placement.slots], 0.01 * made.coupled, atol=1e-12)


@pytest.mark.parametrize(
    "limits", [{}, {"J_at_qubit": (-3.0, 2.0)}, {"J_in_group": (-2.5, 1.5)}], ids=["J", "qubit", "group"]
)
def test_couplings_fit_with_either_sign(
    model: EnergyModel, chip: SolverGraph, interactions: Interactions, tiling: Tiling, limits: Any
) -> None:
    placement, J, strength = place_tiling(chip, interactions, tiling), model.couplings / 4.0, 0.2
    ranges = Ranges(h=(-1e9, 1e9), J=(-2.0, 1.0), **limits)
    scale = fit_scale(placement, np.ones(model.units), J, strength, ranges, reverses=True)
    for seed in range(20):
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], tiling.lengths.size)
        chains = placement.chains
        programmed = placement.quadratic(J * scale, strength * scale)
        programmed *= signs[chains[:, 0]] * signs[chains[:, 1]]
        reversed_alone = fit_scale(placement, np.ones(model.units), J, strength, ranges)
        assert scale <= reversed_alone * (1 + 1e-12)
        assert programmed.min() >= -2.0
        assert programmed.max() <= 1.0
        if "J_at_qubit" in limits:
            sums = np.bincount(placement.couplers.ravel(), np.repeat(programmed, 2))
            assert -3.0 <= sums.min() <= sums.max() <= 2.0


def test_signs_depend_on_the_problem_and_on_nothing_else() -> None:
    first = draw_signs(Gauge.UNIT, (0, 0, 0), 4, 50)
    again = draw_signs(Gauge.UNIT, (0, 0, 0), 4, 50)
    assert first is not None
    assert np.array_equal(first, again)  # type: ignore[arg-type]
    for key in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
        assert not np.array_equal(first, draw_signs(Gauge.UNIT, key, 4, 50))  # type: ignore[arg-type]
    assert draw_signs(Gauge.NONE, (0, 0, 0), 4, 50) is None
    tiles = draw_signs(Gauge.TILE, (0, 0, 0), 400, 50)
    assert tiles is not None
    assert tiles.shape == (400, 1)
    assert abs(tiles.mean()) < 0.2
