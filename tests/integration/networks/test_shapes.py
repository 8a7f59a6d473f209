"""Networks are chosen by the whole shape of images, and resize pictures the same whenever they see them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import insert, select

from producer.images.imageset import ImageSet
from producer.images.preprocessing import DifferentSizesError, Fit, Preprocessing
from producer.images.source import read_images
from producer.networks.choose import get_or_install_network, inputs
from producer.networks.chosen import ChosenNetwork
from producer.networks.compatibility import changes, match_images
from producer.networks.starter import architecture_of, starter_text
from producer.networks.training import enqueue_training
from producer.runs.enqueue import enqueue_run
from schema.codecs import arrays
from schema.database import Database
from schema.errors import ImageError, NetworkError
from schema.network.architecture import Architecture
from schema.parameters import Parameters, Solver
from schema.shapes import ImageShape
from schema.tables import Batch, BatchImages, Network, TrainingSet
from tests.integration.conftest import network_row

COLOUR = {"height": 8, "width": 6, "channels": 3}
VECTORS = {"kind": "vector", "values": 5}
RNG = np.random.default_rng(3)


def layers(takes: dict[str, Any], name: str = "own") -> Architecture:
    dense = {"kind": "dense", "units": 4, "activation": "tanh"}
    return Architecture.from_dict({"name": name, "input": takes, "classes": 3, "features": [dense]})


def add(database: Database, takes: dict[str, Any], name: str = "own", **values: Any) -> None:
    architecture = layers(takes, name)
    row = network_row() | {"name": name, "architecture": architecture.to_dict(), "classes": list("abc")}
    row |= {"content_sha256": arrays.digest(name.encode()), **architecture.input.image_shape.row(), **values}
    with database.transaction() as session:
        session.execute(insert(Network).values(row))


def some(shape: ImageShape, count: int = 4) -> ImageSet:
    if shape.is_vector:
        images: Any = RNG.standard_normal(shape.array(count)).astype(np.float32)
    else:
        images = RNG.integers(0, 256, shape.array(count), np.uint8)
    return ImageSet("some", images, np.arange(count) % 3, None, None)


def test_a_network_of_the_whole_shape_is_chosen(database: Database) -> None:
    add(database, {"height": 8, "width": 6}, "grey")
    with pytest.raises(NetworkError, match=r"no network is ready for colour images of 8 x 6 .*grey@1"):
        get_or_install_network(database, some(ImageShape.image(8, 6, 3)), None)
    add(database, COLOUR, "colour")
    add(database, VECTORS, "vectors")
    for shape, name in (
        (ImageShape.image(8, 6), "grey"),
        (ImageShape.image(8, 6, 3), "colour"),
        (ImageShape.vector(5), "vectors"),
    ):
        chosen = get_or_install_network(database, some(shape), None)
        assert (chosen.name, chosen.shape) == (name, shape)
    with pytest.raises(NetworkError, match="no network is ready for vectors of 6 values"):
        get_or_install_network(database, some(ImageShape.vector(6)), None)


def test_coloured_images_of_a_shipped_size_become_grey_and_that_is_said(database: Database) -> None:
    coloured = some(ImageShape.image(28, 28, 3))
    chosen = get_or_install_network(database, coloured, None)
    assert (chosen.name, chosen.shape) == ("mnist", ImageShape.image(28, 28))
    assert changes(coloured, chosen) == "all turned from colour to grey, as network 'mnist' takes them"
    grey = match_images(coloured, chosen).images
    np.testing.assert_array_equal(
        grey, [np.asarray(Image.fromarray(image).convert("L")) for image in coloured.images]
    )
    add(database, {"height": 28, "width": 28, "channels": 3}, "colour")
    assert get_or_install_network(database, coloured, None).name == "colour"


@pytest.mark.parametrize(
    ("have", "takes", "message"),
    [
        (
            ImageShape.vector(48),
            {"height": 8, "width": 6},
            "these are vectors of 48 values, network 'own' takes im",
        ),
        (
            ImageShape.image(8, 6),
            {"kind": "vector", "values": 48},
            "these are images of 8 x 6 pixels, .* vectors of 48",
        ),
        (ImageShape.vector(4), VECTORS, "these are vectors of 4 values, network 'own' takes vectors of 5"),
        (ImageShape.image(9, 6, 3), COLOUR, "9 x 6 pixels, network 'own' takes 8 x 6: add --resize 8x6"),
    ],
)
def test_a_vector_never_becomes_a_picture_or_the_other_way_round(
    have: ImageShape, takes: dict[str, Any], message: str
) -> None:
    chosen = ChosenNetwork(1, "own", layers(takes).input, ("a", "b", "c"))
    with pytest.raises(ImageError, match=message):
        match_images(some(have), chosen)


@pytest.mark.parametrize("takes", [COLOUR, VECTORS])
def test_colours_and_vectors_are_stored_as_they_are(database: Database, takes: dict[str, Any]) -> None:
    add(database, takes)
    shape = layers(takes).input.image_shape
    images = some(shape, 7)
    network = get_or_install_network(database, images, "own")
    run = enqueue_run(database, images, network, Solver.LOCAL, Parameters()).id
    enqueue_training(database, layers(takes, "new"), images, transfer="energy", seed=0)
    with database.reading() as session:
        batch = session.execute(select(Batch).where(Batch.run_id == run)).scalar_one()
        stored = session.get_one(BatchImages, batch.id)
        training = session.execute(select(TrainingSet)).scalar_one()
        for row in (batch, training):
            assert arrays.read_shape(row.shape, row.dtype) == shape
        data = stored.images, batch.count, shape, stored.images_sha256, stored.labels
        np.testing.assert_array_equal(arrays.decode_images(*data), images.images)
        trained_on = training.images, training.labels, training.count, shape, training.sha256
        np.testing.assert_array_equal(arrays.decode_training_set(*trained_on)[0], images.images)


@pytest.mark.parametrize("fit", list(Fit))
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_resized_the_same_one_by_one_and_as_an_array(
    tmp_path: Path, fit: Fit, channels: int
) -> None:
    takes = layers({"height": 8, "width": 6, "channels": channels, "resize": fit.value}).input
    for k in range(3):
        photo = RNG.integers(0, 256, (120, 90, 3), np.uint8)
        Image.fromarray(photo).resize((90, 120)).save(tmp_path / f"{k}.jpg", quality=95)
    whole = read_images(tmp_path)
    chosen = ChosenNetwork(1, "own", takes, ("a",))
    turned = " and turned from colour to grey" if channels == 1 else ""
    assert (
        changes(whole, chosen) == f"all resized to 8 x 6 ({fit.value}){turned}, as network 'own' takes them"
    )
    resized = read_images(tmp_path, takes=lambda _differ: takes)
    if channels == 3:
        np.testing.assert_array_equal(match_images(whole, chosen).images, resized.images)
    assert resized.shape == takes.image_shape
    assert resized.origin == whole.origin  # the network says it, not the command
    other = read_images(tmp_path, preprocessing=Preprocessing((5, 5)), takes=lambda _differ: takes)
    assert other.shape.size == (5, 5)  # an explicit size goes before


def test_pictures_of_different_sizes_are_for_the_network_that_resizes(
    database: Database, tmp_path: Path
) -> None:
    for k, size in enumerate(((70, 90), (99, 64))):
        (tmp_path / f"c{k}").mkdir()
        Image.fromarray(RNG.integers(0, 256, (*size, 3), np.uint8)).save(tmp_path / f"c{k}" / "a.png")
    with pytest.raises(DifferentSizesError, match=r"70 x 90\), .*99 x 64|different sizes") as raised:
        read_images(tmp_path, takes=inputs(database, None))
    assert raised.value.side == 64
    cropped = read_images(tmp_path, preprocessing=Preprocessing((64, 64), exact=True))
    text = starter_text(cropped, "photos", "crop")
    takes = architecture_of(text).input
    assert (takes.resize, takes.image_shape) == ("crop", ImageShape.image(64, 64, 3))
    add(database, takes.to_dict(), "photos")
    found = read_images(tmp_path, takes=inputs(database, None))
    np.testing.assert_array_equal(found.images, cropped.images)
    assert get_or_install_network(database, found, None).name == "photos"
    odd = some(ImageShape.image(30, 20, 3))
    assert (
        match_images(replace(odd, labels=None), get_or_install_network(database, odd, None)).shape
        == takes.image_shape
    )
    add(database, {**takes.to_dict(), "height": 32}, "others")
    with pytest.raises(
        NetworkError, match=r"several networks resize pictures: others@1, photos@1\. Name one"
    ):
        read_images(tmp_path, takes=inputs(database, None))
    assert read_images(tmp_path, takes=inputs(database, "others")).shape.size == (32, 64)
    with pytest.raises(NetworkError, match=r"no network 'third' is ready; .*annealq networks new"):
        read_images(tmp_path, takes=inputs(database, "third"))
