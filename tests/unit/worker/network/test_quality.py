"""Balanced accuracy and the area under the ROC curve, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.network import quality


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(2, 5), digits=st.sampled_from([0, 1, 8]))
def test_figures_are_those_of_scikit_learn(seed: int, classes: int, digits: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, 60) ** 2 % classes])
    scores = rng.normal(size=(len(labels), classes)).round(digits)  # with few digits many are equal
    found = quality.quality(scores, labels, held_out=True, unbalanced=False)
    assert found.accuracy == pytest.approx(metrics.accuracy_score(labels, scores.argmax(axis=1)))
    balanced = metrics.balanced_accuracy_score(labels, scores.argmax(axis=1))
    assert found.balanced_accuracy == pytest.approx(balanced)
    odds = quality.log_odds(scores)
    areas = [metrics.roc_auc_score(labels == k, odds[:, k]) for k in range(classes)]
    assert found.auc == pytest.approx(np.mean(areas))


@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(2, 6))
def test_log_odds_are_those_of_softmax(seed: int, classes: int) -> None:
    scores = np.random.default_rng(seed).normal(0, 4, (20, classes))
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(quality.log_odds(scores), np.log(shares / (1 - shares)), rtol=1e-6, atol=1e-6)


def test_probabilities_that_round_to_one_are_told_apart() -> None:
    scores = np.array([[90.0, 0.0], [80.0, 0.0], [70.0, 0.0], [0.0, 1.0]])
    assert quality.mean_auc(quality.log_odds(scores), np.array([0, 0, 1, 1])) == 1.0
    assert quality.mean_auc(quality.log_odds(scores), np.array([1, 0, 0, 1])) == 0.5


def test_one_class_alone_has_no_area() -> None:
    assert quality.mean_auc(np.zeros((3, 2)), np.ones(3, np.int64)) is None
    assert quality.quality(np.eye(2), np.ones(2, int), held_out=False, unbalanced=False).auc is None


def test_weights_of_classes_add_up_to_the_same_up_to_a_limit() -> None:
    labels = np.repeat([0, 1, 3], [300, 100, 2])
    weights = quality.class_weights(labels, 5)
    assert weights[0] * 300 == pytest.approx(weights[1] * 100) == pytest.approx(402 / 3)
    assert weights[3] == quality.MOST_WEIGHT
    assert weights[[2, 4]].tolist() == [1.0, 1.0]
