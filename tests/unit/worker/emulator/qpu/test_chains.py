"""Updates of chains leave the Boltzmann distribution as it is, whatever the couplers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from worker.emulator.qpu.chains import Chains
from worker.emulator.qpu.sampling import random_spins


@pytest.mark.parametrize("seed", range(3))
def test_an_update_keeps_the_boltzmann_distribution(seed: int) -> None:
    random = np.random.default_rng(seed)
    pairs = [pair for pair in itertools.combinations(range(9), 2) if random.random() < 0.4]
    edges = np.array(pairs, np.int32)
    J, h = random.choice([-1.0, -0.6, 0.3, -0.2, 0.7], len(edges)), random.normal(0, 0.4, 9)
    states = np.array(list(itertools.product([-1, 1], repeat=9)), np.int8)
    energies = states @ h + (states[:, edges[:, 0]] * states[:, edges[:, 1]]) @ J
    expected = np.exp(-1.3 * energies)
    expected /= expected.sum()
    reads = 60_000
    spins = states[random.choice(len(states), reads, p=expected)]
    chains, before = Chains.of(9, edges, J), spins.copy()
    assert chains.colors
    for _ in range(3):
        chains.update(spins, h, J, 1.3, random)
    assert (spins != before).any(axis=1).mean() > 0.1
    counts = np.bincount((spins > 0) @ (1 << np.arange(9)[::-1]), minlength=len(states))
    common = expected * reads > 5
    rest = np.append(expected[common], expected[~common].sum() + 1e-12) * reads
    deviations = (np.append(counts[common], counts[~common].sum()) - rest) ** 2 / rest
    assert deviations.sum() < len(rest) + 5 * np.sqrt(2 * len(rest))


def test_one_update_joins_a_chain_that_single_qubits_leave_broken() -> None:
    edges = np.array([(i, i + 1) for i in range(19)], np.int32)
    J, random = np.full(19, -2.0), np.random.default_rng(1)
    spins = random_spins(200, 20, random)
    Chains.of(20, edges, J).update(spins, np.full(20, 0.05), J, 5.0, random)
    assert (spins == spins[:, :1]).all()
    assert spins.mean() < -0.9


def test_problems_without_strong_couplers_have_no_chains() -> None:
    edges = np.array([(0, 1)], np.int32)
    assert Chains.of(2, edges, np.array([0.5])).colors == ()
    assert Chains.of(2, edges[:0], np.array([])).colors == ()
