"""Sample sets over HTTP: asked of a worker once, and read by the client."""

from __future__ import annotations

import json
import threading

import dimod
import httpx
import numpy as np
import pytest
from sqlalchemy import func, select, update

from producer.client import Client, RequestRejected
from producer.networks.chosen import ChosenNetwork
from producer.runs.enqueue import RunOptions, enqueue_run
from producer.runs.prune import prune
from schema.database import Database
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver
from schema.tables import Problem, Rendering, SampleSet
from tests import PATIENCE_S
from tests.integration.conftest import Cli, some_images, work_off
from worker.context import Context

READS = 5


@pytest.fixture
def finished(context: Context, database: Database, working: ChosenNetwork) -> int:
    run = enqueue_run(
        database, some_images(4), working, Solver.LOCAL, Parameters(reads=READS), RunOptions()
    ).id
    work_off(context, Message(Task.DISPATCH))
    return run


def test_a_worker_computes_what_is_asked_for(
    http: httpx.Client, address: str, finished: int, database: Database, context: Context, cli: Cli
) -> None:
    path = f"/v1/runs/{finished}/sample-set"
    waiting = http.get(path, params={"image": 2})
    assert (waiting.status_code, waiting.headers["Retry-After"]) == (202, "2")
    assert waiting.json() == {"run_id": finished, "has_worker": False}
    work_off(context, Message(Task.COMPUTE_SAMPLE_SETS, finished))
    answered = http.get(path, params={"image": 2})
    assert (answered.status_code, answered.headers["content-type"]) == (200, "application/json")
    found = dimod.SampleSet.from_serializable(answered.json())
    bqm = dimod.BinaryQuadraticModel.from_serializable(found.info["bqm"])
    assert len(found) == READS
    np.testing.assert_allclose(bqm.energies(found), found.record.energy, rtol=0, atol=1e-9)
    # No chip: no embedding, no id of a problem.
    assert set(found.info) == {"bqm", "annealq", "timing", "problem_label"}
    printed = cli("runs", "samples", finished, "--image", 2)
    assert json.loads(printed) == answered.json()

    threading.Timer(0.5, lambda: work_off(context, Message(Task.COMPUTE_SAMPLE_SETS, finished))).start()
    with Client(address) as annealq:
        again = annealq.sample_set(finished, image=3, timeout_s=PATIENCE_S)
        assert len(dimod.SampleSet.from_serializable(again)) == READS
        with pytest.raises(TimeoutError, match="no worker is alive"):
            annealq.sample_set(finished, image=1, timeout_s=0)
        with pytest.raises(RequestRejected, match="one image or of one problem"):
            annealq.sample_set(finished)


def test_what_a_worker_cannot_compute_is_explained(
    http: httpx.Client, finished: int, database: Database, context: Context
) -> None:
    path = f"/v1/runs/{finished}/sample-set"
    with database.reading() as session:
        problem = session.execute(select(func.min(Problem.id))).scalar_one()
    cases: dict[str, dict[str, int | bool]] = {
        "has no image 99": {"image": 99},
        "has no problem 99": {"problem": 99},
        "sampled image by image, by solver local": {"problem": problem},
        "solver local, which has no qubits": {"image": 1, "physical": True},
    }
    for request in cases.values():
        assert http.get(path, params=request).status_code == 202
    work_off(context, Message(Task.COMPUTE_SAMPLE_SETS, finished))
    for message, request in cases.items():
        refused = http.get(path, params=request)
        assert (refused.status_code, message in refused.json()["detail"]) == (409, True), refused.text
    for wrong in ({}, {"image": 1, "problem": 1}, {"image": -1}, {"image": 1, "round": 99}):
        assert http.get(path, params=wrong).status_code == 422
    assert http.get(f"/v1/runs/{finished + 1}/sample-set", params={"image": 1}).status_code == 404
    with database.transaction() as session:
        session.execute(update(SampleSet).values(data=b"damaged"))
    assert http.get(path, params={"image": 0}).status_code == 202
    work_off(context, Message(Task.COMPUTE_SAMPLE_SETS, finished))
    assert "not a sample set" in http.get(path, params={"image": 0}).json()["detail"]


def test_pruned_reads_leave_no_copy(
    http: httpx.Client, finished: int, database: Database, context: Context
) -> None:
    path = f"/v1/runs/{finished}/sample-set"
    http.get(path, params={"image": 2})
    work_off(context, Message(Task.COMPUTE_SAMPLE_SETS, finished))
    assert http.get(path, params={"image": 2}).status_code == 200
    prune(database, run=finished)
    with database.reading() as session:
        assert session.execute(select(func.count()).select_from(Rendering)).scalar_one() == 0
    assert http.get(path, params={"image": 2}).status_code == 202
    work_off(context, Message(Task.COMPUTE_SAMPLE_SETS, finished))
    assert "runs prune" in http.get(path, params={"image": 2}).json()["detail"]
