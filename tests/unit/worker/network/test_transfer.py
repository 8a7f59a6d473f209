"""The energy that is sampled is the energy that was trained: checked by enumerating every state."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from schema.errors import NetworkError, ParameterError
from schema.network.architecture import Architecture
from worker.network import transfer
from worker.network.layers import NetworkModule, class_energies, class_states
from worker.network.objective import energy_head
from worker.qubo.energy_model import EnergyModel

Floats = NDArray[np.float64]

HEAD: dict[str, Any] = {
    "name": "head",
    "input": {"height": 1, "width": 6},
    "classes": 3,
    "alpha": 0.7,
    "training": {"lam": 0.8},
}
POOLED: dict[str, Any] = {
    **HEAD,
    "name": "pooled",
    "input": {"height": 2, "width": 4},
    "energy": [{"kind": "pool", "size": 2}],
}
DEEP: dict[str, Any] = {
    **HEAD,
    "name": "deep",
    "input": {"height": 5, "width": 4},
    "energy": [{"kind": "conv", "filters": 2, "kernel": 2, "stride": 2}, {"kind": "dense", "units": 3}],
}


def random_weights(architecture: Architecture, seed: int) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(0, 1, shape).astype(np.float32) for name, shape in architecture.shapes.items()}


def network_with(architecture: Architecture, weights: dict[str, NDArray[np.float32]]) -> NetworkModule:
    network = NetworkModule(architecture)
    network.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    return network.double()


def all_states(units: int) -> NDArray[np.uint8]:
    return np.array(list(itertools.product((0, 1), repeat=units)), dtype=np.uint8)


def state_weights(model: EnergyModel, features: Floats, beta: float) -> tuple[NDArray[np.uint8], Floats]:
    """Every class state of the model, and log of the summed Boltzmann weight of the states that show it."""
    bits = all_states(model.units)
    energies = model.energies(model.linear(features[np.newaxis]), bits[np.newaxis])[0]
    shown = bits[:, model.class_units]
    states = all_states(shown.shape[1])
    logs = [np.logaddexp.reduce(-beta * energies[(shown == state).all(axis=1)]) for state in states]
    return states, np.array(logs)


@pytest.mark.parametrize("given_", [HEAD, POOLED])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), beta=st.floats(0.3, 5.0))
def test_trained_scores_are_the_boltzmann_distribution(
    given_: dict[str, Any], seed: int, beta: float
) -> None:
    architecture = Architecture.from_dict(given_)
    weights = random_weights(architecture, seed)
    features = np.random.default_rng(seed).uniform(-0.7, 0.7, architecture.visible)
    model = transfer.energy_model(architecture, weights, "energy", "sampled")
    states, expected = state_weights(model, features, beta)
    head = energy_head(network_with(architecture, weights), torch.from_numpy(features[np.newaxis]), beta, 0.8)
    scores = head.scores(torch.from_numpy(states).double(), beta, 0.8)[0].detach().numpy()
    # Scores leave out what all states share.
    np.testing.assert_allclose(scores - scores[0], expected - expected[0], atol=1e-8)


@pytest.mark.parametrize("given_", [HEAD, POOLED])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), beta=st.floats(0.3, 5.0))
def test_folding_is_exact_for_known_visible_units(given_: dict[str, Any], seed: int, beta: float) -> None:
    """At f = +-alpha a folded model has the class marginals of the sampled one given v."""
    architecture = Architecture.from_dict(given_)
    weights = random_weights(architecture, seed)
    known = np.random.default_rng(seed).integers(0, 2, architecture.visible)
    features = np.asarray(architecture.alpha * (2.0 * known - 1.0), dtype=np.float64)
    folded = transfer.energy_model(architecture, weights, "energy", "folded")
    _, got = state_weights(folded, features, beta)
    sampled = transfer.energy_model(architecture, weights, "energy", "sampled")
    bits = all_states(sampled.units)
    bits = bits[(bits[:, : architecture.visible] == known).all(axis=1)]
    energies = sampled.energies(sampled.linear(features[np.newaxis]), bits[np.newaxis])[0]
    shown = bits[:, sampled.class_units]
    expected = np.array(
        [
            np.logaddexp.reduce(-beta * energies[(shown == state).all(axis=1)])
            for state in all_states(architecture.classes)
        ]
    )
    np.testing.assert_allclose(got - got[0], expected - expected[0], atol=1e-8)


def test_shared_weights_run_down_the_columns_of_q() -> None:
    """The expanded convolution does what torch's convolution does."""
    architecture = Architecture.from_dict(DEEP)
    weights = random_weights(architecture, 5)
    model = transfer.energy_model(architecture, weights, "energy", "sampled")
    visible, hidden = model.layers[0], model.layers[1]
    pixels = np.random.default_rng(6).integers(0, 2, (1, 1, 5, 4)).astype(np.float64)
    network = network_with(architecture, weights)
    expected = network.energy[0](torch.from_numpy(pixels)).detach().numpy().reshape(-1)
    field = -(pixels.reshape(-1) @ model.quadratic[visible, hidden] + model.bias[hidden])
    np.testing.assert_allclose(field, expected, atol=1e-12)
    assert len(model.edges) == sum(architecture.couplers)


