"""Simulated annealing: its temperatures, its limits and how well it anneals."""

from __future__ import annotations

import numpy as np
import pytest

from schema.errors import ParameterError, Refused
from tests.models import conv358, features_for, head
from tests.oracles import ground_state
from worker.annealers.simulated import SimulatedAnnealer, _initial_states, beta_schedule
from worker.qubo.energy_model import EnergyModel


def test_temperatures_fall_and_end_downhill() -> None:
    betas = beta_schedule(head(), 40)
    assert len(betas) == 40
    assert np.all(np.diff(betas[:-1]) > 0.0)
    assert np.all(np.isinf(betas[-2:]))
    assert np.all(np.isfinite(betas[:-2]))


def test_the_unit_of_energy_does_not_matter() -> None:
    model = head()
    louder = EnergyModel(model.sizes, 8.0 * model.bias, model.edges, 8.0 * model.couplings)
    features = features_for(model, 3)
    quiet_reads = SimulatedAnnealer().sample(model, model.linear(features), reads=100, seed=1)
    loud_reads = SimulatedAnnealer().sample(louder, louder.linear(8.0 * features), reads=100, seed=1)
    np.testing.assert_array_equal(quiet_reads.bits, loud_reads.bits)


def test_every_image_anneals_with_a_seed_of_its_own() -> None:
    """The compiled generator depends on this seed only, and replaces 0."""
    states, seeds = _initial_states(units=7, images=1000, reads=3, seed=0, first_image=0)
    assert len(np.unique(seeds)) == 1000
    assert seeds.min() > 0
    assert abs(states.mean()) < 0.05


def test_most_images_of_a_head_reach_their_minimum() -> None:
    model = head()
    linear = model.linear(features_for(model, 20))
    _, lowest = ground_state(model, linear)
    samples = SimulatedAnnealer().sample(model, linear, reads=100, seed=2)
    at_minimum = samples.energies < lowest[:, np.newaxis] + 1e-9
    assert at_minimum.any(axis=1).mean() >= 0.9
    assert at_minimum.mean() > 0.2


def test_no_read_can_be_improved_by_one_unit() -> None:
    model = head()
    linear = model.linear(features_for(model, 4))
    samples = SimulatedAnnealer(sweeps=60).sample(model, linear, reads=50, seed=3)
    flips = np.eye(model.units, dtype=np.uint8)
    neighbours = (samples.bits[:, :, np.newaxis] ^ flips).reshape(4, -1, model.units)
    gains = model.energies(linear, neighbours).reshape(4, 50, model.units) - samples.energies[..., np.newaxis]
    assert (gains.min(axis=2) > -1e-9).mean() > 0.95


def test_more_sweeps_find_lower_energies() -> None:
    model = conv358()
    linear = model.linear(features_for(model, 2))
    few, many = (SimulatedAnnealer(sweeps=sweeps).sample(model, linear, 30, seed=4) for sweeps in (4, 100))
    assert np.all(many.energies.mean(axis=1) < few.energies.mean(axis=1))


@pytest.mark.parametrize("sweeps", [1, 2, 3])
def test_few_sweeps_still_anneal(sweeps: int) -> None:
    assert len(beta_schedule(head(), sweeps)) == sweeps
    model = head()
    linear = model.linear(features_for(model, 2))
    means = SimulatedAnnealer(sweeps=sweeps).sample(model, linear, 100, seed=5).energies.mean(axis=1)
    random = np.random.default_rng(6).integers(0, 2, (2, 100, model.units), dtype=np.uint8)
    assert np.all(means < model.energies(linear, random).mean(axis=1))


@pytest.mark.parametrize("sweeps", [-1, 0, 1_000_001])
def test_impossible_sweeps_are_refused(sweeps: int) -> None:
    with pytest.raises(ParameterError, match="sweeps must be 1 to 1,000,000"):
        SimulatedAnnealer(sweeps=sweeps)


@pytest.mark.parametrize("threads", [0, 65])
def test_impossible_threads_are_refused(threads: int) -> None:
    with pytest.raises(ParameterError, match="threads must be 1 to 64"):
        SimulatedAnnealer(threads=threads)


def test_a_model_too_large_is_refused_with_its_units() -> None:
    huge = EnergyModel((10_000, 1), np.zeros(10_001), np.empty((0, 2), dtype=np.int32), np.empty(0))
    with pytest.raises(Refused, match=r"10,001 units; the local annealer takes 10,000"):
        SimulatedAnnealer().check(huge)


@pytest.mark.parametrize("scale", [2.0**-900, 2.0**900])
def test_very_small_and_very_large_heads_anneal_as_others(scale: float) -> None:
    model = head()
    other = EnergyModel(model.sizes, scale * model.bias, model.edges, scale * model.couplings)
    features = features_for(model, 2)
    reads = [
        SimulatedAnnealer().sample(one, one.linear(times * features), reads=30, seed=1).bits
        for one, times in ((model, 1.0), (other, scale))
    ]
    np.testing.assert_array_equal(*reads)
