"""Who watches a run goes on when the database was away."""

from __future__ import annotations

import io
import threading
import time

import pytest
from rich.console import Console

from producer.networks.chosen import ChosenNetwork
from producer.reports import progress
from producer.runs import control
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.database import Database
from schema.errors import DatabaseUnavailable, StorageError
from schema.parameters import Parameters, Solver
from schema.states import RunState
from tests.integration.conftest import some_images


class Flaky:
    """A database that is away while ``away`` is set."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.away = threading.Event()

    def reading(self) -> object:
        if self.away.is_set():
            raise DatabaseUnavailable("the database does not answer")
        return self._database.reading()

    def now(self, session: object) -> object:
        return self._database.now(session)  # type: ignore[arg-type]


def test_a_watched_run_is_followed_over_an_absence(database: Database, network: ChosenNetwork) -> None:
    run = enqueue_run(database, some_images(5), network, Solver.LOCAL, Parameters(reads=4), RunOptions()).id
    flaky, text = Flaky(database), io.StringIO()

    def leave_and_return() -> None:
        time.sleep(0.5)
        flaky.away.set()
        control.cancel(database, run)
        time.sleep(0.7)
        flaky.away.clear()

    thread = threading.Thread(target=leave_and_return)
    thread.start()
    found = progress.watch_run(flaky, run, Console(file=text))  # type: ignore[arg-type]
    thread.join()
    assert found.state is RunState.CANCELLED
    assert text.getvalue().count("does not answer; trying again for 60 s") == 1


def test_an_absence_ends_the_watching_after_all(
    database: Database, network: ChosenNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_AWAY_S", 0.1)
    flaky = Flaky(database)
    flaky.away.set()
    with pytest.raises(StorageError, match="does not answer"):
        progress.watch_run(flaky, 1, Console(file=io.StringIO()))  # type: ignore[arg-type]
