"""A run that names several QPUs, `any` or `cheapest`: each batch is given to one of them, with its reason."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from rich.console import Console
from sqlalchemy import delete, insert, select, update

from producer.networks.chosen import ChosenNetwork
from producer.progress.stages import progress_of
from producer.reports.solver import comparison_table
from producer.runs import dry_runs, qpus
from producer.runs.dry_runs import enqueue_dry_run
from producer.runs.enqueue import RunOptions, enqueue_run
from producer.runs.queries import counts
from schema.database import Database
from schema.parameters import Parameters, Solver, Visible
from schema.settings import load as load_settings
from schema.settings.worker import WorkerSettings
from schema.states import BatchState, RunState
from schema.tables import Batch, Breaker, Event, Problem, Run
from tests import PATIENCE_S
from tests.emulators import TOKEN, Emulator
from tests.integration.conftest import USE_CASES, Cli, Outbox, some_images
from tests.ledgers import assert_spendings_agree
from worker.context import Context
from worker.pipeline.dry_run import plan_dry_run
from worker.records import batches, claims
from worker.records.attempts import release_expired
from worker.scheduling.dispatch import dispatch

PARAMETERS = Parameters(reads=20, tiles=2, visible=Visible.FOLDED)
BATCH, BATCHES = 4, 3
SETTINGS = WorkerSettings(
    retry_base_s=0.01, quarantine_s=0.3, probe_s=0.1, retry_limit_s=0.2,
    breaker_failures=2, rehint_s=0.1, check_problems=False,
)  # fmt: skip
DEAR, CHEAP = "zephyr", "pegasus"


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    """Three QPUs: a problem takes 28 ms on one, 18 ms on the next, and the last has 8 qubits."""
    chips = (f"{DEAR}=zephyr:3:3:5", f"{CHEAP}=pegasus:4:3:5", "tiny=chimera:1:0:0")
    options = [f"--solver={chip}" for chip in chips]
    with Emulator(*options, f"--token={TOKEN}", samples="instant") as running:
        yield running


@pytest.fixture
def emulator(server: Emulator) -> Iterator[Emulator]:
    yield server
    server.break_down(clear=True, online=[DEAR, CHEAP])


@pytest.fixture
def context(database: Database, outbox: Outbox, emulator: Emulator) -> Iterator[Context]:
    made = Context(database, SETTINGS, outbox)
    made.solvers.shared = load_settings(emulator_url=emulator.endpoint, emulator_token=TOKEN)
    yield made
    made.solvers.close()


def enqueue(
    context: Context, network: ChosenNetwork, qpu: str, *, batches: int = BATCHES, **options: Any
) -> int:
    found, chosen = some_images(BATCH * batches), RunOptions(batch_size=BATCH, **options)
    parameters = replace(PARAMETERS, qpu=qpu)
    return enqueue_run(context.database, found, network, Solver.EMULATOR, parameters, chosen).id


def work(context: Context, run: int, until: Callable[[], bool] = lambda: False) -> RunState:
    outbox, deadline = context.hints, time.monotonic() + PATIENCE_S
    assert isinstance(outbox, Outbox)
    while (state := row_of(context, run).state) not in (RunState.DONE, RunState.FAILED, RunState.PAUSED):
        if until() or time.monotonic() > deadline:
            break
        if outbox.sent:
            message = outbox.sent.pop(0)
            USE_CASES[message.task](context, message.row)
        else:
            time.sleep(0.02)
            dispatch(context.database, context.settings, outbox)
    return RunState(state)


def row_of(context: Context, run: int) -> Any:
    with context.database.reading() as session:
        return session.execute(select(Run.state, Run.qpu, Run.error).where(Run.id == run)).one()


def given(context: Context, run: int) -> list[str | None]:
    """The QPU of each batch, in order."""
    with context.database.reading() as session:
        query = select(Batch.qpu).where(Batch.run_id == run).order_by(Batch.ordinal)
        return list(session.execute(query).scalars())


def reasons(context: Context) -> list[str]:
    with context.database.reading() as session:
        query = select(Event.why).where(Event.subject == "batches", Event.why.startswith("given to QPU"))
        return [why or "" for why in session.execute(query.order_by(Event.id)).scalars()]


def hold(context: Context, run: int, qpu: str) -> None:
    """Let another worker hold the first batch of a run, given to ``qpu``."""
    with context.database.transaction() as session:
        now = context.database.now(session)
        first = select(Batch.id).where(Batch.run_id == run).order_by(Batch.ordinal).limit(1)
        batch = session.execute(first).scalar_one()
        assert claims.claim_batch(session, batch, now=now, lease_s=60) is not None
        batches.give(session, batch, qpu, "for a test", now=now)


def release(context: Context, run: int) -> None:
    """Let the lease of that worker expire."""
    held = (Batch.run_id == run, Batch.state == BatchState.SAMPLING)
    with context.database.transaction() as session:
        now = context.database.now(session)
        session.execute(update(Batch).where(*held).values(lease_until=now - timedelta(seconds=1)))
        release_expired(session, now=now, settings=context.settings)


def embed(context: Context, network: ChosenNetwork) -> None:
    """Find the embeddings on both QPUs, by a batch on each."""
    for qpu in (DEAR, CHEAP):
        assert work(context, enqueue(context, network, qpu, batches=1)) is RunState.DONE


def test_batches_go_where_they_are_done_soonest_and_bills_agree(
    context: Context, working: ChosenNetwork, emulator: Emulator, cli: Cli
) -> None:
    before = emulator.ledger()["problems"]
    run = enqueue(context, working, f"{DEAR},{CHEAP}")
    hold(context, run, CHEAP)
    work(context, run, lambda: None not in given(context, run) and not held_by_us(context, run))
    # While the cheap one has a batch of another worker, the dear one is sooner.
    assert given(context, run) == [CHEAP, DEAR, DEAR]
    assert all(f"{DEAR}: done soonest: {DEAR}: " in why for why in reasons(context)[1:])
    release(context, run)
    assert work(context, run) is RunState.DONE
    assert given(context, run)[0] == CHEAP  # both are idle, and it takes less time there
    assert row_of(context, run).qpu == DEAR  # of the first problem
    shown = json.loads(cli("runs", "show", run, "--json"))
    uses = {use["qpu"]: use for use in shown["qpus"]}
    assert {name: use["images"] for name, use in uses.items()} == {DEAR: 2 * BATCH, CHEAP: BATCH}
    new = emulator.ledger()["problems"][len(before) :]
    billed = {name: sum(one["charged_us"] for one in new if one["solver"] == name) for name in uses}
    assert {name: use["qpu_time_us"] for name, use in uses.items()} == pytest.approx(billed, abs=2.0)
    assert sum(use["time_share"] for use in uses.values()) == pytest.approx(1.0)
    right = sum(use["accuracy"] * use["images"] for use in uses.values())
    assert right == pytest.approx(shown["accuracy"] * BATCH * BATCHES)
    text = " ".join(cli("runs", "show", run).split())
    assert f"% of the QPU time), accuracy {uses[DEAR]['accuracy']:.2%}" in text
    assert_spendings_agree(context.database)


def test_the_cheapest_is_taken_until_it_goes_offline(
    context: Context, working: ChosenNetwork, emulator: Emulator
) -> None:
    run = enqueue(context, working, "cheapest")
    work(context, run, lambda: given(context, run)[1] is not None)
    emulator.break_down(offline=[CHEAP])
    context.solvers.close()  # the list of QPUs is read again
    assert work(context, run) is RunState.DONE
    assert given(context, run) == [CHEAP, CHEAP, DEAR]
    assert f"the least QPU time: {CHEAP}: " in reasons(context)[0]
    assert "tiny" not in reasons(context)[0]


def test_any_takes_all_qpus_of_the_service_that_can_take_the_network(
    context: Context, working: ChosenNetwork, emulator: Emulator
) -> None:
    emulator.break_down(gate_solver="qpu")
    run = enqueue(context, working, "any")
    assert work(context, run) is RunState.DONE
    assert set(given(context, run)) == {CHEAP}  # it is idle whenever a batch begins
    emulator.break_down(gate_solver=False, offline=[DEAR, CHEAP])
    context.solvers.close()
    waiting = enqueue(context, working, "any", batches=2)
    told = f"no QPU takes problems now: {CHEAP}: offline; {DEAR}: offline. The run continues when one does"
    work(context, waiting, lambda: told in waits(context, waiting))
    assert told in waits(context, waiting)
    emulator.break_down(online=[DEAR])
    context.solvers.close()
    assert work(context, waiting) is RunState.DONE
    assert set(given(context, waiting)) == {DEAR}
    assert not is_broken(context, "emulator:any")


def test_an_open_breaker_of_one_qpu_stops_no_batch_that_another_takes(
    context: Context, working: ChosenNetwork, emulator: Emulator
) -> None:
    embed(context, working)
    fail(context, CHEAP, timedelta(minutes=5))
    run = enqueue(context, working, f"{CHEAP},{DEAR}")
    assert work(context, run) is RunState.DONE
    assert set(given(context, run)) == {DEAR}
    assert re.search(f"{CHEAP}: fails, and is asked again in [0-9]+ s: out of order", reasons(context)[-1])
    fail(context, CHEAP, timedelta(0))
    run = enqueue(context, working, f"{CHEAP},{DEAR}")
    assert work(context, run) is RunState.DONE
    assert given(context, run)[0] == CHEAP  # its first batch probes it, and closes the breaker
    assert not is_broken(context, f"emulator:{CHEAP}")


def test_a_budget_is_spent_where_it_suffices_for_all_images(
    context: Context, working: ChosenNetwork, emulator: Emulator
) -> None:
    embed(context, working)
    with context.database.reading() as session:
        rows = session.execute(select(Problem.qpu, Problem.charged_us).where(Problem.qpu == CHEAP))
        problem_us = max(us or 0.0 for _, us in rows)
    problems = BATCHES * BATCH // 2
    run = enqueue(context, working, "any", budget_us=round(problem_us * problems) + 100)
    hold(context, run, CHEAP)  # the other one is sooner
    work(context, run, lambda: not held_by_us(context, run) and None not in given(context, run))
    release(context, run)
    assert work(context, run) is RunState.DONE
    assert set(given(context, run)) == {CHEAP}
    assert any(f"{CHEAP}: done soonest within the budget: " in why for why in reasons(context))
    short = enqueue(context, working, f"{DEAR},{CHEAP}", budget_us=round(problem_us * problems / 2))
    assert work(context, short) is RunState.PAUSED
    assert set(given(context, short)) <= {CHEAP, None}
    assert_spendings_agree(context.database)


def test_a_dry_run_compares_all_qpus_and_says_which_are_chosen(
    context: Context, working: ChosenNetwork, emulator: Emulator, cli: Cli
) -> None:
    run = enqueue(context, working, CHEAP)
    assert work(context, run) is RunState.DONE
    both, only = (dry_run(context, working, qpu) for qpu in (f"{DEAR},{CHEAP}", "cheapest"))
    with context.database.reading() as session:
        measured = qpus.measured_accuracies(session, working.id, "folded")
        (use,) = qpus.uses(session, run, counts(session, run).accuracy)
    rows = {row["qpu"]: row for row in qpus.with_experience(only["qpus"], measured, use.qpu_time_us + 1)}
    assert {name: row["images"] for name, row in rows.items()} == {CHEAP: BATCH * BATCHES, DEAR: 0, "tiny": 0}
    assert rows[CHEAP]["qpu_us"] == only["qpu_us"] == pytest.approx(use.qpu_time_us, abs=2.0)
    assert (rows[CHEAP]["accuracy"], rows[CHEAP]["accuracy_of"]) == (use.accuracy, f"run {run}")
    assert {name: row["fits_budget"] for name, row in rows.items()} == {
        CHEAP: True,
        DEAR: False,
        "tiny": None,
    }
    assert rows[DEAR]["accuracy"] is None
    assert (rows[CHEAP]["why"], rows[DEAR]["why"]) == ("the least QPU time", "dearer")
    assert "10 units" in rows["tiny"]["why"]
    shared = {row["qpu"]: row for row in both["qpus"]}
    assert [row["qpu"] for row in both["qpus"]] == [DEAR, CHEAP, "tiny"]  # in the order of the names
    assert (shared[CHEAP]["images"], shared[DEAR]["images"]) == (2 * BATCH, BATCH)
    assert only["qpu_us"] < both["qpu_us"] < shared[DEAR]["qpu_us"]
    text = io.StringIO()
    Console(file=text, width=80).print(comparison_table(list(rows.values()), "QPUs"))
    assert f"> {CHEAP}" in text.getvalue()
    assert "too small" in text.getvalue()
    half = enqueue(context, working, "cheapest", batches=2, budget_us=round(rows[CHEAP]["qpu_us"] / 2))
    (planned,) = json.loads(cli("plan", "--json"))["runs"]
    left = {row["qpu"]: row for row in planned["qpus"]}
    assert (planned["run_id"], left[CHEAP]["images"]) == (half, 2 * BATCH)
    assert left[CHEAP]["qpu_us"] == pytest.approx(rows[CHEAP]["qpu_us"] * 2 / BATCHES, abs=1)
    assert [row["fits_budget"] for row in planned["qpus"]] == [False, False, None]
    assert f"QPUs of run {half}" in cli("plan")


def dry_run(context: Context, network: ChosenNetwork, qpu: str) -> dict[str, Any]:
    parameters, images = replace(PARAMETERS, qpu=qpu), BATCH * BATCHES
    number = enqueue_dry_run(
        context.database, network.id, Solver.EMULATOR, parameters, images=images, batch_size=BATCH
    )
    plan_dry_run(context, number)
    with context.database.reading() as session:
        return dry_runs.get(session, number).plan


def held_by_us(context: Context, run: int) -> bool:
    """Whether a batch of a run, other than the first, is not sampled yet."""
    states = (BatchState.PENDING, BatchState.SAMPLING)
    with context.database.reading() as session:
        query = select(Batch.id).where(Batch.run_id == run, Batch.ordinal > 0, Batch.state.in_(states))
        return session.execute(query).first() is not None


def waits(context: Context, run: int) -> str:
    with context.database.reading() as session:
        return progress_of(session, run, context.database.now(session)).waits or ""


def is_broken(context: Context, key: str) -> bool:
    with context.database.reading() as session:
        return session.execute(select(Breaker).where(Breaker.solver == key)).first() is not None


def fail(context: Context, qpu: str, wait: timedelta) -> None:
    """Open the breaker of ``qpu`` until ``wait`` has passed."""
    with context.database.transaction() as session:
        now = context.database.now(session)
        values = {"account": context.solvers.account(Solver.EMULATOR), "failures": 2, "error": "out of order"}
        times = {"since": now, "opened_at": now, "retry_at": now + wait}
        session.execute(delete(Breaker))
        session.execute(insert(Breaker).values(solver=f"emulator:{qpu}", **values, **times))
