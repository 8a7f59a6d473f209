"""BINARY and SPIN are two forms of one energy."""

from __future__ import annotations

import dimod
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.models import all_states, features_for, head, small_models
from worker.qubo.energy_model import EnergyModel
from worker.qubo.ising import binary_form, bits_of, spin_form, spins_of


@given(small_models(), st.integers(0, 2**32))
def test_both_forms_have_the_same_energies(model: EnergyModel, seed: int) -> None:
    linear = model.linear(features_for(model, 2, seed))
    spin = spin_form(linear, model.edges, model.couplings)
    bits = all_states(model.units)
    spins = spins_of(bits).astype(float)
    pairs = spins[:, model.edges[:, 0]] * spins[:, model.edges[:, 1]]
    energies = spin.h @ spins.T + pairs @ spin.J + spin.offset[:, np.newaxis]
    np.testing.assert_allclose(energies, model.energies(linear, np.stack([bits] * 2)), rtol=0, atol=1e-9)


@given(small_models(), st.integers(0, 2**32))
def test_there_and_back(model: EnergyModel, seed: int) -> None:
    linear = model.linear(features_for(model, 2, seed))
    spin = spin_form(linear, model.edges, model.couplings)
    back = binary_form(spin.h, model.edges, spin.J)
    np.testing.assert_allclose(back.linear, linear, rtol=0, atol=1e-9)
    np.testing.assert_allclose(back.couplings, model.couplings, rtol=0, atol=1e-9)
    np.testing.assert_allclose(back.offset, -spin.offset, rtol=0, atol=1e-9)


def test_the_spin_form_is_dimods() -> None:
    model = head()
    features = features_for(model, 1)
    matrix = model.q_matrix(features[0])
    quadratic = {(int(i), int(j)): matrix[i, j] for i, j in np.argwhere(matrix)}
    h, J, offset = dimod.BinaryQuadraticModel.from_qubo(quadratic).to_ising()
    spin = spin_form(model.linear(features), model.edges, model.couplings)
    np.testing.assert_allclose(spin.h[0], [h[unit] for unit in range(model.units)], rtol=0, atol=1e-9)
    ours = dict(zip(map(frozenset, model.edges.tolist()), spin.J, strict=True))
    assert {frozenset(pair): value for pair, value in J.items()} == pytest.approx(ours, abs=1e-9)
    assert spin.offset[0] == pytest.approx(offset)


def test_bits_and_spins() -> None:
    bits = np.array([[0, 1, 1]], dtype=np.uint8)
    spins = spins_of(bits)
    assert spins.dtype == np.int8
    np.testing.assert_array_equal(spins, [[-1, 1, 1]])
    np.testing.assert_array_equal(bits_of(spins), bits)
    assert bits_of(spins).dtype == np.uint8
