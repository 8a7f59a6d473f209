"""From an imported backbone to layers, and what is said where there is no network yet."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from producer.networks.choose import choose_network
from schema.database import Database
from schema.errors import ImageError, NetworkError, NotFound
from schema.network.architecture import Architecture
from schema.shapes import ImageShape
from tests.integration.conftest import Cli
from tests.onnx_models import FEATURES, imported, pictures


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of three classes and of two sizes."""
    images = pictures(12, side=40)
    assert images.labels is not None
    for k, (image, label) in enumerate(zip(images.images, images.labels, strict=True)):
        (tmp_path / "colours" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[: 40 - 4 * (k % 2)]).save(tmp_path / "colours" / str(label) / f"{k}.png")
    return tmp_path / "colours"


def test_layers_are_written_after_a_backbone(cli: Cli, database: Database, folder: Path) -> None:
    with database.transaction() as session:
        layer = imported(session)
    text = cli("networks", "new", "--backbone", "tiny0", "--data", folder)
    layers = Architecture.from_dict(tomllib.loads(text))
    assert layers.backbones == (layer,)
    assert layers.joined_values == FEATURES
    assert layers.input.image_shape == ImageShape.image(32, 32, 3)
    assert layers.input.resize == "crop"
    assert layers.training.dense_decay > 0.0


def test_a_backbone_that_is_not_there_and_images_that_it_cannot_take(
    cli: Cli, database: Database, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(NotFound, match=r"no backbone 'tiny0'; there are: none\. Import one"):
        cli("networks", "new", "--backbone", "tiny0", "--data", folder)
    with database.transaction() as session:
        imported(session)
    grey = tmp_path / "grey.npz"
    np.savez(grey, images=np.zeros((9, 8, 8), np.uint8), labels=np.arange(9) % 3)
    with pytest.raises(ImageError, match="a backbone takes coloured ones"):
        cli("networks", "new", "--backbone", "tiny0", "--data", grey)


def test_two_commands_lead_to_a_class(database: Database) -> None:
    with database.transaction() as session:
        imported(session)
    with (
        database.reading() as session,
        pytest.raises(NetworkError, match=r"`annealq networks train --data DATA`, then `annealq classify"),
    ):
        choose_network(session, None, ImageShape.image(224, 224, 3))
