"""Owners apart from their keys: rotation, expiry, last use, whose runs they see, sessions of the pages."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select

from producer.api.keys import keys, listing, sessions
from producer.api.keys.keys import KeyLimits, Scope
from producer.api.keys.last_use import LastUse
from producer.networks.chosen import ChosenNetwork
from schema.database import Database
from schema.errors import NotFound, ParameterError
from schema.tables.api import ApiKey, PageSession
from tests.integration.api.conftest import npz, refused, send
from tests.integration.conftest import START, Cli, Clock
from tests.serving import client

DAY = timedelta(days=1)


def is_valid(database: Database, key: str) -> bool:
    with database.reading() as session:
        return keys.identify(session, key, database.now(session)) is not None


def test_a_rotated_key_has_the_runs_limits_and_idempotency_keys_of_its_owner(
    address: str, database: Database, network: ChosenNetwork, cli: Cli
) -> None:
    first = keys.add(database, "night", Scope.SUBMIT, KeyLimits(images_per_day=50)).key
    with client(address, first) as http:
        run = send(http, npz(30), key="tonight").json()["run_id"]
    made = json.loads(cli("keys", "rotate", "night", "--grace", "24h", "--json"))
    assert "webhook_secret" not in made
    for key in (first, made["key"]):
        with client(address, key) as http:
            again = send(http, npz(30), key="tonight")
            assert (again.status_code, again.json()["run_id"]) == (200, run)
            assert [one["run_id"] for one in http.get("/v1/runs").json()["runs"]] == [run]
            assert "30" in refused(send(http, npz(30, seed=1)), 429)
            assert http.post(f"/v1/runs/{run}/pause").status_code == 200
            assert http.post(f"/v1/runs/{run}/resume").status_code == 200


def test_keys_expire_and_are_revoked_one_by_one(timed: Database, clock: Clock) -> None:
    first = keys.add(timed, "a", Scope.READ, lifetime=10 * DAY)
    second = keys.rotate(timed, "a", grace=DAY)
    third = keys.rotate(timed, "a", grace=2 * DAY, lifetime=5 * DAY)
    assert (first.expires_at, second.expires_at) == (START + 10 * DAY, None)
    valid_after = {}
    for hours in (23, 25, 47, 49, 119, 121):
        clock.now = START + timedelta(hours=hours)
        valid_after[hours] = [is_valid(timed, new.key) for new in (first, second, third)]
    assert valid_after == {
        23: [True, True, True],
        25: [False, True, True],  # the second rotation did not extend its grace
        47: [False, True, True],
        49: [False, False, True],
        119: [False, False, True],
        121: [False, False, False],
    }
    with timed.reading() as session:
        shown = {key.prefix: key.state(clock.now) for key in listing.summaries(session, clock.now)}
    assert list(shown.values()) == ["expired"] * 3
    with pytest.raises(NotFound, match="no valid key"):
        keys.revoke(timed, "a")
    back = keys.rotate(timed, "a", grace=timedelta(0)).key  # the way out for an owner without a key
    other = keys.rotate(timed, "a", grace=DAY).key
    assert keys.revoke(timed, "a", back[:11]) == 1
    assert (is_valid(timed, back), is_valid(timed, other)) == (False, True)
    assert keys.expire(timed, "a", DAY) == 1
    assert keys.expire(timed, "a", 2 * DAY) == 0  # it expires earlier
    assert keys.revoke(timed, "a") == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("rotate", "nobody"), NotFound, "no key is called 'nobody'"),
        (("expire", "nobody", "--in", "1d"), NotFound, "annealq keys list"),
        (("expire", "a", "--in", "soon"), ParameterError, "'soon' is not a length of time: .* as in 24h"),
        (("rotate", "a", "--grace", "-1h"), ParameterError, "not a length of time"),
        (("rotate", "a", "--grace", "9999999w"), ParameterError, "longer than a century"),
        (("revoke", "a", "--key", "aq_00000000"), NotFound, "'a' has no valid key aq_00000000"),
        (("add", "b", "--sees", "nobody"), NotFound, "no key is called 'nobody'"),
        (("add", "b", "--sees", "a", "--all-runs"), ParameterError, "sees all runs: omit one"),
        (("add", "b", "--webhook-event", "end"), ParameterError, "unknown webhook event 'end'.*progress"),
        (("add", "a"), ParameterError, "annealq keys rotate a"),
    ],
)
def test_wrong_requests_name_the_way_out(
    cli: Cli, database: Database, arguments: tuple[str, ...], error: type[Exception], message: str
) -> None:
    keys.add(database, "a", Scope.READ)
    with pytest.raises(error, match=message):
        cli("keys", *arguments)
    with database.reading() as session:
        assert len(session.execute(select(ApiKey.id)).all()) == 1


def test_a_reader_sees_the_runs_of_named_owners(
    address: str, database: Database, network: ChosenNetwork, cli: Cli
) -> None:
    runs = {}
    for name in ("a", "b", "c"):
        with client(address, keys.add(database, name, Scope.SUBMIT).key) as http:
            runs[name] = send(http).json()["run_id"]
    made = json.loads(cli("keys", "add", "wall", "--scope", "submit", "--sees", "a", "--sees", "b", "--json"))
    assert "its runs, a, b" in cli("keys", "list")
    with client(address, made["key"]) as http:
        listed = [run["run_id"] for run in http.get("/v1/runs").json()["runs"]]
        assert listed == [runs["b"], runs["a"]]
        assert http.get(f"/v1/runs/{runs['a']}").status_code == 200
        refused(http.get(f"/v1/runs/{runs['c']}"), 404)
        assert "not sent by" in refused(http.post(f"/v1/runs/{runs['a']}/cancel"), 403)
        assert "annealq_run_qpu" not in http.get("/metrics").text  # figures of all runs


def test_the_last_use_of_a_key_and_a_session_is_stored(timed: Database, clock: Clock) -> None:
    made = keys.add(timed, "a", Scope.READ)
    with timed.reading() as session:
        caller = keys.identify(session, made.key, clock.now)
    assert caller is not None
    assert caller.key_id is not None
    token = sessions.create(timed, caller.key_id, DAY)
    clock.forward(90)
    use = LastUse(timed)
    use.note(key=caller.key_id)
    with timed.reading() as session:
        found = sessions.find(session, token, clock.now)
    assert found is not None
    use.note(session=found.id)
    use.write()
    with timed.reading() as session:
        used = session.execute(select(ApiKey.last_used_at)).scalar_one()
        seen = session.execute(select(PageSession.last_seen_at)).scalar_one()
    assert (used, seen) == (clock.now, clock.now)


End = Callable[[Database, Clock, str], object]
ENDS: dict[str, End] = {
    "logout": lambda database, _clock, token: sessions.revoke(database, token),
    "revoked key": lambda database, _clock, _token: keys.revoke(database, "a"),
    "expired key": lambda _database, clock, _token: clock.forward(86_400),
    "expired session": lambda _database, clock, _token: clock.forward(3_601),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_session_ends_with_its_key_its_time_or_the_logout(timed: Database, clock: Clock, end: str) -> None:
    made = keys.add(timed, "a", Scope.SUBMIT, lifetime=DAY)
    with timed.reading() as session:
        caller = keys.identify(session, made.key, clock.now)
    assert caller is not None
    long = 30 * DAY if end != "expired session" else timedelta(hours=1)
    token, local = sessions.create(timed, caller.key_id, long), sessions.create(timed, None, 30 * DAY)
    with timed.reading() as session:
        found = sessions.find(session, token, clock.now)
        assert found is not None
        assert found.caller == caller
        assert sessions.find(session, token[:-1], clock.now) is None
        stored = session.execute(select(PageSession.sha256)).scalars().all()
        assert token not in stored
    ENDS[end](timed, clock, token)
    with timed.reading() as session:
        assert sessions.find(session, token, clock.now) is None
        other = sessions.find(session, local, clock.now)
    assert other is not None  # another session does not end with it
    assert other.caller is None
