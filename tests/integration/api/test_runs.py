"""Runs over HTTP: submitted, repeated, shown, listed, controlled and read."""

from __future__ import annotations

import csv
import io
import json
import threading
from typing import Any

import httpx
import numpy as np
import pytest
from sqlalchemy import func, select, update

from producer.networks.chosen import ChosenNetwork
from producer.runs import control, summary
from schema.database import Database
from schema.messages import Message, Task
from schema.states import RunState
from schema.tables import Batch, BatchImages, Run
from tests.integration.api.conftest import npz, refused, send
from tests.integration.conftest import START, some_images, work_off
from tests.serving import client
from worker.context import Context
from worker.pipeline.finish_run import finish_run
from worker.pipeline.sample_batch import sample_batch
from worker.pipeline.score_batch import score_batch


def test_a_file_becomes_a_run_with_the_options_that_were_sent(
    http: httpx.Client, database: Database, network: ChosenNetwork
) -> None:
    answer = send(http, reads=7, priority=3, batch_size=10, name="Tuesday", budget_s=2.5, limit=25)
    assert answer.status_code == 202, answer.text
    run = answer.json()["run_id"]
    with database.reading() as session:
        row = session.get(Run, run)
        assert row is not None
        assert (row.name, row.images, row.batches, row.priority, row.budget_us) == (
            "Tuesday",
            25,
            3,
            3,
            2_500_000,
        )
        assert row.parameters["reads"] == 7
        first = session.execute(
            select(BatchImages.images).join(Batch).where(Batch.run_id == run, Batch.ordinal == 0)
        ).scalar_one()
    assert first == some_images(30).images[:10].tobytes()
    # Why it waits would change a second or two later.
    with database.transaction() as session:
        session.execute(update(Batch).where(Batch.run_id == run).values(due_at=START))
    shown = http.get(answer.json()["links"]["self"]).json()
    with database.reading() as session:
        stored = summary.run_object(session, run)
    stored["notes"] = list(stored["notes"])  # JSON has lists
    assert {name: shown[name] for name in stored} == stored


def test_numbers_are_the_same_run_as_a_file_of_them(http: httpx.Client, network: ChosenNetwork) -> None:
    images = some_images(5)
    assert images.labels is not None
    file = io.BytesIO()
    np.savez(file, images=images.images, labels=images.labels)
    first = send(http, file.getvalue(), key="a").json()
    body = {"images": images.images.tolist(), "labels": images.labels.tolist()}
    second = http.post("/v1/runs", json=body, headers={"Idempotency-Key": "a"})
    assert second.status_code == 200
    assert second.json()["run_id"] == first["run_id"]
    assert second.json()["created"] is False


def test_a_key_belongs_to_one_content(http: httpx.Client, database: Database, network: ChosenNetwork) -> None:
    run = send(http, key="night-1").json()["run_id"]
    assert send(http, key="night-1").json()["run_id"] == run
    message = refused(send(http, npz(seed=1), key="night-1"), 409)
    assert f"run {run}" in message
    refused(send(http, key="night-1", reads=99), 409)
    refused(send(http, key="k" * 201), 422)
    with database.reading() as session:
        assert session.execute(select(func.count()).select_from(Run)).scalar_one() == 1


def test_the_same_key_from_many_threads_is_one_run(
    address: str, database: Database, network: ChosenNetwork
) -> None:
    answers: list[httpx.Response] = []

    def ask() -> None:
        with client(address) as one:
            answers.append(send(one, key="same"))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [202]
    assert len({answer.json()["run_id"] for answer in answers}) == 1
    with database.reading() as session:
        assert session.execute(select(func.count()).select_from(Run)).scalar_one() == 1


def test_pages_of_runs_hold_each_once(http: httpx.Client, network: ChosenNetwork) -> None:
    sent = [send(http, npz(3, seed=seed)).json()["run_id"] for seed in range(5)]
    http.post(f"/v1/runs/{sent[0]}/cancel")
    seen, page = [], "/v1/runs?limit=2"
    while page:
        found = http.get(page).json()
        seen += [run["run_id"] for run in found["runs"]]
        page = found["next"]
    assert seen == sent[::-1]
    cancelled = http.get("/v1/runs", params={"state": "cancelled"}).json()["runs"]
    assert [run["run_id"] for run in cancelled] == sent[:1]


def test_pause_resume_cancel(http: httpx.Client, database: Database, network: ChosenNetwork) -> None:
    run = send(http).json()["run_id"]
    path = f"/v1/runs/{run}"
    assert http.post(f"{path}/pause").json()["state"] == "paused"
    assert http.get(path).json()["pause_reason"] == "by hand"
    assert http.post(f"{path}/resume", json={"budget_s": 3}).json()["batches_left"] == 1
    assert http.get(path).json()["budget_us"] == 3_000_000
    assert http.post(f"{path}/cancel").json() == {
        "run_id": run,
        "state": "cancelled",
        "charged_us": 0,
        "in_flight": 0,
        "in_flight_us": 0,
    }
    refused(http.post("/v1/runs/999/cancel"), 404)
    with database.reading() as session:
        assert session.execute(select(Run.state)).scalar_one() is RunState.CANCELLED


