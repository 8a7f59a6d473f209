"""Starter architectures fit the images that they were written for, whatever their size."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from producer.images.imageset import ImageSet
from producer.networks.starter import VISIBLE, VISIBLE_OF_VECTORS, architecture_of, starter_text
from schema.errors import ImageError, NetworkError
from schema.network.architecture import preset


def images(height: int, width: int, classes: int = 3, name: str = "photos", brightest: int = 255) -> ImageSet:
    pixels = np.zeros((classes, height, width), np.uint8)
    pixels[0, 0, 0] = brightest
    return ImageSet(name, pixels, np.arange(classes), tuple(f"class {k}" for k in range(classes)), None)


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 300), (5, 5), (6, 7), (8, 8), (28, 28), (31, 64), (224, 224), (480, 512), (509, 503)]
)
def test_any_size_has_layers_that_fit_and_a_small_q(size: tuple[int, int]) -> None:
    made = architecture_of(starter_text(images(*size)))
    assert (made.input.height, made.input.width, made.classes, made.name) == (*size, 3, "photos")
    assert made.visible == VISIBLE
    assert max(made.input.shape) <= 64 or made.input.average == np.gcd(*size)


def test_images_like_mnist_have_the_layers_of_its_preset() -> None:
    made = architecture_of(starter_text(images(28, 28, classes=10)))
    layers = preset("mnist")
    assert (made.input, made.features) == (layers.input, layers.features)


def vectors(count: int, labels: NDArray[np.int64], values: int = 1_280) -> ImageSet:
    return ImageSet("features", np.zeros((count, values), np.float32), labels, None, None)


def test_vectors_are_trained_on_with_decay_and_wide_margins() -> None:
    made = architecture_of(starter_text(vectors(12_000, np.arange(12_000) % 10)))
    assert (made.input.shape, made.visible, made.training.dense_decay) == ((1_280,), VISIBLE_OF_VECTORS, 10.0)
    assert architecture_of(starter_text(vectors(110, np.arange(110) % 11))).visible == VISIBLE
    assert made.training.batch_norm is None
    assert (made.training.shift, made.training.refit, made.training.class_weights) == (0, False, "equal")
    assert 500 <= made.training.epochs * 12_000 / made.training.batch_size <= 1200


@pytest.mark.parametrize(("count", "decay"), [(100, 30.0), (1_999, 30.0), (2_000, 10.0)])
def test_the_fewer_vectors_the_stronger_the_decay(count: int, decay: float) -> None:
    training = architecture_of(starter_text(vectors(count, np.arange(count) % 10))).training
    assert training.dense_decay == decay
    assert training.patience == training.epochs
    assert 300 <= training.epochs * count / training.batch_size <= 2_000


@pytest.mark.parametrize(("values", "decay"), [(64, 1.5), (640, 15.0), (2_048, 30.0)])
def test_short_vectors_are_trained_on_with_less_decay(values: int, decay: float) -> None:
    made = architecture_of(starter_text(vectors(100, np.arange(100) % 10, values)))
    assert made.training.dense_decay == decay


def test_few_and_unbalanced_images_are_trained_on_accordingly() -> None:
    labels = np.repeat([0, 1], [120, 30])
    made = architecture_of(starter_text(vectors(150, labels)))
    assert (made.training.refit, made.training.class_weights) == (True, "balanced")


@pytest.mark.parametrize(("count", "runs_all"), [(300, True), (1_999, True), (2_000, False)])
def test_few_images_are_trained_on_for_all_epochs(count: int, runs_all: bool) -> None:
    labels = np.arange(count) % 2
    pixels = np.full((count, 8, 8), 255, np.uint8)
    training = architecture_of(starter_text(ImageSet("photos", pixels, labels, None, None))).training
    assert (training.patience == training.epochs) is runs_all


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("a.npz:train", "a"),
        ("my photos!.zip", "my-photos"),
        ('"\n[x]', "x"),
        ("…", "mine"),
        ("a@2", "a-2"),
    ],
)
def test_the_name_is_that_of_the_data(name: str, stored: str) -> None:
    assert architecture_of(starter_text(images(8, 8, name=name))).name == stored


def test_hostile_class_names_stay_in_their_comment() -> None:
    hostile = images(8, 8, classes=2)
    object.__setattr__(hostile, "classes", ("a\nalpha = 9", "b\x1b[31m"))
    assert architecture_of(starter_text(hostile)).alpha == 1.0


def test_the_brightest_pixel_is_taken_from_the_images() -> None:
    assert architecture_of(starter_text(images(8, 8, brightest=16))).input.image_max == 16
    assert architecture_of(starter_text(images(8, 8, brightest=0))).input.image_max == 255


def test_what_cannot_be_trained_on_is_refused() -> None:
    with pytest.raises(ImageError, match=r"has no labels.*one folder for each class, or add --labels"):
        starter_text(ImageSet("photos", np.zeros((2, 8, 8), np.uint8), None, None, None))
    with pytest.raises(ImageError, match="photos has 1 class; a network has 2 to 256"):
        starter_text(images(8, 8, classes=1))
    with pytest.raises(NetworkError, match="name"):
        starter_text(images(8, 8), "a@1")
