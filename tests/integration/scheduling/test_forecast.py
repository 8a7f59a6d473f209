"""Figures of `annealq plan`, before and after a night."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from sqlalchemy import insert, update

from producer.forecasts import workload
from producer.networks.chosen import ChosenNetwork
from producer.runs import control
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.calendar.run_hours import RunHours
from schema.calendar.windows import Windows
from schema.database import Database
from schema.errors import ParameterError
from schema.parameters import Parameters, Round, Solver
from schema.states import BatchState, PreparationState, ProblemState, RunState
from schema.tables import Batch, Preparation, Problem, Run
from tests.integration.conftest import START, Cli, Clock, some_images

EACH_US = 20_000


def enqueue(database: Database, network: ChosenNetwork, images: int = 50, **options: object) -> int:
    chosen = RunOptions(**{"batch_size": 25, **options})  # type: ignore[arg-type]
    seed = options.get("priority", 0)
    pictures = some_images(images, seed=seed)  # type: ignore[arg-type]
    return enqueue_run(
        database,
        pictures,
        network,
        Solver.EMULATOR,
        Parameters(reads=10, seed=seed),
        chosen,  # type: ignore[arg-type]
    ).id


def add_problem(database: Database, run: int, first: int, state: ProblemState, **values: object) -> None:
    """Insert a problem of ten images of a run's first batch."""
    with database.transaction() as session:
        batch = session.query(Batch.id).where(Batch.run_id == run).order_by(Batch.ordinal).limit(1).scalar()
        sent = state is not ProblemState.RESERVED
        row = {
            "batch_id": batch,
            "ordinal": first,
            "first_image": first,
            "count": 10,
            "label": f"annealq:{run}-{first}",
            "sapi_id": f"{run}-{first}" if sent else None,
            "state": state,
            "estimated_us": EACH_US,
            "reserved_at": database.now(session),
            "sending_at": database.now(session) if sent else None,
            "answered_at": database.now(session) if state is ProblemState.ANSWERED else None,
        }
        session.execute(insert(Problem).values({**row, **values}))


def test_estimates_come_from_problems_of_its_own_or_of_a_run_that_is_alike(
    timed: Database, network: ChosenNetwork
) -> None:
    first = enqueue(timed, network)
    other = enqueue(timed, network, priority=1)  # another seed: the same problems
    with timed.reading() as session:
        assert [one.problems for one in workload.waiting_runs(session)] == [None, None]
    add_problem(timed, first, 0, ProblemState.ANSWERED, charged_us=EACH_US)
    add_problem(timed, first, 10, ProblemState.SENT)
    with timed.reading() as session:
        alike, own = workload.waiting_runs(session)
    assert (alike.run_id, alike.images, alike.problems, alike.basis) == (other, 50, 6, f"run {first}")
    assert (own.images, own.problems, own.qpu_us) == (30, 4, 4 * EACH_US)  # 5 and 25 are not submitted yet


def test_estimates_come_from_dry_runs(timed: Database, network: ChosenNetwork) -> None:
    enqueue(timed, network)
    with timed.transaction() as session:
        values = {
            "network_id": network.id,
            "solver": Solver.EMULATOR,
            "parameters": Parameters(reads=10, seed=7).to_dict(),
            "images": 100,
            "batch_size": 100,
            "time_limit_s": 60.0,
            "state": PreparationState.READY,
            "plan": {"problems": 4, "qpu_us": 4 * EACH_US, "tiles": 25},
            "created_at": START,
            "finished_at": START,
        }
        session.execute(insert(Preparation).values(values))
    with timed.reading() as session:
        (one,) = workload.waiting_runs(session)
    assert (one.problems, one.qpu_us) == (2, 2 * EACH_US)
    assert one.basis.startswith("dry run")


def test_rounds_of_reads_that_have_not_begun_are_counted(timed: Database, network: ChosenNetwork) -> None:
    parameters = Parameters(reads=10, rounds=(Round(30, 1.0, 0.4),))
    options = RunOptions(batch_size=25)
    run = enqueue_run(timed, some_images(50), network, Solver.EMULATOR, parameters, options).id
    add_problem(timed, run, 0, ProblemState.ANSWERED, charged_us=EACH_US)
    with timed.reading() as session:
        (one,) = workload.waiting_runs(session)
    # 20 images at most in two problems, each three times as dear as one of 10 reads.
    assert (one.images, one.problems, one.qpu_us) == (40, 7, (5 + 2 * 3) * EACH_US)
    assert one.basis.endswith("20 images again at most")
    with timed.transaction() as session:
        session.execute(update(Run).where(Run.id == run).values(round=2))
    with timed.reading() as session:
        (one,) = workload.waiting_runs(session)
    assert one.problems == 5


