"""Large sets over HTTP: the answer comes after the first batches, and a process of the server reads on."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from sqlalchemy import select, update

from producer.images.source import read_images
from producer.intake import background, find, groups
from producer.intake import process as reader_process
from producer.intake.background import read_waiting
from producer.networks.chosen import ChosenNetwork
from producer.runs import control
from producer.runs.results import images as images_of
from schema.database import Database
from schema.states import IntakeState
from schema.tables import Intake
from tests.emulators import wait_until
from tests.integration.api.conftest import refused
from tests.integration.conftest import some_images
from tests.serving import client, serving

IMAGES, SIZE = 20_000, 100


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Sets of 100 kB are large; what the API may read is in a folder."""
    monkeypatch.setattr(find, "READ_IN_PIECES_BYTES", 10**5)
    monkeypatch.setattr(groups, "_GROUP_BYTES", SIZE * 64)
    monkeypatch.setenv("ANNEALQ_API_FOLDERS", str(tmp_path / "open"))
    monkeypatch.setenv("ANNEALQ_HOME", str(tmp_path / "home"))
    (tmp_path / "open").mkdir()


@pytest.fixture
def http(database_url: str, network: ChosenNetwork) -> Iterator[httpx.Client]:
    """A server whose readers the test starts itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader_process, "is_waiting", lambda _database: False)
        with serving(database_url) as address, client(address) as opened:
            yield opened


@pytest.fixture
def large(tmp_path: Path) -> Path:
    images = some_images(IMAGES)
    np.save(tmp_path / "open" / "a.npy", images.images)
    return tmp_path / "open" / "a.npy"


def state(database: Database, run: int) -> Any:
    with database.reading() as session:
        return session.execute(select(Intake.state, Intake.error).where(Intake.id == run)).one()


def pixels(database: Database, run: int) -> np.ndarray[Any, Any]:
    with database.reading() as session:
        return images_of(session, run)[0]


def uploads(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "home" / "uploads").iterdir())


def test_a_uri_is_read_on_after_the_answer(
    database: Database, http: httpx.Client, large: Path, tmp_path: Path
) -> None:
    body = {"uri": str(large), "name": "mine", "network": "digits", "reads": 5}
    first = http.post("/v1/runs", json=body, headers={"Idempotency-Key": "k"})
    assert first.status_code == 202, first.text
    run = first.json()["run_id"]
    begun = http.get(f"/v1/runs/{run}").json()
    assert begun["images"] < IMAGES
    assert begun["name"] == "mine"
    again = http.post("/v1/runs", json=body, headers={"Idempotency-Key": "k"})
    assert (again.status_code, again.json()["run_id"]) == (200, run)
    assert read_waiting(database, tmp_path / "home") == [run]
    assert state(database, run).state is IntakeState.ENDED
    np.testing.assert_array_equal(pixels(database, run), read_images(large).images)
    assert read_waiting(database, tmp_path / "home") == []
    os.utime(large, ns=(1, 1))
    other = http.post("/v1/runs", json=body, headers={"Idempotency-Key": "k"})
    assert "other values of images" in refused(other, 409)


def test_uploaded_files_stay_until_their_images_are_read(
    database: Database, http: httpx.Client, large: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.npy"
    np.save(labels, np.arange(IMAGES) % 10)
    form = {"network": "digits", "reads": "5", "classes": "3,4", "name": "sent"}

    def send(path: Path, key: str = "k") -> httpx.Response:
        files = {
            "images": ("their.npy", path.read_bytes()),
            "labels": ("their-labels.npy", labels.read_bytes()),
        }
        return http.post("/v1/runs", files=files, data=form, headers={"Idempotency-Key": key})

    first = send(large)
    assert first.status_code == 202, first.text
    run = first.json()["run_id"]
    assert len(uploads(tmp_path)) == 1
    again = send(large)
    assert (again.status_code, again.json()["run_id"]) == (200, run)
    assert len(uploads(tmp_path)) == 1
    changed = read_images(large).images.copy()
    changed[-1] ^= 1
    np.save(tmp_path / "changed.npy", changed)
    assert "other values of images" in refused(send(tmp_path / "changed.npy"), 409)
    assert len(uploads(tmp_path)) == 1
    assert read_waiting(database, tmp_path / "home") == [run]
    assert uploads(tmp_path) == []
    wanted = read_images(large).images[np.isin(np.arange(IMAGES) % 10, (3, 4))]
    np.testing.assert_array_equal(pixels(database, run), wanted)
    shown = http.get(f"/v1/runs/{run}").json()
    assert str(tmp_path) not in str(shown)
    cancelled = send(large, "other").json()["run_id"]
    control.cancel(database, cancelled)
    unread = send(large, "third").json()["run_id"]
    assert len(uploads(tmp_path)) == 2
    assert read_waiting(database, tmp_path / "home") == [unread]
    assert uploads(tmp_path) == [] or _is_young(uploads(tmp_path))


def _is_young(folders: list[Path]) -> bool:
    return all(time.time() - folder.stat().st_mtime < 3_600 for folder in folders)


def test_an_upload_that_is_damaged_stops_with_the_name_of_its_sender(
    database: Database, http: httpx.Client, tmp_path: Path
) -> None:
    labels = np.arange(IMAGES) % 10
    labels[15_000] = 11
    np.save(tmp_path / "labels.npy", labels)
    np.save(tmp_path / "a.npy", some_images(IMAGES).images)
    files = {
        "images": ("their.npy", (tmp_path / "a.npy").read_bytes()),
        "labels": ("l.npy", (tmp_path / "labels.npy").read_bytes()),
    }
    sent = http.post("/v1/runs", files=files, data={"network": "digits"})
    assert sent.status_code == 202, sent.text
    run = sent.json()["run_id"]
    assert read_waiting(database, tmp_path / "home") == [run]
    stopped = state(database, run)
    assert stopped.state is IntakeState.STOPPED
    assert stopped.error.startswith(
        "reading stopped after 15,000 images: their.npy: image 15,000 has label 11"
    )
    assert str(tmp_path) not in stopped.error
    assert read_waiting(database, tmp_path / "home") == []
    assert http.post(f"/v1/runs/{run}/resume", json={}).status_code == 200
    assert state(database, run).state is IntakeState.READING
    control.cancel(database, run)


def test_a_reader_that_dies_again_and_again_is_given_up(
    database: Database, http: httpx.Client, large: Path, tmp_path: Path
) -> None:
    run = http.post("/v1/runs", json={"uri": str(large), "network": "digits"}).json()["run_id"]
    with database.transaction() as session:
        session.execute(update(Intake).values(attempts=background.MAX_ATTEMPTS))
    assert read_waiting(database, tmp_path / "home") == [run]
    assert state(database, run).error == "a.npy: its reader died 3 times: send it in other files"


def test_limits_are_those_of_the_whole_set(
    http: httpx.Client, large: Path, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANNEALQ_API_UPLOADS_MB", "1")
    monkeypatch.setenv("ANNEALQ_API_MAX_DECODED_MB", "1.1")
    with serving(database_url) as address, client(address) as limited:
        files = {"images": ("their.npy", large.read_bytes())}
        text = refused(limited.post("/v1/runs", files=files, data={"network": "digits"}), 413)
        assert text.startswith("the files have 1 MB, 0 MB wait to be read, and the server stores 1 MB")
        taken = limited.post("/v1/runs", json={"uri": str(large), "network": "digits", "limit": 19_000})
        assert taken.status_code == 202, taken.text
        monkeypatch.setenv("ANNEALQ_API_UPLOADS_MB", "2")
    with serving(database_url) as address, client(address) as limited:
        text = refused(limited.post("/v1/runs", files=files, data={"network": "digits"}), 422)
        assert text.startswith("their.npy: unpacks to more than 1.1 MB")
    assert uploads(tmp_path) == []


def test_a_killed_reader_of_the_server_is_followed_by_another(
    database: Database,
    database_url: str,
    network: ChosenNetwork,
    large: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ANNEALQ_DATABASE_URL", database_url)
    monkeypatch.setenv("ANNEALQ_CRASH_AT", "intake-grown:1")
    monkeypatch.setenv("ANNEALQ_CRASH_ONCE", str(large.parent / "crashed"))
    with serving(database_url) as address, client(address) as http:
        run = http.post("/v1/runs", json={"uri": str(large), "network": "digits"}).json()["run_id"]
        wait_until((large.parent / "crashed" / "intake-grown").exists)
        with database.transaction() as session:
            session.execute(update(Intake).values(leased_until=None))  # as if a minute had passed
        wait_until(lambda: state(database, run).state is IntakeState.ENDED)
    np.testing.assert_array_equal(pixels(database, run), read_images(large).images)
