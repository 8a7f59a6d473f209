"""A solver that fails for a while: no run gives up, nothing is paid twice, and the solver is not flooded.

The emulator fails as D-Wave's service may; all times are short.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update

from producer.doctor import counters
from producer.networks.chosen import ChosenNetwork
from producer.progress.stages import progress_of
from producer.runs import control
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.database import Database
from schema.errors import ParameterError
from schema.parameters import Parameters, Solver, Visible
from schema.settings import load as load_settings
from schema.settings.worker import WorkerSettings
from schema.states import BatchState, ProblemState, RunState
from schema.tables import Batch, Breaker, Classification, Event, Problem, Run
from tests.emulators import TOKEN, Emulator, wait_until
from tests.integration.conftest import USE_CASES, Outbox, some_images
from tests.ledgers import assert_spendings_agree
from worker.context import Context
from worker.pipeline.sample_batch import sample_batch
from worker.pipeline.score_batch import score_batch
from worker.records import batches
from worker.scheduling import circuit_breaker, run_windows
from worker.scheduling.dispatch import dispatch

PARAMETERS = Parameters(reads=20, tiles=2, qpu="tiny", visible=Visible.FOLDED)
IMAGES = 24
SETTINGS = WorkerSettings(
    max_attempts=2,
    retry_base_s=0.01,
    quarantine_s=0.3,
    collect_s=0.5,
    solver_timeout_s=5.0,
    solver_refresh_s=0.2,
    in_flight=4,
    probe_s=0.2,
    retry_limit_s=0.5,
    breaker_failures=2,
    rehint_s=0.1,
)


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with Emulator("--solver=tiny=pegasus:6:6:10", f"--token={TOKEN}") as emulator:
        yield emulator


@pytest.fixture
def emulator(server: Emulator) -> Iterator[Emulator]:
    yield server
    server.break_down(clear=True, online=["tiny"])


@pytest.fixture
def context(database: Database, outbox: Outbox, emulator: Emulator) -> Iterator[Context]:
    context = Context(database, SETTINGS, outbox)
    context.solvers.shared = load_settings(emulator_url=emulator.endpoint, emulator_token=TOKEN)
    yield context
    context.solvers.disconnect(Solver.EMULATOR, PARAMETERS)


@pytest.fixture
def before(emulator: Emulator) -> int:
    """Return how many problems the emulator has accepted before the test."""
    return len(emulator.ledger()["problems"])


def enqueue(context: Context, network: ChosenNetwork, batch_size: int = 4) -> int:
    options = RunOptions(batch_size=batch_size)
    images = some_images(IMAGES)
    return enqueue_run(context.database, images, network, Solver.EMULATOR, PARAMETERS, options).id


def work(context: Context, run: int, seconds: float, *, until: Callable[[], bool] | None = None) -> RunState:
    """Do what the hints ask for until the run has ended, ``until`` holds, or ``seconds`` have passed."""
    outbox, deadline = context.hints, time.monotonic() + seconds
    assert isinstance(outbox, Outbox)
    while time.monotonic() < deadline and not (until is not None and until()):
        if (state := run_state(context, run)) in (RunState.DONE, RunState.FAILED):
            return state
        if outbox.sent:
            message = outbox.sent.pop(0)
            USE_CASES[message.task](context, message.row)
        else:
            time.sleep(0.02)
            dispatch(context.database, context.settings, outbox)
    return run_state(context, run)


def run_state(context: Context, run: int) -> RunState:
    with context.database.reading() as session:
        return session.execute(select(Run.state).where(Run.id == run)).scalar_one()


def count(context: Context, table: Any, *conditions: Any) -> int:
    with context.database.reading() as session:
        return session.execute(select(func.count()).select_from(table).where(*conditions)).scalar_one()


def breaker_error(context: Context) -> str | None:
    with context.database.reading() as session:
        return session.execute(select(Breaker.error)).scalar()


def answered(context: Context) -> int:
    return count(context, Problem, Problem.state == ProblemState.ANSWERED)


def assert_all_classified_and_paid_once(context: Context, emulator: Emulator, before: int) -> None:
    """Assert that each image is classified, and that ledger and emulator agree to 0.1 us."""
    with context.database.reading() as session:
        images = sorted(session.execute(select(Classification.image)).scalars())
        columns = (Problem.sapi_id, Problem.charged_us)
        charged = dict(session.execute(select(*columns).where(Problem.sapi_id.is_not(None))).all())
        attempts = session.execute(select(func.max(Batch.attempts))).scalar_one()
    assert images == list(range(IMAGES))
    theirs = {one["id"]: one["charged_us"] for one in emulator.ledger()["problems"][before:]}
    assert {name: us or 0 for name, us in charged.items()} == theirs
    assert attempts == 1  # only the successful one
    assert_spendings_agree(context.database)


OUTAGES: dict[str, tuple[dict[str, Any], str]] = {
    "the token is refused": ({"target": "any", "kind": "expire"}, "token"),
    "access is refused": ({"target": "submit", "kind": "error", "status": 403}, "403"),
    "the solver is not found": ({"target": "any", "kind": "error", "status": 404}, "404|not found"),
    "access to solvers is refused": ({"target": "solvers", "kind": "error", "status": 403}, "403|access"),
    "the service is overloaded": ({"target": "submit", "kind": "error", "status": 429}, "429"),
    "gateway": ({"target": "submit", "kind": "error", "status": 503}, "503|unknown"),
}


@pytest.mark.parametrize("outage", OUTAGES)
def test_an_outage_costs_no_attempt_and_ends_without_a_user(
    context: Context, working: ChosenNetwork, emulator: Emulator, before: int, outage: str
) -> None:
    fault, words = OUTAGES[outage]
    run = enqueue(context, working)
    work(context, run, 20.0, until=lambda: answered(context) > 0)
    emulator.break_down({**fault, "duration_s": 2.0})
    work(context, run, 1.5, until=lambda: breaker_error(context) is not None)
    assert any(word in (breaker_error(context) or "") for word in words.split("|")), breaker_error(context)
    assert count(context, Batch, Batch.state == BatchState.FAILED) == 0
    assert work(context, run, 20.0) is RunState.DONE
    assert breaker_error(context) is None
    assert_all_classified_and_paid_once(context, emulator, before)


def test_batches_wait_for_a_token_from_the_beginning_and_only_a_probe_asks(
    context: Context, working: ChosenNetwork, emulator: Emulator, before: int
) -> None:
    context.solvers.shared = load_settings(emulator_url=emulator.endpoint, emulator_token="wrong")
    run = enqueue(context, working)
    assert work(context, run, 2.0) is RunState.RUNNING
    assert count(context, Batch, Batch.state == BatchState.FAILED) == 0
    assert count(context, Batch, Batch.attempts > 0) == 0
    error = breaker_error(context) or ""
    assert "token" in error
    assert "wrong" not in error
    with context.database.reading() as session:
        assert error in (
            progress_of(session, run, context.database.now(session)).waits or ""
        )  # who watches the run learns why it waits
    claims = count(context, Event, Event.subject == "batches", Event.target == BatchState.SAMPLING)
    assert claims <= 10  # probes, not 6 batches again and again
    context.solvers.shared = load_settings(emulator_url=emulator.endpoint, emulator_token=TOKEN)
    assert work(context, run, 20.0) is RunState.DONE
    assert_all_classified_and_paid_once(context, emulator, before)


def test_answers_are_collected_while_the_solver_takes_no_problems(
    context: Context, working: ChosenNetwork, emulator: Emulator, before: int
) -> None:
    run = enqueue(context, working)
    first, second = _batches(context)[:2]
    emulator.break_down({"target": "poll", "kind": "error", "status": 503})
    sample_batch(context, first)
    assert count(context, Problem, Problem.state == ProblemState.SENT) == 2
    emulator.break_down(clear=True)
    with context.database.transaction() as session:  # another worker's batch has opened the breaker
        circuit_breaker.record_failure(
            session, batches.load(session, second).solver_keys[0], context.solvers.account(Solver.EMULATOR),
            "no answer", batch=second, now=context.database.now(session), opens=True,
            settings=SETTINGS.model_copy(update={"probe_s": 300.0, "retry_limit_s": 300.0}),
        )  # fmt: skip
    work(context, run, 20.0, until=lambda: answered(context) == 2)
    assert answered(context) == 2
    assert len(emulator.ledger()["problems"]) - before == 2
    assert breaker_error(context) is None  # an answer closes it
    assert work(context, run, 20.0) is RunState.DONE
    assert_all_classified_and_paid_once(context, emulator, before)


def _batches(context: Context) -> list[int]:
    with context.database.reading() as session:
        return list(session.execute(select(Batch.id).order_by(Batch.ordinal)).scalars())


@pytest.mark.parametrize(
    "fault",
    [
        {"target": "submit", "kind": "error", "status": 400, "count": 1},
        {"target": "submit", "kind": "error", "status": 401, "count": 1},
        {"target": "poll", "kind": "error", "status": 401, "count": 1},
        {"target": "answer", "kind": "error", "status": 500, "count": 4},
    ],
    ids=lambda fault: f"{fault['target']} {fault['status']}",
)
def test_one_wrong_answer_of_the_service_loses_nothing(
    context: Context, working: ChosenNetwork, emulator: Emulator, before: int, fault: dict[str, Any]
) -> None:
    emulator.break_down(fault)
    run = enqueue(context, working)
    assert work(context, run, 20.0) is RunState.DONE
    with context.database.transaction() as session:  # a 400 counts as an attempt
        session.execute(update(Batch).values(attempts=1))
    assert_all_classified_and_paid_once(context, emulator, before)


def test_a_request_that_is_always_wrong_is_final_after_the_attempts(
    context: Context, working: ChosenNetwork, emulator: Emulator
) -> None:
    emulator.break_down({"target": "submit", "kind": "error", "status": 400})
    run = enqueue(context, working)
    assert work(context, run, 20.0) is RunState.FAILED
    with context.database.reading() as session:
        assert set(session.execute(select(Batch.attempts)).scalars()) == {SETTINGS.max_attempts}


def test_a_batch_that_is_given_up_is_scored_as_far_as_it_was_answered(
    context: Context, working: ChosenNetwork, emulator: Emulator, before: int
) -> None:
    run = enqueue(context, working, batch_size=IMAGES)
    emulator.break_down({"target": "submit", "kind": "delay", "delay_s": 0.3})
    breaking = threading.Thread(target=_refuse_after_the_first, args=(emulator, before))
    breaking.start()
    assert work(context, run, 20.0) is RunState.FAILED
    breaking.join()
    paid = answered(context)
    assert 0 < paid < IMAGES // 2
    with context.database.reading() as session:
        row, batch = session.get_one(Run, run), session.execute(select(Batch)).scalar_one()
        images = sorted(session.execute(select(Classification.image)).scalars())
        assert len(images) == 2 * paid
        assert batch.state is BatchState.FAILED
        assert "no answer for images" in (row.error or "")
        assert "refused a request with problems (400)" in (row.error or "")
        assert (row.statistics or {})["images"] == len(images)
        assert [finding.what for finding in counters.classifications(session)] == []
    emulator.break_down(clear=True)
    control.resume(context.database, run)
    assert work(context, run, 20.0) is RunState.DONE
    assert len(emulator.ledger()["problems"]) - before == IMAGES // 2  # only the others were sent
    assert_all_classified_and_paid_once(context, emulator, before)


def test_what_was_answered_before_a_deadline_is_scored(
    context: Context, working: ChosenNetwork, emulator: Emulator, before: int
) -> None:
    run = enqueue(context, working, batch_size=IMAGES)
    (batch,) = _batches(context)
    emulator.break_down({"target": "submit", "kind": "delay", "delay_s": 0.3})
    breaking = threading.Thread(target=_refuse_after_the_first, args=(emulator, before))
    breaking.start()
    sample_batch(context, batch)
    breaking.join()
    with context.database.transaction() as session:
        now = context.database.now(session)
        session.execute(update(Run).where(Run.id == run).values(deadline_at=now))
        run_windows.apply_windows(session, now=now)
    score_batch(context, batch)
    assert work(context, run, 20.0) is RunState.FAILED
    assert count(context, Classification) == 2 * answered(context) > 0
    with context.database.reading() as session:
        assert "has passed" in (session.get_one(Run, run).error or "")


def _refuse_after_the_first(emulator: Emulator, before: int) -> None:
    wait_until(lambda: len(emulator.ledger()["problems"]) > before)
    emulator.break_down({"target": "submit", "kind": "error", "status": 400})


def test_a_solver_that_accepts_problems_and_fails_them_is_not_flooded(
    context: Context, working: ChosenNetwork, emulator: Emulator, before: int
) -> None:
    run = enqueue(context, working)
    work(context, run, 20.0, until=lambda: answered(context) > 0)
    emulator.break_down(offline=["tiny"])
    context.solvers.settings = context.solvers.settings.model_copy(update={"solver_refresh_s": 300.0})
    sent = len(emulator.ledger()["problems"])
    work(context, run, 4.0)
    assert 0 < len(emulator.ledger()["problems"]) - sent <= 20
    assert "offline" in (breaker_error(context) or "")
    emulator.break_down(online=["tiny"])
    assert work(context, run, 20.0) is RunState.DONE
    assert_all_classified_and_paid_once(context, emulator, before)


def test_a_failed_problem_is_sent_again(
    context: Context, working: ChosenNetwork, emulator: Emulator, before: int
) -> None:
    emulator.break_down({"target": "problem", "kind": "fail", "count": 2})
    run = enqueue(context, working)
    assert work(context, run, 20.0) is RunState.DONE
    assert count(context, Problem, Problem.state == ProblemState.FAILED) == 2
    assert_all_classified_and_paid_once(context, emulator, before)


def test_a_queue_that_stands_still_uses_up_no_attempt(context: Context, working: ChosenNetwork) -> None:
    # An answer takes several times collect_s.
    with Emulator("--solver=tiny=pegasus:6:6:10", f"--token={TOKEN}", clock="scaled:0.012") as slow:
        context.solvers.shared = load_settings(emulator_url=slow.endpoint, emulator_token=TOKEN)
        run = enqueue(context, working, batch_size=IMAGES)
        assert work(context, run, 60.0) is RunState.DONE
        released = count(context, Event, Event.subject == "batches", Event.target == BatchState.PENDING)
        assert released >= SETTINGS.max_attempts
        assert_all_classified_and_paid_once(context, slow, 0)


def test_a_full_queue_is_waited_for(
    context: Context, working: ChosenNetwork, emulator: Emulator, before: int
) -> None:
    emulator.break_down(max_queued=0)
    run = enqueue(context, working)
    assert work(context, run, 3.0) is RunState.RUNNING
    assert breaker_error(context) is None
    assert count(context, Batch, Batch.attempts > 0) == 0
    assert count(context, Event, Event.subject == "problems") < 60
    emulator.break_down(max_queued=4)
    assert work(context, run, 90.0) is RunState.DONE
    assert_all_classified_and_paid_once(context, emulator, before)


def test_a_queue_that_another_member_fills_is_waited_for(context: Context, working: ChosenNetwork) -> None:
    # Two problems of another member run one after the other, each for some seconds.
    with Emulator("--solver=tiny=pegasus:6:6:10", clock="scaled:0.1") as shared:
        shared.break_down(max_queued=2, shared_queue=True)
        theirs = [shared.job(params={"num_reads": 2000, "annealing_time": 100.0})] * 2
        assert all("id" in item for item in shared.post(theirs, headers={"X-Auth-Token": "another"}).json())
        context.solvers.shared = load_settings(emulator_url=shared.endpoint, emulator_token=TOKEN)
        run = enqueue(context, working)
        assert work(context, run, 120.0) is RunState.DONE
        refused = Event.why.contains("Maximum number of queued problems")
        assert count(context, Event, Event.subject == "problems", refused) > 0
        assert_all_classified_and_paid_once(context, shared, len(theirs))


def test_images_whose_problem_always_fails_are_named_and_the_others_are_classified(
    context: Context, working: ChosenNetwork, emulator: Emulator, before: int
) -> None:
    run = enqueue(context, working, batch_size=8)
    emulator.break_down({"target": "problem", "kind": "fail"})
    work(context, run, 20.0, until=lambda: _failed_problems(context) >= 2)
    poisoned = _images_of_failed(context)
    _fail_only(context, emulator, poisoned)
    state = work(context, run, 20.0)
    assert state is RunState.FAILED
    with context.database.reading() as session:
        row = session.get_one(Run, run)
        assert f"no answer for images {poisoned[0]}-{poisoned[-1]}" in (row.error or "")
        images = sorted(session.execute(select(Classification.image)).scalars())
        assert images == [image for image in range(IMAGES) if image not in poisoned]
        assert (row.batches_scored, row.batches_failed) == (2, 1)
        assert (row.statistics or {})["images"] == len(images)  # its figures include the failed batch
        stages = progress_of(session, run, context.database.now(session))
        assert (stages.scored, stages.failed) == (len(images), len(poisoned))
        assert [finding.what for finding in counters.classifications(session)] == []
    sends = count(context, Problem, Problem.state == ProblemState.FAILED)
    assert sends == 3 * len(poisoned) // 2
    emulator.break_down(clear=True)
    answers = answered(context)
    control.resume(context.database, run)
    assert work(context, run, 20.0) is RunState.DONE
    assert answered(context) - answers == len(poisoned) // 2
    assert_all_classified_and_paid_once(context, emulator, before)


def test_a_solver_that_fails_every_problem_is_not_flooded_and_loses_few_images(
    context: Context, working: ChosenNetwork, emulator: Emulator, before: int
) -> None:
    run = enqueue(context, working, batch_size=8)
    emulator.break_down({"target": "problem", "kind": "fail"})
    work(context, run, 2.0)
    assert _failed_problems(context) <= 20
    assert count(context, Batch, Batch.state == BatchState.FAILED) <= 1
    emulator.break_down(clear=True)
    if work(context, run, 20.0) is RunState.FAILED:
        control.resume(context.database, run)
        assert work(context, run, 20.0) is RunState.DONE
    assert_all_classified_and_paid_once(context, emulator, before)


def _failed_problems(context: Context) -> int:
    return count(context, Problem, Problem.state == ProblemState.FAILED)


def _images_of_failed(context: Context) -> list[int]:
    query = select(Batch.first_image, Problem.first_image, Problem.count).join(Problem)
    with context.database.reading() as session:
        rows = session.execute(query.where(Problem.state == ProblemState.FAILED)).all()
    return sorted({first + within + image for first, within, size in rows for image in range(size)})


def _fail_only(context: Context, emulator: Emulator, poisoned: list[int]) -> None:
    """Let the batch of the ``poisoned`` images fail until they are given up, then repair the solver."""
    with context.database.reading() as session:
        first = session.execute(select(Batch.id).order_by(Batch.first_image)).scalars().first()
    for _ in range(200):
        with context.database.transaction() as session:
            session.execute(
                update(Batch).where(Batch.id == first).values(due_at=context.database.now(session))
            )
            session.execute(delete(Breaker))
        if _failed_problems(context) >= 3 * len(poisoned) // 2:
            break
        sample_batch(context, first)
    emulator.break_down(clear=True)


def test_a_refusal_of_the_whole_run_fails_all_of_its_batches_at_once(
    context: Context, working: ChosenNetwork
) -> None:
    parameters = Parameters(reads=10_000, annealing_time_us=1_000.0, qpu="tiny")
    options = RunOptions(batch_size=2)
    images = some_images(IMAGES)
    run = enqueue_run(context.database, images, working, Solver.EMULATOR, parameters, options).id
    assert work(context, run, 20.0) is RunState.FAILED
    assert count(context, Event, Event.subject == "batches", Event.target == BatchState.SAMPLING) == 1
    with context.database.reading() as session:
        errors = set(session.execute(select(Batch.error)).scalars())
        row = session.get_one(Run, run)
        assert (row.batches_failed, len(errors)) == (IMAGES // 2, 1)
        assert "10,000 reads" in (row.error or "")
    # The solver's limits are known from now on.
    with pytest.raises(ParameterError, match="10,000 reads"):
        enqueue_run(context.database, some_images(3), working, Solver.EMULATOR, parameters, options)
