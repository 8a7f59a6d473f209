"""The doctor compares the ledger with the solver's list, after a run on the emulator and after damage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update

from producer.doctor import examination
from producer.doctor.finding import Diagnosis
from producer.networks.chosen import ChosenNetwork
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.database import Database
from schema.errors import AnnealqError
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver, Visible
from schema.settings import Settings, load
from schema.settings.worker import WorkerSettings
from schema.states import ProblemState, RunState
from schema.tables import Ledger, Problem, Run, SampleSet, Spending
from schema.tables.costs import cost_us
from tests.emulators import TOKEN, Emulator, wait_until
from tests.integration.conftest import START, Outbox, some_images, work_off
from tests.ledgers import assert_spendings_agree
from worker.context import Context
from worker.records.problems import LABEL
from worker.sapi import problems
from worker.sapi.client import Access, connect

PARAMETERS = Parameters(reads=10, tiles=2, qpu="tiny", visible=Visible.FOLDED)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator("--solver=tiny=pegasus:6:6:10", f"--token={TOKEN}") as server:
        yield server


@pytest.fixture
def settings(emulator: Emulator) -> Settings:
    return load(emulator_url=emulator.endpoint, emulator_token=TOKEN)


@pytest.fixture
def done(
    database: Database, working: ChosenNetwork, outbox: Outbox, settings: Settings, emulator: Emulator
) -> Database:
    """A database with a run of four problems that the emulator has answered."""
    context = Context(database, WorkerSettings(quarantine_s=1.0, solver_timeout_s=5.0), outbox)
    context.solvers.shared = settings
    options = RunOptions(batch_size=8)
    run = enqueue_run(database, some_images(8), working, Solver.EMULATOR, PARAMETERS, options).id
    work_off(context, Message(Task.DISPATCH))
    context.solvers.disconnect(Solver.EMULATOR, PARAMETERS)
    with database.reading() as session:
        assert session.execute(select(Run.state).where(Run.id == run)).scalar_one() is RunState.DONE
    return database


def examine(database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Diagnosis:
    # What a command's child process reads the same settings from.
    monkeypatch.setenv("ANNEALQ_EMULATOR_URL", settings.emulator_url)
    monkeypatch.setenv("ANNEALQ_EMULATOR_TOKEN", settings.emulator_token)
    return examination.examine(
        database, settings, WorkerSettings(), lambda _name, _size: lambda _done: None, Solver.EMULATOR
    )


def test_the_lists_agree_and_each_disagreement_is_found(
    done: Database, settings: Settings, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = examine(done, settings, monkeypatch)
    assert seen.findings == ()
    assert seen.checked["emulator problems"] == 4
    change(done, 1, charged_us=Problem.charged_us + 7)
    with done.reading() as session:
        key = session.execute(select(Ledger.key)).scalar_one()
    stray = {"label": f"{LABEL}{key}{'e' * 32}"}
    others = [f"{LABEL}{'0' * 8}{'e' * 32}", f"{LABEL}{'e' * 32}"]  # of other databases
    emulator.post([emulator.job(label=label) for label in (stray["label"], *others)])
    change(done, 2, state=ProblemState.SENT, answered_at=None, sent_at=START, sending_at=START)
    change(done, 3, state=ProblemState.SENDING, answered_at=None, sapi_id=None, sending_at=START)
    emulator.post([emulator.job(label=label_of(done, 4))])
    wait_until(lambda: emulator.ledger()["totals"]["PENDING"] == 0)
    seen = examine(done, settings, monkeypatch)
    assert seen.notes[-1] == "emulator: 2 problems sent by other databases of annealq"
    found = [one for one in seen.findings if one.check == "solver"]
    told = {one.row: one.what for one in found}
    assert set(told) == {None, 1, 2, 3, 4}
    assert stray["label"] in told[None]
    assert "us, emulator says" in told[1]
    assert told[2].endswith("emulator says COMPLETED")
    assert "it is sending, but emulator has it as" in told[3]
    assert "1 more under its label" in told[4]
    assert [one.row for one in found if one.repair] == [4]


@pytest.mark.parametrize("state", [ProblemState.ANSWERED, ProblemState.FAILED, ProblemState.CANCELLED])
def test_what_the_solver_has_charged_is_entered(
    done: Database,
    settings: Settings,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    state: ProblemState,
) -> None:
    if state is not ProblemState.ANSWERED:  # its answer was never read
        with done.transaction() as session:
            session.execute(delete(SampleSet).where(SampleSet.problem_id == 4))
            spent_us = session.execute(select(Problem.charged_us).where(Problem.id == 4)).scalar_one()
            session.execute(update(Spending).values(spent_us=Spending.spent_us - spent_us))
        change(done, 4, state=state, answered_at=None, charged_us=None)
    emulator.post([emulator.job(label=label_of(done, 4))])
    wait_until(lambda: emulator.ledger()["totals"]["PENDING"] == 0)
    repaired = examination.repair(done, examine(done, settings, monkeypatch))
    assert [one.repaired for one in repaired.findings if one.check == "solver"] == [True]
    again = examine(done, settings, monkeypatch)
    assert [one for one in again.findings if one.check in ("solver", "spendings")] == []
    with done.reading() as session:
        booked = session.execute(select(func.sum(cost_us()))).scalar_one()
        assert session.execute(select(Problem.duplicates).where(Problem.id == 4)).scalar_one() == 1
    assert booked == pytest.approx(emulator.ledger()["totals"]["charged_us"], abs=5)
    assert_spendings_agree(done)


def change(database: Database, problem: int, **values: Any) -> None:
    with database.transaction() as session:
        session.execute(update(Problem).where(Problem.id == problem).values(**values))


def label_of(database: Database, problem: int) -> str:
    with database.reading() as session:
        return session.execute(select(Problem.label).where(Problem.id == problem)).scalar_one()


def test_an_emulator_that_is_gone_is_named(
    database: Database, emulator: Emulator, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.kill()
    monkeypatch.setenv("ANNEALQ_WORKER_SOLVER_TIMEOUT_S", "2")
    with pytest.raises(AnnealqError, match=r"cannot be reached|does not answer"):
        examine(database, settings, monkeypatch)


def test_a_list_that_is_too_long_for_one_answer_is_complete(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(problems, "_PAGE", 7)
    labels = sorted(f"{LABEL}{number * 7919:08x}" for number in range(30))
    others = ["another application's", f"not {LABEL}0"]
    emulator.post([emulator.job(label=label) for label in labels + others])
    client = connect(Access(emulator.endpoint, TOKEN))
    try:
        found = [one.label for one in problems.find_all(client, LABEL)]
    finally:
        client.close(wait=False)
    assert sorted(found) == labels