def test_deep_weights_and_biases_reach_q() -> None:
    architecture = Architecture.from_dict(DEEP)
    weights = random_weights(architecture, 7)
    model = transfer.energy_model(architecture, weights, "paper", "sampled")
    _, conv, dense, classes = model.layers
    np.testing.assert_allclose(model.quadratic[conv, dense], -weights["energy.1.weight"].T)
    np.testing.assert_allclose(model.quadratic[dense, classes], -weights["classes.weight"].T)
    np.testing.assert_allclose(model.bias[dense], -weights["energy.1.bias"])
    np.testing.assert_allclose(model.bias[classes], -1.0)


def test_pools_hold_four_neighbours_of_one_filter() -> None:
    architecture = Architecture.from_dict(POOLED)
    model = transfer.energy_model(architecture, random_weights(architecture, 1), "energy", "sampled")
    block = model.quadratic[model.layers[0], model.layers[1]].reshape(2, 4, 2)
    assert (block[:, :2, 0] == -0.7).all()
    assert (block[:, 2:, 1] == -0.7).all()
    assert (block[:, :2, 1] == 0).all()


def test_default_penalties() -> None:
    architecture = Architecture.from_dict(HEAD)
    weights = random_weights(architecture, 2)

    def lam(rule: str, visible: str) -> float:
        return -float(transfer.energy_model(architecture, weights, rule, visible).bias[-1])

    assert lam("energy", "sampled") == 0.8
    assert lam("paper", "sampled") == 1.0
    weights["folded.lam"] = np.array([2.5], dtype=np.float32)
    model = transfer.energy_model(architecture, weights, "paper", "folded")
    np.testing.assert_allclose(model.couplings, 5.0)


def test_class_states_begin_with_the_one_hot_ones() -> None:
    few, many = class_states(4), class_states(10)
    assert len(few) == 16
    assert len(many) == 10 + 1 + 45
    for states in (few, many):
        classes = states.shape[1]
        assert torch.equal(states[:classes], torch.eye(classes))
        assert len(torch.unique(states, dim=0)) == len(states)
    assert class_energies(few, 2.0)[:5].tolist() == [-2.0, -2.0, -2.0, -2.0, 0.0]


def test_unknown_names_are_refused() -> None:
    architecture = Architecture.from_dict(HEAD)
    weights = random_weights(architecture, 3)
    with pytest.raises(NetworkError, match="transfer must be paper or energy, not 'magic'"):
        transfer.energy_model(architecture, weights, "magic", "sampled")
    with pytest.raises(ParameterError, match="visible must be sampled or folded, not 'hidden'"):
        transfer.energy_model(architecture, weights, "energy", "hidden")
    with pytest.raises(ParameterError, match="lam"):
        transfer.energy_model(architecture, weights, "energy", "sampled", lam=-1.0)
