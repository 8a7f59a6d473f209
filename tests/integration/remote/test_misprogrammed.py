"""A chip that is programmed wrongly now and then, becomes warmer, or pulls its chains one way: its reads show
it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from producer.networks.chosen import ChosenNetwork
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.database import Database
from schema.messages import Message, Task
from schema.parameters import Gauge, Parameters, Solver, Visible
from schema.settings import load as load_settings
from schema.settings.worker import WorkerSettings
from schema.states import ProblemState, RunState
from schema.tables import Classification, Event, Problem, Rendering, Run, SampleSet
from tests.emulators import TOKEN, Emulator
from tests.integration.conftest import Cli, Outbox, some_images, work_off
from tests.ledgers import assert_spendings_agree
from tests.serving import client, serving
from worker.context import Context
from worker.emulator.qpu import imperfections, presets
from worker.emulator.qpu.solver import EmulatedSolver

TILES = 8
IMAGES = 20 * TILES
PARAMETERS = Parameters(reads=40, tiles=TILES, qpu="tiny", visible=Visible.FOLDED)


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with Emulator("--solver=tiny=pegasus:6:6:10", f"--token={TOKEN}") as emulator:
        yield emulator


@pytest.fixture
def emulator(server: Emulator) -> Iterator[Emulator]:
    yield server
    server.break_down(clear=True)


def a_context(database: Database, outbox: Outbox, emulator: Emulator) -> Context:
    context = Context(database, WorkerSettings(max_attempts=1, quarantine_s=5.0), outbox)
    context.solvers.shared = load_settings(emulator_url=emulator.endpoint, emulator_token=TOKEN)
    return context


@pytest.fixture
def context(database: Database, outbox: Outbox, emulator: Emulator) -> Iterator[Context]:
    context = a_context(database, outbox, emulator)
    yield context
    context.solvers.disconnect(Solver.EMULATOR, PARAMETERS)


def classify(context: Context, network: ChosenNetwork, **options: Any) -> dict[str, Any]:
    """Classify images in one batch; return the run's statistics."""
    images = some_images(options.pop("images", IMAGES))
    parameters = replace(PARAMETERS, gauge=options.pop("gauge", Gauge.NONE))
    chosen = RunOptions(**{"batch_size": IMAGES, **options})
    run = enqueue_run(context.database, images, network, Solver.EMULATOR, parameters, chosen).id
    work_off(context, Message(Task.DISPATCH))
    with context.database.reading() as session:
        row = session.execute(select(Run.state, Run.statistics, Run.error).where(Run.id == run)).one()
        assert row.state is RunState.DONE, row.error
        classified = session.execute(select(Classification.image).where(Classification.run_id == run))
        assert sorted(classified.scalars()) == list(range(len(images.images)))
    assert_spendings_agree(context.database)
    assert row.statistics is not None
    return row.statistics


def rejected(context: Context) -> dict[str, str]:
    """Return id and error of the problems whose reads are not used; their reads must be stored."""
    query = select(Problem.sapi_id, Problem.error).join(SampleSet, SampleSet.problem_id == Problem.id)
    with context.database.reading() as session:
        return dict(session.execute(query.where(Problem.state == ProblemState.FAILED)).all())  # type: ignore[arg-type]


