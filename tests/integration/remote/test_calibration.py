"""Calibrations on qubits: all that is compared, on the same reads, within one budget of QPU time."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console
from sqlalchemy import func, select

from producer.calibration import queries
from producer.calibration.enqueue import enqueue_calibration
from producer.calibration.grid import ParameterGrid
from producer.networks.chosen import ChosenNetwork
from producer.reports.calibration import calibration_text
from producer.reports.progress import watch_calibration
from producer.runs import dry_runs
from producer.runs import queries as runs_queries
from producer.runs.dry_runs import enqueue_dry_run
from producer.runs.rescore import enqueue_rescored, hinted_batches
from schema.errors import AnnealqError
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver, Unembedding, Visible
from schema.settings import load as load_settings
from schema.settings.worker import WorkerSettings
from schema.states import CalibrationState, PausedBy, RunState
from schema.tables import Run, Spending
from tests.emulators import TOKEN, Emulator
from tests.integration.conftest import Outbox, some_images, work_off
from worker.context import Context
from worker.pipeline.dry_run import plan_dry_run

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
    context: Context, network: ChosenNetwork, budget_us: int | None = None
) -> queries.CalibrationSummary:
    images = some_images(IMAGES)
    made = enqueue_calibration(context.database, images, network, Solver.EMULATOR, GRID, budget_us)
    work_off(context, Message(Task.DISPATCH))
    with context.database.reading() as session:
        return queries.get(session, made.id)


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
    assert statistics["controls"] == measured["controls"]


def test_its_runs_share_one_budget_and_the_pause_is_told(context: Context, working: ChosenNetwork) -> None:
    calibrate(context, working)
    whole = spent_us(context)
    budget_us = round(0.6 * whole)  # each run alone would need a third
    waiting = calibrate(context, working, budget_us)
    assert waiting.state is CalibrationState.WAITING
    assert 0.4 * whole < spent_us(context) - whole <= budget_us
    with context.database.reading() as session:
        query = select(Run.paused_by, Run.pause_reason).where(Run.state == RunState.PAUSED)
        by, reason = session.execute(query).all()[0]
    assert by is PausedBy.BUDGET
    assert "the calibration's budget" in (reason or "")
    with pytest.raises(AnnealqError, match=r"is paused: .*calibration's budget"):
        watch_calibration(context.database, waiting.calibration_id, Console(file=io.StringIO()))


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
    context.solvers.disconnect(Solver.EMULATOR, parameters)
