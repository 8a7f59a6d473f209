"""A run tells which QPU each of its problems ran on, and stays on one QPU unless it names several."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select

from producer.calibration.enqueue import enqueue_calibration, newest_calibration
from producer.calibration.grid import ParameterGrid
from producer.embeddings import queries as embeddings_queries
from producer.networks.chosen import ChosenNetwork
from producer.progress.stages import progress_of
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.database import Database
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver, Visible
from schema.settings import load as load_settings
from schema.settings.worker import WorkerSettings
from schema.states import ProblemState, RunState
from schema.tables import Breaker, Embedding, Event, Problem, Run
from tests import PATIENCE_S
from tests.emulators import TOKEN, Emulator, wait_until
from tests.integration.conftest import USE_CASES, Cli, Outbox, some_images
from worker.context import Context
from worker.pipeline.plan_calibration import plan_calibration
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
    context: Context, run: int, seconds: float = PATIENCE_S, *, until: Callable[[], bool] | None = None
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
    """The QPU of each problem that was sent."""
    with context.database.reading() as session:
        sent = select(Problem.qpu).where(Problem.times_sent > 0)
        return list(session.execute(sent.order_by(Problem.id)).scalars())


def answered(context: Context, count: int) -> Callable[[], bool]:
    """Whether this many problems are answered."""

    def enough() -> bool:
        with context.database.reading() as session:
            query = select(func.count()).where(Problem.state == ProblemState.ANSWERED)
            return session.execute(query).scalar_one() >= count

    return enough


def waits(context: Context, run: int) -> str:
    with context.database.reading() as session:
        return progress_of(session, run, context.database.now(session)).waits or ""


def notes(context: Context, run: int) -> list[str]:
    """What the run's events say about its QPU."""
    with context.database.reading() as session:
        events = select(Event.why).where(
            Event.subject == "runs", Event.row == run, Event.source == Event.target
        )
        return list(session.execute(events.order_by(Event.id)).scalars())


