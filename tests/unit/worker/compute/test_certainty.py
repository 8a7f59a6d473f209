"""Energy gaps and probabilities, against every state of small models and known distributions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from schema.network.architecture import preset
from tests import models
from worker.compute import consensus
from worker.compute.certainty.gaps import class_energies, energy_gaps, lowest_reads
from worker.compute.certainty.probabilities import of_winners
from worker.compute.linear_terms import LinearTerms
from worker.network import inference
from worker.network.layers import NetworkModule
from worker.network.objective import scores_of_features
from worker.network.temperature import MIN_WRONG, fit_temperature, probabilities
from worker.network.trained import TrainedNetwork
from worker.qubo.class_states import class_minima
from worker.qubo.energy_model import EnergyModel


def true_minima(model: EnergyModel, linear: models.FloatArray) -> models.FloatArray:
    """Lowest energy (B, K) over all states with one class unit on."""
    states = models.all_states(model.units)
    classes = states[:, model.class_units]
    energies = model.energies(linear, np.broadcast_to(states, (len(linear), *states.shape)))
    return np.stack(
        [
            np.where((classes.sum(axis=1) == 1) & (classes[:, k] == 1), energies, np.inf).min(axis=1)
            for k in range(classes.shape[1])
        ],
        axis=1,
    )


@given(model=models.small_models())
def test_exact_minima_are_those_of_all_states(model: EnergyModel) -> None:
    linear = model.linear(models.features_for(model, 4))
    minima = class_minima(model, linear)
    assert (minima is None) == (len(model.sizes) > 2)
    if minima is not None:
        np.testing.assert_allclose(minima, true_minima(model, linear), atol=1e-9)


@given(model=models.small_models(), seed=st.integers(0, 99), reads=st.integers(1, 12))
def test_gaps_are_those_of_a_plain_search(model: EnergyModel, seed: int, reads: int) -> None:
    rng = np.random.default_rng(seed)
    linear = model.linear(models.features_for(model, 5, seed))
    bits = rng.integers(0, 2, (5, reads, model.units)).astype(np.uint8)
    energies, class_bits = model.energies(linear, bits), bits[:, :, model.class_units]
    counted = rng.integers(0, 2, (5, reads), dtype=np.int32)
    counted[:, 0] = 1
    predicted = consensus.score(class_bits, energies, occurrences=counted).predicted
    minima = class_minima(model, linear)
    lowest_read = lowest_reads(class_bits, energies, counted)
    gaps = energy_gaps(class_energies(lowest_read, minima), predicted)
    for image, gap in enumerate(gaps):
        lowest = []
        for k in range(class_bits.shape[2]):
            alone = [
                energies[image, r]
                for r in range(reads)
                if counted[image, r] and class_bits[image, r].sum() == 1 and class_bits[image, r, k]
            ]
            exact = np.inf if minima is None else minima[image, k]
            lowest.append(min(alone) if alone else exact)
        winner = int(predicted[image])
        others = [energy for k, energy in enumerate(lowest) if k != winner]
        if winner < 0 or min(others, default=np.inf) == np.inf or lowest[winner] == np.inf:
            assert np.isnan(gap)
        else:
            assert gap == min(others) - lowest[winner]


@pytest.mark.parametrize("transfer", ["paper", "energy"])
@pytest.mark.parametrize("name", ["mnist", "digits5x5", "conv358"])
@pytest.mark.parametrize("visible", ["sampled", "folded"])
def test_probabilities_are_a_softmax_of_the_own_scores(name: str, transfer: str, visible: str) -> None:
    torch.manual_seed(0)
    architecture = preset(name)
    weights = {key: value.numpy() for key, value in NetworkModule(architecture).folded().items()}
    network = TrainedNetwork(architecture, weights, transfer)
    size, largest = architecture.input.image_shape.sizes, architecture.input.image_max
    images = np.random.default_rng(0).integers(0, largest + 1, (9, *size)).astype(np.uint8)
    terms = LinearTerms(network, network.model(visible, 1.0), images)
    scores = scores_of_features(network.module, terms.features(slice(2, 9)), network.transfer)
    own = inference.scores(architecture, weights, images, transfer)[2:]
    np.testing.assert_allclose(scores, own, rtol=1e-4, atol=1e-4)
    predicted = np.array([0, 1, 2, 3, 4, -1, 0], dtype=np.int16)
    shares = probabilities(scores, 2.0)
    expected = torch.softmax(torch.from_numpy(scores) / 2.0, dim=1).numpy()
    np.testing.assert_allclose(shares, expected, rtol=1e-9)
    np.testing.assert_array_equal(of_winners(shares, predicted)[:5], shares[np.arange(5), predicted[:5]])
    assert np.isnan(of_winners(shares, predicted)[5])


def test_the_fitted_temperature_is_that_of_the_labels() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0.0, 2.0, (20_000, 10))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (shares.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    fitted = fit_temperature(3.5 * logits, labels, held_out=True)
    assert fitted is not None
    assert fitted.value == pytest.approx(3.5, rel=0.02)
    assert (fitted.images, fitted.held_out) == (20_000, True)
    right = logits.argmax(axis=1)
    right[: MIN_WRONG - 1] = (right[: MIN_WRONG - 1] + 1) % 10
    assert fit_temperature(logits, right, held_out=True) is None
