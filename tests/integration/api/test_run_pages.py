"""The page of a run updates in parts, its images are found by filters, and runs are changed together."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import httpx
import numpy as np
import pytest
from sqlalchemy import insert, select, update

from producer.dashboard.report import run_report
from producer.networks.choose import choose_network
from producer.networks.chosen import ChosenNetwork
from producer.runs import queries
from producer.runs.enqueue import RunOptions, enqueue_run
from producer.runs.queries import Classified
from schema.codecs import arrays
from schema.database import Database
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver
from schema.shapes import ImageShape
from schema.states import BatchState, RunState
from schema.tables import Batch, BatchImages, Classification, Network, Run, RunTag
from tests.integration.conftest import START, network_row, some_images, work_off
from worker.context import Context

Enqueue = Callable[..., int]


@pytest.fixture
def enqueue(database: Database, working: ChosenNetwork) -> Enqueue:
    return enqueueing(database, working)


def enqueueing(database: Database, network: ChosenNetwork) -> Enqueue:
    """Return a function that enqueues a run of a few images."""

    def enqueue(count: int = 25, name: str | None = None, *, labelled: bool = True, seed: int = 0) -> int:
        images = some_images(count, seed=seed, labelled=labelled)
        options = RunOptions(batch_size=10)
        run = enqueue_run(database, images, network, Solver.LOCAL, Parameters(reads=20), options).id
        if name is not None:
            with database.transaction() as session:
                session.execute(update(Run).where(Run.id == run).values(name=name))
        return run

    return enqueue


@pytest.fixture
def finished(context: Context, enqueue: Enqueue) -> int:
    run = enqueue()
    work_off(context, Message(Task.DISPATCH))
    return run


def wait_since_long_ago(database: Database, run: int) -> None:
    """Let no worker have taken a run for months: why it waits would change a second or two later."""
    with database.transaction() as session:
        session.execute(update(Batch).where(Batch.run_id == run).values(due_at=START))


def seen(page: str) -> str:
    found = re.search(r'name="seen" value="([^"]*)"', page)
    assert found is not None
    return found[1]


def parts(answer: httpx.Response) -> set[str]:
    return set(re.findall(r'id="part-(\w+)" hx-swap-oob="outerMorph"', answer.text))


def numbers(page: str) -> list[int]:
    """Return the numbers of the images of a grid."""
    return [int(number) for number in re.findall(r">image (\d+)</a>", page)]


def listed(page: str) -> list[int]:
    """Return the numbers of the runs of a list."""
    return [int(number) for number in re.findall(r'<tr id="run-(\d+)"', page)]


def rows(database: Database, run: int) -> list[Classified]:
    with database.reading() as session:
        return list(queries.classified(session, run))


def any_image(_row: Classified) -> bool:
    return True


def is_wrong(row: Classified) -> bool:
    return row.predicted != row.label


def test_only_parts_that_changed_are_sent(
    http: httpx.Client, enqueue: Enqueue, context: Context, database: Database
) -> None:
    run = enqueue()
    wait_since_long_ago(database, run)
    page = http.get(f"/runs/{run}").text
    assert f'hx-get="/runs/{run}/parts"' in page
    assert "<title>queued 0 %" in page
    assert "no worker has taken" in page
    unchanged = http.get(f"/runs/{run}/parts", params={"seen": seen(page)})
    assert (unchanged.status_code, unchanged.content) == (204, b"")
    assert http.post(f"/runs/{run}/pause").status_code == 303
    paused = http.get(f"/runs/{run}/parts", params={"seen": seen(page)})
    assert parts(paused) == {"head", "progress", "timeline"} or parts(paused) == {"head", "timeline"}
    assert "<title>paused" in paused.text
    assert 'hx-trigger="every 10s"' in paused.text
    assert http.get(f"/runs/{run}/parts", params={"seen": seen(paused.text)}).status_code == 204
    http.post(f"/runs/{run}/resume")
    work_off(context, Message(Task.DISPATCH))
    ended = http.get(f"/runs/{run}/parts", params={"seen": seen(paused.text)})
    assert {"head", "figures", "confusion", "images", "scores", "provenance"} <= parts(ended)
    assert "hx-get" not in ended.text, "nothing changes any more"


def test_what_decides_the_page_is_enough_to_answer(
    http: httpx.Client, enqueue: Enqueue, database: Database
) -> None:
    run = enqueue()
    wait_since_long_ago(database, run)

    def basis(page: str) -> str:
        return next(part for part in seen(page).split() if part.startswith("basis-"))

    def ask(shown: str) -> httpx.Response:
        return http.get(f"/runs/{run}/parts", params={"seen": shown})

    def change(table: type[Run] | type[Batch], **values: object) -> None:
        of_run = Run.id == run if table is Run else (Batch.run_id == run) & (Batch.ordinal == 1)
        with database.transaction() as session:
            session.execute(update(table).where(of_run).values(values))

    now = datetime(2030, 1, 1, tzinfo=UTC)
    shown = basis(http.get(f"/runs/{run}").text)
    for table, values in (
        (Run, {"name": "another"}),
        (Run, {"priority": 7}),
        (Batch, {"error": "its chip was away", "attempts": 1}),
        (Batch, {"state": BatchState.SCORED, "sampled_at": now, "scored_at": now}),
        (Batch, {"scored_at": now + timedelta(seconds=1)}),
    ):
        assert ask(shown).status_code == 204
        change(table, **values)
        answer = ask(shown)
        assert answer.status_code == 200, values
        assert basis(answer.text) != shown
        shown = basis(answer.text)
    both = seen(ask(shown[:-1]).text)  # as a browser that has all parts, and another basis
    again = ask(both.replace(shown, "basis-0"))
    assert (parts(again), basis(again.text)) == (set(), shown)


def test_updates_have_what_a_new_page_has(http: httpx.Client, enqueue: Enqueue, context: Context) -> None:
    run = enqueue()
    http.get(f"/runs/{run}/parts")  # the counts of no image are stored
    work_off(context, Message(Task.DISPATCH))
    updated = http.get(f"/runs/{run}/parts").text
    whole = http.get(f"/runs/{run}").text
    assert re.findall(r"<td.*?</td>", updated) == re.findall(r"<td.*?</td>", whole)
    assert numbers(updated) == numbers(whole)


def test_wrong_images_are_two_clicks_from_the_list(
    http: httpx.Client, finished: int, database: Database
) -> None:
    assert f'href="/runs/{finished}"' in http.get("/").text
    link = re.search(
        rf'href="(/runs/{finished}/images\?show=wrong)">(\d+) wrong image', http.get(f"/runs/{finished}").text
    )
    assert link is not None
    wrong = [row.image for row in rows(database, finished) if is_wrong(row)]
    assert wrong
    assert int(link[2]) == len(wrong)
    assert numbers(http.get(link[1]).text) == wrong


def test_a_cell_of_the_confusion_leads_to_its_images(
    http: httpx.Client, finished: int, database: Database
) -> None:
    page = http.get(f"/runs/{finished}").text
    cells = re.findall(rf'href="(/runs/{finished}/images\?label=\d[^"]*)"[^>]*>([\d,]+)</a>', page)
    assert sum(int(count) for _, count in cells) == len(rows(database, finished))
    for address, count in cells:
        assert len(numbers(http.get(address.replace("&amp;", "&")).text)) == int(count)


@pytest.mark.parametrize(
    ("query", "chosen"),
    [
        ("", any_image),
        ("show=right", lambda row: not is_wrong(row)),
        ("show=undecided", lambda row: row.predicted is None),
        ("predicted=none", lambda row: row.predicted is None),
        ("label=3", lambda row: row.label == 3),
        ("show=wrong&predicted=1", lambda row: is_wrong(row) and row.predicted == 1),
        ("below=0.5", lambda row: (row.margin if row.probability is None else row.probability) < 0.5),
        ("show=nothing&label=99&below=x&order=y&predicted=-1", any_image),
        (f"after={10**30}", any_image),
    ],
)
def test_images_are_filtered(
    http: httpx.Client,
    finished: int,
    database: Database,
    query: str,
    chosen: Callable[[Classified], bool],
) -> None:
    expected = [row.image for row in rows(database, finished) if chosen(row)]
    assert numbers(http.get(f"/runs/{finished}/images?{query}").text) == expected


@pytest.mark.parametrize("order", ["number", "certainty"])
def test_images_come_in_pages_by_key(
    http: httpx.Client, context: Context, enqueue: Enqueue, order: str
) -> None:
    run = enqueue(130)
    work_off(context, Message(Task.DISPATCH))
    address: str | None = f"/runs/{run}/images?order={order}"
    found: list[int] = []
    while address is not None:
        page = http.get(address).text
        found += numbers(page)
        following = re.search(r'rel="next" href="([^"]+)"', page)
        address = None if following is None else following[1].replace("&amp;", "&")
    assert sorted(found) == list(range(130))
    stored = {row.image: row for row in rows(context.database, run)}
    certainty = [stored[k].margin if stored[k].probability is None else stored[k].probability for k in found]
    assert (certainty if order == "certainty" else found) == sorted(
        certainty if order == "certainty" else found
    )


def test_images_without_labels_are_neither_right_nor_wrong(
    http: httpx.Client, context: Context, enqueue: Enqueue
) -> None:
    run = enqueue(labelled=False)
    work_off(context, Message(Task.DISPATCH))
    assert "wrong image" not in http.get(f"/runs/{run}").text
    assert len(numbers(http.get(f"/runs/{run}/images").text)) == 25
    assert numbers(http.get(f"/runs/{run}/images?show=wrong").text) == []


@pytest.fixture
def some_runs(enqueue: Enqueue, database: Database) -> list[int]:
    return four_runs(enqueue, database)


@pytest.fixture(scope="module")
def shared_runs(shared_database_url: str) -> Iterator[tuple[Database, list[int]]]:
    """The same, once for the tests that only read."""
    database = Database(shared_database_url)
    with database.transaction() as session:
        session.execute(insert(Network).values(network_row()))
        network = choose_network(session, "digits", ImageShape.image(8, 8))
    yield database, four_runs(enqueueing(database, network), database)
    database.dispose()


def four_runs(enqueue: Enqueue, database: Database) -> list[int]:
    runs = [enqueue(3, name, seed=k) for k, name in enumerate(("beta 1", "alpha", "gamma", "beta 2"))]
    with database.transaction() as session:
        session.execute(update(Run).where(Run.id == runs[1]).values(solver=Solver.EXACT, priority=5))
        session.execute(insert(RunTag).values(run_id=runs[2], tag="nightly"))
    return runs


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [3, 2, 1, 0]),
        ("name=BETA", [3, 0]),
        ("name=%25", []),
        ("solver=exact", [1]),
        ("tag=nightly", [2]),
        ("state=queued&name=beta&order=oldest", [0, 3]),
        ("state=done", []),
        ("network=digits", [3, 2, 1, 0]),
        ("network=digits@99", []),
        ("network=a@b@c", []),
        ("owner=nobody", []),
        ("order=name", [1, 0, 3, 2]),
        ("order=priority", [1, 3, 2, 0]),
        ("state=no&solver=no&order=no", [3, 2, 1, 0]),
        (f"following={10**30}", [3, 2, 1, 0]),
    ],
)
def test_runs_are_found(
    shared_http: httpx.Client,
    shared_runs: tuple[Database, list[int]],
    query: str,
    expected: list[int],
) -> None:
    _, runs = shared_runs
    assert listed(shared_http.get(f"/?{query}").text) == [runs[k] for k in expected]


@pytest.mark.parametrize("order", list(queries.RunOrder))
def test_runs_are_paged_in_both_directions(
    shared_runs: tuple[Database, list[int]], order: queries.RunOrder
) -> None:
    database, runs = shared_runs
    with database.reading() as session:
        whole = [run.run_id for run in queries.runs(session, order=order)]
        assert sorted(whole) == runs
        for k, run in enumerate(whole):
            after = queries.runs(session, 2, order=order, following=run)
            before = queries.runs(session, 2, order=order, preceding=run)
            assert [each.run_id for each in after] == whole[k + 1 : k + 3]
            assert [each.run_id for each in before] == whole[max(k - 2, 0) : k]


def test_chosen_runs_are_changed_after_a_question(
    http: httpx.Client, some_runs: list[int], database: Database
) -> None:
    form = {"run": [str(run) for run in some_runs[:2]], "act": "cancel", "back": "/?name=a"}
    asked = http.post("/runs", data=form)
    assert (asked.status_code, "Cancel 2 runs?" in asked.text) == (200, True)
    with database.reading() as session:
        assert {run.state for run in queries.runs(session)} == {RunState.QUEUED}
    done = http.post("/runs", data=form | {"sure": "yes"})
    assert done.status_code == 303
    assert done.headers["location"].startswith("/?name=a&said=2%20runs%20cancelled")
    with database.reading() as session:
        assert [run.state for run in queries.runs(session)] == [RunState.QUEUED] * 2 + [
            RunState.CANCELLED
        ] * 2
    again = http.post("/runs", data=form | {"sure": "yes"})
    assert "0%20runs%20cancelled" in again.headers["location"]


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"act": "pause"}, 303),
        ({"act": "drop", "run": "1"}, 404),
        ({"act": "delete", "run": "1"}, 404),
        ({"act": "pause", "run": ["x", "-1", "999", str(10**30)]}, 404),
    ],
)
def test_odd_choices_change_nothing(http: httpx.Client, form: dict[str, str], status: int) -> None:
    assert http.post("/runs", data=form).status_code == status


def test_a_page_never_leads_to_another_site(http: httpx.Client, some_runs: list[int]) -> None:
    form = {"act": "pause", "run": str(some_runs[0]), "sure": "yes", "back": "//evil.example/"}
    assert http.post("/runs", data=form).headers["location"].startswith("/?said=")


def test_a_run_is_resumed_with_a_budget_or_told_why_not(
    http: httpx.Client, enqueue: Enqueue, database: Database
) -> None:
    run = enqueue()
    http.post(f"/runs/{run}/pause")
    assert "Resume run" in http.get(f"/runs/{run}/resume").text
    for wrong in ("much", "-1", "nan", "inf"):
        refused = http.post(f"/runs/{run}/resume", data={"budget_s": wrong})
        assert refused.status_code == 409
        assert wrong in refused.text
    assert http.post(f"/runs/{run}/resume", data={"budget_s": "1.5"}).status_code == 303
    with database.reading() as session:
        assert queries.run(session, run).budget_us == 1_500_000


def test_a_finished_run_is_deleted_after_a_question(
    http: httpx.Client, finished: int, enqueue: Enqueue
) -> None:
    assert "for good" in http.get(f"/runs/{finished}/delete").text
    assert http.post(f"/runs/{finished}/delete").headers["location"].startswith("/?said=")
    assert http.get(f"/runs/{finished}").status_code == 404
    again = enqueue(4)  # may get the same number, and is another run
    assert numbers(http.get(f"/runs/{again}/images").text) == []


def test_history_shows_events_and_failures(
    http: httpx.Client, enqueue: Enqueue, context: Context, database: Database
) -> None:
    run = enqueue()
    with database.transaction() as session:
        batch = select(Batch.id).where(Batch.run_id == run, Batch.ordinal == 1).scalar_subquery()
        session.execute(update(BatchImages).where(BatchImages.batch_id == batch).values(images=b"damaged"))
    work_off(context, Message(Task.DISPATCH))
    page = http.get(f"/runs/{run}").text
    assert "What failed" in page
    assert "Try again" in page
    assert "Try the failed batches again" in page
    history = http.get(f"/runs/{run}/history").text
    assert "Batches with errors" in history
    assert "10 to 19" in history
    assert "queued → running" in history


def test_sets_of_classes_are_shown_found_by_size_and_said_to_be_void(
    http: httpx.Client, finished: int, database: Database
) -> None:
    guarantee = {
        "confidence": 0.9, "by_class": False, "calibration": 7, "images": 100, "labelled": 25, "covered": 24,
        "coverage": 0.96, "coverage_interval": [0.8046, 0.9929], "mean_set_size": 1.4,
        "set_sizes": {"1": 20, "3": 5}, "voided": "the chip has changed: <b>chain breaks</b>",
    }  # fmt: skip
    three = np.zeros(10, np.bool_)
    three[[3, 5, 9]] = True
    with database.transaction() as session:
        run = session.get_one(Run, finished)
        run.parameters = {**run.parameters, "confidence": 0.9}
        run.statistics = {**(run.statistics or {}), "guarantee": guarantee}
        for row in session.execute(select(Classification).where(Classification.run_id == finished)).scalars():
            large = row.image % 5 == 0
            held = three if large else np.eye(10, dtype=np.bool_)[4]
            (row.class_set,), row.set_size = arrays.encode_class_sets(held[np.newaxis]), 3 if large else 1
    grid = http.get(f"/runs/{finished}/images?above=1").text
    assert numbers(grid) == [0, 5, 10, 15, 20]
    assert grid.count("set of classes: 3, 5, 9") == 5
    for page in (grid, http.get(f"/runs/{finished}/images/5").text, http.get(f"/runs/{finished}").text):
        assert "the chip has changed: &lt;b&gt;chain breaks" in page
    found = http.get(f"/v1/runs/{finished}/results?set_size_above=1").json()["results"]
    assert {(row["set_size"], *row["class_set"]) for row in found} == {(3, "3", "5", "9")}
    with database.reading() as session:
        text = run_report.markdown(session, finished)
    for part in ("mean size 1.400: 20 of 1 class, 5 of 3 classes", "96.00% of 25 labelled images", "80.46%"):
        assert part in text
    assert "(3, 5, 9)" in text
