"""Windows and deadlines: what pauses and resumes a run, and what a user may do meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, insert, select, update

from producer.enqueued import Enqueued
from producer.networks.chosen import ChosenNetwork
from producer.runs import control
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.calendar.run_hours import RunHours
from schema.calendar.windows import Windows
from schema.database import Database
from schema.errors import ParameterError
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver
from schema.settings.worker import WorkerSettings
from schema.states import BatchState, PausedBy, ProblemState, RunState
from schema.tables import Batch, Classification, Event, Problem, Run
from tests.integration.conftest import START, Cli, Clock, Outbox, some_images, work_off
from worker import reconcile
from worker.context import Context
from worker.pipeline.sample_batch import sample_batch
from worker.pipeline.score_batch import score_batch
from worker.records import runs
from worker.scheduling.admission import HoldReason, read_usage, within_limits

Enqueue = Callable[..., Enqueued]

NIGHT = RunHours(Windows.parse(["22:00-06:00"], "UTC"))  # the clock starts at midnight: it is open


@pytest.fixture
def at_night(timed: Database, outbox: Outbox) -> Context:
    return Context(timed, WorkerSettings(max_attempts=1, window_margin_s=5), outbox)


@pytest.fixture
def enqueue_working(timed: Database, working: ChosenNetwork) -> Enqueue:
    """Enqueue random images for a network that can be sampled and scored."""

    def enqueue(count: int, **options: object) -> Enqueued:
        chosen = RunOptions(**{"batch_size": 10, **options})  # type: ignore[arg-type]
        return enqueue_run(timed, some_images(count), working, Solver.LOCAL, Parameters(reads=5), chosen)

    return enqueue


def reconciled(context: Context) -> None:
    assert isinstance(context.hints, Outbox)
    context.hints.take()
    reconcile.reconcile(context.database, context.settings, context.hints)


def row(database: Database, run: int) -> Run:
    with database.reading() as session:
        held = session.execute(select(Run).where(Run.id == run)).scalar_one()
        session.expunge(held)
        return held


def stands(database: Database, run: int) -> tuple[RunState, PausedBy | None]:
    held = row(database, run)
    return held.state, held.paused_by


def batches(database: Database, run: int) -> list[int]:
    with database.reading() as session:
        query = select(Batch.id).where(Batch.run_id == run).order_by(Batch.ordinal)
        return list(session.execute(query).scalars())


def test_a_run_waits_for_its_window_works_in_it_and_goes_on_in_the_next(
    at_night: Context, clock: Clock, enqueue_working: Enqueue
) -> None:
    timed = at_night.database
    clock.forward(hours(12))
    run = enqueue_working(30, hours=NIGHT).id
    assert stands(timed, run) == (RunState.PAUSED, PausedBy.WINDOW)
    assert "opens Thu 2026-01-01 22:00 UTC" in (row(timed, run).pause_reason or "")
    reconciled(at_night)
    assert not sampling(at_night)
    clock.forward(hours(10))
    reconciled(at_night)
    assert stands(timed, run) == (RunState.QUEUED, None)
    first, second, third = sampling(at_night)
    sample_batch(at_night, first)
    assert row(timed, run).state is RunState.RUNNING
    clock.forward(hours(8))
    sample_batch(at_night, second)  # its hint came in time, and is taken too late
    assert stands(timed, run) == (RunState.PAUSED, PausedBy.WINDOW)
    reconciled(at_night)
    assert states(timed, run) == [BatchState.SAMPLED, BatchState.PENDING, BatchState.PENDING]
    clock.forward(hours(16))
    reconciled(at_night)
    assert stands(timed, run) == (RunState.RUNNING, None)
    work_off(at_night, *(Message(Task.SAMPLE_BATCH, batch) for batch in (second, third)))
    work_off(at_night, Message(Task.AGGREGATE_BATCH, first))
    assert row(timed, run).state is RunState.DONE
    with timed.reading() as session:
        attempts = session.execute(select(func.max(Batch.attempts)).where(Batch.run_id == run)).scalar_one()
        assert attempts == 1  # a closed window costs no attempt


def test_two_reconcilers_move_a_run_once(at_night: Context, clock: Clock, enqueue: Enqueue) -> None:
    timed = at_night.database
    run = enqueue(10, hours=NIGHT).id
    for _ in range(3):
        clock.forward(hours(12))  # noon and midnight
        reconciled(at_night)
        reconciled(at_night)
    with timed.reading() as session:
        query = select(Event.target).where(Event.subject == "runs", Event.row == run).order_by(Event.id)
        moves = list(session.execute(query).scalars())
    assert moves == ["queued", "paused", "queued", "paused"]


def test_a_clock_that_jumps_and_comes_back_costs_no_night(
    at_night: Context, clock: Clock, enqueue: Enqueue
) -> None:
    timed = at_night.database
    run = enqueue(10, hours=NIGHT).id
    clock.now = START + timedelta(days=365, hours=12)
    reconciled(at_night)
    assert stands(timed, run) == (RunState.PAUSED, PausedBy.WINDOW)
    clock.now = START + timedelta(hours=1)
    reconciled(at_night)
    assert stands(timed, run) == (RunState.QUEUED, None)
    clock.now = START - timedelta(hours=4)  # 20:00 of the day before
    reconciled(at_night)
    assert stands(timed, run) == (RunState.PAUSED, PausedBy.WINDOW)


def test_what_would_be_answered_too_late_is_not_sent_and_waits_for_the_next_window(
    at_night: Context, clock: Clock, enqueue: Enqueue
) -> None:
    timed = at_night.database
    run = enqueue(10, hours=NIGHT).id
    clock.forward(hours(6) - 20)
    batch = batches(timed, run)[0]
    add_problem(timed, batch, 0, ProblemState.SENT, estimated_us=2_000_000)
    assert admitted(at_night, run, [3_000_000] * 5) == (
        4,
        HoldReason.WINDOW,
    )  # 2 + 4 x 3 s, and 5 s more: 19 s
    add_problem(timed, batch, 1, ProblemState.ANSWERED, sent_s=30, answered_s=14)
    assert admitted(at_night, run, [1] * 5) == (0, HoldReason.WINDOW)  # the last one took 16 s
    with timed.transaction() as session:
        runs.pause(session, run, PausedBy.WINDOW, "too late", now=timed.now(session))
    clock.forward(10)
    reconciled(at_night)
    assert stands(timed, run) == (RunState.PAUSED, PausedBy.WINDOW)  # open still, and not to be tried again
    control.resume(timed, run, at_once=True)  # a user opens the window: until tomorrow's closes
    assert admitted(at_night, run, [1] * 5) == (5, None)
    with timed.transaction() as session:
        session.execute(update(Run).where(Run.id == run).values(opened_until=None))
        runs.pause(session, run, PausedBy.WINDOW, "too late", now=timed.now(session))
    clock.forward(hours(17))
    reconciled(at_night)
    assert stands(timed, run) == (RunState.QUEUED, None)


def test_pauses_by_hand_and_windows(at_night: Context, clock: Clock, enqueue: Enqueue) -> None:
    timed = at_night.database
    run = enqueue(10, hours=NIGHT).id
    control.pause(timed, run)
    clock.forward(hours(12))
    reconciled(at_night)
    control.resume(timed, run)
    assert stands(timed, run) == (RunState.PAUSED, PausedBy.WINDOW)  # it resumes tonight
    with pytest.raises(ParameterError, match="opens Thu 2026-01-01 22:00 UTC; use --now"):
        control.resume(timed, run)
    control.pause(timed, run)
    clock.forward(hours(11))
    reconciled(at_night)
    assert stands(timed, run) == (RunState.PAUSED, PausedBy.HAND)  # in its window, too
    control.resume(timed, run)
    assert stands(timed, run) == (RunState.QUEUED, None)


def test_a_window_that_is_opened_by_hand_closes_with_the_next_one(
    at_night: Context, clock: Clock, enqueue: Enqueue
) -> None:
    timed = at_night.database
    clock.forward(hours(12))
    run = enqueue(10, hours=NIGHT).id
    control.resume(timed, run, at_once=True)
    for passed in (0, 9, 2, 6):  # 12:00, 21:00, 23:00, 05:00
        clock.forward(hours(passed))
        reconciled(at_night)
        assert stands(timed, run) == (RunState.QUEUED, None)
    clock.forward(hours(2))
    reconciled(at_night)
    assert stands(timed, run) == (RunState.PAUSED, PausedBy.WINDOW)


def test_a_cancelled_run_stays_so_in_its_window(at_night: Context, clock: Clock, enqueue: Enqueue) -> None:
    clock.forward(hours(12))
    run = enqueue(10, hours=NIGHT).id
    control.cancel(at_night.database, run)
    clock.forward(hours(11))
    reconciled(at_night)
    assert row(at_night.database, run).state is RunState.CANCELLED


def test_a_deadline_ends_a_run_with_what_it_has(
    at_night: Context, clock: Clock, enqueue_working: Enqueue
) -> None:
    timed = at_night.database
    late = RunHours(deadline_at=START + timedelta(hours=6))
    run = enqueue_working(30, hours=late).id
    first = batches(timed, run)[0]
    sample_batch(at_night, first)
    score_batch(at_night, first)
    clock.forward(hours(6))
    reconciled(at_night)
    work_off(at_night, *at_night.hints.take())  # type: ignore[attr-defined]
    held = row(timed, run)
    assert held.state is RunState.FAILED
    assert "2 of its batches failed" in (held.error or "")
    assert "deadline, Thu 2026-01-01 06:00 UTC, has passed" in (held.error or "")
    with timed.reading() as session:
        kept = session.execute(select(func.count()).where(Classification.run_id == run)).scalar_one()
    assert kept == 10
    assert (held.statistics or {})["images_per_second"] >= 0
    for move in (control.resume, control.pause):
        with pytest.raises(ParameterError, match=r"past its deadline and cannot|failed"):
            move(timed, run)


def test_a_deadline_waits_for_what_is_in_flight(at_night: Context, clock: Clock, enqueue: Enqueue) -> None:
    timed = at_night.database
    run = enqueue(20, hours=RunHours(NIGHT.windows, None, START + timedelta(hours=7))).id
    first = batches(timed, run)[0]
    problem = add_problem(timed, first, 0, ProblemState.SENT, estimated_us=1)
    for passed in (6.5, 1):  # by then it is paused by its window
        clock.forward(hours(passed))
        reconciled(at_night)
    assert stands(timed, run) == (RunState.PAUSED, PausedBy.DEADLINE)
    assert states(timed, run) == [BatchState.PENDING, BatchState.FAILED]
    assert Message(Task.SAMPLE_BATCH, first) in at_night.hints.sent  # type: ignore[attr-defined]
    with timed.transaction() as session:
        settled = {"state": ProblemState.FAILED}
        session.execute(update(Problem).where(Problem.id == problem).values(**settled))
    reconciled(at_night)
    work_off(at_night, *at_night.hints.take())  # type: ignore[attr-defined]
    assert row(timed, run).state is RunState.FAILED


def test_the_command_line_says_when_a_window_opens(
    cli: Cli, timed: Database, clock: Clock, enqueue: Enqueue
) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    day = f"{tomorrow:%a}".lower()
    clock.now = datetime.now(UTC)
    hours_of = RunHours(
        Windows.parse([f"{day} 10:00-12:00"], "Europe/London"), None, clock.now + timedelta(days=9)
    )
    run = enqueue(10, hours=hours_of).id
    shown = cli("runs", "show", run)
    assert f"{day} 10:00-12:00 Europe/London; opens {day.title()} {tomorrow:%Y-%m-%d} 10:00" in shown
    assert "deadline" in shown
    control.resume(timed, run, at_once=True)
    assert "open until" in cli("runs", "show", run)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--window", "22-6"), "22:00-06:00"),
        (("--window", "22:00-06:00", "--tz", "London"), "Europe/London"),
        (("--deadline", "2020-01-01T00:00", "--tz", "UTC"), "has passed"),
        (("--deadline", "soon"), "2026-12-01T06:00"),
        (("--tz", "UTC"), "--window"),
    ],
)
def test_what_cannot_be_a_window_is_one_line(cli: Cli, options: tuple[str, ...], part: str) -> None:
    with pytest.raises(ParameterError, match=part) as refused:
        cli("classify", "digits", *options)
    assert refused.value.exit_code == 2


def hours(number: float) -> float:
    return number * 3600


def sampling(context: Context) -> list[int]:
    """Return the batches that hints to sample were sent for."""
    assert isinstance(context.hints, Outbox)
    return [message.row for message in context.hints.sent if message.task is Task.SAMPLE_BATCH]


def states(database: Database, run: int) -> list[BatchState]:
    with database.reading() as session:
        query = select(Batch.state).where(Batch.run_id == run).order_by(Batch.ordinal)
        return list(session.execute(query).scalars())


def admitted(context: Context, run: int, estimates_us: list[int]) -> tuple[int, HoldReason | None]:
    with context.database.transaction() as session:
        now = context.database.now(session)
        found = within_limits(read_usage(session, run, "q", "g", context.settings, now=now), estimates_us)
    return found.problems, found.reason


def add_problem(
    database: Database,
    batch: int,
    ordinal: int,
    state: ProblemState,
    *,
    estimated_us: int = 0,
    sent_s: float = 0.0,
    answered_s: float | None = None,
) -> int:
    """Insert a problem that was sent, and answered, that many seconds ago."""
    with database.transaction() as session:
        now = database.now(session)
        values = {
            "batch_id": batch,
            "qpu": "q",
            "ordinal": ordinal,
            "first_image": 0,
            "count": 1,
            "label": f"annealq:{batch}-{ordinal}",
            "sapi_id": f"{batch}-{ordinal}",
            "state": state,
            "estimated_us": estimated_us,
            "reserved_at": now,
            "sending_at": now - timedelta(seconds=sent_s),
            "answered_at": None if answered_s is None else now - timedelta(seconds=answered_s),
        }
        return session.execute(insert(Problem).values(values).returning(Problem.id)).scalar_one()
