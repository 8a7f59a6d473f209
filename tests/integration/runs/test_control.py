"""What people and budgets say to runs, and solvers that do not answer; an emulator's books are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from celery.app.amqp import Queues
from sqlalchemy import func, select, update

from producer.networks.chosen import ChosenNetwork
from producer.runs import control
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.database import Database
from schema.errors import NotFound, ParameterError
from schema.messages import Message, Queue, Task, queue_names
from schema.parameters import Parameters, Solver, Visible, solver_key
from schema.settings import load as load_settings
from schema.settings.worker import WorkerSettings
from schema.states import BatchState, PausedBy, ProblemState, RunState
from schema.tables import Batch, BatchImages, Breaker, Classification, Problem, Run, Spending
from tests import PATIENCE_S
from tests.emulators import TOKEN, Emulator, wait_until
from tests.integration.conftest import Cli, Clock, Outbox, some_images, work_off
from tests.ledgers import assert_spendings_agree
from tests.stopping import clear_shutdown
from worker import reconcile
from worker.celery import app
from worker.context import Context
from worker.pipeline.sample_batch import sample_batch
from worker.process import shutdown
from worker.records import spending
from worker.scheduling import circuit_breaker
from worker.scheduling.dispatch import choose_batches
from worker.tasks import sample_and_score

# Slow enough that a person is faster: a problem takes about 0.1 s of modelled time, and of ours.
SLOW = ("--solver=tiny=pegasus:6:6:10", f"--token={TOKEN}")
PARAMETERS = Parameters(reads=1000, tiles=2, qpu="tiny", visible=Visible.FOLDED)
IMAGES = 24


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with Emulator(*SLOW, samples="instant", clock="real") as emulator:
        yield emulator


@pytest.fixture
def emulator(server: Emulator) -> Iterator[Emulator]:
    yield server
    server.break_down(clear=True, online=["tiny"])


@pytest.fixture
def settings() -> WorkerSettings:
    return WorkerSettings(
        max_attempts=3,
        retry_base_s=0.05,
        quarantine_s=0.3,
        collect_s=5.0,
        solver_timeout_s=5.0,
        in_flight=4,
        probe_s=0.2,
        rehint_s=60,
    )


def make_context(database: Database, settings: WorkerSettings, emulator: Emulator) -> Context:
    made = Context(database, settings, Outbox())
    made.solvers.shared = load_settings(emulator_url=emulator.endpoint, emulator_token=TOKEN)
    return made


@pytest.fixture
def context(database: Database, settings: WorkerSettings, emulator: Emulator) -> Iterator[Context]:
    made = make_context(database, settings, emulator)
    yield made
    made.solvers.disconnect(Solver.EMULATOR, PARAMETERS)
    clear_shutdown()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as made:
        yield made


def enqueue(database: Database, network: ChosenNetwork, images: int = IMAGES, **options: Any) -> int:
    chosen = RunOptions(**{"batch_size": images, **options})
    return enqueue_run(database, some_images(images), network, Solver.EMULATOR, PARAMETERS, chosen).id


def batches(context: Context, run: int) -> list[int]:
    with context.database.reading() as session:
        query = select(Batch.id).where(Batch.run_id == run).order_by(Batch.ordinal)
        return list(session.execute(query).scalars())


def row(context: Context, run: int) -> Run:
    with context.database.reading() as session:
        held = session.execute(select(Run).where(Run.id == run)).scalar_one()
        session.expunge(held)
        return held


def count(context: Context, run: int, *states: ProblemState) -> int:
    query = select(func.count()).select_from(Problem).join(Batch, Batch.id == Problem.batch_id)
    with context.database.reading() as session:
        return session.execute(query.where(Batch.run_id == run, Problem.state.in_(states))).scalar_one()


def start(context: Context, pool: ThreadPoolExecutor, run: int) -> Future[None]:
    """Begin a run's first batch in a thread; returns when some of it is answered and some is not."""
    under_way = pool.submit(sample_batch, context, batches(context, run)[0])
    wait_until(lambda: under_way.done() or count(context, run, ProblemState.ANSWERED) >= 2)
    assert not under_way.done(), under_way.result()
    return under_way


def charged(emulator: Emulator, before: dict[str, Any]) -> dict[str, float]:
    """Return what the emulator has charged since, by problem."""
    since = emulator.ledger()["problems"][len(before["problems"]) :]
    return {one["id"]: one["charged_us"] for one in since}