def read_all(http: httpx.Client, page: str | None) -> tuple[list[dict[str, Any]], str | None]:
    """Return the results so far, and the path to continue from; None when complete."""
    rows: list[dict[str, Any]] = []
    while page:
        found = http.get(page).json()
        rows += found["results"]
        if not found["results"]:
            return rows, found["next"]
        page = found["next"]
    return rows, None


def work(context: Context, batch: int) -> None:
    """Sample and score this batch, and no other."""
    sample_batch(context, batch)
    score_batch(context, batch)


def test_results_come_as_they_are_certain_and_each_once(
    http: httpx.Client, context: Context, working: ChosenNetwork
) -> None:
    run = send(http, npz(30), batch_size=10, reads=5).json()["run_id"]
    batches = _batches(context.database, run)
    # The last batch is scored first: nothing before it is certain yet.
    work(context, batches[2])
    rows, page = read_all(http, f"/v1/runs/{run}/results?limit=4")
    assert rows == []
    assert page is not None
    work(context, batches[0])
    more, page = read_all(http, page)
    assert [row["image"] for row in more] == list(range(10))
    work(context, batches[1])
    finish_run(context, run)
    rest, page = read_all(http, page)
    assert page is None
    assert [row["image"] for row in rest] == list(range(10, 30))
    labels = some_images(30).labels
    assert labels is not None
    assert [row["label"] for row in more + rest] == labels.tolist()
    assert all(len(row["scores"]) == 10 for row in rest)


def test_results_as_csv_and_parquet(http: httpx.Client, context: Context, working: ChosenNetwork) -> None:
    from pyarrow import parquet

    run = send(http, npz(12), reads=5, tags=["site/3", "night"]).json()["run_id"]
    work_off(context, Message(Task.SAMPLE_BATCH, _batches(context.database, run)[0]))
    page = http.get(f"/v1/runs/{run}/results").json()
    text = http.get(f"/v1/runs/{run}/results", headers={"Accept": "text/csv"})
    assert text.headers["Annealq-Complete"] == "true"
    lines = list(csv.DictReader(io.StringIO(text.text)))
    assert [line["status"] for line in lines] == [row["status"] for row in page["results"]]
    assert [float(line["score_3"]) for line in lines] == [row["scores"][3] for row in page["results"]]
    table = http.get(f"/v1/runs/{run}/results", headers={"Accept": "application/vnd.apache.parquet"})
    stored = parquet.read_table(io.BytesIO(table.content))
    assert stored.column("image").to_pylist() == list(range(12))
    about = json.loads(stored.schema.metadata[b"annealq"])
    assert (about["run_id"], about["tags"], about["parameters"]["reads"]) == (run, ["night", "site/3"], 5)
    refused(http.get(f"/v1/runs/{run}/results", headers={"Accept": "image/png"}), 406)


def test_networks_are_listed(http: httpx.Client, network: ChosenNetwork) -> None:
    found = http.get("/v1/networks").json()
    assert [(row["name"], row["version"]) for row in found["networks"]] == [("digits", 1)]
    assert http.get("/v1/embeddings").json() == {"embeddings": []}


@pytest.mark.parametrize("number", ["0", "-1", "x", str(2**63)])
def test_a_number_that_no_run_has(http: httpx.Client, number: str) -> None:
    refused(http.get(f"/v1/runs/{number}"), 422)


def _batches(database: Database, run: int) -> list[int]:
    with database.reading() as session:
        rows = session.execute(select(Batch.id).where(Batch.run_id == run).order_by(Batch.ordinal))
        return list(rows.scalars())


def test_every_reader_sees_a_run_as_it_was_after_they_had_asked(
    address: str, http: httpx.Client, database: Database, network: ChosenNetwork
) -> None:
    """Looks at the database are shared among readers, and none of them is an old one."""
    run = send(http).json()["run_id"]
    stop = threading.Event()

    def keep_asking() -> None:
        with client(address) as other:
            while not stop.is_set():
                other.get(f"/v1/runs/{run}")

    readers = [threading.Thread(target=keep_asking) for _ in range(4)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(10):
            control.pause(database, run)
            assert http.get(f"/v1/runs/{run}").json()["state"] == "paused"
            control.resume(database, run)
            assert http.get(f"/v1/runs/{run}").json()["state"] == "queued"
    finally:
        stop.set()
        for reader in readers:
            reader.join()


def test_reads_are_a_number_or_auto(http: httpx.Client) -> None:
    sent = send(http, reads="auto")
    assert sent.status_code == 202, sent.text
    run = http.get(f"/v1/runs/{sent.json()['run_id']}").json()
    assert "not calibrated" in run["reads_reason"]
    assert run["parameters"]["rounds"]
    for wrong in ("many", "0", "1.5"):
        assert "reads" in refused(send(http, reads=wrong), 422)
