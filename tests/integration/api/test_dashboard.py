"""The dashboard: what its pages show, who may see them and change runs, and requests of other sites."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import httpx
import pytest
from sqlalchemy import insert, select, update

from producer.networks.chosen import ChosenNetwork
from producer.runs import queries
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.database import Database
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver
from schema.states import ProblemState, RunState
from schema.tables import Batch, BatchImages, Breaker, Chip, Problem, Run, Spending
from tests.integration.conftest import START, Cli, some_images, work_off
from tests.serving import client
from worker.context import Context

HOSTILE = "<script>alert(1)</script>"
POLL = "hx-get="


@pytest.fixture
def queued(database: Database, working: ChosenNetwork) -> int:
    images, chosen = some_images(25), Parameters(reads=20)
    return enqueue_run(database, images, working, Solver.LOCAL, chosen, RunOptions(batch_size=10)).id


@pytest.fixture
def finished(context: Context, queued: int) -> int:
    work_off(context, Message(Task.DISPATCH))
    return queued


@pytest.fixture
def key_of(cli: Cli) -> Callable[[str], str]:
    """Return a function that adds a key with a scope, which sees all runs."""
    add = ("keys", "add", "--all-runs", "--json", "--scope")
    return lambda scope: str(json.loads(cli(*add, scope, f"its-{scope}"))["key"])


def state(database: Database, run: int) -> RunState:
    with database.reading() as session:
        return queries.run(session, run).state


def press(http: httpx.Client, run: int, act: str, **headers: str) -> httpx.Response:
    return http.post(f"/runs/{run}/{act}", headers=headers)


def test_a_finished_run_is_shown_whole(http: httpx.Client, finished: int, database: Database) -> None:
    with database.reading() as session:
        counts = queries.counts(session, finished)
    page = http.get(f"/runs/{finished}")
    assert page.status_code == 200
    assert f"{counts.accuracy:.2%}" in page.text
    assert POLL not in page.text
    image = re.search(rf"/runs/{finished}/images/\d+", page.text)
    assert image is not None
    assert "Consensus class scores" in http.get(image[0]).text
    assert f"/runs/{finished}" in http.get("/").text
    assert http.get(f"/runs/{finished}/report.html").text.startswith("<!doctype html>")


def test_a_run_under_way_is_live_and_says_how_far_it_is(http: httpx.Client, queued: int) -> None:
    page = http.get(f"/runs/{queued}").text
    assert POLL in page
    assert 'http-equiv="refresh"' in page
    assert "0 of 25 images are scored" in page


def test_solvers_are_shown_with_their_problems_and_charges(
    http: httpx.Client, database: Database, working: ChosenNetwork
) -> None:
    assert "No problems have been submitted" in http.get("/solvers").text
    run = enqueue_run(database, some_images(5), working, Solver.EMULATOR, Parameters(), RunOptions()).id
    with database.transaction() as session:
        batch = session.execute(select(Batch.id).where(Batch.run_id == run)).scalar_one()
        problem = {"batch_id": batch, "first_image": 0, "count": 1, "reserved_at": START}
        answered = {"state": ProblemState.ANSWERED, "answered_at": START, "charged_us": 1_234_000}
        session.execute(insert(Problem).values(**problem, ordinal=0, label="a", **answered))
        session.execute(insert(Spending).values(run_id=run, day=START.date(), spent_us=1_234_000))
        session.execute(insert(Problem).values(**problem, ordinal=1, label="b", state=ProblemState.RESERVED))
        broken = {"error": "no answer", "since": START, "retry_at": START}
        session.execute(insert(Breaker).values(solver="dwave", account="0a1b", failures=2, **broken))
    rows = re.findall(r'<tr><th scope="row">(.*?)</tr>', http.get("/solvers").text, re.DOTALL)
    cells = [re.sub(r"(<[^>]*>)+", "|", row) for row in rows]
    assert cells == [
        "dwave|2 consecutive failures with account 0a1b since 2026-01-01 00:00:00 UTC: no answer; "
        "it is asked again at 2026-01-01 00:00:00 UTC|0|0|0|0.0|0.0|0.0|",
        "emulator|answers|1|0|0|0.0|0.0|1.234|",
    ]


def test_pages_say_which_solver_is_withdrawn_and_what_a_run_waits_for(
    http: httpx.Client, database: Database, working: ChosenNetwork
) -> None:
    run = enqueue_run(database, some_images(5), working, Solver.EMULATOR, Parameters(), RunOptions()).id
    announced = {"context": "solver", "message": "large is withdrawn.", "sunset": "2027-01-31", "link": None}
    announced["seen_on"] = START.date().isoformat()
    with database.transaction() as session:
        facts = {"solver": "emulator", "qubits": 1, "couplers": 1, "graph": b"", "graph_id": "1f"}
        properties = {"topology": {"type": "pegasus", "shape": [16]}, "deprecations": [announced]}
        facts |= {"created_at": START, "seen_at": START, "properties": properties}
        chip = session.execute(insert(Chip).values(name="large", **facts).returning(Chip.id)).scalar_one()
        broken = {"error": "the token is refused", "since": START, "retry_at": START, "opened_at": START}
        session.execute(insert(Breaker).values(solver="emulator", account="0a1b", failures=3, **broken))
    assert "large is withdrawn: withdrawn after 2027-01-31" in http.get("/solvers").text
    assert "it has answered no problem" in http.get(f"/chips/{chip}").text
    for path in (f"/chips/{chip}/heat-map.png", "/chips/99", "/chips/99/heat-map.png", f"/chips/{HUGE}"):
        assert http.get(path).status_code == 404
    page = http.get(f"/runs/{run}").text
    assert "Waits: solver emulator has failed since 2026-01-01 00:00:00 UTC: the token is refused" in page


def test_nothing_is_asked_of_others(http: httpx.Client, finished: int) -> None:
    for path in ("/", "/solvers", f"/runs/{finished}", "/nothing"):
        page = http.get(path, headers={"Accept": "text/html"})
        assert "default-src 'none'" in page.headers["content-security-policy"]
        links = re.findall(r"""(?:src|href|action)="([^"]*)""", page.text)
        assert links
        assert all(link.startswith(("/", "data:", "#")) and not link.startswith("//") for link in links)
    files = re.findall(r'"(/static/[^"]+)"', http.get("/").text)
    assert {path.rpartition(".")[2] for path in files} == {"css", "js"}
    for path in files:
        file = http.get(path)
        assert (file.status_code, "immutable" in file.headers["cache-control"]) == (200, True)
        assert file.headers["content-type"].startswith(("text/css", "text/javascript"))
        assert not re.search(r"url\(https?://|@import", file.text)
    assert http.get(files[0].replace("/static/", "/static/0")).status_code == 404


def test_names_are_never_markup(http: httpx.Client, finished: int, database: Database) -> None:
    with database.transaction() as session:
        session.execute(update(Run).values(name=HOSTILE))
        first = select(Batch.id).where(Batch.first_image == 0)
        session.execute(
            update(BatchImages).where(BatchImages.batch_id.in_(first)).values(sources=[HOSTILE] * 10)
        )
    for path in ("/", f"/runs/{finished}", f"/runs/{finished}/images/3", f"/?said={HOSTILE}"):
        page = http.get(path).text
        assert "<script>" not in page
        assert "&lt;script&gt;" in page


HUGE = 10**30


@pytest.mark.parametrize(
    "path",
    [
        *("/runs/99", "/runs/99/images/0", "/nothing", "/embeddings/99.png"),
        *(f"/runs/{HUGE}", f"/runs/{HUGE}/images/0", f"/embeddings/{HUGE}.png", f"/runs/1/images/{HUGE}"),
    ],
)
def test_what_is_not_there_is_said(shared_http: httpx.Client, path: str) -> None:
    page = shared_http.get(path, headers={"Accept": "text/html"})
    assert page.status_code == 404
    assert "<h1>" in page.text


def test_an_image_that_is_not_scored_is_said(http: httpx.Client, queued: int) -> None:
    page = http.get(f"/runs/{queued}/images/3")
    assert (page.status_code, "image 3 that is scored" in page.text) == (404, True)


def test_buttons_pause_resume_and_cancel(http: httpx.Client, queued: int, database: Database) -> None:
    for act, becomes in (
        ("pause", RunState.PAUSED),
        ("resume", RunState.QUEUED),
        ("cancel", RunState.CANCELLED),
    ):
        assert f'="/runs/{queued}/{act}"' in http.get(f"/runs/{queued}").text
        done = press(http, queued, act)
        assert (done.status_code, done.headers["location"][: len("/runs/")]) == (303, "/runs/")
        assert state(database, queued) is becomes
    assert press(http, queued, "resume").status_code == 409
    assert press(http, queued, "drop").status_code == 404
    assert http.get(f"/runs/{queued}/drop").status_code == 404


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}],
)
def test_another_site_cannot_act(
    http: httpx.Client, queued: int, database: Database, headers: dict[str, str]
) -> None:
    assert press(http, queued, "cancel", **headers).status_code == 403
    assert state(database, queued) is RunState.QUEUED


def test_with_keys_one_has_to_log_in(address: str, queued: int, key_of: Callable[[str], str]) -> None:
    key = key_of("read")
    with client(address, None) as http:
        for path in ("/", f"/runs/{queued}", "/solvers"):
            page = http.get(path)
            assert page.status_code == 401
            assert 'type="password"' in page.text
            assert "random" not in page.text  # the data's name
        assert press(http, queued, "cancel").status_code == 401
        wrong = http.post("/login", data={"key": key[:-1] + "!"})
        assert wrong.status_code == 401
        assert not http.cookies
        right = http.post("/login", data={"key": key})
        assert right.status_code == 303
        cookie = right.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert "random" in http.get(f"/runs/{queued}").text
        assert key not in http.get("/").text
        http.post("/logout")
        assert http.get("/").status_code == 401


def test_who_may_act(address: str, queued: int, database: Database, key_of: Callable[[str], str]) -> None:
    for scope, status in (("read", 403), ("submit", 403), ("admin", 303)):
        with client(address, None) as http:
            http.post("/login", data={"key": key_of(scope)})
            assert press(http, queued, "cancel").status_code == status, scope
            assert (state(database, queued) is RunState.CANCELLED) == (status == 303)
