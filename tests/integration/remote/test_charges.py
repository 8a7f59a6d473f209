"""Charges as the service makes them, and budgets that hold although charges differ from estimates."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from producer.embeddings.queries import layers_of_run
from producer.forecasts.workload import waiting_runs
from producer.networks.chosen import ChosenNetwork
from producer.progress.stages import progress_of
from producer.reports import solver as reports
from producer.runs import queries
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.database import Database
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver, Visible
from schema.settings import load as load_settings
from schema.settings.worker import WorkerSettings
from schema.states import PausedBy, RunState
from schema.tables import Batch, Problem, Run, Spending
from schema.tables.costs import charge_ratio
from tests.emulators import TOKEN, Emulator
from tests.integration.conftest import Outbox, some_images, work_off
from tests.ledgers import assert_spendings_agree
from worker import reconcile
from worker.context import Context

PARAMETERS = Parameters(reads=20, tiles=2, qpu="tiny", visible=Visible.FOLDED)
SETTINGS = WorkerSettings(max_attempts=2, quarantine_s=0.3, solver_timeout_s=5.0, in_flight=8)
CHARGE = {"target": "problem", "kind": "charge"}


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with Emulator("--solver=tiny=pegasus:6:6:10", f"--token={TOKEN}", samples="instant") as emulator:
        yield emulator


@pytest.fixture
def emulator(server: Emulator) -> Iterator[Emulator]:
    yield server
    server.break_down(clear=True)


@pytest.fixture
def context(database: Database, outbox: Outbox, emulator: Emulator) -> Iterator[Context]:
    context = make_context(database, emulator, outbox)
    yield context
    context.solvers.disconnect(Solver.EMULATOR, PARAMETERS)


def make_context(database: Database, emulator: Emulator, outbox: Outbox, **limits: Any) -> Context:
    context = Context(database, SETTINGS.model_copy(update=limits), outbox)
    context.solvers.shared = load_settings(emulator_url=emulator.endpoint, emulator_token=TOKEN)
    return context


def work(context: Context, network: ChosenNetwork, images: int, **options: Any) -> Run:
    """Work on a run of problems of two images; return its row."""
    chosen = RunOptions(**{"batch_size": images, **options})
    made = enqueue_run(context.database, some_images(images), network, Solver.EMULATOR, PARAMETERS, chosen)
    with context.database.reading() as session:
        batches = session.execute(select(Batch.id).where(Batch.run_id == made.id)).scalars().all()
    work_off(context, *(Message(Task.SAMPLE_BATCH, batch) for batch in batches))
    return row(context, made.id)


def row(context: Context, run: int) -> Run:
    with context.database.reading() as session:
        found = session.execute(select(Run).where(Run.id == run)).scalar_one()
        session.expunge(found)
        return found


def problems(context: Context, run: int) -> list[Problem]:
    with context.database.reading() as session:
        query = select(Problem).join(Batch).where(Batch.run_id == run, Problem.charged_us.is_not(None))
        rows = list(session.execute(query).scalars())
        session.expunge_all()
        return rows


def charged(emulator: Emulator, before: int) -> list[float]:
    return [one["charged_us"] for one in emulator.ledger()["problems"][before:]]


def known(emulator: Emulator) -> int:
    return len(emulator.ledger()["problems"])


@pytest.mark.parametrize("path", ["answer.timing.qpu_access_time", "answer.timing"])
def test_a_charge_that_is_not_stated_is_booked_as_its_estimate_and_marked(
    context: Context, working: ChosenNetwork, emulator: Emulator, path: str
) -> None:
    emulator.break_down(
        {"target": "poll", "kind": "hide", "path": path, "count": 1},
        {"target": "answer", "kind": "hide", "path": path, "count": 1},
    )
    run = work(context, working, 12)
    assert run.state is RunState.DONE
    rows = problems(context, run.id)
    guessed = [problem for problem in rows if problem.charge_estimated]
    assert 1 <= len(guessed) < len(rows)
    assert all(problem.charged_us == problem.estimated_us for problem in guessed)
    figures = run.statistics or {}
    assert figures["qpu_charge_estimated_us"] == sum(problem.charged_us or 0 for problem in guessed)
    assert figures["qpu_access_time_us"] == round(sum(problem.charged_us or 0 for problem in rows), 1)
    assert round(figures["qpu_estimated_us"]) == round(figures["qpu_access_time_us"])
    with context.database.reading() as session:
        units = layers_of_run(session, run.id)
    shown = dict(reports.solver_rows(figures, units))["QPU time"]
    assert "ms estimated: the solver stated no charge" in shown
    assert_spendings_agree(context.database)


def test_a_charge_is_the_access_time_over_the_solvers_rate_in_steps_of_0_1_us(
    context: Context, working: ChosenNetwork, emulator: Emulator
) -> None:
    before = known(emulator)
    emulator.break_down({**CHARGE, "spread": 0.001}, quota_conversion_rate=3)
    run = work(context, working, 12)
    rows = problems(context, run.id)
    ours = sorted(problem.charged_us or 0 for problem in rows)
    assert ours == sorted(charged(emulator, before))
    assert all(us == round(us, 1) for us in ours)
    assert any(us != round(us) for us in ours)
    for problem in rows:
        access_us = (problem.timing or {})["qpu_access_time"]
        assert problem.charged_us == round(access_us / 3, 1)
        assert problem.estimated_us == pytest.approx(access_us / 3, rel=0.0011)
    with context.database.reading() as session:
        spent = queries.spending_of_run(session, run.id)
        stored = session.execute(select(func.sum(Spending.spent_us))).scalar_one()
    assert spent.charged_us == round(sum(ours), 1) == round(stored, 1)
    assert_spendings_agree(context.database)


def test_a_solver_without_a_timing_model_is_assumed_to_be_slow_until_it_answers(
    context: Context, working: ChosenNetwork, emulator: Emulator
) -> None:
    emulator.break_down({"target": "solvers", "kind": "hide", "path": "properties.problem_timing_data"})
    run = work(context, working, 12)
    assert run.state is RunState.DONE
    rows = problems(context, run.id)
    assert all((problem.estimated_us or 0) > (problem.charged_us or 0) > 0 for problem in rows)
    with context.database.reading() as session:
        ratio = charge_ratio(session, str(rows[0].graph_id))
    assert ratio == pytest.approx((rows[0].charged_us or 0) / (rows[0].estimated_us or 1), abs=1e-4)
    assert_spendings_agree(context.database)


@pytest.mark.parametrize(
    ("fault", "learned"),
    [
        ({"factor": 1.4}, False),
        ({"factor": 1.4}, True),
        ({"spread": 0.001}, False),
        ({"factor": 1.4, "spread": 0.3}, False),
    ],
    ids=["1.4", "1.4, learned", "0.1 %", "1.4 and 30 %"],
)
def test_a_budget_is_exceeded_by_one_problem_at_most(
    context: Context, working: ChosenNetwork, emulator: Emulator, fault: dict[str, Any], learned: bool
) -> None:
    probe = work(context, working, 2)
    each_us = problems(context, probe.id)[0].estimated_us or 0
    with context.database.transaction() as session:  # nothing is known of these charges
        session.execute(update(Problem).values(graph_id="other"))
    emulator.break_down({**CHARGE, **fault})
    if learned:
        work(context, working, 24)
    before = known(emulator)
    budget_us = 10 * each_us
    run = work(context, working, 48, budget_us=budget_us)
    assert (run.state, run.paused_by) == (RunState.PAUSED, PausedBy.BUDGET)
    costs = charged(emulator, before)
    assert budget_us - 2 * max(costs) < sum(costs) <= budget_us + max(costs)
    assert len(problems(context, run.id)) == len(costs)
    if learned:
        assert sum(costs) <= budget_us
        with context.database.reading() as session:
            (planned,) = (each for each in waiting_runs(session) if each.run_id == run.id)
        assert planned.qpu_us == pytest.approx(1.4 * each_us * (planned.problems or 0), rel=1e-3)
    assert_spendings_agree(context.database)


def test_a_months_budget_pauses_until_the_first_of_the_next(
    context: Context, working: ChosenNetwork, emulator: Emulator
) -> None:
    probe = work(context, working, 2)
    each_us = problems(context, probe.id)[0].charged_us or 0
    with context.database.transaction() as session:  # earlier in this month
        today = context.database.now(session).date()
        session.execute(update(Spending).values(day=today.replace(day=1)))
    outbox = Outbox()
    careful = make_context(context.database, emulator, outbox, month_budget_s=3.01 * each_us / 1e6)
    run = work(careful, working, 12)
    assert (run.state, run.paused_by) == (RunState.PAUSED, PausedBy.MONTH)
    assert "first of the next month" in (run.pause_reason or "")
    assert len(problems(context, run.id)) == 2
    with context.database.reading() as session:
        assert progress_of(session, run.id, context.database.now(session)).waits == run.pause_reason
    reconcile.reconcile(context.database, context.settings, Outbox())
    assert row(context, run.id).state is RunState.PAUSED
    assert run.paused_at is not None
    earlier = run.paused_at.replace(day=1) - timedelta(days=1)
    with context.database.transaction() as session:
        session.execute(update(Run).where(Run.id == run.id).values(paused_at=earlier))
    reconcile.reconcile(context.database, context.settings, Outbox())
    assert row(context, run.id).state is RunState.RUNNING
    careful.solvers.disconnect(Solver.EMULATOR, PARAMETERS)
