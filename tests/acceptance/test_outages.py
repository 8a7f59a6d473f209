"""Real workers whose solver fails: no run gives up, nothing is sent in vain, and the solver is not flooded.

docs/reliability.md has the results. `ANNEALQ_FULL_QUEUE_S` is how long the queue of a service is full.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from producer.runs import control, hints
from schema.messages import Message, Task
from schema.parameters import Parameters, Visible
from schema.states import ProblemState, RunState
from schema.tables import Batch, Breaker, Classification, Event, Problem, Run
from tests.acceptance.conftest import Say, wait_for
from tests.acceptance.night import Night, lasting_emulator, night
from tests.emulators import Emulator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

OUTAGE_S = 10.0
FULL_QUEUE_S = float(os.environ.get("ANNEALQ_FULL_QUEUE_S", "20"))
ATTEMPTS = 5  # as users have it
ENV = {
    "ANNEALQ_WORKER_MAX_ATTEMPTS": str(ATTEMPTS),
    "ANNEALQ_WORKER_RETRY_BASE_S": "2",
    "ANNEALQ_WORKER_PROBE_S": "3",
}
FULL = Parameters(reads=10, tiles=10, qpu="tiny", visible=Visible.FOLDED)
OFFLINE = {"target": "problem", "kind": "fail", "message": "Solver is offline"}


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulator]:
    with lasting_emulator(tmp_path) as running:
        yield running


def count(at: Night, table: Any, *conditions: Any) -> int:
    with at.database.reading() as session:
        return session.execute(select(func.count()).select_from(table).where(*conditions)).scalar_one()


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_of_ten_seconds_costs_no_batch(
    database_url: str, tmp_path: Path, emulator: Emulator, say: Say, status: int
) -> None:
    with night(tmp_path / "home", database_url, emulator, env=ENV) as at:
        runs = [at.enqueue(3000, batch_size=100, seed=seed, parameters=FULL) for seed in range(3)]
        wait_for(lambda: at.answered() >= 20, "20 answered problems")
        kind = {"kind": "expire"} if status == 401 else {"kind": "error", "status": status}
        emulator.break_down({"target": "any", **kind, "duration_s": OUTAGE_S})
        wait_for(lambda: count(at, Breaker) > 0, "the circuit breaker")
        time.sleep(OUTAGE_S)
        answered, back = at.answered(), time.monotonic()
        wait_for(lambda: at.answered() > answered, "the next answered problem")
        resumed_s = time.monotonic() - back
        figures = [at.finish(run, 300) for run in runs]
        for run in runs:
            at.assert_every_image_once(run)
        at.assert_books_agree()
        refused = count(at, Problem, Problem.times_sent > 1)
        claims = count(at, Event, Event.subject == "batches", Event.target == "sampling")
        accepted = len(emulator.ledger()["problems"])
        say(
            f"{status} for {OUTAGE_S:.0f} s: {count(at, Batch)} batches done with {claims} claims, "
            f"{accepted} problems accepted, {refused} once refused; resumed {resumed_s:.1f} s after the end"
        )
        assert accepted == count(at, Problem) == 900  # none was accepted twice, none in vain
        assert sum(figure["duplicates"] for figure in figures) == 0


def test_a_solver_that_fails_a_tenth_of_the_problems(
    database_url: str, tmp_path: Path, emulator: Emulator, say: Say
) -> None:
    with night(tmp_path / "home", database_url, emulator, env=ENV) as at:
        half = {"target": "problem", "kind": "fail", "probability": 0.05}
        emulator.break_down(half, {**half, "charged": True})
        run = at.enqueue(1000, batch_size=100)
        wait_for(lambda: at.is_finished(run), "the run to end", 300)
        at.assert_books_agree()
        missing, named, sends = _missing(at, run), _named(at, run), _sends(at)
        failed = count(at, Problem, Problem.state == ProblemState.FAILED)
        say(
            f"{failed} problems failed, an image was sent {max(sends.values())} times at most; "
            f"{len(missing)} of 1,000 images have no answer, and are named"
        )
        assert failed > 20
        assert missing == named
        assert max(sends.values()) <= 3
        emulator.break_down(clear=True)
        if missing:
            problems = count(at, Problem)
            control.resume(at.database, run)
            hints.send(at.settings.broker_url, Message(Task.DISPATCH))
            wait_for(lambda: at.state(run) is RunState.DONE, "the rest")
            assert count(at, Problem) - problems <= len(missing)
        assert _missing(at, run) == set()
        at.assert_books_agree()


def _missing(at: Night, run: int) -> set[int]:
    with at.database.reading() as session:
        images = session.execute(select(Run.images).where(Run.id == run)).scalar_one()
        found = session.execute(select(Classification.image).where(Classification.run_id == run)).scalars()
        return set(range(images)) - set(found)


def _named(at: Night, run: int) -> set[int]:
    """Return the images that the errors of batches name."""
    with at.database.reading() as session:
        errors = session.execute(select(Batch.error).where(Batch.run_id == run, Batch.error.is_not(None)))
        spans = [
            span
            for error in errors.scalars()
            for said in re.findall(r"no answer for images ([\d, -]+)", error)
            for span in re.findall(r"(\d+)(?:-(\d+))?", said)
        ]
    return {image for first, last in spans for image in range(int(first), int(last or first) + 1)}


def _sends(at: Night) -> Counter[int]:
    """Return how often each image was in a problem that the solver accepted."""
    sends: Counter[int] = Counter()
    columns = (Batch.first_image, Problem.first_image, Problem.count)
    with at.database.reading() as session:
        query = (
            select(*columns).join(Problem, Problem.batch_id == Batch.id).where(Problem.sapi_id.is_not(None))
        )
        for batch, first, images in session.execute(query):
            sends.update(range(batch + first, batch + first + images))
    return sends


@pytest.mark.parametrize("listed", ["ONLINE", "OFFLINE"])
def test_a_solver_that_accepts_problems_and_is_offline_is_asked_seldom(
    database_url: str, tmp_path: Path, emulator: Emulator, say: Say, listed: str
) -> None:
    """For a minute; whether its definition says so or not."""
    with night(tmp_path / "home", database_url, emulator, env=ENV) as at:
        run = at.enqueue(1000, batch_size=20)
        wait_for(lambda: at.answered() >= 20, "20 answered problems")
        if listed == "ONLINE":
            emulator.break_down(OFFLINE)
        else:
            emulator.break_down(offline=["tiny"])
        sent, started = len(emulator.ledger()["problems"]), time.monotonic()
        time.sleep(60)
        requests = len(emulator.ledger()["problems"]) - sent
        elapsed_s = time.monotonic() - started
        emulator.break_down(clear=True, online=["tiny"])
        at.finish(run, 120)
        rows = count(at, Problem) - 500  # beyond those of a run without an outage
        say(f"{listed}: {requests} problems in {elapsed_s:.0f} s, {rows} rows in vain")
        at.assert_every_image_once(run)
        at.assert_books_agree()
        assert requests <= elapsed_s / 3
        assert rows <= 20


def test_a_worker_killed_every_4_s(database_url: str, tmp_path: Path, emulator: Emulator, say: Say) -> None:
    """Until 2,000 images are done; a worker that takes longer than 4 s to an answer dies with that."""
    with night(tmp_path / "home", database_url, emulator, workers=1, env=ENV) as at:
        at.finish(at.enqueue(8))  # the embedding is found
        run, choice, kills, began = at.enqueue(2000, batch_size=500), random.Random(1), 0, time.monotonic()
        while not at.is_finished(run):
            answered = at.answered()
            time.sleep(4)
            wait_for(lambda n=answered: at.answered() > n or at.is_finished(run), "another answer")
            if not at.is_finished(run) and at.kill("pool", choice):
                kills += 1
        at.finish(run)
        at.assert_every_image_once(run)
        at.assert_books_agree()
        twice = count(at, Problem, Problem.duplicates > 0)
        say(f"{kills} kills in {time.monotonic() - began:.0f} s, 2,000 images done, {twice} paid twice")
        assert kills > ATTEMPTS
        assert twice == 0


def test_a_full_queue_is_waited_for(database_url: str, tmp_path: Path, emulator: Emulator, say: Say) -> None:
    with night(tmp_path / "home", database_url, emulator, env=ENV) as at:
        emulator.break_down(max_queued=0)
        run = at.enqueue(200, batch_size=20)
        time.sleep(FULL_QUEUE_S)
        assert not at.is_finished(run)
        assert count(at, Batch, Batch.attempts > 1) == 0
        events = count(at, Event, Event.subject == "problems", Event.target == "reserved")
        emulator.break_down(clear=True)
        back = time.monotonic()
        at.finish(run, 120)
        took_s = time.monotonic() - back
        at.assert_every_image_once(run)
        at.assert_books_agree()
        say(f"a full queue for {FULL_QUEUE_S:.0f} s: {events} problems refused; done {took_s:.0f} s later")


def test_a_queue_that_stands_still_is_waited_for(database_url: str, tmp_path: Path, say: Say) -> None:
    """Two hours, 120 times as fast: workers wait 5 s for an answer, not 600; the first comes after 60 s."""
    with (
        lasting_emulator(tmp_path, clock="scaled:0.003") as emulator,
        night(tmp_path / "home", database_url, emulator, env=ENV) as at,
    ):
        began = time.monotonic()
        theirs = emulator.job(params={"num_reads": 1000, "annealing_time": 100.0})
        assert "id" in emulator.post([theirs], headers={"X-Auth-Token": "test-token"}).json()[0]
        run = at.enqueue(40, batch_size=20, parameters=FULL)
        wait_for(lambda: at.answered() > 0, "the first answer", 300)
        stood_s = time.monotonic() - began
        at.finish(run, 120)
        at.assert_every_image_once(run)
        waits = count(at, Event, Event.subject == "batches", Event.target == "pending")
        say(
            f"an answer after {stood_s:.0f} s; batches were put back {waits} times, no problem was sent again"
        )
        assert waits > ATTEMPTS
        assert count(at, Problem, Problem.times_sent > 1) == 0
        assert len(emulator.ledger()["problems"]) == count(at, Problem) + 1
