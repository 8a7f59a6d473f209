"""Large sources in an object store are read in place, in ranges, and resumed by their address."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from producer.images import stores
from producer.images.source import read_images
from producer.intake import find, groups
from producer.intake.find import source_for, source_of
from producer.intake.open import open_intake
from producer.intake.read_on import read_on
from producer.intake.waiting import origin_of
from producer.networks.chosen import ChosenNetwork
from producer.runs.request import ClassificationRequest, RunOptions
from producer.runs.results import images as images_of
from schema.database import Database
from schema.errors import ImageError
from schema.parameters import Parameters, Solver
from schema.states import IntakeState
from schema.tables import Intake
from tests.buckets import CREDENTIALS, bucket_server
from tests.integration.conftest import some_images
from tests.integration.intake.test_classes import npy, parquet, zipped

IMAGES, SIZE = 95, 10


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges of 2,000 bytes, one batch in a transaction; any source is large."""
    monkeypatch.setattr(stores, "_RANGE_BYTES", 2_000)
    monkeypatch.setattr(groups, "_GROUP_BYTES", SIZE * 64)
    monkeypatch.setattr(find, "READ_IN_PIECES_BYTES", 0)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str, list[str]]]:
    """The folder of a bucket, the end of its address, and the requests for it."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    folder = tmp_path / "buckets" / "bucket"
    folder.mkdir(parents=True)
    with bucket_server(folder.parent) as (query, requests):
        yield folder, query, requests
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize("write", [npy, parquet, zipped])
def test_a_source_is_read_in_ranges_and_resumed_by_its_address(
    database: Database, network: ChosenNetwork, bucket: tuple[Path, str, list[str]], write: Any
) -> None:
    folder, query, _ = bucket
    path, _ = write(folder, some_images(IMAGES))
    address = f"s3://bucket/{path.name}{query}"
    source = source_for(ClassificationRequest(data=address))
    assert source is not None
    options = RunOptions(batch_size=SIZE)
    run = open_intake(database, source, network, Solver.LOCAL, Parameters(reads=5), options).id
    del source
    with database.reading() as session:
        intake, origin = session.get_one(Intake, run), origin_of(session, run)
        assert [file["path"] for file in intake.files] == [f"s3://bucket/{path.name}"]
    assert (origin.data, origin.name) == (address, path.name)
    read_on(database, run, source_of(origin))
    with database.reading() as session:
        assert session.get_one(Intake, run).state is IntakeState.ENDED
        np.testing.assert_array_equal(images_of(session, run)[0], read_images(path).images)


def test_shards_are_named_by_their_addresses(bucket: tuple[Path, str, list[str]]) -> None:
    folder, query, _ = bucket
    (folder / "set").mkdir()
    images = some_images(2 * SIZE)
    for number in range(2):
        part, _ = parquet(folder, images.skip(number * SIZE).limit(SIZE) if number else images.limit(SIZE))
        part.rename(folder / "set" / f"train-0000{number}-of-00002.parquet")
    source = source_for(ClassificationRequest(data=f"s3://bucket/set:train{query}"))
    assert source is not None
    assert [file.path for file in source.files] == [
        f"s3://bucket/set/train-0000{number}-of-00002.parquet" for number in range(2)
    ]
    assert source.count == 2 * SIZE
    (folder / "set" / "train-00001-of-00002.parquet").write_bytes(b"PAR1")
    message = r"s3://bucket/set/train-00001-of-00002\.parquet .*has changed"
    with pytest.raises(ImageError, match=message) as raised:
        list(source.read())
    assert "annealq-stored" not in str(raised.value)
    del source, raised
