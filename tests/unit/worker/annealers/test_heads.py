"""Block Gibbs sampling of heads: its distribution, its rounding, its use of random numbers."""

from __future__ import annotations

import numpy as np
import pytest

from tests.models import all_states, dense, features_for, head
from worker.annealers.base import no_interrupt
from worker.annealers.heads import HeadCouplings, anneal_head, words_for
from worker.qubo.energy_model import EnergyModel, build_model


def reads_of(model: EnergyModel, linear: np.ndarray, reads: int, betas: list[float]) -> np.ndarray:
    streams = [np.random.PCG64DXSM(7).jumped(image) for image in range(len(linear))]
    return anneal_head(HeadCouplings.of(model), linear, reads, np.array(betas), streams, no_interrupt)


def test_sweeps_at_one_temperature_draw_from_its_boltzmann_distribution() -> None:
    rng = np.random.default_rng(1)
    model = build_model([dense(rng, 3, 2)], [rng.normal(size=2)], lam=0.5)
    linear, beta, reads = model.linear(features_for(model, 2)), 0.8, 40_000
    bits = reads_of(model, linear, reads, [beta] * 30)
    states = all_states(model.units).astype(np.uint8)
    energies = model.energies(linear, np.broadcast_to(states, (2, *states.shape)))
    expected = np.exp(-beta * energies)
    expected /= expected.sum(axis=1, keepdims=True)
    found = (bits[:, :, np.newaxis] == states).all(axis=3).mean(axis=1)
    # Five standard deviations of a frequency among 40,000 reads.
    np.testing.assert_allclose(found, expected, rtol=0, atol=5 * np.sqrt(0.25 / reads))


def test_cold_sweeps_never_leave_a_minimum() -> None:
    model = head(units=6, classes=3)
    linear = model.linear(features_for(model, 3))
    first, later = (reads_of(model, linear, 20, [np.inf] * count) for count in (20, 25))
    np.testing.assert_array_equal(first, later)


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_sums_of_rounded_couplings_are_exact_in_any_order(scale: float) -> None:
    model = head(units=300, classes=10)
    model = EnergyModel(model.sizes, scale * model.bias, model.edges, scale * model.couplings)
    couplings = HeadCouplings.of(model)
    state = np.random.default_rng(2).integers(0, 2, 300).astype(np.float32)
    order = np.random.default_rng(3).permutation(300)
    exact = state.astype(np.float64) @ couplings.between
    for one in (slice(None), slice(None, None, -1), order):
        summed = np.add.reduce((state[one, np.newaxis] * couplings.between[one]).astype(np.float32), axis=0)
        np.testing.assert_array_equal(summed, exact)
    given = (model.quadratic + model.quadratic.T) / couplings.unit
    assert 0.5 < np.abs(given).sum(axis=0).max() <= 1.0
    np.testing.assert_allclose(couplings.between, given[:300, 300:], rtol=0, atol=2.0**-24)


def test_a_head_without_couplings_is_drawn_from_its_linear_terms() -> None:
    model = EnergyModel((2, 2), np.zeros(4), np.empty((0, 2), dtype=np.int32), np.empty(0))
    bits = reads_of(model, np.array([[-1e3, 1e3, -1e3, 1e3]]), 50, [1.0])
    np.testing.assert_array_equal(bits, np.broadcast_to([1, 0, 1, 0], bits.shape))


@pytest.mark.parametrize(("reads", "units", "sweeps"), [(1, 1, 1), (31, 50, 40), (1000, 7, 3)])
def test_an_image_takes_the_random_numbers_that_are_set_aside_for_it(
    reads: int, units: int, sweeps: int
) -> None:
    """The next image of a run begins where they end."""
    model = EnergyModel((units, 1), np.zeros(units + 1), np.empty((0, 2), dtype=np.int32), np.empty(0))
    stream, ahead = np.random.PCG64DXSM(3), np.random.PCG64DXSM(3)
    anneal_head(
        HeadCouplings.of(model), np.zeros((1, units + 1)), reads, np.ones(sweeps), [stream], no_interrupt
    )
    ahead.advance(words_for(reads, units + 1, sweeps))
    assert stream.random_raw() == ahead.random_raw()
