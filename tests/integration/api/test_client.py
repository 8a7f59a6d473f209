"""The client against the real API: behind a bad network, through kills, blocking and async."""

from __future__ import annotations

import asyncio
import csv
import inspect
import logging
import shutil
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select

from producer.api.keys import keys
from producer.api.keys.keys import Scope
from producer.client import (
    AsyncClient,
    Client,
    ClientError,
    OutcomeUnknown,
    RequestRejected,
    RunUnsuccessful,
    ServerUnavailable,
)
from producer.client.operations import Operations
from producer.networks.chosen import ChosenNetwork
from schema.database import Database
from schema.messages import Message, Task
from schema.tables import Event, Run
from tests import PATIENCE_S
from tests.integration.conftest import some_images, work_off
from tests.proxies import CUT, RESET, SWALLOW, Proxy, answer, proxying
from tests.serving import THIS_MACHINE, ServerProcess
from worker.context import Context

IMAGES = some_images(30).images
BUSY = answer(503, '{"code": "busy", "detail": "much to do", "hint": "wait"}', Retry_After=0)
LIMITED = answer(429, '{"code": "limit_reached", "detail": "too many", "hint": "wait"}', Retry_After=0)


@pytest.fixture
def database_url(_sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database: what a client sees is the same with each."""
    return f"sqlite:///{shutil.copy(_sqlite_template, tmp_path_factory.mktemp('database') / 'annealq.db')}"


@pytest.fixture
def proxy(address: str) -> Iterator[Proxy]:
    with proxying(address) as found:
        yield found


@pytest.fixture
def annealq(proxy: Proxy) -> Iterator[Client]:
    with Client(proxy.address, patience_s=30) as opened:
        yield opened


def runs_in(database: Database) -> int:
    with database.reading() as session:
        return session.execute(select(func.count(Run.id))).scalar_one()


@pytest.mark.parametrize(
    "plan",
    [[RESET], [CUT], [BUSY, LIMITED, answer(502), answer(504)], [SWALLOW, RESET, BUSY, SWALLOW]],
    ids=["reset", "cut", "refused", "swallowed"],
)
def test_whatever_happens_to_a_submission_there_is_one_run(
    plan: list[str | bytes], proxy: Proxy, annealq: Client, database: Database, network: ChosenNetwork
) -> None:
    proxy.plan += plan
    run = annealq.submit(IMAGES, batch_size=10, reads=5)
    assert len(proxy.seen) == len(plan) + 1
    assert runs_in(database) == 1
    assert annealq.run(run)["images"] == 30


def test_what_is_not_idempotent_is_not_repeated(
    proxy: Proxy, annealq: Client, database: Database, network: ChosenNetwork
) -> None:
    run = annealq.submit(IMAGES)
    annealq.pause(run)
    proxy.seen.clear()
    proxy.plan += [SWALLOW]
    with pytest.raises(OutcomeUnknown, match=f"POST /v1/runs/{run}/resume.*look at the run"):
        annealq.resume(run)
    assert len(proxy.seen) == 1
    assert annealq.run(run).state == "queued"  # the server had done it
    with database.reading() as session:
        query = select(func.count(Event.id)).where(Event.source == "paused", Event.target == "queued")
        assert session.execute(query).scalar_one() == 1
    # A refusal of a limit says that nothing was done, so that it is safe to repeat.
    annealq.pause(run)
    proxy.plan += [LIMITED, BUSY]
    assert annealq.resume(run)["run_id"] == run
    proxy.plan += [answer(502)]
    with pytest.raises(RequestRejected):
        annealq.resume(run)


def test_patience_ends_with_what_was_wrong(
    proxy: Proxy, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Client(proxy.address, patience_s=0.3) as hurried:
        proxy.plan += [BUSY] * 20
        with pytest.raises(RequestRejected, match="much to do: wait") as rejected:
            hurried.networks()
        assert rejected.value.code == "busy"
        proxy.plan[:] = [RESET] * 20
        with (
            caplog.at_level(logging.DEBUG, "annealq.client"),
            pytest.raises(ServerUnavailable, match="serve"),
        ):
            hurried.networks()
        proxy.plan[:] = [answer(429, '{"detail": "a day", "hint": "later", "code": "x"}', Retry_After=9999)]
        with pytest.raises(RequestRejected, match="a day") as rejected:
            hurried.networks()
        assert rejected.value.retry_after_s == 9999
    assert "is `annealq serve` running there? Trying again in 0." in caplog.text
    assert proxy.address in caplog.text


def test_a_wrong_request_is_refused_at_once(proxy: Proxy, annealq: Client) -> None:
    with pytest.raises(RequestRejected, match="no run 99") as rejected:
        annealq.run(99)
    assert rejected.value.status == 404
    proxy.plan += [answer(302, Location="http://127.0.0.1:1/")]
    with pytest.raises(RequestRejected, match="302"):  # the key is not sent elsewhere
        annealq.run(1)
    assert len(proxy.seen) == 2


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://a", "http://", "http://a:b:c"])
def test_an_address_that_is_none_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(ClientError, match="not a URL"):
        Client(url)


def test_the_key_is_not_shown(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("ANNEALQ_KEY", "aq_secret")
    with Client(address) as annealq:
        assert "secret" not in repr(annealq)
        assert address in repr(annealq)
        with pytest.raises(RequestRejected, match="not valid") as rejected:
            annealq.networks()
        assert "secret" not in str(rejected.value)


def test_events_resume_where_they_broke(
    proxy: Proxy, annealq: Client, context: Context, working: ChosenNetwork
) -> None:
    run = annealq.submit(IMAGES, batch_size=10, reads=5)
    proxy.plan += [RESET, BUSY, CUT]
    seen = annealq.events(run)
    first = next(seen)
    assert (first.state, first.images) == ("queued", 30)
    worker = threading.Thread(target=work_off, args=(context, Message(Task.DISPATCH)))
    worker.start()
    rest = list(seen)
    worker.join()
    scored = [progress.scored for progress in (first, *rest)]
    assert scored == sorted(scored)
    assert len({(progress.state, progress.sampled, progress.scored) for progress in rest}) == len(rest)
    assert (rest[-1].state, rest[-1].scored) == ("done", 30)
    assert annealq.wait(run, timeout_s=PATIENCE_S)["state"] == "done"


def test_waiting_ends_in_time_and_with_the_reason(annealq: Client, network: ChosenNetwork) -> None:
    run = annealq.submit(IMAGES)
    with pytest.raises(TimeoutError, match=f"run {run} is not finished"):
        annealq.wait(run, timeout_s=0.2)
    annealq.cancel(run)
    with pytest.raises(RunUnsuccessful, match="cancelled") as unsuccessful:
        annealq.wait(run)
    assert (unsuccessful.value.run_id, unsuccessful.value.state) == (run, "cancelled")


@pytest.fixture
def done(address: str, context: Context, working: ChosenNetwork) -> int:
    """A run of 30 images that is done."""
    with Client(address) as annealq:
        run = annealq.submit(IMAGES, np.arange(30) % 10, batch_size=10, reads=5, name="thirty")
    work_off(context, Message(Task.DISPATCH))
    return run


def test_results_come_in_every_form(proxy: Proxy, annealq: Client, done: int, tmp_path: Path) -> None:
    images = list(annealq.results(done))
    assert [image.index for image in images] == list(range(30))
    assert [image.index for image in annealq.results(done, start=25)] == list(range(25, 30))
    wrong = [image.index for image in images if image.predicted != image.label]
    assert annealq.result_arrays(done, wrong=True).index.tolist() == wrong
    arrays = annealq.result_arrays(done)
    assert arrays.label.tolist() == [image.label for image in images]
    assert arrays.scores.tolist() == [list(image.scores) for image in images]
    assert arrays.accuracy == annealq.wait(done)["accuracy"]
    proxy.plan += ["", RESET, CUT]  # the events that say that it is finished, then the file
    path = annealq.save_results(done, tmp_path / "results.csv")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["image"]) for row in rows] == list(range(30))
    assert [path.name for path in tmp_path.iterdir()] == ["results.csv"]
    few = annealq.save_results(done, tmp_path / "results.csv", wrong=True)
    assert few.read_text().count("\n") == len(wrong) + 1
    with pytest.raises(ClientError, match=r"\.csv or \.parquet"):
        annealq.save_results(done, tmp_path / "results.xlsx")
    with pytest.raises(ClientError, match="cannot be written"):
        annealq.save_results(done, tmp_path / "nowhere" / "results.csv")


def test_tables_and_parquet_have_the_same_values(annealq: Client, done: int, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: `make test` installs it")
    frame = annealq.result_frame(done)
    stored = pandas.read_parquet(annealq.save_results(done, tmp_path / "results.parquet"))
    assert sorted(frame) == sorted(stored)
    for name in ("image", "label", "predicted", "margin", "score_7"):
        assert frame[name].astype(float).tolist() == pytest.approx(stored[name].astype(float).tolist())


def test_runs_are_listed_page_by_page(
    proxy: Proxy, annealq: Client, network: ChosenNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producer.client.operations._RUNS_PAGE", 2)
    runs = [annealq.submit(IMAGES[:1], seed=seed) for seed in range(5)]
    annealq.cancel(runs[1])
    proxy.plan += [RESET, "", SWALLOW]
    assert [run.id for run in annealq.runs()] == runs[::-1]
    assert [run.id for run in annealq.runs(limit=3)] == runs[:1:-1]
    assert [run.id for run in annealq.runs(limit=0)] == []
    assert [run.id for run in annealq.runs(state="cancelled", before=None)] == [runs[1]]
    assert annealq.networks()[0]["name"] == "digits"
    assert annealq.embeddings() == []
    assert annealq.ask("GET", "/healthz", is_idempotent=True) == {"status": "alive"}


def test_runs_are_found_changed_scored_again_and_deleted(annealq: Client, done: int, proxy: Proxy) -> None:
    proxy.plan += [SWALLOW]
    changed = annealq.change(done, name="renamed", tags=["paper", "night"])
    assert (changed["name"], changed["tags"]) == ("renamed", ["night", "paper"])
    other = annealq.submit(IMAGES[:3], tags=["day"], scale_pixels=False, seed=5)
    since = datetime.now(UTC) - timedelta(days=1)
    assert [run.id for run in annealq.runs(tag="paper", since=since)] == [done]
    assert [run["name"] for run in annealq.runs(fields="name", state="done")] == ["renamed"]
    assert annealq.change(other, budget_s=None, priority=7)["priority"] == 7
    again = annealq.rescore(done, fraction=0.5)
    assert annealq.run(again)["rescored_from"] == done
    annealq.cancel(other)
    assert annealq.delete(other) is None
    with pytest.raises(RequestRejected, match=f"no run {other}"):
        annealq.run(other)
    proxy.plan += [SWALLOW]
    with pytest.raises(OutcomeUnknown, match="rescore"):
        annealq.rescore(done, fraction=0.2)
    assert annealq.network("digits")["name"] == "digits"
    with pytest.raises(RequestRejected, match="a/b"):
        annealq.network("a/b")


def test_messages_to_webhooks_are_listed_and_sent_again(
    address: str, database: Database, network: ChosenNetwork
) -> None:
    made = keys.add(database, "me", Scope.SUBMIT, webhook_url="https://192.0.2.1/hook")  # of no machine
    with Client(address, made.key) as annealq:
        assert annealq.me()["name"] == "me"
        run = annealq.submit(IMAGES[:2])
        annealq.cancel(run)
        messages: list[dict[str, Any]] = []
        while not messages:
            messages = list(annealq.deliveries(run, state="failed"))
            time.sleep(0.02)
        number = messages[0]["delivery_id"]
        assert [message["delivery_id"] for message in annealq.deliveries(limit=5)] == [number]
        assert "192.0.2.1" in annealq.delivery(number)["error"]
        assert annealq.redeliver(number)["delivery_id"] == number
        test = annealq.check_webhook()["delivery_id"]
        assert {message["delivery_id"] for message in annealq.deliveries()} == {number, test}


def test_several_runs_are_followed_in_one_stream(
    proxy: Proxy, annealq: Client, context: Context, working: ChosenNetwork
) -> None:
    runs = [annealq.submit(IMAGES[:5], reads=2, seed=seed) for seed in range(3)]
    everything = annealq.events()
    assert {next(everything).run_id for _ in runs} == set(runs)
    everything.close()  # type: ignore[attr-defined] # a generator
    proxy.plan += [CUT]
    worker = threading.Thread(target=work_off, args=(context, Message(Task.DISPATCH)))
    worker.start()
    seen = list(annealq.events(runs))
    worker.join()
    assert {progress.run_id for progress in seen if progress.state == "done"} == set(runs)
    assert list(annealq.events([])) == []
    last = seen[-1]
    assert list(annealq.events(last.run_id, after=list(annealq.events(last.run_id))[-1].event_id)) == []


def test_the_async_client_does_the_same(
    proxy: Proxy, done: int, context: Context, tmp_path: Path, database: Database
) -> None:
    async def use() -> None:
        async with AsyncClient(proxy.address, patience_s=30) as annealq:
            proxy.plan += [SWALLOW, BUSY]
            path = tmp_path / "images.npy"
            np.save(path, IMAGES)
            runs = await asyncio.gather(*(annealq.submit(path, reads=5, seed=seed) for seed in range(3)))
            assert runs_in(database) == 4
            assert [run.id async for run in annealq.runs(limit=3)] == sorted(runs, reverse=True)
            await annealq.pause(runs[0])
            await annealq.resume(runs[0])
            await annealq.cancel(runs[1])
            with pytest.raises(TimeoutError):
                await annealq.wait(runs[0], timeout_s=0.1)
            assert [progress.state async for progress in annealq.events(runs[1])] == ["cancelled"]
            working = asyncio.to_thread(work_off, context, Message(Task.DISPATCH))
            shown, _ = await asyncio.gather(annealq.wait(runs[0]), working)
            assert shown["state"] == "done"
            images = [image async for image in annealq.results(runs[0])]
            assert (await annealq.result_arrays(runs[0])).index.tolist() == [each.index for each in images]
            saved = await annealq.save_results(runs[0], tmp_path / "images.csv")
            assert saved.read_text().count("\n") == 31

    asyncio.run(use())


def test_both_clients_have_the_same_methods() -> None:
    for name, operation in vars(Operations).items():
        if not name.startswith("_"):
            method = getattr(Client, name)
            assert method.__doc__ == operation.__doc__
            assert list(inspect.signature(method).parameters) == list(inspect.signature(operation).parameters)
    public = {name for name in dir(AsyncClient) if not name.startswith("_")}
    assert public == {name for name in dir(Client) if not name.startswith("_")}


@pytest.fixture
def server(database_url: str) -> Iterator[ServerProcess]:
    started = ServerProcess(database_url)
    try:
        yield started
    finally:
        started.stop()


def test_kills_of_the_server_cost_seconds_and_no_result(
    server: ServerProcess, database: Database, context: Context, working: ChosenNetwork
) -> None:
    """kill -9 in mid-submit and in mid-wait: the client ends with one run and all of its results."""
    with proxying(server.address) as proxy, Client(proxy.address, THIS_MACHINE) as annealq:
        proxy.plan += [partial(server.restart, after_s=after_s) for after_s in (0, 0.1)]
        run = annealq.submit(some_images(2_000).images, reads=2, batch_size=1_000)
        proxy.plan[:] = [partial(server.restart, after_s=0.1)]
        states: list[str] = []
        following = threading.Thread(
            target=lambda: states.extend(progress.state for progress in annealq.events(run))
        )
        following.start()
        while proxy.plan:  # each kill is followed by a request
            time.sleep(0.01)
        work_off(context, Message(Task.DISPATCH))
        following.join()
        proxy.plan += [partial(server.restart, after_s=0)]
        assert [image.index for image in annealq.results(run)] == list(range(2_000))
        assert annealq.wait(run)["decided"] > 0
    assert states[-1] == "done"
    assert server.kills == 4
    assert runs_in(database) == 1
