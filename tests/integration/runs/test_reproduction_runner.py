"""An experiment's runs: found again, and tried again after one that failed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from producer.context import AppContext
from producer.networks.chosen import ChosenNetwork
from producer.reproduction.runner import Runner
from producer.reproduction.trial import ExperimentRun
from schema.database import Database, transition
from schema.errors import AnnealqError, NetworkError
from schema.parameters import Parameters
from schema.settings import load
from schema.states import RunState
from schema.tables import Run
from tests.integration.conftest import some_images


class Stopped(Exception):
    """Ends the waiting for a run that no worker takes."""


def stop() -> None:
    raise Stopped


def request() -> ExperimentRun:
    return ExperimentRun("digits@1", some_images(), Parameters())


def runs(database: Database) -> list[RunState]:
    with database.reading() as session:
        return list(session.scalars(select(Run.state).order_by(Run.id)))


def test_a_run_that_is_under_way_is_waited_for_again(database: Database, network: ChosenNetwork) -> None:
    runner = Runner(AppContext(load(), database, stop))
    for _ in range(2):
        with pytest.raises(Stopped):
            runner.run([request()])
    assert runs(database) == [RunState.QUEUED]


def test_after_a_failed_run_comes_another(database: Database, network: ChosenNetwork) -> None:
    def fail() -> None:
        now = datetime.now(UTC)
        with database.transaction() as session:
            newest = session.scalars(select(Run.id).order_by(Run.id.desc())).first()
            why = {"error": "the annealer is away", "finished_at": now}
            transition(session, newest, RunState.QUEUED, RunState.FAILED, now=now, **why)

    runner = Runner(AppContext(load(), database, fail))
    for number in (1, 2):
        with pytest.raises(AnnealqError, match=rf"run {number} \(random\) is failed: the annealer is away"):
            runner.run([request()])
    assert runs(database) == [RunState.FAILED] * 2


def test_a_network_is_found_by_its_transfer(database: Database, network: ChosenNetwork) -> None:
    runner = Runner(AppContext(load(), database, stop))
    assert runner.ready("digits", "energy", None) == runner.ready("digits", None, None) == "digits@1"
    with pytest.raises(NetworkError, match=r"annealq networks train digits --transfer paper --data DATA"):
        runner.ready("digits", "paper", None)
    with pytest.raises(NetworkError, match=r"annealq networks train mine --data DATA"):
        runner.ready("mine", None, None)


def test_a_shipped_network_needs_no_training(database: Database) -> None:
    runner = Runner(AppContext(load(), database, stop))
    assert runner.ready("conv358", None, None) == runner.ready("conv358", "energy", None) == "conv358@1"
    with pytest.raises(NetworkError, match=r"trained by the paper transfer"):
        runner.ready("conv358", "paper", None)
