"""Uses the HTTP API as another service does: real processes, a real network, the local annealer."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from celery import Celery
from standardwebhooks.webhooks import Webhook

from producer.api.keys import local_token
from producer.client import Client, RequestRejected, RunUnsuccessful
from producer.images.imageset import ImageSet
from producer.networks import choose
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.database import Database
from schema.parameters import Parameters, Solver
from schema.settings import load
from schema.states import RunState
from tests import PATIENCE_S
from tests.acceptance.conftest import QUICK, own_stack, show, wait_for
from tests.conftest import ROOT, annealq
from tests.receivers import receiving


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with an empty database: the network is the one that is shipped."""
    path = tmp_path / "home"
    path.mkdir(mode=0o700)
    monkeypatch.setenv("ANNEALQ_HOME", str(path))
    for name, value in QUICK.items():
        monkeypatch.setenv(name, value)
    done = annealq("db", "upgrade")
    assert done.returncode == 0, done.stderr
    monkeypatch.setenv("ANNEALQ_KEY", local_token.read_or_create(path))
    return path


@contextmanager
def served(home: Path) -> Iterator[str]:
    """`annealq serve` on a free port, stopped by SIGTERM; yields its address."""
    log = home / "serve.log"
    command = [sys.executable, "-m", "producer.cli", "serve", "--port", "0"]
    environment = {**os.environ, "ANNEALQ_API_WEBHOOK_PRIVATE": "1"}
    with log.open("w") as file:
        server = subprocess.Popen(command, cwd=ROOT, stderr=file, stdout=file, env=environment)
    try:
        wait_for(lambda: "annealq serves at" in log.read_text() or server.poll() is not None, "the API")
        found = re.search(r"serves at (http://[^;]+);", log.read_text())
        assert found is not None, log.read_text()
        yield found[1]
    finally:
        server.terminate()
        code = server.wait(PATIENCE_S)
    assert code in (0, -15), log.read_text()


def test_another_service_sends_images_and_reads_what_became_of_them(
    empty: Path, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    images, labels = digits[0][:200], digits[1][:200]
    made = json.loads(annealq("keys", "add", "service", "--json").stdout)
    with receiving() as receiver, own_stack(empty), served(empty) as address:
        with Client(address, "aq_wrong") as stranger, pytest.raises(RequestRejected, match="not valid"):
            stranger.run(1)
        with Client(address, made["key"]) as client:
            assert httpx.get(f"{address}/readyz", trust_env=False).json()["status"] == "ready"
            options = {"network": "digits", "reads": 50, "batch_size": 50, "webhook": {"url": receiver.url}}
            run = client.submit(images, labels, idempotency_key="a", **options)
            assert client.submit(images, labels, idempotency_key="a", **options) == run
            seen = list(client.events(run))
            assert seen[-1].state == RunState.DONE
            assert [progress.scored for progress in seen] == sorted(progress.scored for progress in seen)
            results = list(client.results(run))
            shown = client.wait(run)
        headers, body = receiver.next()
    assert [image.index for image in results] == list(range(200))
    right = sum(image.predicted == image.label for image in results)
    assert [image.label for image in results] == labels.tolist()
    assert shown["accuracy"] == right / 200
    assert shown["accuracy"] > 0.9
    del shown["links"]
    printed = show(run)
    assert [action["why"] for action in printed.pop("actions")] == [None]  # the owner has enqueued it
    assert printed == shown
    message = Webhook(made["webhook_secret"]).verify(body, headers)
    assert (message["type"], message["data"]["run_id"]) == ("run.done", run)
    assert message["data"]["accuracy"] == shown["accuracy"]


def test_a_client_without_workers_waits_and_may_cancel(
    empty: Path, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    with served(empty) as address, Client(address) as client:
        run = client.submit(digits[0][:10], reads=10)
        assert client.run(run)["state"] == "queued"
        assert next(client.events(run)).scored == 0
        assert client.cancel(run)["state"] == "cancelled"
        with pytest.raises(RunUnsuccessful, match="cancelled"):
            client.wait(run)
        assert list(client.results(run)) == []
        with pytest.raises(RequestRejected, match="no run 99"):
            client.run(99)
        with pytest.raises(RequestRejected, match="8 x 8"):
            client.submit(np.zeros((3, 9, 9)), network="digits")


@pytest.mark.slow
def test_a_plain_celery_message_and_rows_are_enough(
    empty: Path, digits: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANNEALQ_WORKER_RECONCILE_EVERY_S", "600")  # it would do without the message
    settings = load()
    found = ImageSet("digits", digits[0][:20], digits[1][:20], None, None)
    with own_stack(empty):
        database = Database(settings.database_url)
        network = choose.get_or_install_network(database, found, "digits")
        parameters, options = Parameters(reads=10), RunOptions(key="a")
        run = enqueue_run(database, found, network, Solver.LOCAL, parameters, options).id
        database.dispose()
        message = {"row": 0, "version": 1}
        with Celery(broker=settings.broker_url, set_as_current=False) as celery:
            celery.send_task(
                "annealq.dispatch", kwargs=message, queue="annealq.aggregate", ignore_result=True
            )
        wait_for(lambda: show(run)["state"] == "done", "the run")