def test_a_local_run_is_planned_by_what_was_measured(timed: Database, network: ChosenNetwork) -> None:
    made = [
        enqueue_run(timed, some_images(40, seed=reads), network, Solver.LOCAL, Parameters(reads=reads)).id
        for reads in (100, 200)
    ]
    done = {"state": RunState.DONE, "statistics": {"images_per_second": 10.0}, "finished_at": START}
    with timed.transaction() as session:
        session.execute(update(Run).where(Run.id == made[0]).values(**done))
    with timed.reading() as session:
        (one,) = workload.waiting_runs(session)
    assert (one.seconds, one.qpu_us) == (pytest.approx(40 / 10 * 2), 0)


def test_a_local_run_without_a_measured_one_has_an_assumed_duration(
    cli: Cli, timed: Database, network: ChosenNetwork
) -> None:
    for reads in (100, 200):
        enqueue_run(timed, some_images(40, seed=reads), network, Solver.LOCAL, Parameters(reads=reads))
    enqueue_run(timed, some_images(40), network, Solver.EXACT, Parameters())
    with timed.reading() as session:
        one, two, exact = workload.waiting_runs(session)
    assert one.seconds
    assert two.seconds == pytest.approx(2 * one.seconds)
    assert one.basis.startswith("assumed: nothing measured")
    assert exact.seconds is None
    planned = json.loads(cli("plan", "--json"))["runs"]
    assert [run["seconds"] for run in planned] == [pytest.approx(one.seconds), pytest.approx(two.seconds), 0]
    printed = cli("plan")
    assert "time" in printed
    assert "QPU" not in printed


def test_the_command_plans_and_reports(
    cli: Cli, timed: Database, clock: Clock, network: ChosenNetwork
) -> None:
    run = enqueue(
        timed, network, budget_us=5 * EACH_US, hours=RunHours(Windows.parse(["22:00-06:00"], "UTC"))
    )
    add_problem(timed, run, 0, ProblemState.ANSWERED, charged_us=EACH_US)
    clock.forward(3600)
    add_problem(timed, run, 10, ProblemState.ANSWERED, charged_us=EACH_US, wasted_us=500)
    add_problem(timed, run, 20, ProblemState.FAILED, count=5, sapi_id=None)
    with timed.transaction() as session:
        session.execute(
            update(Batch)
            .where(Batch.run_id == run, Batch.ordinal == 0)
            .values(state=BatchState.SCORED, sampled_at=timed.now(session), scored_at=timed.now(session))
        )
    planned = json.loads(cli("plan", "--json", "--price-per-minute", 60, "--currency", "EUR"))
    (one,) = planned["runs"]
    assert one["budget_left_us"] == 3 * EACH_US - 500
    assert (one["left_qpu_us"] + one["qpu_us"], one["window"]) == (3 * EACH_US, "22:00-06:00 UTC")
    assert planned["cost"] == pytest.approx(one["qpu_us"] / 1e6)
    assert f"{run}: random" in cli("plan", "--price-per-minute", 60, "--currency", "EUR")
    told = json.loads(cli("plan", "--since", (START + timedelta(minutes=30)).isoformat(), "--json"))
    (one,) = told["runs"]
    assert (one["images"], one["left_images"], one["problems"]) == (25, 25, 1)
    assert (one["charged_us"], one["wasted_us"], one["failed_problems"]) == (EACH_US, 500, 1)
    assert told["charged_us"] == EACH_US
    assert "nothing ran" in cli("plan", "--last")  # by the real clock the last night was long after
    with timed.reading() as session:
        assert workload.last_window_opened(session, clock.now) == START - timedelta(hours=2)
    control.pause(timed, run)
    assert "paused by hand" in cli("plan")
    for wrong in (("--since", "22:00", "--last"), ("--currency", "EUR"), ("--price-per-minute", "nan")):
        with pytest.raises(ParameterError):
            cli("plan", *wrong)
