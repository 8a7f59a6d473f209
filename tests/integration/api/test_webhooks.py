"""Webhooks: signed, repeated until they arrive, sent by one process, and never to private addresses."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import delete, insert, select, update
from standardwebhooks.webhooks import Webhook

from producer.api.keys import keys
from producer.api.keys.keys import Scope
from producer.enqueued import Enqueued
from producer.networks.chosen import ChosenNetwork
from producer.runs import control
from producer.webhooks import deliveries, notices
from producer.webhooks.deliveries import MAX_ATTEMPTS, DeliveryResult
from producer.webhooks.sender import WebhookSender
from schema.database import Database
from schema.parameters import Solver
from schema.settings import load_api
from schema.states import DeliveryState
from schema.tables import Breaker, Chip, Run
from schema.tables.api import Delivery, RunSubmission
from tests.integration.api.conftest import refused, send
from tests.integration.conftest import START, Cli, Clock
from tests.receivers import Receiver, receiving
from tests.serving import client, serving

SECRET = "whsec_" + base64.b64encode(b"a secret of the receiver").decode()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def ended(timed: Database, enqueue: Callable[..., Enqueued], receiver: Receiver) -> int:
    """Return a cancelled run with a webhook."""
    return end_run(timed, enqueue(10).id, receiver.url)


def end_run(database: Database, run: int, url: str) -> int:
    with database.transaction() as session:
        values = {"webhook_url": url, "webhook_secret": SECRET, "created_at": START}
        session.execute(insert(RunSubmission).values(run_id=run, **values))
    control.cancel(database, run)
    return run


def deliver(database: Database, *, allow_private: bool = True) -> None:
    """Send what is due, once."""

    async def once() -> None:
        sender = WebhookSender(database, asyncio.to_thread, allow_private=allow_private)
        async with sender.client() as http:
            await sender.start_due(http)
            await sender.wait()

    asyncio.run(once())


def row(database: Database) -> Any:
    with database.reading() as session:
        return session.execute(select(Delivery.__table__)).one()


def verify(headers: dict[str, str], body: bytes, secret: str = SECRET) -> dict[str, Any]:
    """Verify a message with the library for standard webhooks, and return its content."""
    message: dict[str, Any] = Webhook(secret).verify(body, headers)
    return message


def test_the_end_of_a_run_is_told_and_signed_with_the_key_s_secret(
    database_url: str, database: Database, network: ChosenNetwork, receiver: Receiver
) -> None:
    made = keys.add(database, "night", Scope.SUBMIT, webhook_url=receiver.url)
    with serving(database_url, load_api(webhook_private=True)) as address, client(address, made.key) as http:
        run = send(http).json()["run_id"]
        http.post(f"/v1/runs/{run}/cancel")
        headers, body = receiver.next()
    assert made.webhook_secret is not None
    message = verify(headers, body, made.webhook_secret)
    assert message["type"] == "run.cancelled"
    assert (message["data"]["run_id"], message["data"]["images"]) == (run, 30)


def test_a_message_comes_again_until_it_is_taken_with_the_same_id(
    timed: Database, clock: Clock, ended: int, receiver: Receiver
) -> None:
    receiver.statuses = [500, 302]
    deliver(timed)
    assert (row(timed).state, row(timed).attempts) == (DeliveryState.PENDING, 1)
    assert "500" in row(timed).error
    deliver(timed)  # it is not due yet
    clock.forward(5)
    deliver(timed)
    assert "redirects are not followed" in row(timed).error
    clock.forward(30)
    deliver(timed)
    assert (row(timed).state, row(timed).attempts, row(timed).error) == (DeliveryState.DELIVERED, 3, None)
    clock.forward(100_000)
    deliver(timed)
    came = [receiver.next(1) for _ in range(3)]
    assert receiver.came.empty()
    assert len({headers["webhook-id"] for headers, _ in came}) == 1
    assert all(verify(*message)["data"]["run_id"] == ended for message in came)


def test_what_is_never_taken_is_given_up(timed: Database, clock: Clock, ended: int) -> None:
    notices.enqueue_ends(timed)
    for number in range(1, MAX_ATTEMPTS + 1):
        attempt = deliveries.claim(timed)
        assert attempt is not None
        assert attempt.number == number
        deliveries.record_result(timed, attempt, DeliveryResult("no"))
        clock.forward(100_000)
    assert deliveries.claim(timed) is None
    assert (row(timed).state, row(timed).error) == (DeliveryState.FAILED, "no")


def test_a_receiver_may_say_that_it_wants_no_more(timed: Database, ended: int, receiver: Receiver) -> None:
    receiver.statuses = [410]
    deliver(timed)
    assert row(timed).state == DeliveryState.FAILED


def test_an_end_is_looked_for_among_the_latest_and_now_and_then_among_all(
    timed: Database, clock: Clock, ended: int
) -> None:
    with timed.transaction() as session:
        session.execute(update(Run).values(finished_at=clock.now - timedelta(hours=2)))
    notices.enqueue_ends(timed, clock.now - timedelta(hours=1))
    assert deliveries.claim(timed) is None
    since = notices.enqueue_ends(timed)
    assert since == clock.now - timedelta(hours=1)
    assert deliveries.claim(timed) is not None


def test_only_one_process_sends_a_message(
    timed: Database, database_url: str, clock: Clock, ended: int
) -> None:
    other = Database(database_url, clock)
    barrier = threading.Barrier(2)
    taken: list[object] = []

    def take(database: Database) -> None:
        barrier.wait()
        notices.enqueue_ends(database)
        taken.append(deliveries.claim(database))

    threads = [threading.Thread(target=take, args=(database,)) for database in (timed, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first = next(attempt for attempt in taken if attempt is not None)
    assert isinstance(first, deliveries.Attempt)
    assert deliveries.claim(other) is None
    clock.forward(deliveries.LEASE_S + 1)  # its process died: another takes over
    second = deliveries.claim(other)
    assert second is not None
    assert (second.event_id, second.number) == (first.event_id, 2)
    deliveries.record_result(timed, first, DeliveryResult())  # too late: it is another's now
    assert row(timed).state == DeliveryState.SENDING
    deliveries.record_result(other, second, DeliveryResult())
    assert row(timed).state == DeliveryState.DELIVERED
    other.dispose()


def test_nothing_is_sent_to_neighbours(
    timed: Database, database_url: str, enqueue: Callable[..., Enqueued], receiver: Receiver
) -> None:
    with serving(database_url) as address, client(address) as http:
        for url in (receiver.url, "https://127.0.0.1/", "https://[::1]/"):
            refused(send(http, webhook=json.dumps({"url": url, "secret": SECRET})), 422)
    # A name that leads here is found out when it is resolved.
    end_run(timed, enqueue(10).id, f"https://localhost:{receiver.port}/hook")
    deliver(timed, allow_private=False)
    assert row(timed).state == DeliveryState.FAILED
    assert "has no public address" in row(timed).error
    assert receiver.came.empty()


def test_a_name_is_resolved_once_and_that_address_is_asked(
    timed: Database, enqueue: Callable[..., Enqueued], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved: list[str] = []
    really = socket.getaddrinfo

    def rebinding(host: Any, *more: Any, **options: Any) -> Any:
        if host == "rebinding.test":
            resolved.append(host)
            return really("127.0.0.1" if len(resolved) == 1 else "127.0.0.9", *more, **options)
        return really(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    end_run(timed, enqueue(10).id, f"http://rebinding.test:{receiver.port}/hook")
    deliver(timed)
    headers, _ = receiver.next(1)
    assert resolved == ["rebinding.test"]
    assert headers["host"] == f"rebinding.test:{receiver.port}"
    assert row(timed).state == DeliveryState.DELIVERED


def test_a_webhook_without_a_secret_is_refused(http: httpx.Client, network: ChosenNetwork) -> None:
    message = refused(send(http, webhook='{"url": "https://example.com/"}'), 422)
    assert "secret" in message
    refused(send(http, webhook="{"), 422)
    answer = send(http, webhook=json.dumps({"url": "https://example.com/", "secret": SECRET}))
    assert answer.status_code == 202


def test_a_key_s_webhook_is_checked(cli: Cli) -> None:
    with pytest.raises(Exception, match="use https"):
        cli("keys", "add", "a", "--webhook", "http://example.com/")


def test_an_outage_of_its_solver_is_told_once_and_so_is_its_end(
    timed: Database, clock: Clock, enqueue: Callable[..., Enqueued], receiver: Receiver
) -> None:
    run = enqueue(10, solver=Solver.EMULATOR).id
    with timed.transaction() as session:
        values = {"webhook_url": receiver.url, "webhook_secret": SECRET, "created_at": START}
        session.execute(insert(RunSubmission).values(run_id=run, **values))
        broken = {"since": clock.now, "opened_at": clock.now, "retry_at": clock.now, "error": "no answer"}
        session.execute(insert(Breaker).values(solver="emulator", failures=3, **broken))
    deliver(timed)
    assert receiver.came.empty()  # a short outage is not told
    clock.forward(31)
    for _ in range(3):
        deliver(timed)
    message = verify(*receiver.next(1))
    assert message["type"] == "run.waiting"
    assert message["data"]["outage"]["error"] == "no answer"
    assert "no answer" in message["data"]["waits"]
    with timed.transaction() as session:
        session.execute(delete(Breaker))
    clock.forward(1)
    for _ in range(3):
        deliver(timed)
    message = verify(*receiver.next(1))
    assert (message["type"], message["data"]["outage"]) == ("run.resumed", None)
    clock.forward(1)
    control.cancel(timed, run)
    deliver(timed)
    assert verify(*receiver.next(1))["type"] == "run.cancelled"
    assert receiver.came.empty()


def test_an_alarm_about_its_chip_is_told_once(
    timed: Database, clock: Clock, enqueue: Callable[..., Enqueued], receiver: Receiver
) -> None:
    run = enqueue(10, solver=Solver.EMULATOR).id
    with timed.transaction() as session:
        values = {"webhook_url": receiver.url, "webhook_secret": SECRET, "created_at": START}
        session.execute(insert(RunSubmission).values(run_id=run, **values))
        session.execute(update(Run).where(Run.id == run).values(qpu="tiny", graph_id="1f"))
        facts = {"solver": "emulator", "properties": {}, "qubits": 1, "couplers": 1, "graph": b""}
        facts |= {"created_at": clock.now, "seen_at": clock.now, "alarm": "warm", "alarmed_at": clock.now}
        session.execute(
            insert(Chip), [{"name": name, "graph_id": "1f", **facts} for name in ("tiny", "other")]
        )
    for _ in range(3):
        deliver(timed)
    assert verify(*receiver.next(1))["type"] == "run.alarm"
    assert receiver.came.empty()


def test_of_several_processes_one_tells_of_an_outage(
    timed: Database, clock: Clock, enqueue: Callable[..., Enqueued]
) -> None:
    run = enqueue(10, solver=Solver.EMULATOR).id
    with timed.transaction() as session:
        values = {"webhook_url": "https://example.com", "webhook_secret": SECRET, "created_at": START}
        session.execute(insert(RunSubmission).values(run_id=run, **values))
        broken = {"since": clock.now, "opened_at": clock.now, "retry_at": clock.now, "error": "no answer"}
        session.execute(insert(Breaker).values(solver="emulator", failures=3, **broken))
    clock.forward(31)
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(notices.enqueue_outages, timed) for _ in range(8)]:
            done.result()
    assert row(timed).event == "waiting"
