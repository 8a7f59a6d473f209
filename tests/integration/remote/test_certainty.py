"""The fate of each problem is known before it is written off: every charge of the service is in the books."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import func, select, update

from producer.doctor import spendings
from producer.networks.chosen import ChosenNetwork
from producer.runs import control
from schema.database import Database
from schema.parameters import QpuChoice, Solver
from schema.settings import load as load_settings
from schema.states import ProblemState, RunState
from schema.tables import Classification, Ledger, Problem, Run
from tests import PATIENCE_S
from tests.emulators import TOKEN, Emulator
from tests.integration.conftest import Outbox
from tests.integration.remote.test_patience import (
    IMAGES,
    PARAMETERS,
    SETTINGS,
    count,
    enqueue,
    work,
)
from tests.ledgers import assert_spendings_agree
from worker.context import Context
from worker.pipeline.find_duplicates import find_duplicates
from worker.sapi import qpu as sapi_qpu
from worker.sapi.client import Access
from worker.sapi.events import Accepted, Answered
from worker.sapi.qpu import SolverConnection

OTHER = "token-of-a-new-account"


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    # A problem takes about 10 ms: several are in flight.
    with Emulator("--solver=tiny=pegasus:6:6:10", clock="scaled:2") as emulator:
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
    ours = (one for one in emulator.ledger()["problems"][before:] if one["label"])
    theirs = sum(one["charged_us"] for one in ours)
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
    "problems fail offline, and are charged": (
        {"target": "problem", "kind": "fail", "charged": True, "message": "Solver is offline", "count": 2},
        2,
    ),
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
    access = Access(emulator.endpoint, TOKEN, request_timeout_s=2.0, deflates=False)
    connection = SolverConnection(access, QpuChoice.parse("tiny"))
    ids = [item["id"] for item in emulator.post([emulator.job() for _ in range(3)]).json()]
    try:
        for key, sapi_id in enumerate(ids):
            connection.resume(key, sapi_id)
        answered: set[int] = set()
        deadline = time.monotonic() + PATIENCE_S
        while len(answered) < len(ids) and time.monotonic() < deadline:
            event = connection.next_event(0.2)
            assert event is None or isinstance(event, Accepted | Answered), event
            answered |= {event.key} if isinstance(event, Answered) else set()
        assert answered == {0, 1, 2}
    finally:
        connection.close()


SENDING = (Problem, Problem.state == ProblemState.SENDING)


def _look_now(context: Context, run: int) -> None:
    """Let some minutes pass until the next look for duplicates, and do what the hint asks for."""
    with context.database.transaction() as session:
        due = Problem.recheck_at.is_not(None)
        session.execute(update(Problem).where(due).values(recheck_at=context.database.now(session)))
    find_duplicates(context, run)


def _statistics(context: Context, run: int) -> dict[str, Any]:
    with context.database.reading() as session:
        return dict(session.execute(select(Run.statistics).where(Run.id == run)).scalar_one() or {})


def test_problems_that_are_listed_late_are_booked_when_they_are_found(
    context: Context, working: ChosenNetwork, emulator: Emulator, before: int
) -> None:
    emulator.break_down(
        {"target": "list", "kind": "lag", "delay_s": 3600},
        {"target": "submit", "kind": "reset", "when": "after", "count": 1},
    )
    run = enqueue(context, working, batch_size=IMAGES)
    assert work(context, run, 30.0) is RunState.DONE
    twice = count(context, Problem, Problem.times_sent > 1)
    assert twice > 0
    assert count(context, Problem, Problem.duplicates > 0) == 0  # not yet
    assert count(context, Problem, Problem.recheck_at.is_not(None)) == twice
    find_duplicates(context, run)  # the run has ended: nothing is found
    emulator.break_down(clear=True)
    for status in (401, 503):  # what the solver does not answer is not a look: they would be missed for good
        emulator.break_down({"target": "list", "kind": "error", "status": status})
        for _ in range(6):
            _look_now(context, run)
        assert count(context, Problem, Problem.recheck_at.is_not(None)) == twice
        emulator.break_down(clear=True)
    requests = emulator.ledger()["problems"]
    _look_now(context, run)
    assert emulator.ledger()["problems"] == requests
    assert count(context, Problem, Problem.duplicates == 1) == twice
    assert_all_classified(context)
    assert_all_is_booked(context, emulator, before)
    with context.database.reading() as session:
        wasted_us = session.execute(select(func.sum(Problem.wasted_us))).scalar_one()
        assert list(spendings.spendings(session)) == []
    figures = _statistics(context, run)
    assert (figures["duplicates"], figures["qpu_wasted_us"]) == (twice, pytest.approx(wasted_us))
    for _ in range(5):
        _look_now(context, run)
    assert count(context, Problem, Problem.recheck_at.is_not(None)) == 0
    assert_all_is_booked(context, emulator, before)


def test_a_problem_that_may_have_been_purged_is_not_sent_again_by_itself(
    context: Context, working: ChosenNetwork, emulator: Emulator, before: int
) -> None:
    first = enqueue(context, working)
    assert work(context, first, 30.0) is RunState.DONE
    emulator.break_down({"target": "submit", "kind": "reset", "when": "after", "count": 1})
    run = enqueue(context, working, batch_size=IMAGES)
    work(context, run, 30.0, until=lambda: count(context, *SENDING) > 0)
    lost = count(context, *SENDING)
    # Another member of the project submits meanwhile, so that the service deletes older problems.
    emulator.post([emulator.job()] * 20)
    emulator.break_down({"target": "any", "kind": "purge", "newest": 20})
    assert work(context, run, 30.0) is RunState.FAILED
    with context.database.reading() as session:
        row = session.get_one(Run, run)
        assert "it may have been charged" in (row.error or "")
        assert f"runs resume {run}" in (row.error or "")
    assert count(context, Problem, Problem.charge_estimated, Problem.times_sent == 1) == lost > 0
    assert count(context, Problem, Problem.times_sent > 1) == 0
    assert_all_is_booked(context, emulator, before)
    control.resume(context.database, run)
    assert work(context, run, 30.0) is RunState.DONE
    assert_all_is_booked(context, emulator, before)
    # It was not purged after all: its real charge replaces the estimate, and is in the books once.
    emulator.break_down(clear=True)
    _look_now(context, run)
    assert count(context, Problem, Problem.duplicates == 1) == lost
    assert_all_is_booked(context, emulator, before)


def test_an_account_without_a_past_is_no_reason_to_give_up(
    context: Context, working: ChosenNetwork, emulator: Emulator, before: int
) -> None:
    context.solvers.shared = load_settings(emulator_url=emulator.endpoint, emulator_token=OTHER)
    emulator.break_down({"target": "submit", "kind": "reset", "when": "before", "count": 1})
    run = enqueue(context, working, batch_size=IMAGES)
    assert work(context, run, 30.0) is RunState.DONE
    assert count(context, Problem, Problem.times_sent == 2) > 0
    assert count(context, Problem, Problem.state == ProblemState.FAILED) == 0
    assert_all_is_booked(context, emulator, before)


def test_labels_tell_databases_apart(
    context: Context, working: ChosenNetwork, emulator: Emulator, before: int
) -> None:
    run = enqueue(context, working)
    assert work(context, run, 30.0) is RunState.DONE
    with context.database.reading() as session:
        key = session.execute(select(Ledger.key)).scalar_one()
    labels = {one["label"] for one in emulator.ledger()["problems"][before:]}
    assert len(labels) == IMAGES // 2
    assert all(label.startswith(f"annealq:{key}") and len(label) == 48 for label in labels)


STORM = (
    {"target": "list", "kind": "lag", "delay_s": 1.2},  # four times the quarantine, as 300 s are of 75 s
    {"target": "any", "kind": "purge", "newest": 200},
    {"target": "submit", "kind": "reset", "when": "after", "probability": 0.1},
    {"target": "submit", "kind": "error", "status": 503, "when": "after", "probability": 0.05},
    {"target": "poll", "kind": "gone", "probability": 0.05},
    {"target": "poll", "kind": "error", "status": 400, "probability": 0.05},
    {"target": "answer", "kind": "lose", "probability": 0.02},
    {"target": "poll", "kind": "corrupt", "damage": "omit", "probability": 0.02},
    {"target": "problem", "kind": "fail", "charged": True, "probability": 0.03},
)


@pytest.mark.slow
def test_after_a_storm_every_microsecond_is_booked(
    context: Context,
    working: ChosenNetwork,
    emulator: Emulator,
    before: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sapi_qpu, "_SILENCE_S", 1.0)
    emulator.break_down(*STORM)
    runs = []
    for _ in range(25):
        runs.append(enqueue(context, working, batch_size=IMAGES))
        work(context, runs[-1], 60.0)
    emulator.break_down(clear=True)
    for run in runs:
        for _ in range(3):
            if work(context, run, 60.0) is RunState.FAILED:
                control.resume(context.database, run)
    time.sleep(1.2)
    for _ in range(3):
        _look_now(context, runs[0])
    theirs: Counter[str] = Counter()
    for one in emulator.ledger()["problems"][before:]:
        theirs[one["label"]] += one["charged_us"]
    with context.database.reading() as session:
        columns = (Problem.label, func.coalesce(Problem.charged_us, 0) + Problem.wasted_us)
        ours = dict(session.execute(select(*columns)).all())
        wasted_us = session.execute(select(func.sum(Problem.wasted_us))).scalar_one()
        written_off = count(context, Problem, Problem.charge_estimated)
        classified = count(context, Classification)
    lacking = (us - ours.get(label, 0.0) for label, us in theirs.items())
    missing_us = sum(us for us in lacking if us > 1)  # estimates are whole
    with capsys.disabled():
        sys.stdout.write(
            f"\n{len(theirs)} problems, {sum(theirs.values()):,.0f} us charged, {wasted_us:,.0f} us wasted, "
            f"{written_off} written off; charged and not booked: {missing_us:,.1f} us\n"
        )
    assert missing_us == 0
    assert classified == len(runs) * IMAGES
    assert_spendings_agree(context.database)
