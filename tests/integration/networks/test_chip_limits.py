"""What no known chip of a solver can take is refused before anything is enqueued, wherever it comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select

from producer import jobs
from producer.calibration.enqueue import enqueue_calibration
from producer.calibration.grid import ParameterGrid
from producer.context import AppContext
from producer.networks.chosen import ChosenNetwork
from producer.runs.enqueue import RunOptions, enqueue_run
from producer.runs.request import RunRequest
from schema.database import Database
from schema.errors import ParameterError
from schema.parameters import Parameters, Solver, Visible
from schema.settings import load
from schema.tables import Run
from tests.integration.conftest import some_images
from tests.integration.rows import add_chip

LIMITS = {
    "topology": {"type": "pegasus", "shape": [16]},
    "num_reads_range": [1, 1_000],
    "annealing_time_range": [0.5, 200.0],
    "max_anneal_schedule_points": 4,
    "problem_run_duration_range": [0.0, 100_000.0],
}
# `digits` has 40 visible units and 10 class units, and 400 + 45 interactions.
LARGE = {"properties": LIMITS, "name": "large", "graph_id": "a", "qubits": 5_000, "couplers": 40_000}

Try = Callable[..., int]


@pytest.fixture
def attempt(database: Database, network: ChosenNetwork) -> Try:
    def attempt(*, solver: Solver = Solver.EMULATOR, **parameters: Any) -> int:
        images, options = some_images(5), RunOptions(batch_size=5)
        return enqueue_run(database, images, network, solver, Parameters(**parameters), options).id

    return attempt


def runs(database: Database) -> int:
    with database.reading() as session:
        return session.execute(select(func.count()).select_from(Run)).scalar_one()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"reads": 2_000}, "2,000 reads: large takes 1 to 1,000"),
        ({"annealing_time_us": 300.0}, "an anneal of 300 us: large takes 0.5 to 200 us"),
        ({"anneal_schedule": [(k * 1.0, k / 5) for k in range(6)]}, "schedule of 6 points: large takes 4"),
        ({"reads": 1_000, "annealing_time_us": 150.0}, "may run for 100,000 us: use fewer reads"),
    ],
)
def test_ranges_of_the_known_chip(
    database: Database, attempt: Try, parameters: dict[str, Any], message: str
) -> None:
    attempt(**parameters)  # the chip is not known yet: a worker will see
    with database.transaction() as session:
        add_chip(session, **LARGE)
    with pytest.raises(ParameterError, match=message + ".*as of Thu 2026-01-01.*embeddings find"):
        attempt(**parameters)
    with pytest.raises(ParameterError, match=message):
        attempt(qpu="large", **parameters)
    attempt(qpu="unknown", **parameters)
    attempt(solver=Solver.DWAVE, **parameters)  # of which no chip is known
    assert runs(database) == 3


def test_a_network_that_cannot_fit(database: Database, attempt: Try) -> None:
    small = {"properties": LIMITS, "name": "small", "graph_id": "b", "qubits": 60, "couplers": 600}
    with database.transaction() as session:
        add_chip(session, **small)
    with pytest.raises(ParameterError, match=r"50 units with 445 interactions need at least 61 qubits"):
        attempt()
    attempt(visible=Visible.FOLDED)
    with database.transaction() as session:
        add_chip(session, **LARGE)
    attempt()  # it may run on the other chip
    with pytest.raises(ParameterError, match="small has 60"):
        attempt(qpu="small")
    with database.transaction() as session:  # the same name with a larger graph
        add_chip(session, **{**small, "graph_id": "c", "qubits": 61, "couplers": 600})
    attempt(qpu="small")


def test_every_way_to_a_run_refuses(database: Database, network: ChosenNetwork) -> None:
    with database.transaction() as session:
        add_chip(session, **LARGE)
    request = RunRequest(network="digits", solver=Solver.EMULATOR, asked={"reads": 2_000})
    app = AppContext(load(), database)
    images = some_images(5)
    with pytest.raises(ParameterError, match="large takes 1 to 1,000"):
        jobs.submit(app, request, images)
    with pytest.raises(ParameterError, match="large takes 1 to 1,000"):
        enqueue_calibration(database, images, network, Solver.EMULATOR, ParameterGrid(reads=2_000))
    assert runs(database) == 0
