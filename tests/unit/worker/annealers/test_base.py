"""Random numbers that belong to images, and the energy scales of a model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.models import conv358, head, small_models
from worker.annealers.base import coupling_scales, image_words
from worker.qubo.energy_model import Coupling, EnergyModel, build_model


@given(st.integers(0, 2**80), st.integers(0, 10**7), st.integers(1, 9), st.integers(0, 8), st.integers(1, 33))
def test_words_belong_to_the_image(seed: int, first: int, images: int, skip: int, words: int) -> None:
    together = image_words(seed, first, images + skip, words)
    np.testing.assert_array_equal(image_words(seed, first + skip, images, words), together[skip:])


def test_words_differ_between_images_and_seeds() -> None:
    words = np.concatenate([image_words(seed, 0, 50, 4) for seed in range(20)])
    assert len(np.unique(words)) == words.size


def scaled(model: EnergyModel, factor: float) -> EnergyModel:
    fold = None if model.fold is None else factor * model.fold
    return EnergyModel(
        model.sizes, factor * model.bias, model.edges, factor * model.couplings, model.visible, fold
    )


@given(small_models(), st.sampled_from([0.125, 4.0, 1024.0]))
def test_scales_follow_the_model(model: EnergyModel, factor: float) -> None:
    before, after = coupling_scales(model), coupling_scales(scaled(model, factor))
    strengths = np.append(np.abs(model.couplings), 0.0 if model.fold is None else np.abs(model.fold).max())
    if strengths.max() > 1e-250:
        assert after == pytest.approx((factor * before[0], factor * before[1]))
    assert 0.0 < before[0] <= before[1]


@pytest.mark.parametrize("strength", [1e-310, 1e-200, 1e200])
def test_scales_of_extreme_numbers_are_finite(strength: float) -> None:
    model = build_model([Coupling(np.full((2, 2), strength), np.ones((2, 2), dtype=bool))], None, lam=0.0)
    smallest, largest = coupling_scales(model)
    assert smallest == largest == pytest.approx(1.0 if strength < 1e-300 else strength)


def test_a_weak_layer_and_the_penalty_set_the_two_scales() -> None:
    every = np.ones((2, 2), dtype=bool)
    layers = [Coupling(np.full((2, 2), strength), every) for strength in (3.0, 0.5)]
    assert coupling_scales(build_model(layers, None, lam=4.0)) == (0.5, 8.0)
    assert coupling_scales(build_model(layers, None, lam=0.25)) == (0.5, 3.0)


def test_a_missing_coupler_does_not_weaken_a_layer() -> None:
    mask = np.array([[True, False], [False, True]])
    assert coupling_scales(build_model([Coupling(2.0 * mask, mask)], None, lam=0.1)) == (2.0, 2.0)


def test_scales_of_a_folded_head_come_from_the_fold() -> None:
    assert coupling_scales(head("folded")) == pytest.approx(coupling_scales(head("sampled")))


def test_a_model_without_couplings_has_scales() -> None:
    nothing = EnergyModel((1, 1), np.zeros(2), np.empty((0, 2), dtype=np.int32), np.empty(0))
    assert coupling_scales(nothing) == (1.0, 1.0)
    assert min(coupling_scales(conv358())) > 0.0
