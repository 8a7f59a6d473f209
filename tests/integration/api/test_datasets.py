"""The images of a run for other tools, over HTTP and by the client."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import insert, select, update

from producer.client import Client, ClientError
from producer.exports.exported_run import read_run
from producer.images.source import read_images
from producer.networks.chosen import ChosenNetwork
from schema.database import Database
from schema.errors import NotFound
from schema.messages import Message, Task
from schema.settings.worker import WorkerSettings
from schema.tables import BatchImages, Network
from tests.emulators import wait_until
from tests.integration.api.conftest import npz, refused, send
from tests.integration.conftest import Outbox, some_images, work_off, working_network
from tests.serving import client, serving
from worker.context import Context

ZIP, PARQUET = "application/zip", "application/vnd.apache.parquet"


@pytest.fixture(scope="module")
def finished(shared_database_url: str) -> Iterator[tuple[httpx.Client, int]]:
    """A client and a run of 30 images that is done."""
    database = Database(shared_database_url)
    with database.transaction() as session:
        session.execute(insert(Network).values(working_network()))
    with serving(shared_database_url) as address, client(address) as http:
        run: int = send(http, npz(30), reads=5, batch_size=10).json()["run_id"]
        work_off(Context(database, WorkerSettings(max_attempts=1), Outbox()), Message(Task.DISPATCH))
        yield http, run
    database.dispose()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files, empty."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def rows(http: httpx.Client, run: int, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = http.get(f"/v1/runs/{run}/results?limit=100&{query}").json()["results"]
    return found


def unpacked(answer: httpx.Response) -> zipfile.ZipFile:
    assert (answer.status_code, answer.headers["content-type"]) == (200, ZIP), answer.text
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    return archive


@pytest.mark.parametrize("query", ["", "wrong=true", "margin_below=0.5", "status=undecided&wrong=true"])
def test_images_are_chosen_as_those_of_results(finished: tuple[httpx.Client, int], query: str) -> None:
    http, run = finished
    wanted = [row["image"] for row in rows(http, run, query)]
    answer = http.get(f"/v1/runs/{run}/dataset?format=fiftyone&{query}")
    if not wanted:
        assert "no such images" in refused(answer, 404)
        return
    assert answer.headers["annealq-complete"] == "true"
    assert f"run-{run}-fiftyone.zip" in answer.headers["content-disposition"]
    samples = json.loads(unpacked(answer).read("samples.json"))["samples"]
    assert [sample["index"] for sample in samples] == wanted
    tasks = unpacked(http.get(f"/v1/runs/{run}/dataset?format=labelstudio&{query}"))
    assert [task["data"]["index"] for task in json.loads(tasks.read("tasks.json"))] == wanted
    assert tasks.read("tasks.xml").startswith(b"<View>")


def test_pixels_are_those_that_were_classified(
    finished: tuple[httpx.Client, int], tmp_path: Path, folder: Path
) -> None:
    pytest.importorskip("pyarrow", reason="needs annealq[parquet]")
    http, run = finished
    answer = http.get(f"/v1/runs/{run}/dataset?format=huggingface")
    assert (answer.status_code, answer.headers["content-type"]) == (200, PARQUET)
    path = tmp_path / "set.parquet"
    path.write_bytes(answer.content)
    np.testing.assert_array_equal(read_images(path).images, some_images(30).images)
    archive = unpacked(http.get(f"/v1/runs/{run}/dataset?format=fiftyone"))
    with Image.open(io.BytesIO(archive.read("data/0000003.png"))) as picture:
        assert picture.size == (8, 8)
    wait_until(lambda: not list(folder.iterdir()))  # files are deleted once they are sent


def test_what_cannot_be_asked_for(finished: tuple[httpx.Client, int]) -> None:
    http, run = finished
    for wrong in ("", "format=csv", "format=fiftyone&colour=red", "format=fiftyone&margin_below=2"):
        refused(http.get(f"/v1/runs/{run}/dataset?{wrong}"), 422)
    refused(http.get("/v1/runs/999/dataset?format=fiftyone"), 404)


def test_images_from_the_first_that_may_change_are_left_out(
    finished: tuple[httpx.Client, int], shared_database_url: str
) -> None:
    _, run = finished
    database = Database(shared_database_url)
    with database.reading() as session:
        assert [row["image"] for row, _ in read_run(session, run, end=12).images] == list(range(12))
        with pytest.raises(NotFound, match="no classified images yet"):
            read_run(session, run, end=0)
    database.dispose()


def test_nothing_is_left_of_a_file_that_cannot_be_written(
    http: httpx.Client, context: Context, working: ChosenNetwork, folder: Path
) -> None:
    run = send(http, npz(30), reads=5, batch_size=10).json()["run_id"]
    path = f"/v1/runs/{run}/dataset?format=labelstudio"
    assert "no classified images yet" in refused(http.get(path), 404)
    work_off(context, Message(Task.DISPATCH))
    with context.database.transaction() as session:
        batch = session.execute(select(BatchImages).order_by(BatchImages.batch_id)).scalars().all()[1]
        damaged = b"x" + batch.images[1:]
        session.execute(
            update(BatchImages).where(BatchImages.batch_id == batch.batch_id).values(images=damaged)
        )
    refused(http.get(path), 500)
    assert list(folder.iterdir()) == []


def test_the_client_writes_one_file_or_none(
    http: httpx.Client, address: str, context: Context, working: ChosenNetwork, tmp_path: Path
) -> None:
    run = send(http, npz(30), reads=5, batch_size=10).json()["run_id"]
    work_off(context, Message(Task.DISPATCH))
    with Client(address, patience_s=0) as annealq:
        path = annealq.save_dataset(run, tmp_path / "wrong.zip", format="fiftyone", wrong=True)
        samples = json.loads(zipfile.ZipFile(path).read("samples.json"))["samples"]
        assert [sample["index"] for sample in samples] == [
            image.index for image in annealq.results(run, wrong=True)
        ]
        before = path.read_bytes()
        with pytest.raises(ClientError, match="no such images"):
            annealq.save_dataset(run, path, format="fiftyone", label=12_345)
        with pytest.raises(ClientError, match=r"fiftyone is one file: give a path that ends with \.zip"):
            annealq.save_dataset(run, tmp_path / "new", format="fiftyone")
        with pytest.raises(ClientError, match="unknown format 'csv': choose one of fiftyone"):
            annealq.save_dataset(run, tmp_path / "new.csv", format="csv")  # type: ignore[arg-type]
    assert [each.name for each in tmp_path.iterdir() if not each.name.startswith("annealq")] == ["wrong.zip"]
    assert path.read_bytes() == before


def test_another_owner_does_not_see_it(
    http: httpx.Client, address: str, database: Database, working: ChosenNetwork
) -> None:
    run = send(http, npz(3)).json()["run_id"]
    key = http.post("/v1/keys", json={"name": "other", "scope": "submit"}).json()["key"]
    answer = httpx.get(
        f"{address}/v1/runs/{run}/dataset?format=fiftyone", headers={"Authorization": f"Bearer {key}"}
    )
    assert answer.status_code == 404
