"""A run under fault injection: several workers and a reconciler on an emulator, and the final ledger."""

from __future__ import annotations

import random
import socket
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import func, insert, select

from producer.networks.choose import choose_network
from producer.runs import hints
from producer.runs.enqueue import RunOptions, enqueue_run
from producer.stack.process import Child
from producer.stack.stack import Stack, worker_command
from producer.stack.supervisor import RestartPolicy
from schema.database import Database
from schema.messages import Message, Task, queue_names
from schema.parameters import Parameters, Solver, Visible
from schema.settings import Settings, load
from schema.shapes import ImageShape
from schema.states import FINISHED_BATCHES, FINISHED_RUNS, ProblemState, RunState
from schema.tables import Batch, Classification, Event, Network, Problem, Run
from tests import PATIENCE_S
from tests.acceptance.conftest import QUICK
from tests.emulators import TOKEN, Emulator
from tests.integration.conftest import some_images, working_network
from tests.ledgers import assert_spendings_agree

LEASE_S = 2.0
# A request's time, and above it the time after which a problem that is not there has not arrived.
SETTINGS = {
    **QUICK,
    "ANNEALQ_WORKER_LEASE_S": str(LEASE_S),
    "ANNEALQ_WORKER_SOLVER_TIMEOUT_S": "1.5",
    "ANNEALQ_WORKER_QUARANTINE_S": "2",
    "ANNEALQ_WORKER_COLLECT_S": "5",
    "ANNEALQ_WORKER_IN_FLIGHT": "4",
}
TINY = "--solver=tiny=pegasus:6:6:10"
PARAMETERS = Parameters(reads=10, tiles=2, qpu="tiny", visible=Visible.FOLDED)
_RESTARTS = RestartPolicy(first_delay_s=0.1, longest_delay_s=0.1, deaths=1_000_000, grace_s=5.0)


