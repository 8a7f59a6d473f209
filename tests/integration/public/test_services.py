"""The classifier reads through a service: the queue of this machine, or a server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.datasets import load_iris

from annealq import AnnealqClassifier, Queue
from schema.messages import Message, Task
from tests.integration.conftest import work_off
from tests.serving import THIS_MACHINE, serving
from worker.context import Context

X, Y = load_iris(return_X_y=True)


@pytest.fixture(params=["queue", "server"])
def service(
    request: pytest.FixtureRequest, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    monkeypatch.setenv("ANNEALQ_DATABASE_URL", database_url)
    if request.param == "queue":
        yield "queue"
        return
    monkeypatch.setenv("ANNEALQ_KEY", THIS_MACHINE)
    with serving(database_url) as address:
        yield address


def test_reads_of_a_service_are_those_of_this_process(
    service: str, database_url: str, context: Context
) -> None:
    labels = np.array(["a, b", "c", "d"])[Y]  # names with commas are names, too
    classifier = AnnealqClassifier(epochs=20, random_state=0, solver="exact", reads=40).fit(X, labels)
    here = classifier.predict_proba(X)
    classifier.set_params(service=service)
    with ThreadPoolExecutor(1) as pool, Queue(database_url=database_url) as queue:
        for number in (1, 2):
            asked = pool.submit(classifier.predict_proba, X)
            while len(queue.runs()) < number and not asked.done():
                time.sleep(0.02)
            work_off(context, Message(Task.DISPATCH))
            np.testing.assert_allclose(asked.result(60), here, atol=1e-6)
        networks = {run["network"] for run in queue.runs()}
    assert networks == {f"{classifier.network_.name}@1"}  # the same content is there once
