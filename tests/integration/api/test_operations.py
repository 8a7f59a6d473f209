"""Events, health and metrics."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import insert, select, text, update

from producer.api.keys import keys
from producer.api.keys.keys import Scope
from producer.api.metrics import usage
from producer.networks.chosen import ChosenNetwork
from producer.progress.workers import WorkerState
from schema.database import Database
from schema.messages import Message, Task
from schema.states import ProblemState
from schema.tables import Batch, Breaker, Classification, Problem, Spending
from schema.tables.processes import SILENT_S, Worker
from tests import PATIENCE_S
from tests.described import validate
from tests.integration.api.conftest import npz, refused, send
from tests.integration.conftest import START, work_off
from tests.serving import client, serving
from worker.context import Context


def events(http: httpx.Client, run: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Kind and data of each event of a run, until the server ends the stream."""
    with http.stream("GET", f"/v1/runs/{run}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        kind = ""
        for line in stream.iter_lines():
            name, _, value = line.partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                yield kind, json.loads(value)


def test_events_tell_of_a_run_to_its_end(
    address: str, http: httpx.Client, context: Context, working: ChosenNetwork
) -> None:
    run = send(http, npz(30), batch_size=10, reads=5).json()["run_id"]
    found = events(http, run)
    kind, first = next(found)
    assert (kind, first["state"], first["scored"], first["images"]) == ("progress", "queued", 0, 30)
    worker = threading.Thread(target=work_off, args=(context, Message(Task.DISPATCH)))
    worker.start()
    rest = list(found)
    worker.join()
    assert [kind for kind, _ in rest[:-1]] == ["progress"] * (len(rest) - 1)
    assert rest[-1][0] == "end"
    assert (rest[-1][1]["state"], rest[-1][1]["scored"]) == ("done", 30)
    scored = [data["scored"] for _, data in rest]
    assert scored == sorted(scored)
    # Who comes later hears the end at once.
    assert [kind for kind, _ in events(http, run)] == ["end"]


class Stream:
    """A stream of events: their ids, kinds and data."""

    def __init__(self, http: httpx.Client, path: str, after: str | None = None) -> None:
        headers = {} if after is None else {"Last-Event-ID": after}
        self._context = http.stream("GET", path, headers=headers)
        self.answer = self._context.__enter__()
        self._lines = self.answer.iter_lines()

    def __iter__(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        event: dict[str, str] = {}
        for line in self._lines:
            name, _, value = line.partition(": ")
            event[name] = value
            if name == "data":
                validate({"$ref": "#/components/schemas/ProgressEvent"}, json.loads(value), "event")
                yield event["id"], event["event"], json.loads(value)

    def close(self) -> None:
        self._context.__exit__(None, None, None)


def test_a_client_continues_after_the_last_event_that_it_has_seen(
    http: httpx.Client, database_url: str, context: Context, working: ChosenNetwork
) -> None:
    run = send(http, npz(20), batch_size=10, reads=5).json()["run_id"]
    path = f"/v1/runs/{run}/events"
    first = Stream(http, path)
    seen, _, data = next(iter(first))
    first.close()
    assert data["state"] == "queued"
    # Another process serves the same database: ids last.
    with serving(database_url) as other, client(other) as again:
        following = Stream(again, path, seen)
        http.post(f"/v1/runs/{run}/pause")
        # Before the pause is seen, the reason for waiting may change: without workers it does.
        number, kind, data = next(found for found in following if found[2]["state"] == "paused")
        following.close()
        assert kind == "progress"
        assert int(number) > int(seen)
        http.post(f"/v1/runs/{run}/resume")
        work_off(context, Message(Task.DISPATCH))
        [(end, kind, data)] = list(Stream(again, path, number))
        assert (kind, data["state"], data["scored"]) == ("end", "done", 20)
        assert again.get(path, headers={"Last-Event-ID": end}).status_code == 204
    assert [kind for _, kind, _ in Stream(http, path, "of another server")] == ["end"]


def test_one_stream_follows_several_runs(
    address: str, http: httpx.Client, database: Database, context: Context, working: ChosenNetwork
) -> None:
    runs = [send(http, npz(4, seed=seed), reads=5).json()["run_id"] for seed in range(3)]
    stream = Stream(http, f"/v1/events?run={runs[0]}&run={runs[1]}")
    events_ = iter(stream)
    assert {next(events_)[2]["run_id"] for _ in range(2)} == {*runs[:2]}
    worker = threading.Thread(target=work_off, args=(context, Message(Task.DISPATCH)))
    worker.start()
    rest = list(events_)
    worker.join()
    assert {data["run_id"] for _, kind, data in rest if kind == "end"} == {*runs[:2]}
    last = rest[-1][0]
    assert (
        http.get(f"/v1/events?run={runs[0]}&run={runs[1]}", headers={"Last-Event-ID": last}).status_code
        == 204
    )
    refused(http.get(f"/v1/events?run={runs[0]}&run=999"), 404)
    refused(http.get("/v1/events?run=0"), 422)


def test_one_stream_follows_all_that_the_caller_sees(
    address: str, http: httpx.Client, database: Database, network: ChosenNetwork
) -> None:
    made = {name: keys.add(database, name, Scope.SUBMIT).key for name in ("one", "two")}
    with client(address, made["one"]) as one, client(address, made["two"]) as two:
        send(two, npz(2))
        own = send(one, npz(3)).json()["run_id"]
        stream = Stream(one, "/v1/events")
        events_ = iter(stream)
        assert next(events_)[2]["run_id"] == own
        later = send(one, npz(4)).json()["run_id"]
        assert next(data for _, _, data in events_ if data["run_id"] != own)["run_id"] == later
        one.post(f"/v1/runs/{own}/cancel")
        _, kind, data = next(found for found in events_ if found[1] == "end")
        assert (kind, data["run_id"]) == ("end", own)
        stream.close()
        refused(two.get(f"/v1/events?run={own}"), 404)


def test_listeners_are_let_go_when_the_server_stops(
    database_url: str, network: ChosenNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack:
        with serving(database_url) as address:
            http = stack.enter_context(client(address))
            run = send(http).json()["run_id"]
            found = events(http, run)
            assert next(found)[1]["state"] == "queued"
        assert list(found) == []
    # uvicorn says so where a stream is open until it has waited long enough.
    assert not [record.message for record in caplog.records if "graceful shutdown" in record.message]


def test_events_of_no_run(http: httpx.Client) -> None:
    refused(http.get("/v1/runs/5/events"), 404)


def test_ready_says_what_is_missing(database_url: str, database: Database) -> None:
    with serving(database_url) as address, client(address) as http:
        assert http.get("/healthz").json() == {"status": "alive"}
        answer = http.get("/readyz")
        assert answer.status_code == 503
        assert (answer.json()["database"], answer.json()["broker"]) == ("ready", "away")
        with database.transaction() as session:
            session.execute(text("UPDATE alembic_version SET version_num = '0001'"))
        deadline = time.monotonic() + PATIENCE_S  # the answer may be a second old
        while http.get("/readyz").json()["database"] == "ready" and time.monotonic() < deadline:
            time.sleep(0.05)
        assert http.get("/readyz").json()["database"] == "older than this annealq"


def figures(http: httpx.Client) -> dict[tuple[str, str], float]:
    """Samples of /metrics by name and label."""
    answer = http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_metrics_are_what_the_database_holds(
    http: httpx.Client, database: Database, network: ChosenNetwork
) -> None:
    run = send(http, npz(30), solver="emulator", batch_size=10).json()["run_id"]
    send(http, npz(7), priority=1)
    with database.transaction() as session:
        batches = session.execute(select(Batch.id).where(Batch.run_id == run)).scalars().all()
        session.execute(update(Batch).where(Batch.run_id == run).values(due_at=START))
        for ordinal, values in enumerate(
            (
                {"state": ProblemState.ANSWERED, "charged_us": 700, "answered_at": START, "times_sent": 1},
                {
                    "state": ProblemState.ANSWERED,
                    "answered_at": START,
                    "charged_us": 100,
                    "times_sent": 3,
                    "duplicates": 1,
                    "wasted_us": 50,
                },
                {"state": ProblemState.SENT, "sapi_id": "x", "times_sent": 1},
            )
        ):
            row = {"batch_id": batches[0], "ordinal": ordinal, "first_image": 0, "count": 1}
            session.execute(
                insert(Problem).values({**row, "label": f"l{ordinal}", "reserved_at": START, **values})
            )
        session.execute(insert(Spending).values(run_id=run, day=START.date(), spent_us=850))
        session.execute(update(Batch).where(Batch.id == batches[0]).values(attempts=1, fence=3))
        for image, fraction in enumerate((0.1, 0.3)):
            row = {"predicted": 1, "status": "decided", "scores": b"", "margin": 1, "lowest_energy": 0}
            row |= {"one_hot_fraction": 1, "chain_break_fraction": fraction}
            session.execute(insert(Classification).values(run_id=run, image=image, **row))
        broken = {"error": "away", "since": START, "retry_at": START}
        for account in ("", "0a1b2c3d4e5f"):
            values = {"solver": "emulator", "account": account, "failures": 3, "opened_at": START}
            session.execute(insert(Breaker).values(**values, **broken))
    found = figures(http)
    assert found["annealq_runs", "queued"] == 2
    assert found["annealq_batches", "pending"] == 4
    assert found["annealq_images", "pending"] == 37
    assert found["annealq_problems", "answered"] == 2
    assert found["annealq_problems", "sent"] == 1
    assert found["annealq_problem_duplicates_total", ""] == 1
    assert found["annealq_problem_resubmissions_total", ""] == 2
    assert found["annealq_qpu_seconds_total", "emulator"] == pytest.approx(850e-6)
    assert found["annealq_qpu_seconds_total", "dwave"] == 0
    assert found["annealq_run_qpu_seconds", str(run)] == pytest.approx(850e-6)
    assert found["annealq_run_chain_break_ratio", str(run)] == pytest.approx(0.2)
    assert found["annealq_batch_retries_total", ""] == 2
    assert found["annealq_solver_failures", "emulator"] == 3
    assert found["annealq_solver_outage_seconds", "emulator"] > 0
    assert found["annealq_queue_depth", ""] == 4
    with database.reading() as session:
        age = (database.now(session) - START).total_seconds()
    assert found["annealq_oldest_due_seconds", ""] == pytest.approx(age, abs=60)


def test_usage_is_of_a_limited_number_of_owners(
    database_url: str, database: Database, network: ChosenNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "MOST_OWNERS", 2)
    made = [keys.add(database, f"owner{k}", Scope.SUBMIT) for k in range(4)]
    admin = keys.add(database, "admin", Scope.ADMIN)
    with serving(database_url) as address:
        for k, each in enumerate(made):
            with client(address, each.key) as http:
                assert send(http, npz(10 * (k + 1))).status_code == 202
        with client(address, admin.key) as http:
            found = figures(http)
        with client(address, made[0].key) as http:
            assert "annealq_owner" not in http.get("/metrics").text  # what others use is not theirs to know
    images = {owner: found["annealq_owner_day_images", owner] for owner in ("owner3", "owner2", usage.OTHERS)}
    assert images == {"owner3": 40, "owner2": 30, usage.OTHERS: 30}
    assert found["annealq_owner_day_runs", usage.OTHERS] == 2
    assert found["annealq_owner_day_qpu_seconds", usage.OTHERS] == 0


def test_workers_are_counted_by_state(http: httpx.Client, database: Database) -> None:
    with database.transaction() as session:
        now = database.now(session)
        row = {"host": "a", "pid": 1, "version": "1", "accounts": {}, "started_at": now, "seen_at": now}
        silent = {"seen_at": now - timedelta(seconds=2 * SILENT_S)}
        for name, values in {"w": {"task": "sample"}, "x": {}, "y": silent, "z": {"stopped_at": now}}.items():
            session.execute(insert(Worker).values({"name": name, **row, **values}))
    found = figures(http)
    states = {state: found["annealq_workers", state] for state in WorkerState}
    assert set(states.values()) == {1}
