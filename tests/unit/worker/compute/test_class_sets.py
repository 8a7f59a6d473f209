"""Sets of classes hold the right one as often as promised, also where many energies are equal."""

from __future__ import annotations

from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.codecs.nonconformity import least_images
from schema.errors import ParameterError
from worker.compute.certainty import class_sets

CLASSES = 4


def draw(rng: np.random.Generator, images: int, decimals: int) -> tuple[np.ndarray, np.ndarray]:
    """Return class energies (images, K), the more equal the fewer ``decimals``, and labels."""
    energies = rng.normal(0.0, 1.0, (images, CLASSES))
    labels = rng.integers(0, CLASSES, images)
    energies[np.arange(images), labels] -= rng.exponential(1.5 + labels)
    return np.round(energies, decimals), labels


def coverage(
    seed: int, calibrated: int, confidence: float, decimals: int, *, by_class: bool = False
) -> np.ndarray:
    """Return, for 40 pairs of a calibration and 500 images, the shares of covered images of each class."""
    rng, shares = np.random.default_rng(seed), []
    for trial in range(40):
        energies, labels = draw(rng, calibrated + 500, decimals)
        right = class_sets.of_labels(energies[:calibrated], labels[:calibrated])
        fitted = class_sets.fit(right, labels[:calibrated], CLASSES, confidence, by_class=by_class)
        numbers = class_sets.random_numbers(seed + trial, np.arange(500))
        sets = class_sets.choose(energies[calibrated:], fitted, numbers)
        held = sets[np.arange(500), labels[calibrated:]]
        shares.append([held.mean(), *(held[labels[calibrated:] == k].mean() for k in range(CLASSES))])
    return np.mean(shares, axis=0)


@settings(max_examples=12)
@given(
    seed=st.integers(0, 2**31),
    calibrated=st.integers(99, 400),
    confidence=st.sampled_from([0.5, 0.8, 0.9, 0.95]),
    decimals=st.sampled_from([0, 1, 12]),
)
def test_coverage_is_the_confidence_or_one_image_more(
    seed: int, calibrated: int, confidence: float, decimals: int
) -> None:
    low = ceil((calibrated + 1) * confidence - 1e-9) / (calibrated + 1)
    # 40 calibrations of n images vary the coverage by sqrt(c (1 - c) / n / 40), and 20,000 images by less.
    error = np.sqrt(confidence * (1 - confidence) * (1 / calibrated / 40 + 1 / 20_000))
    assert coverage(seed, calibrated, confidence, decimals)[0] == pytest.approx(low, abs=5 * error)


def test_by_class_each_class_is_covered() -> None:
    together = coverage(3, 400, 0.9, 1)
    apart = coverage(3, 400, 0.9, 1, by_class=True)
    assert together[0] == pytest.approx(0.9, abs=0.01)
    assert max(together[1:]) - min(together[1:]) > 0.05
    assert apart[1:] == pytest.approx(0.9, abs=0.02)


def test_a_threshold_is_the_quantile_of_vovk() -> None:
    fitted = class_sets.fit(np.arange(99.0), np.zeros(99, int), 2, 0.9)
    scores = np.array([0.0, 88.5, 89.0, 89.5])  # the ceil(100 x 0.9) = 90th smallest is 89
    energies = np.stack((np.zeros(4), scores), axis=1)
    for number in (1e-3, 0.999):
        sets = class_sets.choose(energies, fitted, np.full(4, number))
        assert sets[:, 1].tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    ("confidence", "least"), [(0.5, 1), (0.9, 9), (0.95, 19), (0.99, 99), (0.9999, 9999)]
)
def test_the_least_number_of_images_suffices_and_fewer_do_not(confidence: float, least: int) -> None:
    assert least_images(confidence) == least
    scores = np.zeros(least)
    class_sets.fit(scores, np.zeros(least, int), 2, confidence)
    with pytest.raises(ParameterError, match=f"needs {least:,} validation images or more"):
        class_sets.fit(scores[1:], np.zeros(least - 1, int), 2, confidence)


def test_a_class_with_too_few_images_is_named() -> None:
    labels = np.array([0] * 9 + [1] * 8)
    with pytest.raises(ParameterError, match=r"needs 9 validation images of class 1 or more, and .* has 8"):
        class_sets.fit(np.zeros(17), labels, 2, 0.9, by_class=True)


def test_a_class_without_energy_is_only_in_sets_that_hold_all() -> None:
    energies = np.array([[0.0, 1.0, np.inf]])
    assert class_sets.nonconformity(energies).tolist() == [[0.0, 1.0, np.inf]]
    some = class_sets.Calibrated((np.full(9, 2.0),) * 3, 0.5)
    every = class_sets.Calibrated((np.full(9, np.inf),) * 3, 0.5)
    number = np.array([0.99])
    assert class_sets.choose(energies, some, number).tolist() == [[True, True, False]]
    assert class_sets.choose(energies, every, number).all()


def test_an_empty_set_is_given_the_winner_and_no_other_set_is_changed() -> None:
    sets = np.array([[False, False], [False, False], [True, True]])
    energies = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    filled = class_sets.fill_empty(sets, energies, np.array([1, -1, 0], np.int16))
    assert filled.tolist() == [[False, True], [False, True], [True, True]]


def test_numbers_are_uniform_and_depend_on_seed_and_image_alone() -> None:
    images = np.arange(100_000)
    numbers = class_sets.random_numbers(7, images)
    assert (numbers >= 0.0).all()
    assert (numbers < 1.0).all()
    np.testing.assert_allclose(np.histogram(numbers, 20, (0, 1))[0] / 5_000, 1.0, atol=0.07)
    np.testing.assert_array_equal(numbers[500:510], class_sets.random_numbers(7, images[500:510]))
    for other in (class_sets.random_numbers(8, images), np.roll(numbers, 1)):
        assert abs(np.corrcoef(numbers, other)[0, 1]) < 0.02