def assert_books_agree(context: Context, emulator: Emulator, before: dict[str, Any], run: int) -> None:
    with context.database.reading() as session:
        query = select(Problem.sapi_id, func.coalesce(Problem.charged_us, 0)).join(Batch)
        ours = session.execute(query.where(Batch.run_id == run, Problem.sapi_id.is_not(None))).all()
    assert dict(tuple(one) for one in ours) == charged(emulator, before)
    assert_spendings_agree(context.database)


def finish(context: Context, run: int) -> None:
    work_off(context, *(Message(Task.SAMPLE_BATCH, batch) for batch in batches(context, run)))
    assert row(context, run).state is RunState.DONE
    with context.database.reading() as session:
        found = session.execute(select(func.count()).where(Classification.run_id == run)).scalar_one()
    assert found == row(context, run).images


def test_a_paused_run_collects_what_it_sent_and_goes_on_later(
    context: Context, working: ChosenNetwork, emulator: Emulator, pool: ThreadPoolExecutor
) -> None:
    before = emulator.ledger()
    run = enqueue(context.database, working)
    under_way = start(context, pool, run)
    control.pause(context.database, run)
    under_way.result(timeout=PATIENCE_S)
    held = row(context, run)
    assert (held.state, held.paused_by) == (RunState.PAUSED, PausedBy.HAND)
    assert count(context, run, ProblemState.SENDING, ProblemState.SENT) == 0
    assert 0 < count(context, run, ProblemState.ANSWERED) < IMAGES // 2
    with context.database.reading() as session:
        batch = session.execute(select(Batch.state, Batch.attempts).where(Batch.run_id == run)).one()
    assert tuple(batch) == (BatchState.PENDING, 0)  # a pause costs no attempt
    work_off(context, Message(Task.SAMPLE_BATCH, batches(context, run)[0]))
    assert row(context, run).state is RunState.PAUSED
    assert control.resume(context.database, run) == 1
    finish(context, run)
    assert row(context, run).pause_reason is None
    assert_books_agree(context, emulator, before, run)


def test_a_cancelled_run_withdraws_what_waits_at_the_solver(
    context: Context, working: ChosenNetwork, emulator: Emulator, pool: ThreadPoolExecutor
) -> None:
    before = emulator.ledger()
    context = make_context(context.database, context.settings.model_copy(update={"in_flight": 36}), emulator)
    run = enqueue(context.database, working, 3 * IMAGES)
    under_way = start(context, pool, run)
    spent = control.cancel(context.database, run)
    assert spent.charged_us > 0
    assert spent.in_flight > 0
    under_way.result(timeout=PATIENCE_S)
    assert count(context, run, ProblemState.RESERVED, ProblemState.SENDING, ProblemState.SENT) == 0
    assert count(context, run, ProblemState.CANCELLED) > 0
    assert_books_agree(context, emulator, before, run)
    outbox = Outbox()
    reconcile.reconcile(context.database, context.settings, outbox)
    work_off(context, *outbox.take())
    held = row(context, run)
    assert held.state is RunState.CANCELLED
    assert held.statistics is not None
    assert held.statistics["qpu_access_time_us"] == round(sum(charged(emulator, before).values()), 1)
    context.solvers.disconnect(Solver.EMULATOR, PARAMETERS)
    for move in (control.cancel, control.pause, control.resume):
        with pytest.raises(ParameterError, match="cancelled"):
            move(context.database, run)


def test_what_a_dead_worker_left_of_a_cancelled_run_is_collected(
    context: Context, working: ChosenNetwork, emulator: Emulator, pool: ThreadPoolExecutor
) -> None:
    before = emulator.ledger()
    run = enqueue(context.database, working)
    under_way = start(context, pool, run)
    shutdown.request()  # leaves problems with the solver, as a crash would
    under_way.result(timeout=PATIENCE_S)
    clear_shutdown()
    left = count(context, run, ProblemState.SENT)
    assert left > 0
    control.cancel(context.database, run)
    with context.database.transaction() as session:  # its hint is lost, too
        session.execute(update(Batch).where(Batch.run_id == run).values(dispatched_at=None))
    outbox = Outbox()
    reconcile.reconcile(context.database, context.settings, outbox)
    assert Message(Task.SAMPLE_BATCH, batches(context, run)[0]) in outbox.sent
    work_off(context, *outbox.take())
    assert count(context, run, ProblemState.SENDING, ProblemState.SENT) == 0
    assert_books_agree(context, emulator, before, run)


