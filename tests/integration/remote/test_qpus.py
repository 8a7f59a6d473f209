"""A run tells which QPU each of its problems ran on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from producer.networks.chosen import ChosenNetwork
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.database import Database
from schema.parameters import Parameters, Solver, Visible
from schema.settings import load as load_settings
from schema.states import RunState
from schema.tables import Problem, Run
from tests.emulators import TOKEN, Emulator
from tests.integration.conftest import USE_CASES, Cli, Outbox, some_images
from worker.context import Context
from worker.process.settings import WorkerSettings
from worker.scheduling.dispatch import dispatch

PARAMETERS = Parameters(reads=20, tiles=2, visible=Visible.FOLDED)
IMAGES = 8
SETTINGS = WorkerSettings(
    retry_base_s=0.01,
    quarantine_s=0.3,
    collect_s=0.5,
    solver_timeout_s=5.0,
    solver_refresh_s=0.1,
    in_flight=4,
    probe_s=0.1,
    retry_limit_s=0.2,
    breaker_failures=2,
    rehint_s=0.1,
)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """Two QPUs, of which the first is larger."""
    solvers = ("--solver=large=pegasus:6:6:10", "--solver=small=pegasus:6:40:10")
    with Emulator(*solvers, f"--token={TOKEN}", samples="instant") as running:
        yield running


@pytest.fixture
def context(database: Database, outbox: Outbox, emulator: Emulator) -> Iterator[Context]:
    made = Context(database, SETTINGS, outbox)
    made.solvers.shared = load_settings(emulator_url=emulator.endpoint, emulator_token=TOKEN)
    yield made
    made.solvers.close()


def enqueue(context: Context, network: ChosenNetwork, qpu: str | None = None) -> int:
    parameters, options = replace(PARAMETERS, qpu=qpu), RunOptions(batch_size=2)
    return enqueue_run(
        context.database, some_images(IMAGES), network, Solver.EMULATOR, parameters, options
    ).id


def work(
    context: Context, run: int, seconds: float = 20.0, *, until: Callable[[], bool] | None = None
) -> RunState:
    """Do what the hints ask for until the run has ended, ``until`` holds, or ``seconds`` have passed."""
    outbox, deadline = context.hints, time.monotonic() + seconds
    assert isinstance(outbox, Outbox)
    while time.monotonic() < deadline and not (until is not None and until()):
        if (state := row_of(context, run).state) in (RunState.DONE, RunState.FAILED):
            return state
        if outbox.sent:
            message = outbox.sent.pop(0)
            USE_CASES[message.task](context, message.row)
        else:
            time.sleep(0.02)
            dispatch(context.database, context.settings, outbox)
    return row_of(context, run).state


def row_of(context: Context, run: int) -> Any:
    columns = (Run.state, Run.qpu, Run.graph_id, Run.error)
    with context.database.reading() as session:
        return session.execute(select(*columns).where(Run.id == run)).one()


def names(context: Context) -> list[str | None]:
    with context.database.reading() as session:
        return list(session.execute(select(Problem.qpu).order_by(Problem.id)).scalars())


def test_a_run_tells_on_which_qpu_its_problems_ran(
    context: Context, working: ChosenNetwork, emulator: Emulator, cli: Cli
) -> None:
    run = enqueue(context, working)
    assert work(context, run) is RunState.DONE
    charged = sum(one["charged_us"] for one in emulator.ledger()["problems"])
    shown = json.loads(cli("runs", "show", run, "--json"))
    graph = shown["graph_id"]
    assert (row_of(context, run).qpu, shown["qpu"], graph) == (
        "large",
        "large",
        row_of(context, run).graph_id,
    )
    (use,) = shown["qpus"]
    assert use.pop("qpu_time_us") == pytest.approx(charged, abs=len(names(context)))
    assert use == {"qpu": "large", "graph_id": graph, "problems": IMAGES // 2, "images": IMAGES}
    line = f"large, graph {graph}: {IMAGES // 2} problems, {IMAGES} images"
    assert line in " ".join(cli("runs", "show", run).split())
    assert line in cli("runs", "report", run)
    exported = json.loads(cli("runs", "export", run, "--format", "json"))
    assert [(row["qpu"], row["graph_id"]) for row in exported] == [("large", graph)] * IMAGES
