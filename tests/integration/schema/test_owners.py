"""The migration that sets owners apart from their keys: rows of either side survive it, both ways."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, insert, select, text
from sqlalchemy.exc import IntegrityError

import migrations
from producer.api.keys import keys
from producer.api.keys.keys import KeyLimits, Scope
from producer.enqueued import Enqueued
from producer.runs.queries import owners, runs
from schema.database import Database
from schema.states import DeliveryState
from schema.tables.api import ApiKey, Delivery, Owner, RunSubmission
from tests.integration.conftest import START

Enqueue = Callable[..., Enqueued]
EARLIER = "0013"
DAY = timedelta(days=1)


def url_of(database: Database) -> str:
    return database.url.render_as_string(hide_password=False)


def at(database: Database, seconds: int = 0) -> Any:
    """Return a time as SQL of the earlier revision stores it."""
    when = START + timedelta(seconds=seconds)
    return when.replace(tzinfo=None) if database.url.get_backend_name() == "sqlite" else when


def write(database: Database, table: str, **values: Any) -> None:
    names = ", ".join(values)
    marks = ", ".join(f":{name}" for name in values)
    with database.transaction() as session:
        session.execute(text(f"INSERT INTO {table} ({names}) VALUES ({marks})"), values)  # noqa: S608


def read(database: Database, columns: str, table: str) -> list[tuple[Any, ...]]:
    with database.reading() as session:
        return [tuple(row) for row in session.execute(text(f"SELECT {columns} FROM {table} ORDER BY 1"))]  # noqa: S608


def test_keys_of_the_earlier_revision_become_owners(timed: Database, enqueue: Enqueue) -> None:
    run, others = enqueue(10).id, enqueue(10, seed=1).id
    migrations.downgrade(url_of(timed), EARLIER)
    common = {"scope": "submit", "all_runs": True, "webhook_secret": "old-secret-of-16", "requests": 3}
    common |= {"images": 40, "images_per_day": 50, "created_at": at(timed), "day": at(timed)}
    write(timed, "api_keys", id=7, name="a", prefix="aq_00000007", sha256="7" * 64, **common)
    revoked = {"revoked_at": at(timed, 60), "webhook_url": "https://a.example"}
    write(timed, "api_keys", id=9, name="b", prefix="aq_00000009", sha256="9" * 64, **common, **revoked)
    webhook = {"webhook_url": "https://b.example", "webhook_secret": "other-secret-of-16"}
    request = '{"name": "x"}'
    write(timed, "submissions", run_id=run, key_id=9, created_at=at(timed), request=request, **webhook)
    write(timed, "submissions", run_id=others, created_at=at(timed))
    told = {"event_id": "msg_1", "state": "pending", "body": "{}", "attempts": 2, "due_at": at(timed, 5)}
    write(timed, "deliveries", id=4, run_id=run, happened_at=at(timed), created_at=at(timed), **told)
    migrations.upgrade(url_of(timed))
    migrations.check(url_of(timed))
    with timed.transaction() as session:
        rows = {owner.name: owner for owner in session.execute(select(Owner)).scalars()}
        assert {name: (row.id, row.images, row.all_runs, row.sees) for name, row in rows.items()} == {
            "a": (7, 40, True, None),
            "b": (9, 40, True, None),
        }
        assert (rows["b"].webhook_url, rows["a"].images_per_day) == ("https://a.example", 50)
        found = {
            key.prefix: (key.owner_id, key.revoked_at) for key in session.execute(select(ApiKey)).scalars()
        }
        assert found == {"aq_00000007": (7, None), "aq_00000009": (9, START + timedelta(seconds=60))}
        assert owners(session, runs(session)) == {run: "b"}
        sent = session.execute(select(RunSubmission).where(RunSubmission.run_id == run)).scalar_one()
        assert (sent.webhook_url, sent.request, sent.webhook_events) == (
            "https://b.example",
            {"name": "x"},
            None,
        )
        message = session.execute(select(Delivery)).scalar_one()
        assert (message.id, message.owner_id, message.attempts, message.state) == (
            4,
            9,
            2,
            DeliveryState.PENDING,
        )
        assert message.due_at == START + timedelta(seconds=5)
    # New rows get new numbers.
    keys.add(timed, "c", Scope.READ)
    assert [row[0] for row in read(timed, "id", "owners")] == [7, 9, 10]
    assert deliver(timed, run, "waiting") > 4


def deliver(database: Database, run: int | None, event: str, **values: Any) -> int:
    common = {"happened_at": START, "event_id": f"msg_{event}_{run}", "state": DeliveryState.PENDING}
    common |= {"body": "{}", "due_at": START, "created_at": START, "event": event, "run_id": run}
    with database.transaction() as session:
        return session.execute(
            insert(Delivery).values(**common, **values).returning(Delivery.id)
        ).scalar_one()


def test_the_way_back_keeps_what_the_earlier_revision_knows(timed: Database, enqueue: Enqueue) -> None:
    run = enqueue(10).id
    keys.add(timed, "a", Scope.SUBMIT, KeyLimits(images_per_day=5))
    lasting = keys.rotate(timed, "a", DAY).key
    keys.add(timed, "b", Scope.SUBMIT, lifetime=DAY, sees=["a"])
    gone = keys.add(timed, "c", Scope.READ).key
    keys.revoke(timed, "c")
    with timed.transaction() as session:
        owner = keys.find_owner(session, "a")
        session.execute(insert(RunSubmission).values(run_id=run, owner_id=owner, created_at=START))
    kept = deliver(timed, run, "ended")
    deliver(timed, run, "waiting")
    deliver(timed, run, "paused")
    deliver(timed, None, "test", owner_id=owner, url="https://a.example")
    with pytest.raises(IntegrityError):
        deliver(timed, run, "ended", error="again")
    migrations.downgrade(url_of(timed), EARLIER)
    assert [(name, prefix, revoked is not None, images) for name, prefix, revoked, images in read(
        timed, "name, prefix, revoked_at, images_per_day", "api_keys")] == [
        ("a", lasting[:11], False, 5),
        ("b", read(timed, "name, prefix", "api_keys")[1][1], True, None),  # it would not expire there
        ("c", gone[:11], True, None),
    ]  # fmt: skip
    assert read(timed, "run_id, key_id", "submissions") == [(run, owner)]
    assert read(timed, "id, event", "deliveries") == [(kept, "ended")]
    migrations.upgrade(url_of(timed))
    migrations.check(url_of(timed))
    with timed.reading() as session:
        assert keys.identify(session, lasting, START) is not None
        assert session.execute(select(func.count()).select_from(Delivery)).scalar_one() == 1
