"""What is slow, or waits for something that does not answer, stops nothing else."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import anyio
import httpx
import pytest
from fastapi.routing import APIRoute
from sqlalchemy import insert

from producer.api.app import ROUTERS
from producer.api.load.pools import Pool
from producer.api.load.routing import PooledRoute
from producer.networks.choose import choose_network
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.errors import RequestRefused
from schema.parameters import Parameters, Solver
from schema.shapes import ImageShape
from schema.tables import Network
from tests.integration.api.attacks.conftest import Attacked
from tests.integration.conftest import network_row, some_images
from tests.serving import client, serving


def test_a_full_pool_refuses_and_another_one_continues() -> None:
    held, started = threading.Event(), threading.Event()

    def hold() -> str:
        started.set()
        held.wait(60)
        return "done"

    async def scenario() -> None:
        slow, other = Pool("charts", 1, 1), Pool("queries", 1, 1)
        answers: list[str] = []

        async def call() -> None:
            answers.append(await slow.run(hold))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await other.run(started.wait, 60)
            tasks.start_soon(call)
            await anyio.lowlevel.checkpoint()
            with pytest.raises(RequestRefused, match="1 charts are running, 1 wait") as refused:
                await slow.run(hold)
            assert refused.value.status == 503
            assert refused.value.retry_after_s
            assert await other.run(len, "abc") == 3
            held.set()
        assert answers == ["done", "done"]
        assert await slow.run(hold) == "done"  # there is room again

    anyio.run(scenario)


def test_every_route_runs_in_a_pool() -> None:
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    assert len(routes) > 10
    assert [route.path for route in routes if not isinstance(route, PooledRoute)] == []


def test_writers_of_a_locked_database_stop_no_reader(attacked: Attacked) -> None:
    database = attacked.database
    with database.transaction() as session:
        session.execute(insert(Network).values(network_row()))
        network = choose_network(session, "digits", ImageShape.image(8, 8))
    run = enqueue_run(database, some_images(3), network, Solver.LOCAL, Parameters(reads=3), RunOptions()).id

    def pause() -> httpx.Response:
        with client(attacked.address, attacked.key) as http:
            return http.post(f"/v1/runs/{run}/pause")

    with client(attacked.address, attacked.key) as http, ThreadPoolExecutor(70) as threads:
        with database.transaction() as session:
            session.connection()  # takes the write lock
            writers = [threads.submit(pause) for _ in range(70)]
            refused = [writer.result() for writer in wait(writers, 60, FIRST_COMPLETED).done]
            assert {answer.status_code for answer in refused} == {503}
            assert refused[0].json()["code"] == "busy"
            assert int(refused[0].headers["Retry-After"]) > 0
            for path in ("/healthz", "/v1/runs", f"/v1/runs/{run}", "/v1/networks", "/", f"/runs/{run}"):
                assert http.get(path).status_code == 200, path
        assert {writer.result().status_code for writer in writers} <= {200, 409, 503}
        assert http.get(f"/v1/runs/{run}").json()["state"] == "paused"


def test_a_silent_broker_stops_nobody_and_is_asked_once(
    attacked: Attacked, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as broker:
        monkeypatch.setenv("ANNEALQ_BROKER_URL", f"redis://127.0.0.1:{broker.getsockname()[1]}/0")
        url = str(attacked.database.url)
        with serving(url) as address, client(address, attacked.key) as http:

            def ready() -> httpx.Response:
                with client(address) as stranger:
                    return stranger.get("/readyz")

            with ThreadPoolExecutor(40) as threads:
                checks = [threads.submit(ready) for _ in range(40)]
                asking, _ = broker.accept()  # the server asks the broker, which says nothing
                for path in ("/healthz", "/v1/runs", "/v1/networks"):
                    assert http.get(path).status_code == 200, path
                asking.close()
                answers = [check.result() for check in checks]
            assert {answer.status_code for answer in answers} == {503}
            assert {answer.json()["broker"] for answer in answers} == {"away"}
