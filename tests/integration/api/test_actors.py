"""Each control action is an event with its actor and its request, and users see it."""

from __future__ import annotations

import getpass
import json
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import insert, select

from producer.api.core.request_log import HEADER
from producer.api.keys import keys
from producer.api.keys.keys import Scope
from producer.networks.chosen import ChosenNetwork
from schema.database import Database
from schema.tables import Event, Network
from tests.integration.api.conftest import send
from tests.integration.conftest import Cli, network_row, some_images
from tests.serving import client

USER = f"{getpass.getuser()}@{socket.gethostname()}"


def events(database: Database, subject: str) -> list[tuple[Any, ...]]:
    with database.reading() as session:
        query = select(Event.target, Event.actor, Event.request_id).where(Event.subject == subject)
        return [tuple(row) for row in session.execute(query.order_by(Event.id))]


def test_what_users_do_to_a_run_has_their_name(
    address: str, database: Database, network: ChosenNetwork, cli: Cli
) -> None:
    night, admin = keys.add(database, "night", Scope.SUBMIT).key, keys.add(database, "boss", Scope.ADMIN).key
    with client(address, night) as http:
        http.headers[HEADER] = "first"
        run = send(http).json()["run_id"]
    with client(address, admin) as http:
        http.headers[HEADER] = "second"
        assert http.post(f"/v1/runs/{run}/pause").status_code == 200
        page = http.post(f"/runs/{run}/resume", headers={"Origin": address, HEADER: "third"})
        assert page.status_code == 303
    cli("runs", "cancel", run)
    assert events(database, "runs") == [
        ("queued", "night", "first"),
        ("paused", "boss", "second"),
        ("queued", "boss", "third"),
        ("cancelled", USER, None),
    ]
    shown = cli("runs", "show", run)
    for text in ("enqueued, by night", "paused, by boss", "resumed, by boss", f"cancelled, by {USER}"):
        assert text in shown
    actions = json.loads(cli("runs", "show", run, "--json"))["actions"]
    assert [(one["actor"], one["request_id"]) for one in actions][:2] == [
        ("night", "first"),
        ("boss", "second"),
    ]
    cli("runs", "delete", run)
    assert events(database, "runs")[-1][1] == USER


def test_what_users_do_to_keys_has_their_name(cli: Cli, database: Database) -> None:
    cli("keys", "add", "night")
    cli("keys", "rotate", "night")
    cli("keys", "expire", "night", "--in", "1d")
    cli("keys", "revoke", "night")
    found = events(database, "owners")
    assert found == [(word, USER, None) for word in ("added", "rotated", "expiring", "revoked")]


def test_a_user_without_a_name_is_a_number(
    cli: Cli, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: {}["nobody"])
    cli("keys", "add", "night")
    assert events(database, "owners")[0][1].startswith("uid-")


def test_what_users_remove_has_their_name(cli: Cli, database: Database, tmp_path: Path) -> None:
    images = some_images(20)
    data = tmp_path / "some.npz"
    np.savez(data, images=images.images, labels=images.labels)
    with database.transaction() as session:
        session.execute(insert(Network).values({**network_row(), "name": "mine"}))
    cli("schedules", "add", "nightly", "--cron", "0 22 * * *", "--", "classify", data, "--network", "mine@1")
    cli("schedules", "pause", "nightly")
    cli("schedules", "remove", "nightly")
    cli("networks", "remove", "mine@1")
    assert events(database, "schedules") == [(word, USER, None) for word in ("active", "paused", "removed")]
    assert ("removed", USER, None) in events(database, "networks")
