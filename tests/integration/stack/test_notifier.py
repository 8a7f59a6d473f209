"""Notifies workers through a private broker, which is away, comes, and restarts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from producer.api.live.notifier import Notifier
from schema.messages import Message, Task
from tests.integration.stack.test_broker import client, server, url_of, wait_until

_QUEUE = Message(Task.DISPATCH).queue


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "broker.sock"


@pytest.fixture
def notifier(path: Path) -> Iterator[Notifier]:
    made = Notifier(url_of(path))
    made.start()
    with closing(made):
        yield made


def has_hint(redis: Redis) -> bool:
    return redis.llen(_QUEUE) > 0


def test_a_hint_is_sent_before_and_after_the_broker_restarts(path: Path, notifier: Notifier) -> None:
    notifier.notify()  # nobody is there: the reconciler would send this hint
    for _ in range(2):  # processes of the broker
        with server(path), client(path) as redis:
            notifier.notify()
            wait_until(lambda: has_hint(redis))


def test_hints_use_one_connection(path: Path, notifier: Notifier) -> None:
    with server(path), client(path) as redis:
        for _ in range(3):
            before = redis.info("stats")["total_connections_received"]
            notifier.notify()
            wait_until(lambda: has_hint(redis))
            redis.delete(_QUEUE)
        assert redis.info("stats")["total_connections_received"] == before


def test_what_somebody_only_looks_at_is_taken_last_and_expires(path: Path, notifier: Notifier) -> None:
    message = Message(Task.COMPUTE_HISTOGRAMS, 7)
    last = f"{message.queue}\x06\x169"  # kombu's list for messages of priority 9
    with server(path), client(path) as redis:
        notifier.notify(message)
        wait_until(lambda: redis.llen(last) == 1)
        held: Any = json.loads(redis.lindex(last, 0))  # type: ignore[arg-type]
        assert held["headers"]["task"] == message.task
        expires = datetime.fromisoformat(held["headers"]["expires"])
        assert timedelta(0) < expires - datetime.now(UTC) <= timedelta(seconds=60)
        assert not has_hint(redis)
