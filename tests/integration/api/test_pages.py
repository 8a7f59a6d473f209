"""Pages beside those of runs: submit, compare, downloads, workers, networks, schedules, keys, deliveries."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import insert, select

from producer.api.keys import keys
from producer.networks.chosen import ChosenNetwork
from producer.runs import queries
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.database import Database
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver
from schema.states import DeliveryState
from schema.tables import Delivery, Worker
from tests.integration.api.conftest import npz
from tests.integration.conftest import Cli, some_images, work_off
from tests.serving import client
from worker.context import Context

HOSTILE = "<script>alert(1)</script>"
PAGES = (
    "/",
    "/submit",
    "/networks",
    "/workers",
    "/solvers",
    "/schedules",
    "/deliveries",
    "/keys",
    "/compare",
)


@pytest.fixture
def finished(context: Context, database: Database, working: ChosenNetwork) -> list[int]:
    """Return two runs of the same images with different seeds, and one of others."""
    runs = [
        enqueue_run(
            database,
            some_images(25, seed=images),
            working,
            Solver.LOCAL,
            Parameters(reads=2, sweeps=2, seed=seed),
            RunOptions(),
        ).id
        for images, seed in ((0, 1), (0, 2), (7, 1))
    ]
    work_off(context, Message(Task.DISPATCH))
    return runs


@pytest.fixture
def page_of(address: str, cli: Cli) -> Callable[..., httpx.Response]:
    """Return a function that asks for a page with a key of a scope."""

    keys: dict[str, str] = {}

    def page_of(scope: str, path: str, method: str = "GET") -> httpx.Response:
        if scope not in keys:
            added = cli("keys", "add", "--json", "--scope", scope, f"its-{scope}")
            keys[scope] = json.loads(added)["key"]
        with client(address, keys[scope]) as http:
            return http.request(method, path)

    return page_of


@pytest.mark.parametrize("path", PAGES)
def test_pages_of_an_empty_home_say_what_to_do(shared_http: httpx.Client, path: str) -> None:
    page = shared_http.get(path)
    assert page.status_code == 200
    assert page.text.count("<h1>") == 1


@pytest.mark.parametrize("host", ["a[b", "[", "a:b:c", "", "x" * 300, "é"])
@pytest.mark.parametrize("path", ["/", "/runs/1", "/nothing"])
def test_odd_hosts_are_no_failures_of_the_server(shared_http: httpx.Client, host: str, path: str) -> None:
    headers = [(b"host", host.encode("latin-1")), (b"origin", b"http://["), (b"accept", b"text/html")]
    assert shared_http.get(path, headers=headers).status_code < 500


@pytest.mark.parametrize("value", ["1" * 400, "9223372036854775808", "-1", "1.5", "nan", "%00", "٣"])
def test_odd_numbers_are_no_failures_of_the_server(shared_http: httpx.Client, value: str) -> None:
    for path in (
        *(f"/runs/{value}", f"/runs/{value}/parts", f"/runs/{value}/results.csv", f"/?following={value}"),
        *(f"/?preceding={value}", f"/deliveries?before={value}", f"/compare?first={value}&second={value}"),
    ):
        assert shared_http.get(path).status_code < 500, path


def test_images_are_submitted_once(http: httpx.Client, working: ChosenNetwork, database: Database) -> None:
    token = http.get("/submit").text.partition('name="token" value="')[2].partition('"')[0]
    form = {"token": token, "name": HOSTILE, "reads": "20", "network": working.name, "tz": "", "limit": "7"}
    sent = [http.post("/submit", data=form, files={"images": ("a.npz", npz())}) for _ in range(2)]
    assert [answer.status_code for answer in sent] == [303, 303]
    assert sent[0].headers["location"] == sent[1].headers["location"]
    with database.reading() as session:
        (run,) = queries.runs(session)
    assert (run.name, run.images, run.parameters["reads"]) == (HOSTILE, 7, 20)
    page = http.get("/").text
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize(
    ("form", "data", "message"),
    [
        ({"reads": "many"}, npz(), "reads"),
        ({"budget_s": "-1"}, npz(), "budget_s"),
        ({"network": HOSTILE}, npz(), "&lt;script&gt;"),
        ({"colour": "red"}, npz(), "colour"),
        ({}, b"no images", "a.npz"),
        ({}, b"", "a.npz"),
    ],
)
def test_what_cannot_be_submitted_is_said_in_the_form(
    http: httpx.Client, database: Database, form: dict[str, str], data: bytes, message: str
) -> None:
    answer = http.post("/submit", data={"name": "kept", **form}, files={"images": ("a.npz", data)})
    assert answer.status_code == 422
    assert message in answer.text
    assert 'value="kept"' in answer.text
    assert HOSTILE not in answer.text
    with database.reading() as session:
        assert queries.runs(session) == []


def test_who_may_only_look_cannot_submit(page_of: Callable[..., httpx.Response]) -> None:
    assert "may only look" in page_of("read", "/submit").text
    assert page_of("read", "/submit", "POST").status_code == 403


def test_runs_are_compared(http: httpx.Client, finished: list[int], database: Database) -> None:
    first, second, other = finished
    page = http.get(f"/compare?first={first}&second={second}").text
    with database.reading() as session:
        both = [list(queries.classified(session, run)) for run in (first, second)]
    differ = [one.image for one, two in zip(*both, strict=True) if one.predicted != two.predicted]
    assert differ
    assert f"{25 - len(differ)} of 25 images" in page
    assert all(f"/runs/{first}/images/{image}" in page for image in differ)
    refused = http.get(f"/compare?first={first}&second={other}")
    assert (refused.status_code, "different images" in refused.text) == (409, True)
    assert http.get(f"/compare?first={first}&second=99").status_code == 404


def test_results_are_downloaded(http: httpx.Client, finished: list[int]) -> None:
    run = finished[0]
    answer = http.get(f"/runs/{run}/results.csv")
    assert answer.headers["content-disposition"] == f'attachment; filename="run-{run}.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["image"] for row in rows] == [str(image) for image in range(25)]
    objects = http.get(f"/runs/{run}/results.json").json()
    assert [each["predicted_class"] or "" for each in objects] == [row["predicted_class"] for row in rows]
    assert http.get(f"/runs/{run}/results.exe").status_code == 404


def test_workers_are_shown_until_they_change(http: httpx.Client, database: Database) -> None:
    with database.transaction() as session:
        now = database.now(session)
        row = {"host": HOSTILE, "version": "1", "accounts": {}, "started_at": now}
        session.execute(insert(Worker).values(name="a", pid=1, seen_at=now, task="sample", **row))
        dead = now - timedelta(days=1)
        session.execute(insert(Worker).values(name="b", pid=2, seen_at=dead, **row))
    page = http.get("/workers").text
    assert ">working<" in page
    assert ">dead<" in page
    assert HOSTILE not in page
    assert 'hx-get="/workers/parts"' in page


def test_a_network_becomes_the_default(
    http: httpx.Client, working: ChosenNetwork, page_of: Callable[..., httpx.Response]
) -> None:
    name = f"{working.name}@{working.version}"
    assert f">{name}<" in http.get("/networks").text
    for default, word in (("yes", "is the default"), ("", "no longer")):
        answer = http.post("/networks", data={"network": name, "default": default})
        assert answer.status_code == 303
        assert word in httpx.URL(answer.headers["location"]).params["said"]
    assert http.post("/networks", data={"network": "nobody", "default": "yes"}).status_code == 404
    assert page_of("submit", "/networks", "POST").status_code == 403


def test_only_admins_see_schedules_and_all_keys(page_of: Callable[..., httpx.Response]) -> None:
    assert page_of("read", "/schedules").status_code == 403
    assert page_of("admin", "/schedules").status_code == 200
    assert "its-read" not in page_of("submit", "/keys").text
    assert "its-submit" in page_of("submit", "/keys").text
    assert "its-read" in page_of("admin", "/keys").text


def test_a_message_is_sent_again(
    http: httpx.Client, finished: list[int], database: Database, page_of: Callable[..., httpx.Response]
) -> None:
    with database.transaction() as session:
        now = database.now(session)
        message = {"run_id": finished[0], "happened_at": now, "event_id": "a", "body": "{}", "due_at": now}
        failed = {"state": DeliveryState.FAILED, "error": HOSTILE, "attempts": 9, "created_at": now}
        number = session.execute(
            insert(Delivery).values(**message, **failed).returning(Delivery.id)
        ).scalar_one()
    page = http.get("/deliveries").text
    assert f"/deliveries/{number}/redeliver" in page
    for query, matches in (
        *(("state=failed", True), ("state=pending", False), ("state=odd", True)),
        *((f"run={finished[0]}&state=failed", True), ("run=99", False)),
    ):
        assert (f"/deliveries/{number}/redeliver" in http.get(f"/deliveries?{query}").text) == matches
    assert HOSTILE not in page
    one = http.get(f"/deliveries/{number}")
    assert (one.status_code, "Send again" in one.text, HOSTILE in one.text) == (200, True, False)
    assert "&lt;script&gt;" in one.text
    assert http.post(f"/deliveries/{number}/redeliver").status_code == 303
    with database.reading() as session:
        assert session.execute(select(Delivery.state)).scalar_one() is not DeliveryState.FAILED
    assert http.post("/deliveries/99/redeliver").status_code == 404
    assert page_of("submit", f"/deliveries/{number}/redeliver", "POST").status_code == 404, "of another owner"


def test_a_webhook_is_tested(address: str, database: Database, http: httpx.Client) -> None:
    made = keys.add(database, "lab", keys.Scope.SUBMIT)
    assert "log in with a key" in http.post("/deliveries/test").text, "this machine has no secret"
    with client(address, made.key) as own:
        for url in ("", "ftp://example.com/", "http://127.0.0.1:9/"):
            refused = own.post("/deliveries/test", data={"url": url})
            assert (refused.status_code, 'role="alert"' in refused.text) == (422, True), url
        sent = own.post("/deliveries/test", data={"url": "https://example.com/secret-path"})
        assert sent.status_code == 303
        page = own.get(sent.headers["location"]).text
        assert "webhook.test" in page
        assert "&#34;owner&#34;" in page, "the body as it is signed"
        assert "secret-path" not in page
        evil = {"Origin": "http://evil.example"}
        assert own.post("/deliveries/test", headers=evil).status_code == 403
    with client(address, keys.add(database, "other", keys.Scope.SUBMIT).key) as other:
        assert other.get(sent.headers["location"]).status_code == 404
