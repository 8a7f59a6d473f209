"""A run that does not go on says why."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import insert, update

from producer.enqueued import Enqueued
from producer.progress.searches import STEPS
from producer.progress.stages import ImageProgress, progress_of, waits_of
from producer.runs import control
from schema.database import Database
from schema.parameters import Solver
from schema.states import BatchState, EmbeddingState, RunState
from schema.tables import Batch, Chip, Embedding, Run, Worker
from tests.conftest import ROOT
from tests.integration.conftest import START, Clock

Enqueue = Callable[..., Enqueued]


def waits(database: Database, run: int) -> str | None:
    with database.reading() as session:
        now = database.now(session)
        text = waits_of(session, run, now)
        assert text == progress_of(session, run, now).waits
    return text


def hold(database: Database, run: int, until: datetime) -> None:
    """Let a worker hold the first batch of ``run``."""
    with database.transaction() as session:
        held = {"state": BatchState.SAMPLING, "lease_until": until}
        session.execute(update(Batch).where(Batch.run_id == run, Batch.ordinal == 0).values(held))


def test_without_a_worker_it_says_so_and_since_when(timed: Database, clock: Clock, enqueue: Enqueue) -> None:
    run = enqueue().id
    assert waits(timed, run) is None  # it was enqueued a moment ago
    clock.forward(3)
    untouched = "no worker has taken its batches since 00:00:00 UTC"
    assert (waits(timed, run) or "").startswith(f"{untouched}, as none is alive: ")
    with timed.transaction() as session:
        row = {"name": "a", "host": "b", "pid": 1, "version": "0", "accounts": {}}
        session.execute(insert(Worker).values(**row, started_at=START, seen_at=clock()))
    assert waits(timed, run) == f"{untouched}, though workers are alive: see `annealq workers`"
    hold(timed, run, START + timedelta(seconds=60))
    assert waits(timed, run) is None


def test_runs_that_go_first_are_named(timed: Database, clock: Clock, enqueue: Enqueue) -> None:
    run, urgent, other = enqueue(seed=1).id, enqueue(seed=2, priority=5).id, enqueue(seed=3).id
    clock.forward(3)
    hold(timed, other, START + timedelta(seconds=60))
    assert waits(timed, run) == f"the workers are busy with run {other}, with which it takes turns"
    hold(timed, urgent, START + timedelta(seconds=60))
    assert waits(timed, run) == f"runs {urgent}, {other} of higher priority go first"
    clock.forward(100)  # the workers that held them are gone
    assert "no worker" in (waits(timed, run) or "")


def test_nothing_is_said_of_a_run_that_only_a_user_resumes(
    timed: Database, clock: Clock, enqueue: Enqueue
) -> None:
    run = enqueue().id
    clock.forward(3)
    control.pause(timed, run)
    assert waits(timed, run) is None


def test_the_time_left_follows_from_the_mean_rate() -> None:
    at = START + timedelta(seconds=30)
    half = ImageProgress(RunState.RUNNING, 100, 40, 20, 10, None, began_at=START, latest_at=at)
    assert half.left_s(at) == 30.0
    assert half.left_s(at + timedelta(seconds=10)) == 20.0
    assert half.left_s(at + timedelta(seconds=50)) == 0.0
    assert ImageProgress(RunState.RUNNING, 100, 0, 0, 0, None, began_at=START).left_s(at) is None
    # 50 images took 30 s, and rounds to come are worth 60 images.
    more = ImageProgress(RunState.RUNNING, 100, 40, 20, 10, None, began_at=START, latest_at=at, to_come=60.0)
    assert more.left_s(at) == 30.0 + 36.0
    waiting = ImageProgress(RunState.RUNNING, 100, 40, 0, 0, None, None, "x", began_at=START, latest_at=at)
    assert waiting.left_s(at) is None


def test_batches_that_are_sampled_count_by_the_time_of_finished_ones(
    timed: Database, clock: Clock, enqueue: Enqueue
) -> None:
    run = enqueue(50).id  # five batches of ten images

    def begin(ordinal: int, at_s: float, ended_s: float | None = None) -> None:
        at, until = START + timedelta(seconds=at_s), START + timedelta(seconds=600)
        values: dict[str, object] = {"state": BatchState.SAMPLING, "started_at": at, "lease_until": until}
        if ended_s is not None:
            values = {"state": BatchState.SAMPLED, "started_at": at, "lease_until": None}
            values["sampled_at"] = START + timedelta(seconds=ended_s)
        with timed.transaction() as session:
            this = (Batch.run_id == run, Batch.ordinal == ordinal)
            session.execute(update(Batch).where(*this).values(values))
            session.execute(update(Run).where(Run.id == run).values(started_at=START, state=RunState.RUNNING))

    def left_s() -> float | None:
        with timed.reading() as session:
            return progress_of(session, run, clock()).left_s(clock())

    begin(0, 0)
    clock.forward(10)
    assert left_s() is None  # nothing is known of the time that a batch takes
    begin(0, 0, 10)
    begin(1, 10)
    clock.forward(5)
    assert left_s() == 35.0  # one and a half of five batches in 15 s
    begin(2, 15)
    clock.forward(5)
    assert left_s() == 20 / 24.5 * 25.5  # the second takes as long as the first: it is nearly done
    begin(1, 10, 20)
    begin(2, 15, 20)
    begin(3, 15, 20)
    begin(4, 19)
    assert left_s() == 7.5 - 1  # the last batch needs its time, though the mean rate is higher


def test_a_search_for_an_embedding_is_explained(timed: Database, clock: Clock, enqueue: Enqueue) -> None:
    run = enqueue(solver=Solver.EMULATOR).id
    hold(timed, run, START + timedelta(seconds=60))

    def search(name: str, solver: str = "emulator", **progress: object) -> None:
        with timed.transaction() as session:
            chip = {"solver": solver, "name": name, "graph_id": "g", "properties": {}, "graph": b""}
            chip |= {"qubits": 1, "couplers": 1, "created_at": START, "seen_at": START}
            chip_id = session.execute(insert(Chip).values(chip).returning(Chip.id)).scalar_one()
            row = {"graph_sha256": name, "chip_id": chip_id, "tiles_wanted": 0, "name": name, "units": 2}
            row |= {"state": EmbeddingState.SEARCHING, "lease_until": clock(), "created_at": START}
            session.execute(insert(Embedding).values(**row, progress=progress or None))

    assert waits(timed, run) is None
    search("other folded (3 units)", step="fill", fraction=0.5, limit_s=60.0)
    search("digits folded (1 units)", solver="dwave", step="fill", fraction=0.5, limit_s=60.0)
    assert waits(timed, run) is None  # neither is for this run
    search("digits sampled (12 units)", step="fill", fraction=0.5, limit_s=60.0)
    said = "an embedding is searched, once for this chip: adding copies on free qubits, 30 s of 60 s at most"
    assert waits(timed, run) == said
    with timed.reading() as session:
        assert progress_of(session, run, clock()).left_s(clock()) is None


def test_every_step_of_a_search_has_its_words() -> None:
    source = "".join(path.read_text() for path in (ROOT / "worker" / "embedding").rglob("*.py"))
    reported = set(re.findall(r'report_step\(\s*"(\w+)"', source))
    assert reported
    assert reported == set(STEPS)
