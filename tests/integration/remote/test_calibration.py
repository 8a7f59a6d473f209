"""Calibrations on qubits: all that is compared, on the same reads, within one budget of QPU time."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console
from sqlalchemy import func, select, update

from producer import jobs
from producer.calibration import queries
from producer.calibration.enqueue import enqueue_calibration
from producer.calibration.grid import ParameterGrid
from producer.context import AppContext
from producer.networks.chosen import ChosenNetwork
from producer.reports import solver as reports_solver
from producer.reports.calibration import calibration_text
from producer.reports.progress import watch_calibration
from producer.runs import dry_runs
from producer.runs import queries as runs_queries
from producer.runs.dry_runs import enqueue_dry_run
from producer.runs.request import RunRequest
from producer.runs.rescore import enqueue_rescored, hinted_batches
from producer.runs.summary import run_object
from schema.database.crash_points import CrashPoint
from schema.errors import AnnealqError, IdempotencyConflict, ParameterError
from schema.messages import Message, Task
from schema.parameters import Parameters, Round, Solver, Unembedding, Visible
from schema.settings import load as load_settings
from schema.settings.worker import WorkerSettings
from schema.states import CalibrationState, PausedBy, PlanState, RunState
from schema.tables import Run, Spending
from tests.emulators import TOKEN, Emulator
from tests.integration.conftest import Outbox, some_images, work_off
from worker import reconcile
from worker.context import Context
from worker.network import inference
from worker.pipeline import plan_calibration as planning
from worker.pipeline.dry_run import plan_dry_run
from worker.pipeline.plan_calibration import plan_calibration
from worker.records import attempts
from worker.records.networks import Registry

GRID = ParameterGrid.embedded(reads=40, qpu="tiny", tiles=2, visibles=(Visible.FOLDED,), factors=(1.0,))
IMAGES = 12


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator("--solver=tiny=pegasus:6:6:10", f"--token={TOKEN}", samples="instant") as emulator:
        yield emulator


@pytest.fixture
def context(database: Any, outbox: Outbox, emulator: Emulator) -> Iterator[Context]:
    context = Context(database, WorkerSettings(max_attempts=2, solver_timeout_s=5.0, in_flight=8), outbox)
    context.solvers.shared = load_settings(emulator_url=emulator.endpoint, emulator_token=TOKEN)
    yield context
    context.solvers.disconnect(Solver.EMULATOR, Parameters(qpu="tiny"))


def calibrate(
    context: Context,
    network: ChosenNetwork,
    budget_us: int | None = None,
    images: int = IMAGES,
    *,
    labels: NDArray[np.int64] | None = None,
) -> queries.CalibrationSummary:
    offered = some_images(images)
    offered = offered if labels is None else replace(offered, labels=labels)
    made = enqueue_calibration(context.database, offered, network, Solver.EMULATOR, GRID, budget_us)
    work_off(context, Message(Task.PLAN_CALIBRATION, made.id))
    return found(context, made.id)


def found(context: Context, calibration: int) -> queries.CalibrationSummary:
    with context.database.reading() as session:
        return queries.get(session, calibration)


def spent_us(context: Context) -> float:
    with context.database.reading() as session:
        return session.execute(select(func.sum(Spending.spent_us))).scalar_one()


def printed(calibration: queries.CalibrationSummary) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(calibration_text(calibration))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_everything_is_compared_on_one_set_of_reads_and_its_price_is_told(
    context: Context, working: ChosenNetwork
) -> None:
    fitted = calibrate(context, working, budget_us=10_000_000)
    assert fitted.state is CalibrationState.READY, fitted.error
    measured, parameters = fitted.measured or {}, Parameters.from_dict(fitted.parameters or {})
    settings = [(each["chain_strength"], each["scale"]) for each in measured["candidates"]]
    assert settings == [(1.414, 1.0), (1.414, 2.0), (1.0, 1.0)]
    assert {choice["unembedding"] for choice in measured["choices"]} == {
        Unembedding.MINIMIZE_ENERGY,
        Unembedding.MAJORITY_VOTE,
        Unembedding.DISCARD,
    }
    assert measured["spent_us"] == pytest.approx(spent_us(context), abs=0.1)
    assert measured["spent_us"] == pytest.approx(sum(each["spent_us"] for each in measured["candidates"]))
    assert measured["controls"]["random_bits"]["images"] == IMAGES
    text = printed(fitted)
    assert f"3 settings on {IMAGES} images each" in text
    assert "s of 10 s QPU time" in text
    assert "by random bits" in text
    # Scoring the stored reads of the chosen setting by the chosen parameters gives what is promised.
    source = measured["candidates"][measured["chosen"][0]]["run"]
    names = ("reads", "rule", "fraction", "beta", "unembedding")
    changes = {name: getattr(parameters, name) for name in names}
    again = enqueue_rescored(context.database, source, changes).id
    with context.database.reading() as session:
        hints = [Message(Task.AGGREGATE_BATCH, batch) for batch in hinted_batches(session, again)]
    work_off(context, *hints)
    with context.database.reading() as session:
        assert runs_queries.counts(session, again).accuracy == pytest.approx(fitted.accuracy)
        statistics = session.execute(select(Run.statistics).where(Run.id == again)).scalar_one() or {}
    for name, control in measured["controls"].items():
        assert statistics["controls"][name]["accuracy"] == control["accuracy"], name


def test_its_runs_share_one_budget_and_the_pause_is_told(context: Context, working: ChosenNetwork) -> None:
    calibrate(context, working)
    whole = spent_us(context)
    budget_us = round(0.6 * whole)  # each run alone would need a third
    images = some_images(IMAGES, seed=1)
    made = enqueue_calibration(context.database, images, working, Solver.EMULATOR, GRID, 10_000_000)
    plan_calibration(context, made.id)
    with context.database.transaction() as session:  # charges turn out to be far above their estimates
        session.execute(update(Run).where(Run.calibrates == made.id).values(budget_us=budget_us))
    work_off(context, Message(Task.DISPATCH))
    waiting = found(context, made.id)
    assert waiting.state is CalibrationState.WAITING
    assert 0.4 * whole < spent_us(context) - whole <= budget_us
    with context.database.reading() as session:
        query = select(Run.paused_by, Run.pause_reason).where(Run.state == RunState.PAUSED)
        by, reason = session.execute(query).all()[0]
    assert by is PausedBy.BUDGET
    assert "the calibration's budget" in (reason or "")
    with pytest.raises(AnnealqError, match=r"is paused: .*calibration's budget"):
        watch_calibration(context.database, waiting.calibration_id, Console(file=io.StringIO()))


def runs_of(context: Context, calibration: int) -> list[tuple[int, str]]:
    with context.database.reading() as session:
        query = select(Run.images, Run.content_sha256).where(Run.calibrates == calibration).order_by(Run.id)
        return [(images, digest) for images, digest in session.execute(query)]


def test_a_budget_decides_about_the_images_before_any_problem_is_sent(
    context: Context, working: ChosenNetwork, emulator: Emulator
) -> None:
    calibrate(context, working)
    sent, whole = emulator.ledger(), spent_us(context)  # 12 images, 2 in a problem
    offered, budget_us = some_images(60, seed=2), round(2.5 * whole)
    made = enqueue_calibration(context.database, offered, working, Solver.EMULATOR, GRID, budget_us)
    assert (found(context, made.id).plan_state, found(context, made.id).runs) == (PlanState.QUEUED, 0)
    plan_calibration(context, made.id)
    planned = found(context, made.id)
    assert (planned.state, planned.plan_state) == (CalibrationState.WAITING, PlanState.READY)
    assert planned.runs == 3
    assert 20 <= planned.images <= 28
    assert {images for images, _ in runs_of(context, made.id)} == {planned.images}
    assert emulator.ledger() == sent
    work_off(context, Message(Task.DISPATCH))
    assert found(context, made.id).state is CalibrationState.READY
    assert spent_us(context) - whole <= budget_us


def test_a_budget_for_too_few_images_fails_the_calibration_and_names_one_that_suffices(
    context: Context, working: ChosenNetwork
) -> None:
    calibrate(context, working)
    whole = spent_us(context)
    with pytest.raises(ParameterError, match=r"does not suffice for one problem with each of 3 settings"):
        calibrate(context, working, 1_000)
    failed = calibrate(context, working, round(0.5 * whole), images=30)
    assert (failed.state, failed.plan_state, failed.runs) == (CalibrationState.FAILED, PlanState.FAILED, 0)
    assert "raise it to" in (failed.error or "")
    assert spent_us(context) == whole


def test_a_worker_that_dies_while_it_plans_leaves_no_run_and_another_plans_the_same(
    context: Context, working: ChosenNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies where it would be killed: just before, and just after, the runs are committed."""

    class Killed(BaseException):
        pass

    def die(at: CrashPoint) -> None:
        def reach(point: CrashPoint) -> None:
            if point is at:
                raise Killed

        monkeypatch.setattr(planning, "reach", reach)

    made = enqueue_calibration(context.database, some_images(IMAGES), working, Solver.EMULATOR, GRID)
    die(CrashPoint.PLANNING)
    with pytest.raises(Killed):
        plan_calibration(context, made.id)
    assert runs_of(context, made.id) == []
    assert found(context, made.id).plan_state is PlanState.PLANNING
    plan_calibration(context, made.id)  # the lease has not expired: it is another worker's
    assert runs_of(context, made.id) == []
    with context.database.transaction() as session:
        expired = context.database.now(session) + timedelta(seconds=context.settings.lease_s + 1)
        attempts.release_expired(session, now=expired, settings=context.settings)
    assert found(context, made.id).plan_state is PlanState.QUEUED
    die(CrashPoint.PLANNED)
    with pytest.raises(Killed):
        plan_calibration(context, made.id)
    planned = runs_of(context, made.id)
    assert len(planned) == 3
    monkeypatch.undo()
    plan_calibration(context, made.id)
    assert runs_of(context, made.id) == planned
    outbox = context.hints
    assert isinstance(outbox, Outbox)
    reconcile.reconcile(context.database, context.settings, outbox)
    work_off(context, *outbox.take())
    assert found(context, made.id).state is CalibrationState.READY
    assert runs_of(context, made.id) == planned