class _StoppingOutbox(Outbox):
    """Asks its worker to stop with the first hint: that of the next batch, after one was sampled."""

    def send(self, messages: Iterable[Message]) -> None:
        super().send(messages)
        shutdown.request()


@pytest.fixture
def queues() -> Iterator[Queues]:
    """Queues of this process's worker; all of them afterwards."""
    yield app.amqp.queues
    app.amqp.queues.select(queue_names())


@pytest.mark.parametrize(("stops", "only"), [(False, None), (True, None), (False, Queue.SAMPLE)])
def test_a_batch_is_scored_where_it_was_sampled_unless_that_worker_stops_or_only_samples(
    context: Context, working: ChosenNetwork, queues: Queues, stops: bool, only: Queue | None
) -> None:
    if only is not None:
        queues.select([only])
    parameters, options = Parameters(reads=10), RunOptions(batch_size=2)
    run = enqueue_run(context.database, some_images(4), working, Solver.LOCAL, parameters, options).id
    first, second = batches(context, run)
    outbox = _StoppingOutbox() if stops else Outbox()
    sample_and_score(Context(context.database, context.settings, outbox), first)
    clear_shutdown()
    with context.database.reading() as session:
        state = session.execute(select(Batch.state).where(Batch.id == first)).scalar_one()
    hints = [Message(Task.SAMPLE_BATCH, second)]
    if stops or only is not None:
        assert state is BatchState.SAMPLED
        hints.append(Message(Task.AGGREGATE_BATCH, first))
    else:
        assert state is BatchState.SCORED
    assert outbox.take() == hints


def test_a_worker_that_stops_hands_its_work_back_and_waits_for_no_answer(
    context: Context, working: ChosenNetwork, emulator: Emulator, pool: ThreadPoolExecutor
) -> None:
    before = emulator.ledger()
    run = enqueue(context.database, working)
    under_way = start(context, pool, run)
    emulator.break_down({"target": "answer", "kind": "delay", "delay_s": 3600.0})
    shutdown.request()
    under_way.result(timeout=PATIENCE_S)
    clear_shutdown()
    emulator.break_down(clear=True)
    with context.database.reading() as session:  # not since it lost patience with the solver
        assert (
            session.execute(select(Batch.error).where(Batch.run_id == run)).scalar()
            == "the worker was stopped"
        )
    assert count(context, run, ProblemState.SENT) > 0
    assert count(context, run, ProblemState.SENDING) == 0
    finish(context, run)
    assert_books_agree(context, emulator, before, run)
    with context.database.reading() as session:
        assert session.execute(select(Batch.attempts).where(Batch.run_id == run)).scalar_one() == 1
        assert session.execute(select(func.max(Problem.times_sent))).scalar_one() == 1


