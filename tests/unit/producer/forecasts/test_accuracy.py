"""The accuracy that a run reaches at least, by a validation set."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.forecasts.accuracy import CONFIDENCE, confidence_among, least_accuracy
from schema.errors import ParameterError


def _exact_tail(right: int, validated: int, images: int, least: float) -> float:
    """Return the probability that the accuracy is ``least`` or more, by gamma functions."""
    a, b = right + 0.5, validated - right + 0.5

    def beta(x: float, y: float) -> float:
        return math.lgamma(x) + math.lgamma(y) - math.lgamma(x + y)

    wrong = range(round((1.0 - least) * images) + 1)
    logs = [
        math.lgamma(images + 1)
        - math.lgamma(w + 1)
        - math.lgamma(images - w + 1)
        + beta(b + w, a + images - w)
        - beta(b, a)
        for w in wrong
    ]
    return sum(map(math.exp, logs))


@given(st.integers(1, 3_000), st.floats(0, 1), st.integers(1, 2_000))
def test_it_is_the_largest_accuracy_that_is_reached_with_this_probability(
    validated: int, share: float, images: int
) -> None:
    right = round(share * validated)
    least = least_accuracy(right, validated, images)
    assert _exact_tail(right, validated, images, least) >= CONFIDENCE - 1e-6
    if least + 1 / images <= 1.0:
        assert _exact_tail(right, validated, images, least + 1 / images) < CONFIDENCE + 1e-6


def test_runs_of_the_same_kind_reach_it_as_often_as_promised() -> None:
    random = np.random.default_rng(7)
    accuracy, validated, images = 0.97, 400, 500
    right = random.binomial(validated, accuracy, 4_000)
    reached = random.binomial(images, accuracy, 4_000) / images
    kept = [run >= least_accuracy(int(k), validated, images) for k, run in zip(right, reached, strict=True)]
    assert np.mean(kept) == pytest.approx(CONFIDENCE, abs=0.015)


def test_the_one_that_is_chosen_among_many_keeps_its_promise_as_often() -> None:
    """60 settings that are a little too bad for the target, and have many wrong images in common."""
    random = np.random.default_rng(5)
    validated, images, target, requests = 1_000, 1_000, 0.97, 400
    alone, among = confidence_among(1), confidence_among(60)
    broken = {alone: 0, among: 0}
    accuracies = np.linspace(0.955, 0.97, 60)
    common, own = 0.9, np.sqrt(1 - 0.9**2)
    limits = np.array([NormalDist().inv_cdf(share) for share in accuracies])
    for _ in range(requests):
        shared = random.standard_normal(validated)
        noise = random.standard_normal((len(limits), validated), dtype=np.float32)
        right = (common * shared + own * noise < limits[:, None]).sum(axis=1)
        run = random.binomial(images, accuracies) / images
        for confidence in broken:
            least = [least_accuracy(int(k), validated, images, confidence) for k in right]
            passing = [k for k, one in enumerate(least) if one >= target]
            broken[confidence] += bool(passing) and run[passing[0]] < target
    assert alone == CONFIDENCE
    assert broken[among] / requests <= 1 - CONFIDENCE < broken[alone] / requests


def test_more_validation_images_promise_more() -> None:
    promised = [least_accuracy(99 * n // 100, n, 10_000) for n in (100, 1_000, 10_000)]
    assert promised == sorted(promised)
    assert promised[-1] < 0.99


@pytest.mark.parametrize(("right", "validated", "images"), [(3, 2, 1), (-1, 2, 1), (0, 0, 1), (1, 2, 0)])
def test_numbers_that_do_not_fit_together_are_refused(right: int, validated: int, images: int) -> None:
    with pytest.raises(ParameterError, match="predict nothing"):
        least_accuracy(right, validated, images)