def test_visible_units_that_are_asked_for_are_the_only_ones_compared() -> None:
    own = dict.fromkeys(Visible, 1.0)
    grid = ParameterGrid.embedded(visibles=(Visible.SAMPLED,))
    assert {each.visible for each in grid.parameters(own)} == {Visible.SAMPLED}


def test_a_dry_run_without_a_named_qpu_prices_a_full_problem(
    context: Context, working: ChosenNetwork
) -> None:
    parameters = Parameters(reads=20, tiles=2, visible=Visible.FOLDED)
    dry_run = enqueue_dry_run(
        context.database, working.id, Solver.EMULATOR, parameters, images=2, batch_size=2
    )
    plan_dry_run(context, dry_run)
    with context.database.reading() as session:
        made = dry_runs.get(session, dry_run)
    assert (made.error, made.plan["tiles"], made.plan["problems"]) == (None, 2, 1)
    assert made.plan["qpu_us"] > 0
    assert made.plan["later_qpu_us"] == 0
    context.solvers.disconnect(Solver.EMULATOR, parameters)


def test_a_dry_run_counts_later_rounds_of_reads_at_most(context: Context, working: ChosenNetwork) -> None:
    """Half of 8 images, 20 more reads each: two problems of two images, as dear as two of the first four."""
    parameters = Parameters(reads=20, rounds=(Round(20, 1.0, 0.5),), tiles=2, visible=Visible.FOLDED)
    dry_run = enqueue_dry_run(
        context.database, working.id, Solver.EMULATOR, parameters, images=8, batch_size=8
    )
    plan_dry_run(context, dry_run)
    with context.database.reading() as session:
        made = dry_runs.get(session, dry_run)
    assert made.error is None
    assert made.plan["later_qpu_us"] == pytest.approx(made.plan["qpu_us"] / 2, rel=0.01)
    costs = reports_solver.costs(made, "some", parameters, 8) | {"qpus": []}
    console = Console(file=io.StringIO(), width=100)
    console.print(reports_solver.costs_text(costs))
    assert "more by later rounds of reads" in console.file.getvalue()  # type: ignore[attr-defined]
    context.solvers.disconnect(Solver.EMULATOR, parameters)