def test_a_budget_is_kept_by_all_workers_and_can_be_raised(
    context: Context, working: ChosenNetwork, emulator: Emulator, pool: ThreadPoolExecutor
) -> None:
    before = emulator.ledger()
    probe = enqueue(context.database, working, 2)
    finish(context, probe)
    each_us = sum(charged(emulator, before).values())
    before = emulator.ledger()
    budget_us = int(5.5 * each_us)
    run = enqueue(context.database, working, batch_size=IMAGES // 2, budget_us=budget_us)
    others = make_context(context.database, context.settings, emulator)
    first, second = batches(context, run)
    both = [pool.submit(sample_batch, who, one) for who, one in ((context, first), (others, second))]
    for one in both:
        one.result(timeout=PATIENCE_S)
    held = row(context, run)
    assert (held.state, held.paused_by) == (RunState.PAUSED, PausedBy.BUDGET)
    assert "--budget" in (held.pause_reason or "")
    assert sum(charged(emulator, before).values()) == pytest.approx(5 * each_us)
    assert_books_agree(context, emulator, before, run)
    for useless in (None, budget_us - 1):
        with pytest.raises(ParameterError, match="--budget"):
            control.resume(context.database, run, useless)
    control.resume(context.database, run, int(12.5 * each_us))
    finish(context, run)
    assert_books_agree(context, emulator, before, run)
    others.solvers.disconnect(Solver.EMULATOR, PARAMETERS)


def test_a_days_budget_pauses_until_the_next_day(
    context: Context, working: ChosenNetwork, emulator: Emulator
) -> None:
    before = emulator.ledger()
    finish(context, enqueue(context.database, working, 2))
    each_us = sum(charged(emulator, before).values())
    with context.database.reading() as session:
        today = context.database.now(session).date()
        today_us = spending.since_day(session, Solver.EMULATOR, today)
    limit = {"day_budget_s": (today_us + 2.5 * each_us) / 1e6}
    careful = make_context(context.database, context.settings.model_copy(update=limit), emulator)
    run = enqueue(context.database, working)
    sample_batch(careful, batches(context, run)[0])
    held = row(context, run)
    assert (held.state, held.paused_by) == (RunState.PAUSED, PausedBy.DAY)
    assert count(context, run, ProblemState.ANSWERED) == 2
    reconcile.reconcile(context.database, context.settings, Outbox())
    assert row(context, run).state is RunState.PAUSED
    with context.database.transaction() as session:
        yesterday = held.paused_at - timedelta(days=1)
        session.execute(update(Run).where(Run.id == run).values(paused_at=yesterday))
        session.execute(update(Problem).where(Problem.sending_at.is_not(None)).values(sending_at=yesterday))
        session.execute(update(Spending).values(day=yesterday.date()))
    reconcile.reconcile(context.database, context.settings, Outbox())
    assert row(context, run).state is RunState.RUNNING
    careful.solvers.disconnect(Solver.EMULATOR, PARAMETERS)
    finish(context, run)


def test_workers_share_the_room_at_the_solver(
    context: Context, working: ChosenNetwork, emulator: Emulator, pool: ThreadPoolExecutor
) -> None:
    narrow = context.settings.model_copy(update={"solver_in_flight": 3, "in_flight": 3})
    workers = [make_context(context.database, narrow, emulator) for _ in range(2)]
    run = enqueue(context.database, working, batch_size=IMAGES // 2)
    under_way = [
        pool.submit(sample_batch, who, batch)
        for who, batch in zip(workers, batches(context, run), strict=True)
    ]
    most = 0
    while not all(one.done() for one in under_way):
        most = max(most, count(context, run, ProblemState.SENDING, ProblemState.SENT))
    for one in under_way:
        one.result()
    assert most == 3
    for who in workers:
        who.solvers.disconnect(Solver.EMULATOR, PARAMETERS)
    work_off(context, *(Message(Task.AGGREGATE_BATCH, batch) for batch in batches(context, run)))
    assert row(context, run).state is RunState.DONE


def test_a_solver_that_is_offline_parks_its_batches_and_one_asks(
    context: Context, working: ChosenNetwork, emulator: Emulator
) -> None:
    run = enqueue(context.database, working, batch_size=2)
    emulator.break_down(offline=["tiny"])
    mine = batches(context, run)
    for batch in mine[:3]:
        sample_batch(context, batch)
    with context.database.reading() as session:
        account = context.solvers.account(Solver.EMULATOR)
        key = solver_key(Solver.EMULATOR, PARAMETERS.to_dict())
        broken = circuit_breaker.find(session, key, account)
        assert broken is not None
        assert broken.failures == 3
    asked = emulator.ledger()
    sample_batch(context, mine[4])  # nobody asks: it is known by now
    assert emulator.ledger() == asked
    with context.database.reading() as session:
        rows = session.execute(select(Batch.state, Batch.attempts).where(Batch.run_id == run)).all()
        assert {tuple(one) for one in rows} == {(BatchState.PENDING, 0)}
    emulator.break_down(online=["tiny"])
    probes_due_at = next_probe_at(context)
    probes = wait_until(lambda: chosen(context))
    assert len(probes) == 1
    assert next_probe_at(context) > probes_due_at  # one asks, the others wait
    work_off(context, Message(Task.SAMPLE_BATCH, probes[0]))
    with context.database.reading() as session:
        assert session.execute(select(Breaker.solver)).first() is None
    finish(context, run)


def next_probe_at(context: Context) -> datetime:
    """Return when the next batch may ask the only solver that has failed."""
    with context.database.reading() as session:
        return session.execute(select(Breaker.retry_at)).scalar_one()


def chosen(context: Context) -> list[int]:
    with context.database.transaction() as session:
        now = context.database.now(session)
        return choose_batches(session, context.settings, now=now, after_s=60)


def images(context: Context, batch: int) -> bytes:
    with context.database.reading() as session:
        query = select(BatchImages.images).where(BatchImages.batch_id == batch)
        return session.execute(query).scalar_one()


def keep(context: Context, batch: int, data: bytes) -> None:
    with context.database.transaction() as session:
        session.execute(update(BatchImages).where(BatchImages.batch_id == batch).values(images=data))


def test_failed_batches_alone_are_done_again(
    context: Context, working: ChosenNetwork, emulator: Emulator
) -> None:
    before = emulator.ledger()
    run = enqueue(context.database, working, 6, batch_size=2)
    first, second, third = batches(context, run)
    kept = images(context, second)
    keep(context, second, b"x" + kept[1:])
    work_off(context, *(Message(Task.SAMPLE_BATCH, batch) for batch in (first, second, third)))
    held = row(context, run)
    assert (held.state, held.batches_scored, held.batches_failed) == (RunState.FAILED, 2, 1)
    keep(context, second, kept)
    assert control.resume(context.database, run) == 1
    finish(context, run)
    held = row(context, run)
    assert (held.batches_scored, held.batches_failed, held.error) == (3, 0, None)
    assert_books_agree(context, emulator, before, run)
    assert len(charged(emulator, before)) == 3


def test_a_failed_run_of_a_local_solver_is_resumed(context: Context, working: ChosenNetwork) -> None:
    run = enqueue_run(
        context.database,
        some_images(4),
        working,
        Solver.LOCAL,
        Parameters(reads=10),
        RunOptions(batch_size=2),
    ).id
    first = batches(context, run)[0]
    sample_batch(context, first)
    kept = images(context, first)
    keep(context, first, b"x" + kept[1:])
    work_off(
        context, Message(Task.AGGREGATE_BATCH, first), Message(Task.SAMPLE_BATCH, batches(context, run)[1])
    )
    assert row(context, run).state is RunState.FAILED
    keep(context, first, kept)
    control.resume(context.database, run)
    finish(context, run)


def test_an_urgent_run_overtakes_within_one_batch(
    timed: Database, clock: Clock, settings: WorkerSettings, working: ChosenNetwork, outbox: Outbox
) -> None:
    context = Context(timed, settings, outbox)
    local = Parameters(reads=5)
    bulk = enqueue_run(timed, some_images(40), working, Solver.LOCAL, local, RunOptions(batch_size=1)).id
    hinted = chosen(context)
    assert len(hinted) == settings.waiting_hints
    images = some_images(1, seed=9)
    urgent = enqueue_run(timed, images, working, Solver.LOCAL, local, RunOptions(1, priority=5)).id
    sample_batch(context, hinted[0])
    with timed.reading() as session:
        assert (
            session.execute(select(Batch.state).where(Batch.run_id == urgent)).scalar_one()
            is BatchState.SAMPLED
        )
        passed_over = session.execute(select(Batch.state).where(Batch.id == hinted[0])).scalar_one()
    assert passed_over is BatchState.PENDING
    assert row(context, bulk).batches_scored == 0


def test_runs_of_the_same_priority_take_turns(
    timed: Database, settings: WorkerSettings, enqueue: Callable[..., Any], outbox: Outbox
) -> None:
    context = Context(timed, settings.model_copy(update={"waiting_hints": 4}), outbox)
    first, second = enqueue(60, seed=1).id, enqueue(60, seed=2).id
    with timed.reading() as session:
        runs = [
            session.execute(select(Batch.run_id).where(Batch.id == batch)).scalar_one()
            for batch in chosen(context)
        ]
    assert runs == [first, second, first, second]


def test_the_command_line_pauses_resumes_and_cancels(
    cli: Cli, timed: Database, working: ChosenNetwork, context: Context
) -> None:
    run = enqueue(timed, working)
    cli("runs", "pause", run)
    assert "by hand" in cli("runs", "show", run)
    assert "1 batch" in cli("runs", "resume", run, "--budget", "2.5")
    assert row(context, run).budget_us == 2_500_000
    assert "0.000 s of QPU time" in cli("runs", "cancel", run)
    with pytest.raises(ParameterError, match="cancelled"):
        cli("runs", "pause", run)
    with pytest.raises(NotFound):
        cli("runs", "resume", run + 1)
    with pytest.raises(ParameterError, match="above 0"):
        cli("runs", "resume", run, "--budget", "-1")


def test_a_busy_solver_is_left_alone_for_as_long_as_it_says(
    context: Context, working: ChosenNetwork, emulator: Emulator
) -> None:
    run = enqueue(context.database, working, 2)
    emulator.break_down({"target": "submit", "kind": "error", "status": 429, "retry_after": 7, "count": 1})
    sample_batch(context, batches(context, run)[0])
    with context.database.reading() as session:
        now = context.database.now(session)
        due, attempts = session.execute(select(Batch.due_at, Batch.attempts).where(Batch.run_id == run)).one()
    assert 5 < (due - now).total_seconds() <= 7
    assert attempts == 0
