"""Keys, scopes and limits; and errors while the database is away."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import insert, select, update

from producer.api.keys import keys, limits
from producer.api.keys.authentication import LocalAccess
from producer.api.keys.keys import KeyLimits, Scope
from producer.networks.chosen import ChosenNetwork
from schema.database import Database
from schema.errors import NotFound, ParameterError
from schema.settings import load_api
from schema.states import ProblemState, RunState
from schema.tables import Batch, Classification, Problem, Run
from schema.tables.api import ApiKey, Owner
from tests import PATIENCE_S
from tests.integration.api.conftest import npz, refused, send
from tests.integration.conftest import START, Cli, Clock
from tests.serving import THIS_MACHINE, client, serving


def ask(address: str, key: str | None, method: str = "GET", path: str = "/v1/runs") -> httpx.Response:
    with client(address, key) as http:
        return http.request(method, path)


def test_a_key_is_shown_once_and_stored_as_a_hash(cli: Cli, database: Database, database_url: str) -> None:
    made = json.loads(cli("keys", "add", "night", "--scope", "read", "--images-per-day", "10", "--json"))
    key, secret = made["key"], made["webhook_secret"]
    listed = cli("keys", "list") + cli("keys", "list", "--json")
    assert "night" in listed
    assert key not in listed
    assert secret not in listed
    with database.reading() as session:
        row = session.execute(select(ApiKey)).scalar_one()
        assert key not in json.dumps({c.name: str(getattr(row, c.name)) for c in ApiKey.__table__.columns})
        now = database.now(session)
        found = keys.identify(session, key, now)
        assert found is not None
        assert (found.scope, found.limits.images_per_day) == (Scope.READ, 10)
        other = key[:-1] + ("A" if key[-1] != "A" else "B")
        assert keys.identify(session, other, now) is None
        assert keys.identify(session, key[:12], now) is None
    cli("keys", "revoke", "night")
    with database.reading() as session:
        assert keys.identify(session, key, database.now(session)) is None
    with pytest.raises(NotFound, match="night"):
        cli("keys", "revoke", "night")
    with pytest.raises(ParameterError, match="already"):
        cli("keys", "add", "night")
    with pytest.raises(ParameterError, match="scope"):
        cli("keys", "add", "other", "--scope", "root")


def until_refused(asked: Callable[[], httpx.Response]) -> httpx.Response:
    """Repeat a request until it is refused: a caller is remembered for a second."""
    deadline = time.monotonic() + PATIENCE_S
    while (answer := asked()).status_code == 200 and time.monotonic() < deadline:
        time.sleep(0.05)
    refused(answer, 401)
    return answer


def test_this_machines_token_is_a_key_where_only_this_machine_is_served(
    address: str, http: httpx.Client, database: Database, database_url: str
) -> None:
    answer = ask(address, None)
    refused(answer, 401)
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    refused(ask(address, THIS_MACHINE[:-1] + "u"), 401)
    key = keys.add(database, "first", Scope.READ).key
    for valid in (THIS_MACHINE, key):
        assert ask(address, valid).status_code == 200
    keys.revoke(database, "first")
    until_refused(lambda: ask(address, key))
    assert http.get("/v1/runs").status_code == 200
    with serving(database_url, local=LocalAccess()) as public:
        refused(ask(public, THIS_MACHINE), 401)
        refused(ask(public, None), 401)


def test_a_public_address_needs_a_key_first(cli: Cli) -> None:
    with pytest.raises(ParameterError, match="annealq keys add"):
        cli("serve", "--host", "0.0.0.0", "--port", "0")  # noqa: S104
    with pytest.raises(ParameterError, match="--no-auth"):
        cli("serve", "--host", "0.0.0.0", "--port", "0", "--no-auth")  # noqa: S104


def test_scopes(address: str, database: Database, network: ChosenNetwork) -> None:
    names = {scope: keys.add(database, scope.value, scope).key for scope in Scope}
    other = keys.add(database, "other", Scope.SUBMIT).key
    with client(address, names[Scope.READ]) as reader:
        assert "scope read" in refused(send(reader), 403)
    with client(address, names[Scope.SUBMIT]) as submitter:
        run = send(submitter).json()["run_id"]
    assert ask(address, names[Scope.SUBMIT], path=f"/v1/runs/{run}").status_code == 200
    refused(ask(address, names[Scope.READ], "POST", f"/v1/runs/{run}/cancel"), 403)
    refused(ask(address, other, "POST", f"/v1/runs/{run}/cancel"), 404)
    refused(ask(address, other, "POST", "/v1/runs/999/cancel"), 404)
    assert ask(address, names[Scope.SUBMIT], "POST", f"/v1/runs/{run}/pause").status_code == 200
    with client(address, names[Scope.SUBMIT]) as submitter:
        refused(submitter.post(f"/v1/runs/{run}/resume", json={"budget_s": 9}), 403)
    assert ask(address, names[Scope.ADMIN], "POST", f"/v1/runs/{run}/cancel").status_code == 200


def test_two_callers_may_choose_the_same_idempotency_key(
    address: str, database: Database, network: ChosenNetwork
) -> None:
    runs = []
    for name in ("a", "b"):
        with client(address, keys.add(database, name, Scope.SUBMIT).key) as http:
            answer = send(http, key="today")
            assert answer.status_code == 202
            runs.append(answer.json()["run_id"])
    assert len(set(runs)) == 2


def test_requests_a_minute_are_counted_over_all_processes(
    address: str, database_url: str, database: Database
) -> None:
    key = keys.add(database, "often", Scope.READ, KeyLimits(requests_per_minute=3)).key
    with database.transaction() as session:
        # The minute must not end under the test: count in one that lies ahead would not be the same.
        now = database.now(session)
    with serving(database_url) as second:
        answers = [ask(place, key) for place in (address, second, address, second)]
    with database.reading() as session:
        if database.now(session).minute != now.minute:
            pytest.skip("the minute ended under the test")
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    refused(answers[-1], 429)
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60


def test_the_next_minute_and_day_begin_at_nothing(timed: Database, clock: Clock) -> None:
    keys.add(timed, "a", Scope.READ)
    with timed.transaction() as session:
        owner = session.execute(select(Owner.id)).scalar_one()
        assert [limits.requests_in_minute(session, owner, clock.now) for _ in range(3)] == [1, 2, 3]
        assert [limits.images_on_day(session, owner, 5, clock.now) for _ in range(2)] == [5, 10]
        clock.forward(61)
        assert limits.requests_in_minute(session, owner, clock.now) == 1
        assert limits.images_on_day(session, owner, 5, clock.now) == 15
        clock.forward(86_400)
        assert limits.images_on_day(session, owner, 5, clock.now) == 5


def test_images_a_day(address: str, database: Database, network: ChosenNetwork) -> None:
    key = keys.add(database, "some", Scope.SUBMIT, KeyLimits(images_per_day=50)).key
    with client(address, key) as http:
        assert send(http, npz(30), key="one").status_code == 202
        answer = send(http, npz(30, seed=1))
        assert "30" in refused(answer, 429)
        assert int(answer.headers["Retry-After"]) > 0
        # The same again costs nothing, and what was refused was not counted.
        assert send(http, npz(30), key="one").status_code == 200
        assert send(http, npz(20, seed=2)).status_code == 202
        refused(send(http, npz(1)), 429)
    with database.reading() as session:
        assert sorted(session.execute(select(Run.images)).scalars()) == [20, 30]


def test_qpu_time_a_day_is_reserved_by_budgets(
    address: str, database: Database, network: ChosenNetwork
) -> None:
    key = keys.add(database, "qpu", Scope.SUBMIT, KeyLimits(qpu_us_per_day=10_000_000)).key

    def sent(seed: int, **more: Any) -> httpx.Response:
        return send(http, npz(3, seed=seed), solver="emulator", **more)

    with client(address, key) as http:
        first = sent(0, budget_s=4).json()["run_id"]
        refused(sent(1, budget_s=7), 429)
        second = sent(2).json()["run_id"]
        assert http.get(f"/v1/runs/{second}").json()["budget_us"] == 6_000_000
        refused(sent(3, budget_s=0.1), 429)
        assert send(http, npz(3), solver="local").status_code == 202  # costs no QPU time
        charge(database, first, 1_500_000)
        http.post(f"/v1/runs/{first}/cancel")
        third = sent(4).json()["run_id"]  # what the first did not use is free again
        assert http.get(f"/v1/runs/{third}").json()["budget_us"] == 2_500_000


def charge(database: Database, run: int, charged_us: int) -> None:
    with database.transaction() as session:
        batch = session.execute(select(Batch.id).where(Batch.run_id == run)).scalar_one()
        values = {"state": ProblemState.ANSWERED, "charged_us": charged_us, "answered_at": START}
        session.execute(
            insert(Problem).values(
                batch_id=batch, ordinal=0, first_image=0, count=3, label="x", reserved_at=START, **values
            )
        )


def test_a_database_that_is_away(own_server: Any) -> None:
    server, url = own_server
    with serving(url, load_api(threads=2)) as address, client(address) as http:
        assert http.get("/v1/runs").status_code == 200
        server.stop()
        answer = http.get("/v1/runs")
        refused(answer, 503)
        assert int(answer.headers["Retry-After"]) > 0
        server.start()
        assert http.get("/v1/runs").status_code == 200


def test_openapi_describes_errors_and_calls_their_former_fields_deprecated(http: httpx.Client) -> None:
    described = http.get("/openapi.json").json()
    error = described["components"]["schemas"]["ProblemDetails"]
    assert {"type", "title", "status", "detail", "code", "hint"} <= set(error["required"])
    former = {name for name, field in error["properties"].items() if field.get("deprecated")}
    assert former == {"error", "message", "way_out"}


def test_damage_is_an_error_without_a_traceback(
    http: httpx.Client, database: Database, network: ChosenNetwork
) -> None:
    run = send(http, npz(1)).json()["run_id"]
    with database.transaction() as session:
        bad = {"scores": b"damaged", "status": "decided", "predicted": 1, "margin": 0, "one_hot_fraction": 0}
        session.execute(insert(Classification).values(run_id=run, image=0, lowest_energy=0, **bad))
        done = {"state": RunState.DONE, "finished_at": START, "statistics": {}}
        session.execute(update(Run).where(Run.id == run).values(**done))
    message = refused(http.get(f"/v1/runs/{run}/results"), 500)
    assert "image 0" in message
    refused(http.get("/nowhere"), 404)
    refused(http.put("/v1/runs"), 405)
