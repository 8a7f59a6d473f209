"""Balanced biases of chains: the model stays the same, and chains hold by themselves."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from schema.codecs.tiling import Tiling
from worker.embedding.model.chain_biases import balance_chains, usual_values
from worker.embedding.model.graphs import Interactions, SolverGraph
from worker.embedding.model.placement import Placement, place_tiling
from worker.qubo.energy_model import EnergyModel

WIDE = (-100.0, 100.0)


def sums_of_chains(placement: Placement, balance: np.ndarray) -> np.ndarray:
    return np.bincount(placement.owners, balance)


def usual_fields(placement: Placement, J: np.ndarray, usual: np.ndarray, balance: np.ndarray) -> np.ndarray:
    """Return the local field of each qubit of the tiling without h, from a loop over couplers."""
    owner = dict(
        zip(placement.tiling.qubits.tolist(), placement.owners % placement.tiling.units, strict=True)
    )
    fields = dict(zip(placement.tiling.qubits.tolist(), balance.tolist(), strict=True))
    for (u, v), value in zip(placement.couplers.tolist(), placement.quadratic(J, 0.0), strict=True):
        fields[u] += value * usual[owner[v]]
        fields[v] += value * usual[owner[u]]
    return np.array([fields[qubit] for qubit in placement.tiling.qubits.tolist()])


@pytest.fixture
def placement(chip: SolverGraph, interactions: Interactions, tiling: Tiling) -> Placement:
    return place_tiling(chip, interactions, tiling)


def test_every_qubit_of_a_chain_has_the_same_usual_field(placement: Placement, model: EnergyModel) -> None:
    J, zero = model.couplings / 4.0, np.zeros(model.units)
    usual = usual_values(model.units, model.class_units)
    balance = balance_chains(placement, J, usual, (zero, zero), WIDE)
    np.testing.assert_allclose(sums_of_chains(placement, balance), 0.0, atol=1e-12)
    fields = usual_fields(placement, J, usual, balance)
    means = np.bincount(placement.owners, fields * placement.shares)
    np.testing.assert_allclose(fields, means[placement.owners], atol=1e-12)
    assert np.abs(balance).max() > 0.01


@pytest.mark.parametrize("limit", [0.05, 0.2, 1.0])
def test_biases_stay_within_the_limits_for_every_image(
    placement: Placement, model: EnergyModel, limit: float
) -> None:
    J, usual = model.couplings / 4.0, usual_values(model.units, model.class_units)
    shortest = placement.tiling.lengths.min(axis=0)
    h = (-limit * shortest, 0.5 * limit * shortest)  # an even share just fits
    balance = balance_chains(placement, J, usual, h, (-limit, limit))
    np.testing.assert_allclose(sums_of_chains(placement, balance), 0.0, atol=1e-9)
    units = placement.owners % placement.tiling.units
    for bound in h:
        assert np.abs(bound[units] * placement.shares + balance).max() <= limit + 1e-9


def test_a_chain_that_an_even_share_breaks_is_whole_in_the_ground_state() -> None:
    # A class unit on qubits 0-1-2; qubit 0 has the couplers to three other classes, all of which are off.
    graph = SolverGraph(
        "star", "1", "zephyr", (1, 4), 48, np.arange(6), np.array([[0, 1], [0, 3], [0, 4], [0, 5], [1, 2]])
    )
    star = Interactions((4,), np.array([[0, 1], [0, 2], [0, 3]]), "star")
    placement = place_tiling(graph, star, Tiling.from_chains([[[0, 1, 2], [3], [4], [5]]]))
    J, chain_strength = np.ones(3), 1.0
    h = np.array([[3.2, 9.0, 9.0, 9.0]])  # it is off by a field of 0.2, as the others are by 9
    usual = np.array([0.0, -1.0, -1.0, -1.0])
    balance = balance_chains(placement, J, usual, (h[0], h[0]), WIDE)
    evenly = ground_state(placement, placement.linear(h), placement.quadratic(J, chain_strength))
    balanced = ground_state(placement, placement.linear(h, balance), placement.quadratic(J, chain_strength))
    assert evenly[:3] == (1, -1, -1)
    assert balanced[:3] == (-1, -1, -1)


def ground_state(placement: Placement, h: np.ndarray, J: np.ndarray) -> tuple[int, ...]:
    def energy(spins: tuple[int, ...]) -> float:
        pairs = sum(value * spins[u] * spins[v] for (u, v), value in zip(placement.couplers, J, strict=True))
        return float(h @ np.array(spins) + pairs)

    return min(product((-1, 1), repeat=len(h)), key=energy)
