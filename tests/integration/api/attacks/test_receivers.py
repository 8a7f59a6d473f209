"""Receivers of webhooks that are slow, absent or impossible, and secrets that no library verifies."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from sqlalchemy import select
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from producer.api.keys import keys
from producer.api.keys.keys import Scope
from producer.webhooks import deliveries
from producer.webhooks.addresses import check_url, origin_of
from producer.webhooks.sender import _MAX_PER_ORIGIN, WebhookSender
from producer.webhooks.signing import check_secret, sign
from schema.database import Database, utc_now
from schema.errors import ParameterError
from schema.states import DeliveryState
from schema.tables.api import Delivery
from tests.receivers import Receiver, receiving


@pytest.fixture
def receivers() -> Iterator[tuple[Receiver, Receiver]]:
    with ExitStack() as stack:
        yield stack.enter_context(receiving()), stack.enter_context(receiving())


def rows(database: Database) -> list[Any]:
    with database.reading() as session:
        return list(session.execute(select(Delivery.__table__).order_by(Delivery.id)))


def test_a_slow_receiver_delays_only_its_own_messages(
    database: Database, receivers: tuple[Receiver, Receiver]
) -> None:
    slow, quick = receivers
    slow.ready.clear()
    for name, receiver in (("slow", slow), ("quick", quick)):
        keys.add(database, name, Scope.SUBMIT, webhook_url=receiver.url.replace("http", "HTTP", 1))
    for _ in range(30):  # more than `claim` looks at
        deliveries.send_test(database, "slow")
    deliveries.send_test(database, "quick")

    async def run() -> None:
        sender = WebhookSender(database, asyncio.to_thread, allow_private=True)
        async with sender.client() as http:
            await sender.start_due(http)
            await asyncio.to_thread(quick.next)
            for _ in range(_MAX_PER_ORIGIN):
                await asyncio.to_thread(slow.next)
            await sender.start_due(http)
            assert len(sender._sending) <= _MAX_PER_ORIGIN + 1
            assert slow.came.empty()
            slow.ready.set()
            await sender.wait()
            while any(row.state != DeliveryState.DELIVERED for row in rows(database)):
                await sender.start_due(http)
                await sender.wait()

    asyncio.run(run())
    assert all((row.response_status, row.attempts) == (200, 1) for row in rows(database))
    assert all(row.latency_ms >= 0 for row in rows(database))


def test_an_origin_that_was_slow_gets_one_message_at_a_time(database: Database) -> None:
    sender = WebhookSender(database, asyncio.to_thread, allow_private=True)
    sender._slow["https://slow.example.com"] = True
    assert sender._busy() == []
    loop = asyncio.new_event_loop()
    try:
        sender._sending[loop.create_task(asyncio.sleep(0))] = "https://slow.example.com"
        assert sender._busy() == ["https://slow.example.com"]
        loop.run_until_complete(asyncio.gather(*sender._sending))
    finally:
        loop.close()


def test_a_busy_origin_is_passed_over_and_no_other_one(database: Database) -> None:
    for name, url in (
        ("a", "https://A.example.com/x"),
        ("b", "https://a.example.com.evil.com/"),
        ("c", "https://a.example.com:8443/"),
        ("d", "https://a.example.com"),
    ):
        keys.add(database, name, Scope.SUBMIT, webhook_url=url)
        deliveries.send_test(database, name)
    busy = [origin_of("https://a.EXAMPLE.com/y")]
    claimed = [deliveries.claim(database, busy) for _ in range(4)]
    assert [attempt and attempt.delivery for attempt in claimed] == [2, 3, None, None]
    assert {attempt.delivery for attempt in (deliveries.claim(database) for _ in range(2)) if attempt} == {
        1,
        4,
    }


def test_all_addresses_of_a_name_are_tried(
    database: Database, receivers: tuple[Receiver, Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver, _ = receivers
    really = socket.getaddrinfo

    def many(host: Any, port: Any, *more: Any, **options: Any) -> Any:
        if host != "many.example.com":
            return really(host, port, *more, **options)
        kind = (socket.SOCK_STREAM, 6, "")
        v6 = [(socket.AF_INET6, *kind, ("::1", port, 0, 0))]
        v4 = [(socket.AF_INET, *kind, (f"127.0.0.{k}", port)) for k in (9, 8, 7, 1)]
        return v6 + v4

    monkeypatch.setattr(socket, "getaddrinfo", many)
    keys.add(database, "a", Scope.SUBMIT, webhook_url=f"http://many.example.com:{receiver.port}/hook")
    deliveries.send_test(database, "a")

    async def run() -> None:
        sender = WebhookSender(database, asyncio.to_thread, allow_private=True)
        async with sender.client() as http:
            await sender.start_due(http)
            await sender.wait()

    asyncio.run(run())
    assert [row.state for row in rows(database)] == [DeliveryState.DELIVERED], rows(database)[0].error
    headers, _ = receiver.next(1)
    assert headers["host"] == f"many.example.com:{receiver.port}"


LONG = ".".join(["a" * 63] * 4) + ".com"
IMPOSSIBLE = [
    *("https://nowhere.invalid/", "https://a.example/hook", "https://x.onion/", f"https://{LONG}/"),
    *("https://a..b.com/", "https://-a.com/", "https://a-.com/", f"https://{'a' * 64}.com/"),
    *("https://a b.com/", "https://a%20b.com/", "https://1.2.3/", "https://2130706433/", "https://a.com.7/"),
]
LOCAL = ["https://intranet/", "https://printer.local/", "https://db.internal/", "https://x.localhost/"]


@pytest.mark.parametrize("url", IMPOSSIBLE)
def test_hosts_that_cannot_exist_are_refused_at_once(url: str) -> None:
    for allow_private in (False, True):
        with pytest.raises(ParameterError, match="correct"):
            check_url(url, allow_private=allow_private)


@pytest.mark.parametrize("url", LOCAL)
def test_names_of_the_local_network_are_for_operators_who_allow_them(url: str) -> None:
    with pytest.raises(ParameterError, match="ANNEALQ_API_WEBHOOK_PRIVATE"):
        check_url(url, allow_private=False)
    check_url(url, allow_private=True)


def encoded(size: int) -> str:
    return "whsec_" + base64.b64encode(bytes(range(size))).decode()


@pytest.mark.parametrize("size", [24, 25, 32, 63, 64])
def test_secrets_in_the_standard_form_sign_what_the_library_verifies(size: int) -> None:
    secret, now, body = check_secret(encoded(size)), utc_now(), '{"a": "\u00fc"}'
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(now.timestamp()))}
    headers["webhook-signature"] = sign(secret, "msg_1", now, body)
    assert Webhook(secret).verify(body, headers) == {"a": "\u00fc"}
    with pytest.raises(WebhookVerificationError):
        Webhook(encoded(size)[:-4] + "AAAA").verify(body, headers)


@pytest.mark.parametrize(
    "secret",
    [
        *("", "whsec_", "whsec_====", "a secret of sixteen", encoded(23), encoded(65), encoded(32)[6:]),
        *(encoded(32)[:-1], encoded(32) + "\n", "whsec_" + "-_" * 20, "WHSEC_" + encoded(32)[6:]),
    ],
)
def test_other_secrets_are_refused_with_the_way_out_and_still_sign_where_they_are_stored(secret: str) -> None:
    with pytest.raises(ParameterError, match=r"base64 of 24 to 64 random bytes.*openssl rand") as raised:
        check_secret(secret)
    assert not secret.removeprefix("whsec_") or secret not in str(raised.value)
    if secret:
        assert sign(secret, "msg_1", utc_now(), "{}").startswith("v1,")
