"""A stack with default settings and an emulator, and what a run costs: time, processors, memory."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from sqlalchemy import insert, select

from producer.images.imageset import ImageSet
from producer.images.source import read_images
from producer.networks import choose
from producer.networks.chosen import ChosenNetwork
from producer.runs import hints
from producer.runs.enqueue import RunOptions, enqueue_run
from producer.stack.stack import Stack
from schema.database import Database, utc_now
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver
from schema.settings import Settings, load
from schema.states import FINISHED_RUNS, EmbeddingState, RunState
from schema.tables import Chip, Embedding, Run
from tests.conftest import data_file
from tests.emulators import TOKEN, Emulator

CHIP = "emulator-pegasus"
_LOOK_EVERY_S = 0.05


_found: dict[str, tuple[dict[str, Any], dict[str, dict[str, Any]]]] = {}


def recall_embeddings(database: Database) -> None:
    """Give ``database`` the embeddings that were found before: a search takes 60 s."""
    with database.transaction() as session:
        for chip, embeddings in _found.values():
            chip_id = session.execute(insert(Chip).values(chip).returning(Chip.id)).scalar_one()
            for embedding in embeddings.values():
                session.execute(insert(Embedding).values({**embedding, "chip_id": chip_id}))


def remember_embeddings(database: Database) -> None:
    """Remember the embeddings of ``database`` for other ones."""
    query = select(Embedding.__table__).where(Embedding.state == EmbeddingState.READY)
    with database.reading() as session:
        chips = {row["id"]: _without_id(row) for row in session.execute(select(Chip.__table__)).mappings()}
        for row in session.execute(query).mappings():
            chip = chips[row["chip_id"]]
            known = _found.setdefault(chip["graph_id"], (chip, {}))[1]
            known[row["graph_sha256"]] = _without_id(row)


def _without_id(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "id"}


@dataclass(frozen=True)
class Taken:
    """What a run took. wall_s: from before it was enqueued to its end. cpu_s: of all processes but the
    emulator. busy_s: the modelled time of the QPU."""

    run: int
    images: int
    statistics: dict[str, Any]
    wall_s: float
    cpu_s: float

    @property
    def busy_s(self) -> float:
        return float(self.statistics["qpu_access_time_us"]) / 1e6

    @property
    def utilisation(self) -> float:
        """Share of the time between the first batch's start and the last one's score."""
        return self.busy_s / float(self.statistics["elapsed_seconds"])


@dataclass(frozen=True)
class Plant:
    """A running stack, its database, and `mnist` in it."""

    stack: Stack
    settings: Settings
    database: Database
    emulator: Emulator
    network: ChosenNetwork

    def classify(
        self,
        found: ImageSet,
        parameters: Parameters,
        solver: Solver = Solver.EMULATOR,
        batch_size: int | None = None,
    ) -> Taken:
        """A run from its enqueueing to its end."""
        before, started_at = self.cpu_s(), utc_now()
        options = RunOptions(batch_size=batch_size)
        run = enqueue_run(self.database, found, self.network, solver, parameters, options).id
        hints.send(self.settings.broker_url, Message(Task.DISPATCH))
        statistics, ended_at = self.finish(run)
        wall_s = (ended_at - started_at).total_seconds()
        return Taken(run, len(found.images), statistics, wall_s, self.cpu_s() - before)

    def workers(self) -> list[psutil.Process]:
        """Its processes that work on tasks; another stack may run at the same time."""
        parents = [one for one in psutil.Process().children() if "worker.celery" in " ".join(one.cmdline())]
        home = str(self.settings.home)
        own = [parent for parent in parents if parent.environ().get("ANNEALQ_HOME") == home]
        return [process for parent in own for process in parent.children()]

    def peak_mb(self) -> float:
        """The largest resident memory that any of them has ever had."""
        return max(peak_mb(process.pid) for process in self.workers())

    def finish(self, run: int) -> tuple[dict[str, Any], datetime]:
        columns = (Run.state, Run.statistics, Run.finished_at, Run.error)
        while True:
            self.stack.check()
            with self.database.reading() as session:
                row = session.execute(select(*columns).where(Run.id == run)).one()
            if row.state in FINISHED_RUNS:
                assert row.state is RunState.DONE, row.error
                return row.statistics, row.finished_at
            time.sleep(_LOOK_EVERY_S)

    def cpu_s(self) -> float:
        """Processor time of all children but the emulator, so far; of those, too, that have ended."""
        total = 0.0
        for process in psutil.Process().children(recursive=True):
            if process.pid != self.emulator.process.pid:
                with suppress(psutil.NoSuchProcess):
                    total += sum(process.cpu_times()[:4])  # user, system, and of children that have ended
        return total


@contextmanager
def plant(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    clock: str,
    solvers: Sequence[str] = (CHIP,),
    workers: int | None = None,
    database_url: str | None = None,
) -> Iterator[Plant]:
    """A stack with the default number of workers; both it and the emulator are warm: they have classified
    2,000 images, unless it has other chips. The emulator's reads are random bits.

    database_url: None: a SQLite file in ``home``.
    """
    chips = [f"--solver={solver}" for solver in solvers]
    options = (*chips, f"--token={TOKEN}", "--keep=100000", f"--state={home / 'problems.db'}")
    home.mkdir(mode=0o700)
    with Emulator(*options, samples="instant", clock=clock) as emulator:
        monkeypatch.setenv("ANNEALQ_EMULATOR_URL", emulator.endpoint)
        monkeypatch.setenv("ANNEALQ_EMULATOR_TOKEN", TOKEN)
        settings = load(home=home / "home", database_url=database_url or f"sqlite:///{home / 'annealq.db'}")
        with Stack(settings, workers=workers) as stack:
            database = Database(settings.database_url)
            test = mnist(2000)
            network = choose.get_or_install_network(database, test, "mnist")
            made = Plant(stack, settings, database, emulator, network)
            recall_embeddings(database)
            if tuple(solvers) == (CHIP,):
                made.classify(test, Parameters(seed=1))
                remember_embeddings(database)
            yield made
            database.dispose()


def mnist(count: int, first: int = 0) -> ImageSet:
    """So many of MNIST's test images, again from the first one where there are not enough.

    first: where to begin. A worker knows the linear parts of the batches that it has seen last.
    """
    found = read_images(str(data_file("mnist_test.npz")))
    assert found.labels is not None
    chosen = (first + np.arange(count)) % len(found.images)
    return ImageSet("mnist", found.images[chosen], found.labels[chosen], None, None)


def peak_mb(pid: int) -> float:
    """The most resident memory that a process has ever had, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return float(line.split()[1]) / 1000
    raise AssertionError("the system does not say how much memory a process has had")