def test_a_target_takes_the_cheapest_measured_setting_and_its_run_says_if_it_was_kept(
    context: Context, working: ChosenNetwork
) -> None:
    app = AppContext(load_settings(), context.database)
    with context.database.reading() as session:  # random labels may all be wrong
        trained = Registry().get(session, working.id)
    known = (trained.architecture, trained.weights, some_images(IMAGES).images)
    fitted = calibrate(context, working, labels=inference.classify(*known))
    measured = fitted.measured or {}
    images = some_images(IMAGES)
    request = RunRequest(solver=Solver.EMULATOR, network=working.pinned, target=0.05, budget_us=10_000_000)
    run, calibration = jobs.submit(app, request, images, "night", notify=lambda: None)
    assert calibration is not None
    assert calibration.id == fitted.calibration_id
    work_off(context, Message(Task.DISPATCH))
    with context.database.reading() as session:
        shown = run_object(session, run.id)
    promise = shown["promise"]
    cheapest = min(min(each["costs"]) for each in measured["candidates"])
    assert promise["qpu_us"] <= cheapest * IMAGES * 1.01  # later rounds may be cheaper than one
    assert shown["statistics"]["qpu_access_time_us"] <= promise["qpu_us"] * 1.3
    assert shown["parameters"]["qpu"] == "tiny"
    assert shown["parameters"]["reads"] == promise["rounds"][0][0]
    assert [row["chosen"] for row in promise["front"]].count(True) == 1
    assert promise["outcome"] == {
        "accuracy": shown["accuracy"] >= 0.05,
        "budget": True,
        "time": None,
        "kept": shown["accuracy"] >= 0.05,
    }
    # The same key is the same run, although another calibration has been made since.
    calibrate(context, working)
    again, _ = jobs.submit(app, request, images, "night", notify=lambda: None)
    assert (again.id, again.created) == (run.id, False)
    with pytest.raises(IdempotencyConflict, match="target"):
        jobs.submit(app, replace(request, target=0.06), images, "night", notify=lambda: None)
    with pytest.raises(ParameterError, match=r"cannot be promised for 12 images: --target"):
        jobs.submit(app, replace(request, target=0.9999), images, notify=lambda: None)
    with pytest.raises(ParameterError, match=r"annealing_time_us: a target needs a calibration"):
        jobs.submit(app, replace(request, asked={"annealing_time_us": 50.0}), images, notify=lambda: None)
