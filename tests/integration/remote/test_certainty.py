"""The fate of each problem is known before it is written off: every charge of the service is in the books."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from producer.networks.chosen import ChosenNetwork
from schema.database import Database
from schema.parameters import Parameters, Solver
from schema.settings import load as load_settings
from schema.states import ProblemState, RunState
from schema.tables import Classification, Problem
from tests.emulators import TOKEN, Emulator
from tests.integration.conftest import Outbox
from tests.integration.remote.test_patience import IMAGES, PARAMETERS, SETTINGS, count, enqueue, work
from tests.ledgers import assert_spendings_agree
from worker.context import Context
from worker.sapi import qpu as sapi_qpu
from worker.sapi.client import Access
from worker.sapi.events import Accepted, Answered
from worker.sapi.qpu import SolverConnection


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    # A problem takes about 10 ms: several are in flight.
    with Emulator("--solver=tiny=pegasus:6:6:10", f"--token={TOKEN}", clock="scaled:2") as emulator:
        yield emulator


@pytest.fixture
def emulator(server: Emulator) -> Iterator[Emulator]:
    yield server
    server.break_down(clear=True, online=["tiny"])


@pytest.fixture
def context(database: Database, outbox: Outbox, emulator: Emulator) -> Iterator[Context]:
    context = Context(database, SETTINGS.model_copy(update={"in_flight": 12}), outbox)
    context.solvers.shared = load_settings(emulator_url=emulator.endpoint, emulator_token=TOKEN)
    yield context
    context.solvers.disconnect(Solver.EMULATOR, PARAMETERS)


@pytest.fixture
def before(emulator: Emulator) -> int:
    """Return how many problems the emulator has accepted before the test."""
    return len(emulator.ledger()["problems"])


def assert_all_is_booked(context: Context, emulator: Emulator, before: int) -> None:
    """Assert that every microsecond that the emulator has charged since ``before`` is in the ledger."""
    with context.database.reading() as session:
        booked = session.execute(select(Problem.charged_us, Problem.wasted_us)).all()
    theirs = sum(one["charged_us"] for one in emulator.ledger()["problems"][before:])
    assert sum((charged or 0) + wasted for charged, wasted in booked) == pytest.approx(
        theirs, abs=len(booked)
    )
    assert_spendings_agree(context.database)


def assert_all_classified(context: Context) -> None:
    with context.database.reading() as session:
        images = sorted(session.execute(select(Classification.image)).scalars())
    assert images == list(range(IMAGES))


FAULTS: dict[str, tuple[dict[str, Any], int]] = {
    "one is gone": ({"target": "poll", "kind": "gone", "count": 1}, 1),
    "one is not found": ({"target": "poll", "kind": "gone", "status": 404, "count": 1}, 1),
    "each poll is refused": ({"target": "poll", "kind": "error", "status": 400}, 0),
    "polls are refused for a while": ({"target": "poll", "kind": "error", "status": 403, "count": 3}, 0),
    "one answer is lost": ({"target": "answer", "kind": "lose", "count": 1}, 1),
    "problems fail": ({"target": "problem", "kind": "fail", "count": 2}, 2),
    "problems fail and are charged": ({"target": "problem", "kind": "fail", "charged": True, "count": 2}, 2),
    "polls are no list": ({"target": "poll", "kind": "corrupt", "damage": "types", "count": 2}, 0),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_only_the_problem_that_is_lost_is_written_off_and_sent_again(
    context: Context, working: ChosenNetwork, emulator: Emulator, before: int, fault: str
) -> None:
    description, lost = FAULTS[fault]
    emulator.break_down(description)
    run = enqueue(context, working, batch_size=IMAGES)
    assert work(context, run, 30.0) is RunState.DONE
    assert count(context, Problem, Problem.state == ProblemState.FAILED) == lost
    assert count(context, Problem, Problem.times_sent > 1) == 0
    assert len(emulator.ledger()["problems"]) - before == IMAGES // 2 + lost
    assert_all_classified(context)
    assert_all_is_booked(context, emulator, before)


def test_a_problem_that_a_poll_leaves_out_is_asked_for_alone(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sapi_qpu, "_SILENCE_S", 0.5)
    emulator.break_down({"target": "poll", "kind": "corrupt", "damage": "omit"})
    access = Access(emulator.endpoint, TOKEN, poll_wait_s=1, deflates=False)
    connection = SolverConnection(access, Parameters(reads=1, qpu="tiny"))
    ids = [item["id"] for item in emulator.post([emulator.job() for _ in range(3)]).json()]
    try:
        for key, sapi_id in enumerate(ids):
            connection.resume(key, sapi_id)
        answered: set[int] = set()
        deadline = time.monotonic() + 30
        while len(answered) < len(ids) and time.monotonic() < deadline:
            event = connection.next_event(0.2)
            assert event is None or isinstance(event, Accepted | Answered), event
            answered |= {event.key} if isinstance(event, Answered) else set()
        assert answered == {0, 1, 2}
    finally:
        connection.close()