def lasting_emulator(folder: Path, *options: str, clock: str = "real") -> Emulator:
    """An emulator that keeps its queue, its ledger and its port over restarts; reads are random bits."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    state = (f"--state={folder / 'problems.db'}", f"--port={port}", f"--token={TOKEN}")
    return Emulator(TINY, *state, "--keep=100000", *options, samples="instant", clock=clock)


@dataclass
class Night:
    """A running stack of several workers, each one process with a child, and the emulator they use."""

    stack: Stack
    settings: Settings
    database: Database
    emulator: Emulator
    runs: list[int] = field(default_factory=list)

    def enqueue(
        self,
        images: int,
        *,
        batch_size: int = 8,
        seed: int = 0,
        solver: Solver = Solver.EMULATOR,
        parameters: Parameters = PARAMETERS,
    ) -> int:
        """Commit a run of random images, and say so to the workers."""
        with self.database.reading() as session:
            network = choose_network(session, "digits", ImageShape.image(8, 8))
        options = RunOptions(batch_size=batch_size)
        pictures = some_images(images, seed=seed)
        run = enqueue_run(self.database, pictures, network, solver, parameters, options)
        hints.send(self.settings.broker_url, Message(Task.DISPATCH))
        self.runs.append(run.id)
        return run.id

    def state(self, run: int) -> RunState:
        with self.database.reading() as session:
            return session.execute(select(Run.state).where(Run.id == run)).scalar_one()

    def is_finished(self, run: int) -> bool:
        return self.state(run) in FINISHED_RUNS

    def answered(self) -> int:
        """Problems that are answered, of all runs."""
        with self.database.reading() as session:
            query = select(func.count()).where(Problem.state == ProblemState.ANSWERED)
            return session.execute(query).scalar_one()

    def finish(self, run: int, seconds: float = PATIENCE_S) -> dict[str, Any]:
        """Wait until a run is done, by itself; returns its statistics."""
        deadline = time.monotonic() + seconds
        while (state := self.state(run)) not in FINISHED_RUNS:
            self.stack.check()
            assert time.monotonic() < deadline, f"run {run} is still {state}: {self.unfinished(run)}"
            time.sleep(0.05)
        with self.database.reading() as session:
            row = session.execute(select(Run).where(Run.id == run)).scalar_one()
            assert row.state is RunState.DONE, row.error
            return dict(row.statistics or {})

    def unfinished(self, run: int) -> list[tuple[Any, ...]]:
        """Batches that are not at their end, and why: for the message of a test that fails."""
        with self.database.reading() as session:
            query = select(Batch.id, Batch.state, Batch.attempts, Batch.due_at, Batch.error)
            query = query.where(Batch.run_id == run, ~Batch.state.in_(FINISHED_BATCHES))
            return [tuple(row) for row in session.execute(query)]

    def processes(self) -> dict[str, list[psutil.Process]]:
        """What runs, by kind: broker, worker (the parents), pool (their children), reconciler."""
        kinds: dict[str, list[psutil.Process]] = {"broker": [], "worker": [], "pool": [], "reconciler": []}
        for child in psutil.Process().children():
            try:
                line = " ".join(child.cmdline())
                if "worker.reconcile" in line:
                    kinds["reconciler"].append(child)
                elif "worker.celery" in line:
                    kinds["worker"].append(child)
                    kinds["pool"] += child.children()
                elif "valkey" in line or "redis" in line:
                    kinds["broker"].append(child)
            except psutil.NoSuchProcess:
                continue
        return kinds

    def kill(self, kind: str, choice: random.Random) -> int | None:
        """kill -9 of one process of a kind; returns its id, None when there is none at this moment."""
        found = self.processes()[kind]
        if not found:
            return None
        victim = choice.choice(found)
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            return None
        return victim.pid

    def assert_every_image_once(self, run: int) -> None:
        """Each image of a run has one classification; each batch was scored once, the run ended once."""
        with self.database.reading() as session:
            images = session.execute(select(Run.images).where(Run.id == run)).scalar_one()
            query = select(Classification.image).where(Classification.run_id == run)
            found = list(session.execute(query.order_by(Classification.image)).scalars())
            batches = list(session.execute(select(Batch.id).where(Batch.run_id == run)).scalars())
            scorings = _moves(session, "batches", "scored", batches)
            ends = _moves(session, "runs", "done", [run])
        assert found == list(range(images))
        assert scorings == dict.fromkeys(batches, 1)
        assert ends == {run: 1}

    def assert_books_agree(self) -> None:
        assert_books_agree(self.database, self.emulator.ledger()["problems"])


def assert_books_agree(database: Database, accepted: Sequence[dict[str, Any]]) -> None:
    """What the emulator accepted and charged is what the database says, problem for problem, to 0.1 us.

    A problem of ours under whose label the emulator has another one counts that as a duplicate, and what it
    was charged as wasted.
    """
    theirs: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in accepted:
        theirs[one["label"]].append(one)
    with database.reading() as session:
        ours = {problem.label: problem for problem in session.execute(select(Problem)).scalars()}
        session.expunge_all()
    assert theirs.keys() <= ours.keys(), "charged, and not in the database"
    for label, problem in ours.items():
        ids = {one["id"]: one["charged_us"] for one in theirs[label]}
        kept = 0 if problem.sapi_id is None else 1
        assert problem.sapi_id is None or problem.sapi_id in ids, f"{label}: the solver has no such problem"
        assert problem.duplicates == len(ids) - kept, f"{label}: {ids}, kept {problem.sapi_id}"
        answered = problem.state is ProblemState.ANSWERED
        if answered:
            assert problem.charged_us == ids[problem.sapi_id], label
        said = (problem.charged_us or 0) + problem.wasted_us
        exact = 1.0 if problem.charge_estimated else 0.05  # estimates are whole microseconds
        assert abs(said - sum(ids.values())) < exact, f"{label}, {problem.state}: {said} us of {ids}"
    assert_spendings_agree(database)


def _moves(session: Any, subject: str, target: str, rows: Sequence[int]) -> dict[int, int]:
    """How often each row has moved to a state."""
    query = select(Event.row, func.count()).where(Event.subject == subject, Event.target == target)
    return dict(session.execute(query.where(Event.row.in_(rows)).group_by(Event.row)).all())


def children(workers: int, reconcilers: int, env: dict[str, str], entry: Sequence[str]) -> list[Child]:
    """So many workers of one process each, and reconcilers. entry: instead of Celery's own."""
    worker = worker_command(1, queue_names())
    if entry:
        worker = [*entry, *worker[worker.index("-A") :]]
    reconciler = [sys.executable, "-m", "worker.reconcile"]
    named = [(f"worker-{k}", [*worker, "-n", f"worker-{k}@%h"]) for k in range(workers)]
    named += [(f"reconciler-{k}", reconciler) for k in range(reconcilers)]
    return [Child(name, command, env) for name, command in named]


@contextmanager
def night(
    home: Path,
    database_url: str,
    emulator: Emulator,
    *,
    workers: int = 2,
    reconcilers: int = 1,
    env: dict[str, str] | None = None,
    entry: Sequence[str] = (),
) -> Iterator[Night]:
    """A stack on a database, with a network in it; ``env``: what its processes find in their environment."""
    settings = load(home=home, database_url=database_url)
    at = {"ANNEALQ_EMULATOR_URL": emulator.endpoint, "ANNEALQ_EMULATOR_TOKEN": TOKEN}
    database = Database(database_url)
    with database.transaction() as session:
        session.execute(insert(Network).values(working_network()))
    try:
        made = children(workers, reconcilers, {**SETTINGS, **at, **(env or {})}, entry)
        with Stack(settings, children=made, restart_policy=_RESTARTS) as stack:
            yield Night(stack, settings, database, emulator)
    finally:
        database.dispose()
