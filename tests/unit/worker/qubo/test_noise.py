"""Noise on h and J: its size, what it depends on, and that energies are reported without it."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.errors import ParameterError
from tests.models import all_states, conv358, features_for, head, small_models
from worker.qubo.energy_model import EnergyModel
from worker.qubo.ising import spin_form, spins_of
from worker.qubo.noise import Noise, noise_for, spin_ranges


@given(small_models(), st.sampled_from([0.5, 1.0, 3.0]))
def test_ranges_are_the_largest_values_that_any_features_give(model: EnergyModel, alpha: float) -> None:
    corners = np.array(list(product([-alpha, alpha], repeat=model.feature_count)))
    spin = spin_form(model.linear(corners), model.edges, model.couplings)
    assert spin_ranges(model, alpha) == pytest.approx((np.abs(spin.h).max(), np.abs(spin.J).max(initial=0.0)))


@pytest.mark.parametrize("model", [head(), head("folded"), conv358()], ids=["head", "folded", "conv358"])
def test_errors_are_gaussian_with_the_chosen_fraction_of_each_range(model: EnergyModel) -> None:
    noise = noise_for(model, alpha=1.0, fraction=0.02, seed=7)
    assert noise is not None
    drawn = [noise.errors(model, image) for image in range(500)]
    for errors, full in zip(map(np.array, zip(*drawn, strict=True)), spin_ranges(model, 1.0), strict=True):
        unit = errors / (0.02 * full)
        count = unit.size
        assert abs(unit.mean()) < 4 / np.sqrt(count)
        assert abs(unit.var() - 1) < 4 * np.sqrt(2 / count)
        assert abs((unit**4).mean() - 3) < 4 * np.sqrt(96 / count)  # a normal distribution's kurtosis
        # Neither between neighbouring coefficients nor between neighbouring images.
        for one, other in ((unit[:, :-1], unit[:, 1:]), (unit[:-1], unit[1:])):
            assert abs((one * other).mean()) < 4 / np.sqrt(one.size)


def test_errors_depend_on_the_seed_and_on_the_image() -> None:
    model = head()
    chosen = [Noise(1.0, 1.0, seed).errors(model, image)[1] for seed, image in ((0, 0), (0, 1), (1, 0))]
    assert len({tuple(errors) for errors in chosen}) == 3
    np.testing.assert_array_equal(Noise(1.0, 1.0, 0).errors(model, 1)[1], chosen[1])


@given(small_models(), st.integers(0, 2**32))
def test_the_applied_model_is_off_by_the_errors_in_spin_form(model: EnergyModel, seed: int) -> None:
    noise = Noise(0.3, 0.2, seed)
    linear = model.linear(features_for(model, 1, seed))
    noisy, row = noise.apply(model, linear[0], image=5)
    h, J = noise.errors(model, 5)
    bits = all_states(model.units)
    spins = spins_of(bits).astype(float)
    pairs = spins[:, model.edges[:, 0]] * spins[:, model.edges[:, 1]]
    off = noisy.energies(row[np.newaxis], bits[np.newaxis])[0] - model.energies(linear, bits[np.newaxis])[0]
    expected = spins @ h + pairs @ J
    np.testing.assert_allclose(off - off[0], expected - expected[0], rtol=0, atol=1e-9)


def test_no_noise_is_none_at_all() -> None:
    assert noise_for(head(), alpha=1.0, fraction=0.0, seed=0) is None


@pytest.mark.parametrize(
    ("alpha", "fraction", "match"),
    [
        (1.0, -0.1, "noise"),
        (1.0, 1.1, "noise"),
        (1.0, np.nan, "noise"),
        (0.0, 0.1, "alpha"),
        (np.inf, 0.1, "alpha"),
    ],
)
def test_what_is_out_of_range_is_named(alpha: float, fraction: float, match: str) -> None:
    with pytest.raises(ParameterError, match=match):
        noise_for(head(), alpha, fraction, seed=0)
