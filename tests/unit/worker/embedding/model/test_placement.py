"""Physical biases, judged by Ocean's own embedding functions."""

from __future__ import annotations

import dimod
import dwave.embedding
import dwave.graphs
import numpy as np
import pytest
from dwave.system.coupling_groups import coupling_groups
from hypothesis import given
from hypothesis import strategies as st

from schema.codecs.tiling import Tiling
from schema.errors import Refused
from worker.embedding.model.chain_strength import torque
from worker.embedding.model.graphs import Interactions, SolverGraph
from worker.embedding.model.placement import place_tiling
from worker.embedding.model.scale import Ranges, fit_scale
from worker.qubo.energy_model import EnergyModel
from worker.qubo.ising import spin_form


def _images(model: EnergyModel, count: int) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(count, model.units))


def test_biases_are_those_of_embed_bqm(
    chip: SolverGraph, model: EnergyModel, interactions: Interactions, tiling: Tiling
) -> None:
    spin = spin_form(_images(model, tiling.tiles), model.edges, model.couplings)
    placement = place_tiling(chip, interactions, tiling)
    lin = placement.linear(spin.h)
    quad = placement.quadratic(spin.J, 1.7)
    expected_h: dict[int, float] = {}
    expected_J: dict[tuple[int, int], float] = {}
    adjacency = dimod.BinaryQuadraticModel("SPIN")
    adjacency.add_quadratic_from((u, v, 0.0) for u, v in chip.couplers.tolist())
    for tile in range(tiling.tiles):
        bqm = dimod.BinaryQuadraticModel("SPIN")
        bqm.add_linear_from_array(spin.h[tile])
        bqm.add_quadratic_from((i, j, b) for (i, j), b in zip(model.edges.tolist(), spin.J, strict=True))
        chains = {unit: tiling.chain(tile, unit).tolist() for unit in range(model.units)}
        embedded = dwave.embedding.embed_bqm(bqm, chains, adjacency.adj, chain_strength=1.7)
        expected_h.update(embedded.linear)
        for (u, v), bias in embedded.quadratic.items():
            expected_J[min(u, v), max(u, v)] = bias
    in_use = set(placement.active.tolist())
    for qubit, bias in zip(chip.qubits.tolist(), lin, strict=True):
        assert np.isnan(bias) if qubit not in in_use else bias == pytest.approx(expected_h[qubit], abs=1e-12)
    wired = [pair for pair in chip.couplers.tolist() if set(pair) <= in_use]
    got = {(min(p), max(p)): bias for p, bias in zip(wired, quad, strict=True) if bias}
    assert got.keys() == {pair for pair, bias in expected_J.items() if bias}
    for pair, bias in got.items():
        assert bias == pytest.approx(expected_J[pair], abs=1e-12)


def test_the_embedded_energy_of_whole_chains_is_the_models(
    chip: SolverGraph, model: EnergyModel, interactions: Interactions, tiling: Tiling
) -> None:
    drawn = np.random.default_rng(2)
    spin = spin_form(_images(model, tiling.tiles), model.edges, model.couplings)
    placement = place_tiling(chip, interactions, tiling)
    units = drawn.choice([-1.0, 1.0], size=(tiling.tiles, model.units))
    qubits = np.zeros(chip.size)
    qubits[tiling.qubits] = units.ravel()[placement.owners]
    pairs = chip.couplers[np.isin(chip.couplers, placement.active).all(axis=1)]
    energy = np.nansum(placement.linear(spin.h) * qubits[chip.qubits])
    energy += placement.quadratic(spin.J, 0.0) @ (qubits[pairs[:, 0]] * qubits[pairs[:, 1]])
    i, j = model.edges.T
    expected = (spin.h * units).sum() + (spin.J * units[:, i] * units[:, j]).sum()
    assert energy == pytest.approx(expected)


LIMITS = (-3.0, 2.0)


def _sums(chip: SolverGraph, active: np.ndarray, J: np.ndarray, limited: str | None) -> np.ndarray:
    """The sums of J that are limited: at each qubit, or in each of Ocean's groups of couplers."""
    pairs = chip.couplers[np.isin(chip.couplers, active).all(axis=1)]
    if limited == "per_qubit_coupling_range":
        return np.bincount(pairs.ravel(), np.repeat(J, 2), chip.size)
    if limited is None or chip.topology != "zephyr":
        return np.zeros(1)
    value = {tuple(sorted(pair)): j for pair, j in zip(pairs.tolist(), J.tolist(), strict=True)}
    ideal = dwave.graphs.zephyr_graph(*chip.shape)
    return np.array(
        [sum(value.get(tuple(sorted(pair)), 0.0) for pair in group) for group in coupling_groups(ideal)]
    )


