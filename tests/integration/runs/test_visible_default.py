"""Visible units that a request leaves open: folded on qubits, sampled elsewhere, stored with the run."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from producer import jobs
from producer.context import AppContext
from producer.networks.chosen import ChosenNetwork
from producer.runs.enqueue import RunOptions, enqueue_run
from producer.runs.request import RunRequest
from schema.database import Database
from schema.parameters import Parameters, Solver, Visible
from schema.settings import load
from schema.tables import Run
from tests.integration.conftest import some_images


def stored(database: Database, run: int) -> str:
    with database.reading() as session:
        return session.execute(select(Run.parameters).where(Run.id == run)).scalar_one()["visible"]


@pytest.mark.parametrize(
    ("solver", "asked", "visible"),
    [
        (Solver.EMULATOR, {}, "folded"),
        (Solver.DWAVE, {"reads": 7}, "folded"),
        (Solver.EMULATOR, {"visible": Visible.SAMPLED}, "sampled"),
        (Solver.LOCAL, {}, "sampled"),
        (Solver.EXACT, {}, "sampled"),
    ],
)
def test_the_default_depends_on_the_solver_and_is_stored(
    database: Database, network: ChosenNetwork, solver: Solver, asked: dict[str, Any], visible: str
) -> None:
    app = AppContext(load(), database)
    for calibrated in (True, False):
        request = RunRequest(network="digits", solver=solver, asked=asked, calibrated=calibrated)
        run, _ = jobs.submit(app, request, some_images(3))
        assert stored(database, run.id) == visible


def test_a_key_from_before_the_default_changed_is_the_same_run(
    database: Database, network: ChosenNetwork
) -> None:
    images, options = some_images(3), RunOptions(key="a")
    earlier = enqueue_run(database, images, network, Solver.EMULATOR, Parameters(), options)
    app, request = AppContext(load(), database), RunRequest(network="digits", solver=Solver.EMULATOR)
    again, _ = jobs.submit(app, request, images, "a")
    assert (again.id, again.created) == (earlier.id, False)
    new, _ = jobs.submit(app, request, images, "b")
    assert stored(database, new.id) == "folded"