def test_wrong_problems_are_sent_once_more_and_their_reads_are_kept_as_evidence(
    context: Context, working: ChosenNetwork, emulator: Emulator
) -> None:
    before = len(emulator.ledger()["problems"])
    emulator.break_down({"target": "problem", "kind": "misprogram", "count": 2, "spread": 0.15})
    statistics = classify(context, working)
    theirs = emulator.ledger()["problems"][before:]
    wrong = {problem["id"] for problem in theirs if problem.get("misprogrammed")}
    found = rejected(context)
    assert len(wrong) == 2
    assert found.keys() == wrong
    assert all("misprogrammed: its reads are" in error for error in found.values())
    assert (statistics["problems_misprogrammed"], statistics["problems_sent"]) == (2, IMAGES // TILES + 2)
    charged = sum(problem["charged_us"] for problem in theirs)
    assert statistics["qpu_wasted_us"] == pytest.approx(
        sum(problem["charged_us"] for problem in theirs if problem["id"] in wrong), abs=0.05
    )
    assert statistics["qpu_access_time_us"] + statistics["qpu_wasted_us"] == pytest.approx(charged, abs=0.05)


def test_good_problems_are_not_suspect(context: Context, working: ChosenNetwork, emulator: Emulator) -> None:
    statistics = classify(context, working)
    assert statistics["problems_misprogrammed"] == 0
    assert rejected(context) == {}
    assert statistics["inverse_temperature"] > 0.5


def test_a_problem_that_is_wrong_twice_is_believed(
    context: Context, working: ChosenNetwork, emulator: Emulator
) -> None:
    classify(context, working)
    emulator.break_down({"target": "problem", "kind": "misprogram", "count": 2, "spread": 0.15})
    statistics = classify(context, working, images=TILES)
    assert statistics["problems_misprogrammed"] == 1
    assert statistics["problems_sent"] == 2


def test_nothing_is_sent_again_beyond_the_budget(
    context: Context, working: ChosenNetwork, emulator: Emulator
) -> None:
    spent = classify(context, working)["qpu_access_time_us"] / (IMAGES // TILES)
    emulator.break_down({"target": "problem", "kind": "misprogram", "count": 1, "spread": 0.15})
    statistics = classify(context, working, images=TILES, budget_us=round(1.5 * spent))
    assert statistics["problems_misprogrammed"] == 0
    assert statistics["problems_sent"] == 1


def alarm_events(context: Context) -> list[tuple[str, str | None]]:
    query = select(Event.target, Event.why).where(Event.subject == "chips").order_by(Event.id)
    with context.database.reading() as session:
        return [(target, why) for target, why in session.execute(query)]


def test_a_chip_that_becomes_warmer_raises_an_alarm_until_it_is_as_before(
    context: Context, working: ChosenNetwork, emulator: Emulator, cli: Cli
) -> None:
    for _ in range(3):
        classify(context, working)
    assert alarm_events(context) == []
    emulator.break_down(temperature=1.5)
    statistics = classify(context, working)
    ((event, why),) = alarm_events(context)
    assert event == "alarm"
    assert "inverse temperature" in str(why)
    low, high = statistics["chip"]["inverse_temperature"]["usual"]
    assert statistics["chip"]["inverse_temperature"]["median"] < 0.9 * low < high
    assert str(why) in " ".join(cli("runs", "show", 4).split())
    (chip,) = json.loads(cli("embeddings", "chips", "--json"))
    assert (chip["alarm"], chip["measured"]) == (why, 4 * IMAGES // TILES)
    emulator.break_down(clear=True)
    classify(context, working)
    assert [event for event, _ in alarm_events(context)] == ["alarm", "usual"]
    assert json.loads(cli("embeddings", "chips", "--json"))[0]["alarm"] is None
    classify(context, working)  # the problems of the alarm are not part of what is usual
    assert len(alarm_events(context)) == 2


def test_persistent_errors_of_h_show_in_the_map_of_the_chip(
    database: Database,
    database_url: str,
    outbox: Outbox,
    working: ChosenNetwork,
    cli: Cli,
    tmp_path: Path,
) -> None:
    errors = "h_persistent=0.03"
    with Emulator("--solver=tiny=pegasus:6:6:10", f"--token={TOKEN}", f"--errors={errors}") as emulator:
        context = a_context(database, outbox, emulator)
        classify(context, working), classify(context, working, gauge=Gauge.UNIT)
        context.solvers.disconnect(Solver.EMULATOR, PARAMETERS)
    picture = tmp_path / "chip.png"
    found = json.loads(cli("embeddings", "chip", "tiny", "--plot", picture, "--json"))
    assert picture.stat().st_size > 10_000
    model = presets.models(["tiny=pegasus:6:6:10"], [])["tiny"]
    model = replace(model, errors=imperfections.parse(errors, model.errors))
    solver = EmulatedSolver.make("tiny", model, 0, 0)
    assert solver.chip.graph_id == found["graph_id"]
    true = solver.imperfections.persistent_h[np.searchsorted(solver.chip.qubits, found["qubits"])]
    # A chain has one field error, the sum of those of its qubits.
    estimates, chain = np.unique(found["field_errors"], return_inverse=True)
    means = np.bincount(chain, true) / np.bincount(chain)
    assert np.corrcoef(estimates, means)[0, 1] > 0.65
    assert found["problems"] == 2 * IMAGES // TILES
    with serving(database_url) as address, client(address) as http:
        assert 'href="/chips/1"' in http.get("/solvers").text
        assert 'src="/chips/1/heat-map.png"' in http.get("/chips/1").text
        drawn = http.get("/chips/1/heat-map.png")
        assert (drawn.status_code, drawn.headers["content-type"]) == (200, "image/png")
        assert drawn.content.startswith(b"\x89PNG")
        assert http.get("/chips/1/heat-map.png").content == drawn.content
    with database.reading() as session:  # it is drawn once, and stored with the run of the newest problem
        (stored,) = session.execute(select(Rendering.run_id, Rendering.kind, Rendering.body)).all()
    assert (stored.run_id, stored.kind, stored.body) == (2, "chip/1", drawn.content)


def test_h_makes_up_for_the_field_of_couplers(
    database: Database, outbox: Outbox, working: ChosenNetwork
) -> None:
    with Emulator("--solver=tiny=pegasus:6:6:10", f"--token={TOKEN}", "--errors=h_from_j=-0.05") as emulator:
        context = a_context(database, outbox, emulator)
        first, second = classify(context, working), classify(context, working, gauge=Gauge.UNIT)
        context.solvers.disconnect(Solver.EMULATOR, PARAMETERS)
    with database.reading() as session:
        sent_with = session.execute(select(Problem.coupling_bias).distinct()).scalars().all()
    assert first["coupling_bias"] == pytest.approx(-0.05, abs=0.015)
    assert second["coupling_bias"] == pytest.approx(-0.05, abs=0.015)  # of the chip, not what is left of it
    first_value, *others = sorted(sent_with, key=abs)
    assert first_value == 0.0  # the first problems did not know it
    assert others
    assert others == [pytest.approx(-0.05, abs=0.015)] * len(others)
