"""From a folder of photographs to a network that takes them; what stands in the way says how to go on."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select, update

from producer.calibration import background
from producer.images.imageset import ImageSet
from producer.images.preprocessing import Fit, Preprocessing
from producer.images.source import read_images
from producer.networks.choose import choose_network, get_or_install_network
from producer.networks.training import enqueue_training
from schema.database import Database
from schema.errors import AnnealqError, ImageError
from schema.network.architecture import load, preset
from schema.shapes import ImageShape
from schema.states import NetworkState
from schema.tables import Network
from tests.integration.conftest import Cli


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Write a folder of three classes of coloured photographs of 40 x 60 pixels, on white."""
    for k, name in enumerate(("cat", "dog", "eel")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(4):
            image = np.full((40, 60, 3), 250, np.uint8)
            image[10:30, 10 + 5 * k : 30 + 5 * k] = (200, 10 * number, 30)
            Image.fromarray(image).save(tmp_path / "photos" / name / f"{number}.jpg")
    return tmp_path / "photos"


@pytest.mark.parametrize(
    ("size", "preprocessing"),
    [
        ((), Preprocessing()),
        (("--resize", "28x32", "--fit", "pad", "--invert"), Preprocessing((28, 32), Fit.PAD, invert=True)),
    ],
)
def test_a_written_architecture_trains_without_an_edit(
    cli: Cli,
    database: Database,
    photos: Path,
    tmp_path: Path,
    size: tuple[str, ...],
    preprocessing: Preprocessing,
) -> None:
    file = tmp_path / "mine.toml"
    assert cli("networks", "new", "--data", photos, "--out", file, *size) == ""
    assert file.read_text() == cli("networks", "new", "--data", photos, *size)
    images = read_images(photos, preprocessing=preprocessing)
    enqueue_training(database, load(file), images, transfer="energy", seed=0)
    with database.reading() as session:
        (row,) = session.execute(select(Network)).scalars()
        stored = (row.name, row.shape, row.dtype, row.classes)
    assert stored == ("photos", "28x32x3" if size else "40x60x3", "uint8", ["cat", "dog", "eel"])


def test_refusals_lead_on(database: Database, photos: Path) -> None:
    digits, mnist = preset("digits"), preset("mnist")
    found = read_images(photos)
    with pytest.raises(AnnealqError, match=r"networks new --data DATA .*--resize 28"):
        get_or_install_network(database, found, None)
    with pytest.raises(ImageError, match="network 'mnist' takes 28 x 28: add --resize 28x28"):
        get_or_install_network(database, found, "mnist")
    resized = read_images(photos, preprocessing=Preprocessing((28, 28)))
    with pytest.raises(ImageError, match=r"'cat' is not known to network 'mnist'.*networks train"):
        get_or_install_network(database, resized, "mnist")
    with pytest.raises(ImageError, match=r"\(cat, dog, eel\), .*'digits' has 10: write `classes = 3`"):
        enqueue_training(database, digits, found, transfer="energy", seed=0)
    numbered = ImageSet("n", np.zeros((2, 28, 28), np.uint8), np.arange(2), ("3", "7"), None)
    network = enqueue_training(database, mnist, numbered, transfer="energy", seed=0)
    with database.reading() as session:
        assert session.get_one(Network, network.id).classes == [str(k) for k in range(10)]


def test_opposite_brightness_is_noticed(database: Database, photos: Path) -> None:
    bright = read_images(photos)
    dark = ImageSet("dark", 255 - bright.images, bright.labels, bright.classes, None)
    layers = preset("mnist").replace(classes=3, input=preset("mnist").input.replace(height=40, width=60))
    number = enqueue_training(database, layers, bright, transfer="energy", seed=0).id
    ready = {
        "state": NetworkState.READY,
        "weights": b"",
        "weights_sha256": "0" * 64,
        "metrics": {},
        "finished_at": datetime.now(UTC),
    }
    with database.transaction() as session:
        session.execute(update(Network).where(Network.id == number).values(ready))
    with database.reading() as session:
        network = choose_network(session, "mnist", ImageShape.image(40, 60))
        assert background.warning(session, bright, network) is None
        assert "are dark, and network 'mnist' was trained on bright" in str(
            background.warning(session, dark, network)
        )
    small = read_images(photos).images[:, :28, :28].copy()
    plain = ImageSet("plain", small, None, None, None)
    shipped = get_or_install_network(database, plain, None)
    with database.reading() as session:
        assert "add --invert" in str(background.warning(session, plain, shipped))
        inverted = ImageSet("plain", 255 - small, None, None, None)
        assert background.warning(session, inverted, shipped) is None