@given(couplers=st.integers(1, 15), J=st.floats(0.01, 10.0), negative=st.booleans())
def test_a_coupling_that_is_split_does_not_pass_its_range(couplers: int, J: float, negative: bool) -> None:
    qubits = np.arange(couplers + 1, dtype=np.int32)
    ends = [[0, qubit] for qubit in range(1, couplers + 1)] + [[k, k + 1] for k in range(1, couplers)]
    graph = SolverGraph("star", "1", "chimera", (1, 1, 8), 16, qubits, np.array(ends, dtype=np.int32))
    pair = Interactions((2,), np.array([[0, 1]], dtype=np.int32), "pair")
    placement = place_tiling(graph, pair, Tiling.from_chains([[[0], qubits[1:].tolist()]]))
    signed = np.array([-J if negative else J])
    scale = fit_scale(placement, np.zeros(2), signed, 0.0, Ranges(h=(-4.0, 4.0), J=(-2.0, 1.0)))
    programmed = placement.quadratic(signed * scale, 0.0)
    assert programmed.max() <= 1.0
    assert programmed.min() >= -2.0
    assert np.abs(programmed).max() == pytest.approx(2.0 if negative else 1.0)


def test_what_does_not_fit_is_refused(
    chip: SolverGraph, interactions: Interactions, tiling: Tiling, model: EnergyModel
) -> None:
    dead = np.setdiff1d(np.arange(chip.size), chip.qubits)[0]
    broken = tiling.qubits.copy()
    broken[0] = dead
    with pytest.raises(Refused, match="do not work"):
        place_tiling(chip, interactions, Tiling(tiling.lengths, broken))
    single = Tiling.from_chains([[[int(q)] for q in chip.qubits[: model.units]]])
    with pytest.raises(Refused, match="no working coupler joins units"):
        place_tiling(chip, interactions, single)
    with pytest.raises(Refused, match="units"):
        place_tiling(chip, interactions, Tiling.from_chains([[[int(chip.qubits[0])]]]))


@pytest.mark.parametrize("limited", [None, "per_qubit_coupling_range", "per_group_coupling_range"])
def test_a_scaled_model_fills_the_ranges_and_no_more(
    chip: SolverGraph,
    model: EnergyModel,
    interactions: Interactions,
    tiling: Tiling,
    limited: str | None,
) -> None:
    spin = spin_form(_images(model, tiling.tiles), model.edges, model.couplings)
    placement = place_tiling(chip, interactions, tiling)
    strength = 1.414 * torque(spin.J, model.units)
    properties = {"h_range": [-4.0, 4.0], "j_range": [-2.0, 1.0]} | ({limited: LIMITS} if limited else {})
    ranges = Ranges.from_properties(properties)
    scale = fit_scale(placement, np.abs(spin.h).max(axis=0), spin.J, strength, ranges)
    h = np.nan_to_num(placement.linear(spin.h * scale))
    J = placement.quadratic(spin.J * scale, strength * scale)
    assert h.max() <= 4.0 * (1 + 1e-9)  # what passes the range by rounding is clipped
    assert h.min() >= -4.0 * (1 + 1e-9)
    sums = _sums(chip, placement.active, J, limited)
    filled = [np.abs(h).max() / 4.0, J.max(), J.min() / -2.0, sums.max() / LIMITS[1], sums.min() / LIMITS[0]]
    assert max(filled) == pytest.approx(1.0, rel=0.2)
    assert max(filled[1:]) <= 1.0


def test_torque_is_oceans() -> None:
    drawn = np.random.default_rng(0)
    bqm = dimod.BinaryQuadraticModel("SPIN")
    edges = [(i, j) for i in range(9) for j in range(i) if drawn.random() < 0.6]
    J = drawn.normal(size=len(edges))
    bqm.add_linear_from(dict.fromkeys(range(9), 0.0))
    bqm.add_quadratic_from((i, j, b) for (i, j), b in zip(edges, J, strict=True))
    expected = dwave.embedding.chain_strength.uniform_torque_compensation(bqm, prefactor=1.0)
    assert torque(J, 9) == pytest.approx(expected)
    assert torque(np.zeros(0), 3) == 1.0
