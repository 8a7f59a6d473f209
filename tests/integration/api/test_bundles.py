"""A run as a bundle: over HTTP, from its page, and by the client."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from producer.client import Client, RequestRejected
from producer.networks.chosen import ChosenNetwork
from producer.runs.enqueue import enqueue_run
from producer.runs.request import RunOptions
from schema.database import Database
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver
from tests import PATIENCE_S
from tests.integration.conftest import some_images, work_off
from tests.integration.proof.bundles import verified
from worker.context import Context


@pytest.fixture
def queued(database: Database, working: ChosenNetwork) -> int:
    options = RunOptions(batch_size=10)
    return enqueue_run(database, some_images(25), working, Solver.LOCAL, Parameters(reads=5), options).id


@pytest.fixture
def finished(context: Context, queued: int) -> int:
    work_off(context, Message(Task.DISPATCH))
    return queued


def test_a_finished_run_is_sent_as_a_bundle(
    http: httpx.Client, address: str, finished: int, tmp_path: Path
) -> None:
    path = tmp_path / "run.zip"
    answer = http.get(f"/v1/runs/{finished}/bundle?images=true", timeout=PATIENCE_S)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    assert f"run-{finished}.zip" in answer.headers["content-disposition"]
    path.write_bytes(answer.content)
    found = verified(path)
    assert not found.wrong
    assert any("follow from their pixels" in each for each in found.proven)
    link = f"/runs/{finished}/bundle.zip"
    assert link in http.get(f"/runs/{finished}").text
    path.write_bytes(http.get(link, timeout=PATIENCE_S).content)
    assert not verified(path).wrong
    with Client(address, timeout_s=PATIENCE_S) as annealq:
        saved = annealq.save_bundle(finished, tmp_path / "saved.zip")
    assert saved.read_bytes() == path.read_bytes()


def test_a_run_that_is_not_finished_has_no_bundle(http: httpx.Client, address: str, queued: int) -> None:
    answer = http.get(f"/v1/runs/{queued}/bundle")
    assert answer.status_code == 422
    assert "bundle it when it is finished" in answer.json()["message"]
    assert f"/runs/{queued}/bundle.zip" not in http.get(f"/runs/{queued}").text
    assert http.get("/v1/runs/999/bundle").status_code == 404
    with Client(address) as annealq, pytest.raises(RequestRejected):
        annealq.ask("GET", f"/v1/runs/{queued}/bundle", is_idempotent=True)
