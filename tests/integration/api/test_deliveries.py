"""Messages to webhooks over HTTP and on the command line: listed with answers, shown, sent again, tested."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import insert
from standardwebhooks.webhooks import Webhook

from producer.api.keys import keys
from producer.api.keys.keys import NewKey, Scope
from producer.webhooks import deliveries
from schema.database import Database
from schema.errors import NotFound, ParameterError, StaleState
from schema.settings import load_api
from schema.tables import Network
from tests import PATIENCE_S
from tests.integration.api.conftest import refused, send
from tests.integration.conftest import Cli, network_row
from tests.receivers import Receiver, receiving
from tests.serving import client, serving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def night(database: Database, receiver: Receiver) -> NewKey:
    with database.transaction() as session:
        session.execute(insert(Network).values(network_row()))
    return keys.add(database, "night", Scope.SUBMIT, webhook_url=f"{receiver.url}/secret?token=1")


@pytest.fixture
def private(database_url: str, night: NewKey) -> Iterator[str]:
    with serving(database_url, load_api(webhook_private=True)) as address:
        yield address


@pytest.fixture
def http(private: str, night: NewKey) -> Iterator[httpx.Client]:
    with client(private, night.key) as opened:
        yield opened


def until(http: httpx.Client, number: int, done: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Wait until the message is as ``done`` says, and return it."""
    deadline = time.monotonic() + PATIENCE_S
    while not done(shown := http.get(f"/v1/deliveries/{number}").json()):
        assert time.monotonic() < deadline, shown
        time.sleep(0.05)
    return shown


def test_a_message_is_listed_shown_and_sent_again(
    http: httpx.Client, night: NewKey, receiver: Receiver
) -> None:
    run = send(http).json()["run_id"]
    receiver.statuses = [410]
    http.post(f"/v1/runs/{run}/cancel")
    first = receiver.next()
    (listed,) = http.get(f"/v1/runs/{run}/deliveries").json()["deliveries"]
    number = listed["delivery_id"]
    failed = until(http, number, lambda shown: shown["state"] == "failed")
    assert (failed["response_status"], failed["event"], failed["owner"]) == (410, "ended", "night")
    assert failed["latency_ms"] >= 0
    assert "unsubscribed" in failed["error"]
    assert failed["receiver"] == f"http://127.0.0.1:{receiver.port}"
    assert "token" not in json.dumps(failed)
    assert [attempt["error"] for attempt in failed["tries"]] == [failed["error"]]
    again = http.post(f"/v1/deliveries/{number}/redeliver")
    assert (again.status_code, again.json()["state"]) == (202, "pending")
    second = receiver.next()
    assert first[0]["webhook-id"] == second[0]["webhook-id"] == failed["event_id"]
    assert night.webhook_secret is not None
    assert Webhook(night.webhook_secret).verify(second[1], second[0])["type"] == "run.cancelled"
    delivered = until(http, number, lambda shown: shown["state"] == "delivered")
    assert (delivered["response_status"], delivered["error"], len(delivered["tries"])) == (200, None, 2)
    assert delivered["body"].encode() == second[1]


def test_a_webhook_is_tested(http: httpx.Client, private: str, night: NewKey, receiver: Receiver) -> None:
    answer = http.post("/v1/webhooks/test")
    assert (answer.status_code, answer.json()["event"], answer.json()["run_id"]) == (202, "test", None)
    headers, body = receiver.next()
    assert night.webhook_secret is not None
    message = Webhook(night.webhook_secret).verify(body, headers)
    assert (message["type"], message["data"]) == ("webhook.test", {"owner": "night"})
    with receiving() as other:
        assert http.post("/v1/webhooks/test", json={"url": other.url}).status_code == 202
        other.next()
    refused(http.post("/v1/webhooks/test", json={"url": "https://x.invalid/"}), 422)
    listed = http.get("/v1/deliveries?limit=1").json()
    assert len(listed["deliveries"]) == 1
    rest = http.get(listed["next"]).json()
    assert ([one["event"] for one in rest["deliveries"]], rest["next"]) == (["test"], None)


def test_messages_are_for_those_who_see_their_runs(private: str, database: Database, night: NewKey) -> None:
    number = deliveries.send_test(database, "night")
    path = f"/v1/deliveries/{number}"
    made = {
        "other": keys.add(database, "other", Scope.SUBMIT),
        "sees": keys.add(database, "sees", Scope.SUBMIT, sees=["night"]),
        "admin": keys.add(database, "admin", Scope.ADMIN),
    }
    for name, shown, changed in (("other", 404, 404), ("sees", 200, 403), ("admin", 200, (202, 409))):
        with client(private, made[name].key) as http:
            listed = [one["delivery_id"] for one in http.get("/v1/deliveries").json()["deliveries"]]
            assert listed == ([] if name == "other" else [number]), name
            assert http.get(path).status_code == shown
            answer = http.post(f"{path}/redeliver")
            assert answer.status_code in (changed if isinstance(changed, tuple) else (changed,)), name
            assert "no webhook" in refused(http.post("/v1/webhooks/test"), 422)


def test_the_command_line_lists_shows_tests_and_sends_again(
    database: Database, night: NewKey, cli: Cli
) -> None:
    assert "annealq webhooks test NAME" in cli("webhooks", "list")
    assert "message 1 is due" in cli("webhooks", "test", "night")
    attempt = deliveries.claim(database)
    assert attempt is not None
    result = deliveries.DeliveryResult("the receiver answered 404; expected 2xx", True, 404, 12)
    deliveries.record_result(database, attempt, result)
    (listed,) = json.loads(cli("webhooks", "list", "--state", "failed", "--json"))
    assert (listed["delivery_id"], listed["response_status"], listed["latency_ms"]) == (1, 404, 12)
    assert "404, 12 ms" in cli("webhooks", "list")
    shown = cli("webhooks", "show", "1")
    assert "the receiver answered 404" in shown
    assert '"type": "webhook.test"' in shown
    assert "due again" in cli("webhooks", "redeliver", "1")
    assert json.loads(cli("webhooks", "show", "1", "--json"))["state"] == "pending"
    for arguments, error, message in (
        (("redeliver", "1"), StaleState, "is pending: wait"),
        (("redeliver", "9"), NotFound, "annealq webhooks list"),
        (("show", "9"), NotFound, "no webhook message 9"),
        (("test", "nobody"), NotFound, "annealq keys list"),
        (("test", "night", "--url", "https://a.invalid"), ParameterError, "no host can be called"),
        (("list", "--state", "lost"), ParameterError, "pending, sending, delivered, failed"),
    ):
        with pytest.raises(error, match=message):
            cli("webhooks", *arguments)
