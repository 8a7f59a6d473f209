"""Reads auto: resolved when a run is enqueued, stored with its reason, and the same again under its key."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert

from producer import jobs
from producer.context import AppContext
from producer.networks.choose import choose_network
from producer.networks.chosen import ChosenNetwork
from producer.runs import queries
from producer.runs.request import RunRequest
from schema.codecs import image_digests
from schema.database import Database
from schema.errors import IdempotencyConflict, ParameterError
from schema.parameters import Parameters, Solver, Visible
from schema.settings import load
from schema.shapes import ImageShape
from schema.states import CalibrationState
from schema.tables import Calibration, Chip
from tests.integration.conftest import START, some_images

AUTO = RunRequest(asked={"reads": "auto"})
GRAPH = "01" * 5
DIGESTS = image_digests.seal(image_digests.digests(some_images(10, seed=9).images))


def plans(tiles: int) -> dict[str, Any]:
    listed = [
        {"reads": 20, "rounds": [[80, 1.5]], "shares": [0.03], "right": 990, "eligible": True},
        {"reads": 100, "rounds": [], "shares": [], "right": 990, "eligible": True},
    ]
    prices = {"tiles": tiles, "fixed_us": 15_000.0, "read_us": 200.0, "images": 1_000}
    return {**prices, "listed": listed, "chosen": 0, "fixed": 1}


def calibrate(database: Database, network: ChosenNetwork, solver: Solver, **changes: Any) -> None:
    """Store a finished calibration, and the chip that it is for."""
    tiles = 10 if solver.is_remote else 1
    visible = Visible.FOLDED if solver.is_remote else Visible.SAMPLED
    row = {
        "network_id": network.id, "solver": solver, "graph_id": GRAPH if solver.is_remote else "",
        "visible": visible, "name": "validation", "images": 10, "image_digests": DIGESTS,
        "state": CalibrationState.READY, "parameters": Parameters(visible=visible).to_dict(),
        "accuracy": 0.99, "measured": {"plans": plans(tiles)}, "created_at": START, "finished_at": START,
    }  # fmt: skip
    chip = {
        "solver": solver, "name": "tiny", "graph_id": GRAPH, "properties": {}, "qubits": 10, "couplers": 10,
        "graph": b"", "created_at": START, "seen_at": START,
    }  # fmt: skip
    with database.transaction() as session:
        session.execute(insert(Calibration).values({**row, **changes}))
        if solver.is_remote:
            session.execute(insert(Chip).values(chip))


def submit(database: Database, request: RunRequest = AUTO, key: str | None = None) -> queries.RunSummary:
    app = AppContext(load(), database)
    with database.reading() as session:
        network = choose_network(session, "digits", ImageShape.image(8, 8))
    run, _ = jobs.submit(
        app, request, some_images(200), key, choose_network=lambda *_: network, notify=lambda: None
    )
    with database.reading() as session:
        return queries.run(session, run.id)


def completed(database: Database, network: ChosenNetwork, images: int, **asked: Any) -> Any:
    request = RunRequest(solver=Solver.EMULATOR, asked=asked)
    return jobs.complete_parameters(database, request, network.id, network.name, images)


def test_a_run_has_the_reads_and_rounds_of_the_plan_and_its_reason(
    database: Database, network: ChosenNetwork
) -> None:
    calibrate(database, network, Solver.LOCAL)
    run = submit(database)
    assert run.parameters["reads"] == 20
    assert run.parameters["rounds"][0][:2] == [80, 1.5]
    assert run.reads_reason is not None
    assert "by calibration 1 on 10 images of validation" in run.reads_reason
    assert submit(database, RunRequest(asked={"reads": 20})).reads_reason is None


def test_the_same_key_is_the_same_run_whatever_was_calibrated_since(
    database: Database, network: ChosenNetwork
) -> None:
    calibrate(database, network, Solver.LOCAL)
    run = submit(database, key="nightly").run_id
    later = {**plans(1), "listed": plans(1)["listed"][1:], "chosen": 0, "fixed": 0}
    calibrate(database, network, Solver.LOCAL, measured={"plans": later})
    assert submit(database).parameters["reads"] == 100
    assert submit(database, key="nightly").run_id == run
    # A number is another request, even if it is the number that was chosen.
    with pytest.raises(IdempotencyConflict, match="reads"):
        submit(database, RunRequest(asked={"reads": 20}), key="nightly")
    number = submit(database, RunRequest(asked={"reads": 100}), key="other").run_id
    with pytest.raises(IdempotencyConflict, match="reads"):
        submit(database, key="other")
    assert submit(database, RunRequest(asked={"reads": 100}), key="other").run_id == number


def test_without_a_calibration_reads_are_the_usual_ones(database: Database, network: ChosenNetwork) -> None:
    reason = submit(database).reads_reason or ""
    assert "not calibrated" in reason
    assert "annealq networks calibrate digits --solver local --data DATA" in reason
    with pytest.raises(ParameterError, match="leave out rounds"):
        RunRequest(asked={"reads": "auto", "rounds": [[50, 1, 0.05]]})
    with pytest.raises(ParameterError, match="'many'"):
        RunRequest(asked={"reads": "many"})


def test_with_qubits_and_a_calibration_reads_are_chosen_by_default(
    database: Database, network: ChosenNetwork
) -> None:
    assert completed(database, network, 5_000).parameters.reads == 100
    calibrate(database, network, Solver.EMULATOR)
    chosen = completed(database, network, 5_000)
    assert (chosen.parameters.reads, len(chosen.parameters.rounds)) == (20, 1)
    assert chosen.reads_reason is not None
    few = completed(database, network, 8)
    assert (few.parameters.reads, few.parameters.rounds) == (100, None)
    for asked in ({"reads": 30}, {"rounds": [[5, 1, 0.1]]}, {"rule": "boltzmann"}, {"chain_strength": 1.0}):
        assert completed(database, network, 5_000, **asked).reads_reason is None
    other = completed(database, network, 5_000, reads="auto", rule="boltzmann")
    assert "had another rule" in other.reads_reason


def test_a_calibration_of_an_earlier_version_has_its_own_number(
    database: Database, network: ChosenNetwork
) -> None:
    calibrate(database, network, Solver.EMULATOR, measured={})
    assert completed(database, network, 5_000).reads_reason is None
    auto = completed(database, network, 5_000, reads="auto")
    assert (auto.parameters.reads, auto.parameters.rounds) == (100, None)
    assert "an earlier version" in auto.reads_reason
