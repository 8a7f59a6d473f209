"""A worker process ignores messages of a newer version, and pickles."""

from __future__ import annotations

import base64
import json
import pickle
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from redis import Redis

from producer.stack.process import Child
from producer.stack.stack import Stack, worker_command
from schema.messages import Queue, Task, queue_names
from schema.settings import Settings
from tests.integration.stack.test_broker import client, settings_at, wait_until

NEWER = "annealq.aggregate.v2"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings_at(tmp_path_factory.mktemp("stack") / "home")


@pytest.fixture(scope="module")
def redis(settings: Settings) -> Iterator[Redis]:
    """The broker of one worker process, without a reconciler."""
    children = (Child("worker", worker_command(1, queue_names())),)
    with Stack(settings, children=children) as stack, client(stack.socket) as redis:
        yield redis


def send(settings: Settings, **arguments: Any) -> str:
    """Send a message, and return its number."""
    app = Celery(broker=settings.broker_url, set_as_current=False)
    sent = app.send_task(Task.DISPATCH.value, kwargs=arguments, queue=Queue.AGGREGATE.value)
    app.close()
    return str(sent.id)


def log_of(settings: Settings, start: int = 0) -> str:
    """What its worker has written from character ``start`` on; nothing before it has begun."""
    log = settings.home / "logs" / "worker.log"
    return log.read_text()[start:] if log.exists() else ""


def wait_for_two_more(settings: Settings, redis: Redis) -> None:
    """Until two messages that were sent now have been done: whatever came before them is over, too."""
    for number in [send(settings, version=1) for _ in range(2)]:
        wait_until(lambda number=number: f"[{number}] succeeded" in log_of(settings))  # type: ignore[misc]
    assert redis.llen(Queue.AGGREGATE.value) == 0


def test_a_message_of_a_newer_version_waits_for_a_newer_worker(settings: Settings, redis: Redis) -> None:
    start = len(log_of(settings))
    send(settings, row=5, version=2, shard="of a kind that this worker does not know")
    wait_until(lambda: redis.llen(NEWER) == 1)
    wait_for_two_more(settings, redis)
    assert redis.llen(NEWER) == 1
    held: Any = json.loads(redis.lindex(NEWER, 0))  # type: ignore[arg-type]
    _, arguments, _ = json.loads(base64.b64decode(held["body"]))
    assert held["headers"]["task"] == Task.DISPATCH
    assert arguments == {"row": 5, "version": 2, "shard": "of a kind that this worker does not know"}
    assert log_of(settings, start).count("needs a newer worker") == 1
    assert "Traceback" not in log_of(settings, start)


class Payload:
    """Runs code where it is unpickled: it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_a_pickle_is_refused_and_never_run(settings: Settings, redis: Redis, tmp_path: Path) -> None:
    trap = tmp_path / "was-run"
    pickle.loads(pickle.dumps(Payload(trap)))  # noqa: S301 - shows that the payload works
    trap.unlink()
    wait_for_two_more(settings, redis)
    for body in ([(), {"row": Payload(trap)}, {}], Payload(trap)):
        redis.lpush(Queue.AGGREGATE.value, message(pickle.dumps(body)))
    wait_until(lambda: log_of(settings).count("ContentDisallowed") >= 2)
    wait_for_two_more(settings, redis)
    assert not trap.exists()


def message(body: bytes) -> str:
    """What Celery would put into the queue for a task whose arguments are pickled."""
    number = str(uuid.uuid4())
    return json.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "content-encoding": "binary",
            "content-type": "application/x-python-serialize",
            "headers": {"lang": "py", "task": Task.DISPATCH, "id": number, "root_id": number},
            "properties": {
                "correlation_id": number,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": Queue.AGGREGATE},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": str(uuid.uuid4()),
            },
        }
    )