def embeddings(context: Context) -> int:
    with context.database.reading() as session:
        return session.execute(select(func.count()).select_from(Embedding)).scalar_one()


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
    assert (use.pop("deprecations"), use.pop("alarm")) == ([], None)
    assert use.pop("qpu_time_us") == pytest.approx(charged, abs=len(names(context)))
    assert (use.pop("time_share"), use.pop("accuracy")) == (1.0, shown["accuracy"])
    assert use == {"qpu": "large", "graph_id": graph, "problems": IMAGES // 2, "images": IMAGES}
    line = f"large, graph {graph}: {IMAGES // 2} problems, {IMAGES} images"
    assert line in " ".join(cli("runs", "show", run).split())
    assert line in cli("runs", "report", run)
    exported = json.loads(cli("runs", "export", run, "--format", "json"))
    assert [(row["qpu"], row["graph_id"]) for row in exported] == [("large", graph)] * IMAGES


@pytest.mark.parametrize("qpu", [None, '{"topology__type": "pegasus"}'])
def test_a_run_stays_on_the_qpu_of_its_first_problem_until_a_user_moves_it(
    context: Context, working: ChosenNetwork, emulator: Emulator, cli: Cli, qpu: str | None
) -> None:
    run = enqueue(context, working, qpu)
    work(context, run, until=answered(context, 1))
    emulator.break_down(offline=["large"])
    work(context, run, 5.0, until=lambda: "--qpu OTHER" in waits(context, run))
    assert "QPU large is offline" in waits(context, run)
    other = enqueue(context, working)
    assert (
        work(context, other) is RunState.DONE
    )  # a run that has sent nothing takes the largest that is online
    assert (row_of(context, run).qpu, row_of(context, other).qpu) == ("large", "small")
    assert "small" not in names(context)[: -IMAGES // 2]
    cli("runs", "resume", run, "--qpu", "small")
    assert work(context, run) is RunState.DONE
    assert notes(context, run) == ["moved by a user to QPU small"]
    shown = json.loads(cli("runs", "show", run, "--json"))
    assert [use["qpu"] for use in shown["qpus"]] == ["large", "small"]
    assert sum(use["images"] for use in shown["qpus"]) == IMAGES
    assert shown["qpu"] == "small"


def test_a_run_goes_on_by_itself_when_its_qpu_is_back(
    context: Context, working: ChosenNetwork, emulator: Emulator
) -> None:
    run = enqueue(context, working)
    work(context, run, until=answered(context, 1))
    emulator.break_down(offline=["large"])
    work(context, run, 1.0, until=lambda: "offline" in waits(context, run))
    emulator.break_down(online=["large"])
    assert work(context, run) is RunState.DONE
    assert set(names(context)) == {"large"}
    assert waits(context, run) == ""


def test_a_run_that_names_several_qpus_goes_on_with_those_that_are_online(
    context: Context, working: ChosenNetwork, emulator: Emulator
) -> None:
    run = enqueue(context, working, "small, large")
    work(context, run, until=answered(context, 1))
    emulator.break_down(offline=["small"])
    assert work(context, run) is RunState.DONE
    assert set(names(context)) == {"small", "large"}
    assert row_of(context, run).qpu == "small"  # of its first problem


def test_a_renamed_qpu_keeps_its_runs_embeddings_and_calibrations(
    context: Context, working: ChosenNetwork, emulator: Emulator
) -> None:
    grid = ParameterGrid.embedded(
        lams=(1.0,), scales=(1.0,), reads=20, visibles=(Visible.FOLDED,), qpu="large", tiles=2
    )
    made = enqueue_calibration(context.database, some_images(2), working, Solver.EMULATOR, grid)
    plan_calibration(context, made.id)
    assert isinstance(context.hints, Outbox)
    assert context.hints.take() == [Message(Task.DISPATCH)]
    with context.database.reading() as session:
        runs = list(session.execute(select(Run.id)).scalars())
    assert {work(context, run) for run in runs} == {RunState.DONE}
    begun = enqueue(context, working)
    work(context, begun, until=lambda: row_of(context, begun).qpu is not None)
    queued = enqueue(context, working, "large")
    emulator.break_down(rename={"large": "larger"})
    assert work(context, begun) is RunState.DONE
    assert work(context, queued) is RunState.DONE
    new = enqueue(context, working, "larger")
    assert work(context, new) is RunState.DONE
    graph = row_of(context, new).graph_id
    for run, renamed in ((begun, True), (queued, True), (new, False)):
        assert row_of(context, run)[1:3] == ("larger", graph)
        expected = [f"solver large is called larger now: its graph is still {graph}"] if renamed else []
        assert notes(context, run) == expected
    assert embeddings(context) == 1
    with context.database.reading() as session:
        fitted = [
            newest_calibration(session, working.id, Solver.EMULATOR, None, name)
            for name in ("large", "larger")
        ]
        assert [choice is not None for choice in fitted] == [True, True]
        assert newest_calibration(session, working.id, Solver.EMULATOR, None, "small") is None
        assert {found.current for found in embeddings_queries.summaries(session)} == {True}
        assert session.execute(select(Breaker)).first() is None


def test_a_qpu_that_is_gone_is_waited_for_and_a_wrong_name_is_not(
    context: Context, working: ChosenNetwork, emulator: Emulator
) -> None:
    wrong = enqueue(context, working, "smal")
    assert work(context, wrong) is RunState.FAILED
    assert "solver not found: smal. The service lists large, small" in row_of(context, wrong).error
    run = enqueue(context, working, "small")
    work(context, run, until=answered(context, 1))
    emulator.break_down(regraph=["small"], rename={"small": "another"})
    work(context, run, 5.0, until=lambda: "not found" in waits(context, run))
    assert "solver not found: small" in waits(context, run)
    emulator.break_down(rename={"another": "small"})
    assert work(context, run) is RunState.DONE


def test_an_outage_of_the_whole_service_fails_no_run_with_an_unknown_solver(
    context: Context, working: ChosenNetwork, emulator: Emulator
) -> None:
    emulator.break_down({"target": "any", "kind": "error", "status": 404})
    run = enqueue(context, working, "small")
    work(context, run, 2.0, until=lambda: waits(context, run) != "")
    assert row_of(context, run).state is RunState.RUNNING
    emulator.break_down(clear=True)
    assert work(context, run) is RunState.DONE


@pytest.mark.parametrize("target", ["submit", "poll", "solvers"])
def test_a_deprecation_is_logged_once_a_day_and_shown(
    context: Context,
    working: ChosenNetwork,
    emulator: Emulator,
    cli: Cli,
    capsys: pytest.CaptureFixture[str],
    target: str,
) -> None:
    kind = {"kind": "deprecate", "message": "large is withdrawn.", "sunset": "2027-01-31"}
    emulator.break_down({"target": target, **kind})
    for seed in range(2):
        parameters = replace(PARAMETERS, qpu="large", seed=seed)
        run = enqueue_run(context.database, some_images(2), working, Solver.EMULATOR, parameters).id
        assert work(context, run) is RunState.DONE
        context.solvers.close()
    assert capsys.readouterr().out.count("solver is deprecated") == 1
    text = "large is withdrawn: withdrawn after 2027-01-31"
    (use,) = json.loads(cli("runs", "show", run, "--json"))["qpus"]
    assert use["deprecations"] == [text]
    assert f"large: {text}" in " ".join(cli("runs", "show", run).split())
    assert f"note: emulator: large: {text}" in cli("doctor")


def test_what_waits_at_a_qpu_that_is_left_is_cancelled_and_sent_to_the_next(
    outbox: Outbox, database: Database, working: ChosenNetwork
) -> None:
    solvers = ("--solver=large=pegasus:6:6:10", "--solver=small=pegasus:6:40:10")
    with Emulator(*solvers, f"--token={TOKEN}", samples="instant", clock="real") as emulator:
        # Without measurements of the chips: they would make problems wait here instead of at the QPU.
        settings = SETTINGS.model_copy(update={"check_problems": False})
        context = Context(database, settings, outbox)
        context.solvers.shared = load_settings(emulator_url=emulator.endpoint, emulator_token=TOKEN)
        # A problem takes 0.2 s, so that three wait when the first is answered.
        parameters = replace(PARAMETERS, qpu="small,large", reads=500, annealing_time_us=300.0)
        options = RunOptions(batch_size=IMAGES)
        run = enqueue_run(database, some_images(IMAGES), working, Solver.EMULATOR, parameters, options).id

        def go_offline() -> None:
            wait_until(answered(context, 1))
            emulator.break_down(offline=["small"])

        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(go_offline)
            assert work(context, run) is RunState.DONE
            done.result()
        context.solvers.close()
        ledger = emulator.ledger()["problems"]
    with database.reading() as session:
        columns = (Problem.sapi_id, Problem.state, Problem.charged_us)
        ours = {name: (state, us or 0) for name, state, us in session.execute(select(*columns))}
    assert {one["id"]: round(one["charged_us"]) for one in ledger} == {
        name: round(us) for name, (_, us) in ours.items()
    }
    states = [state for state, _ in ours.values()]
    assert states.count(ProblemState.ANSWERED) == IMAGES // 2
    assert states.count(ProblemState.CANCELLED) > 0
