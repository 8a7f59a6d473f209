"""Labels that were swapped are found, and good ones left alone; classes without images are named."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from schema.network.architecture import preset
from worker.network import training
from worker.network.training.label_check import disputed_labels, missing_classes


def test_swapped_labels_of_digits_are_found() -> None:
    digits = load_digits()
    images, truth = digits.images.astype(np.uint8)[:900], digits.target[:900]
    rng = np.random.default_rng(0)
    swapped = rng.permutation(900)[:30]
    labels = truth.copy()
    labels[swapped] = (truth[swapped] + rng.integers(1, 10, 30)) % 10
    layers = preset("digits")
    layers = layers.replace(training=layers.training.replace(epochs=5, validation=0.1))
    torch.set_num_threads(1)
    check = training.train(layers, images, labels, seed=0).label_check
    assert check.images == 900
    listed = [image.image for image in check.worst]
    assert len(listed) == 10
    assert len(set(listed) & set(swapped.tolist())) >= 9
    assert 20 <= check.disputed <= 40
    assert all(image.predicted == truth[image.image] for image in check.worst if image.image in swapped)
    assert check.missing == check.missing_held_out == ()


def leads(*of_classes: list[float]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Scores of images that are right by these leads over the other class, and their labels."""
    labels = np.repeat(np.arange(2), [len(each) for each in of_classes])
    scores = np.zeros((len(labels), 2))
    scores[np.arange(len(labels)), labels] = np.concatenate(of_classes)
    return scores, labels


def test_a_label_is_disputed_from_the_median_lead_on() -> None:
    scores, labels = leads([1.0, 2.0, 3.0, 4.0, 5.0], [10.0, 20.0, 30.0, 40.0, 50.0])
    scores = np.vstack((scores, [[3.0, 0.0], [2.9, 0.0], [0.0, 29.0], [0.0, 60.0]]))
    labels = np.concatenate((labels, [1, 1, 0, 0]))
    found = [
        (image.image, image.label, image.predicted, image.certainty)
        for image in disputed_labels(scores, labels)
    ]
    assert found == [(13, 0, 1, 2.0), (10, 1, 0, 1.0)]


def test_a_class_of_which_few_images_are_right_disputes_nothing() -> None:
    scores, labels = leads([1.0, 1.0, 1.0, 1.0], [1.0] * 5)
    scores = np.vstack((scores, [[9.0, 0.0]]))
    assert disputed_labels(scores, np.append(labels, 1)) == []


def test_classes_without_images_are_named() -> None:
    assert missing_classes(np.array([0, 0, 3]), 5) == (1, 2, 4)
    images = np.random.default_rng(0).integers(0, 17, (20, 8, 8)).astype(np.uint8)
    labels = np.array([0] * 9 + [1] * 9 + [4] + [7])
    layers = preset("digits")
    layers = layers.replace(training=layers.training.replace(epochs=1, validation=0.25))
    check = training.train(layers, images, labels, seed=0).label_check
    assert check.missing == (2, 3, 5, 6, 8, 9)
    assert check.missing_held_out == (4, 7)
