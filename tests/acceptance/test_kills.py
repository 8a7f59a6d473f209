"""Fault injection: random kills, restarts, a solver that fails every fifth request, an unreachable solver.

Each run finishes without help, every image is classified once, and the ledger equals the emulator's.
docs/reliability.md has the results.
"""

from __future__ import annotations

import random
import signal
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis import Redis
from sqlalchemy import func, select

from schema.database import Database
from schema.parameters import Parameters, Visible
from schema.settings import socket_path
from schema.states import EmbeddingState
from schema.tables import Batch, Embedding, Event, Problem
from tests.acceptance.conftest import Say, wait_for
from tests.acceptance.night import (
    LEASE_S,
    Night,
    assert_books_agree,
    lasting_emulator,
    night,
)
from tests.emulators import Emulator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

KILLS = 50  # on each database
# A pool child is what works; its parent takes the child with it.
# A second, from one worker process to a solver that fails everything. Polls pause for 0.05 s; after three
# failures in a row the solver is put aside, and one batch of all workers asks every 3 s
# (`worker.scheduling.circuit_breaker`).
MOST_REQUESTS = 20.0
VICTIMS = ("pool", "pool", "pool", "pool", "worker", "worker", "reconciler")

# Celery's entry, with a witness of who claimed what: our tables say how often, not by whom.
WITNESSED = """
import os, sys
from celery.__main__ import main
from worker.records import claims, leases

claim = claims.claim_batch

def witnessed(session, batch, **terms):
    lease = claim(session, batch, **terms)
    if lease is not None:
        with open(os.environ["CLAIMS"], "a") as file:
            file.write(f"{batch} {lease.fence} {os.getpid()} {os.getppid()}\\n")
    return lease

claims.claim_batch = witnessed
sys.exit(main())
"""


def holders(claims: Path) -> dict[tuple[int, int], list[int]]:
    """By batch and fence: the process that claimed it, and its parent."""
    lines = [list(map(int, line.split())) for line in claims.read_text().splitlines()]
    return {(batch, fence): processes for batch, fence, *processes in lines}


def claimants(claims: Path) -> set[int]:
    """Processes that have begun to work."""
    return {process for process, _ in holders(claims).values()}


def recoveries(database: Database, kills: dict[int, float], claims: Path) -> list[float]:
    """For each batch whose worker was killed: seconds from the kill to the next claim of the batch."""
    held = holders(claims)
    with database.reading() as session:
        query = select(Event.row, Event.at).where(Event.subject == "batches", Event.target == "sampling")
        moves: dict[int, list[float]] = defaultdict(list)
        for row, at in session.execute(query.order_by(Event.id)):
            moves[row].append(at.timestamp())
    found = []
    for batch, claimed in moves.items():
        for fence, again in enumerate(claimed[1:], start=1):
            died = [kills[pid] for pid in held[batch, fence] if pid in kills]
            if died and claimed[fence - 1] < min(died) < again:
                found.append(again - min(died))
    return found


def strike_at_random(at: Night, choice: random.Random, claims: Path) -> dict[int, float]:
    """Runs of 200 images under kills, until there were enough: which process was killed, and when.

    Two workers that have begun to work are left: what is measured is not how long Python takes to start.
    """
    kills: dict[int, float] = {}
    while len(kills) < KILLS:
        run = at.enqueue(200, seed=len(kills))
        while not at.is_finished(run):
            time.sleep(choice.uniform(0.3, 1.5))
            kind = choice.choice(VICTIMS)
            at_work = {process.pid for process in at.processes()["pool"]} & claimants(claims)
            if len(kills) == KILLS or len(at_work) < 3 or len(at.processes()[kind]) < 2:
                continue
            if pid := at.kill(kind, choice):
                kills[pid] = time.time()
        at.finish(run)
    return kills


def test_kills_at_random_lose_nothing_and_pay_nothing_twice(
    database_url: str, tmp_path: Path, say: Say
) -> None:
    env, entry = {"CLAIMS": str(tmp_path / "claims")}, [sys.executable, "-c", WITNESSED]
    with (
        lasting_emulator(tmp_path) as emulator,
        night(
            tmp_path / "home", database_url, emulator, workers=4, reconcilers=2, env=env, entry=entry
        ) as at,
    ):
        at.finish(at.enqueue(8))  # the embedding is found
        kills = strike_at_random(at, random.Random(1), tmp_path / "claims")
        for run in at.runs:
            at.assert_every_image_once(run)
        at.assert_books_agree()
        ledger = books(at)
        took = recoveries(at.database, kills, tmp_path / "claims")
        say(
            f"{len(kills)} kills over {len(at.runs) - 1} runs, {ledger}; {len(took)} batches taken over, "
            f"{statistics.median(took):.1f} s after the kill (median), {max(took):.1f} s at most"
        )
        assert ledger["duplicates"] == 0
        # The longest is printed: with four workers on two processors it says how busy those were.
        assert statistics.median(took) <= LEASE_S + 5


def books(at: Night) -> dict[str, int]:
    """Counts of the ledger, over all runs."""
    sums = {
        "problems": func.count(),
        "adopted": func.count().filter(Problem.adopted),
        "resubmitted": func.count().filter(Problem.times_sent > 1),
        "duplicates": func.coalesce(func.sum(Problem.duplicates), 0),
        "wasted_us": func.coalesce(func.sum(Problem.wasted_us), 0),
    }
    with at.database.reading() as session:
        row = session.execute(select(*sums.values()).select_from(Problem)).one()
    return dict(zip(sums, map(int, row), strict=True))


BLIND = """
import sys
from celery.__main__ import main
from worker.records import problems
from worker.remote import recovery

def send_again(state, entries, now):
    with state.transaction() as (session, now):
        for entry in entries:
            problems.requeue(session, entry.id, "blindly", now=now)

recovery._resolve_by_label = send_again
sys.exit(main())
"""


def test_without_the_look_up_by_label_problems_are_paid_twice(database_url: str, tmp_path: Path) -> None:
    """The control: these tests can fail. The workers are patched, and the duplicates that they make are seen;
    and books in which a problem is missing, or charged otherwise, do not agree."""
    env = {"ANNEALQ_CRASH_AT": "accepted", "ANNEALQ_CRASH_ONCE": str(tmp_path / "crashes")}
    with (
        lasting_emulator(tmp_path) as emulator,
        night(tmp_path / "home", database_url, emulator, env=env, entry=[sys.executable, "-c", BLIND]) as at,
    ):
        figures = at.finish(at.enqueue(40))
        assert figures["duplicates"] > 0
        at.assert_books_agree()
        problems = emulator.ledger()["problems"]
        cheaper = {**problems[0], "charged_us": problems[0]["charged_us"] - 1}
        twice = {**problems[0], "id": "another"}
        for wrong in (problems[1:], [cheaper, *problems[1:]], [*problems, twice]):
            with pytest.raises(AssertionError):
                assert_books_agree(at.database, wrong)


def flush(at: Night) -> None:
    with Redis(unix_socket_path=str(socket_path(at.settings.home))) as client:
        client.flushall()


def restart_broker(at: Night) -> None:
    at.kill("broker", random.Random(0))


def restart_emulator(at: Night) -> None:
    at.emulator.kill()
    at.emulator.start()


@pytest.mark.parametrize("strike", [flush, restart_broker, restart_emulator])
def test_a_run_survives_a_restart_of_what_it_uses(
    database_url: str, tmp_path: Path, strike: Callable[[Night], None]
) -> None:
    with (
        lasting_emulator(tmp_path) as emulator,
        night(tmp_path / "home", database_url, emulator) as at,
    ):
        run = at.enqueue(200)
        for answered in (10, 40, 70):
            wait_for(lambda n=answered: at.answered() >= n, f"{answered} answered problems")
            strike(at)
        assert not at.is_finished(run)
        figures = at.finish(run)
        at.assert_every_image_once(run)
        at.assert_books_agree()
        assert figures["duplicates"] == 0


def test_a_run_survives_a_restart_of_postgresql(own_server: tuple[Any, str], tmp_path: Path) -> None:
    server, url = own_server
    with (
        lasting_emulator(tmp_path) as emulator,
        night(tmp_path / "home", url, emulator) as at,
    ):
        run = at.enqueue(200)
        for answered in (10, 40, 70):
            wait_for(lambda n=answered: at.answered() >= n, f"{answered} answered problems")
            server.stop()
            server.start()
        assert not at.is_finished(run)
        figures = at.finish(run)
        at.assert_every_image_once(run)
        at.assert_books_agree()
        assert figures["duplicates"] == 0


def faults(target: str, *kinds: tuple[float, dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"target": target, "probability": share, **what} for share, what in kinds]


def error(status: int, **more: Any) -> dict[str, Any]:
    return {"kind": "error", "status": status, **more}


RESET = {"kind": "reset"}
SLOW = {"kind": "delay", "delay_s": 1.8}  # more than a request may take
A_FIFTH = [
    *faults("submit", (0.03, error(500)), (0.03, error(503)), (0.03, error(429)), (0.03, RESET)),
    *faults("submit", (0.02, SLOW), (0.03, error(502, when="after")), (0.03, {**RESET, "when": "after"})),
    *faults("poll", (0.06, error(500)), (0.04, error(429)), (0.06, RESET), (0.04, SLOW)),
    *faults("list", (0.06, error(500)), (0.04, error(429)), (0.06, RESET), (0.04, SLOW)),
    *faults("answer", (0.05, error(500)), (0.04, error(429)), (0.05, RESET), (0.03, SLOW)),
    *faults("answer", (0.02, {"kind": "lose"}), (0.01, {"kind": "corrupt"})),
    *faults("cancel", (0.2, error(500))),
    *faults("solvers", (0.1, error(503)), (0.1, RESET)),
]


def test_every_fifth_request_fails(database_url: str, tmp_path: Path, say: Say) -> None:
    with (
        lasting_emulator(tmp_path, "--seed=3") as emulator,
        night(tmp_path / "home", database_url, emulator) as at,
    ):
        emulator.break_down(*A_FIFTH)
        run = at.enqueue(1000, batch_size=20)
        figures = at.finish(run, seconds=900)
        fired = sum(
            fault["fired"] for fault in emulator.session.get(emulator.ready["faults"]).json()["faults"]
        )
        at.assert_every_image_once(run)
        at.assert_books_agree()
        with at.database.reading() as session:
            attempts = session.execute(select(func.max(Batch.attempts))).scalar_one()
        say(f"{fired} faults, {books(at)}, at most {attempts} attempts at a batch")
        assert figures["problems_sent"] >= 500
        assert figures["duplicates"] == books(at)["duplicates"]


def fired_by_target(emulator: Emulator) -> dict[str, int]:
    """How many requests of each kind have failed so far."""
    counts: dict[str, int] = defaultdict(int)
    for fault in emulator.session.get(emulator.ready["faults"]).json()["faults"]:
        counts[fault["target"]] += fault["fired"]
    return dict(counts)


def busy_s(processes: list[psutil.Process]) -> float:
    """Processor seconds that processes have used so far, of those that are still there."""
    total = 0.0
    for process in processes:
        try:
            used = process.cpu_times()
            total += used.user + used.system
        except psutil.NoSuchProcess:
            continue
    return total


def refuse(emulator: Emulator) -> Callable[[], None]:
    emulator.kill()
    return emulator.start


def fall_silent(emulator: Emulator) -> Callable[[], None]:
    emulator.process.send_signal(signal.SIGSTOP)
    return lambda: emulator.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("break_down", [refuse, fall_silent])
def test_an_outage_is_sat_out(
    tmp_path: Path,
    database_url: str,
    break_down: Callable[[Emulator], Callable[[], None]],
    say: Say,
) -> None:
    # Wait 4 s at most between looks, so that the work goes on soon; and look for lost hints as users do. A
    # request to a server that says nothing is given up after 5 s here, after 60 s by default.
    env = {
        "ANNEALQ_WORKER_RETRY_LIMIT_S": "4",
        "ANNEALQ_WORKER_RECONCILE_EVERY_S": "1",
        "ANNEALQ_WORKER_SOLVER_TIMEOUT_S": "5",
        "ANNEALQ_WORKER_QUARANTINE_S": "6",
    }
    with (
        lasting_emulator(tmp_path) as emulator,
        night(tmp_path / "home", database_url, emulator, env=env) as at,
    ):
        run = at.enqueue(400)
        wait_for(lambda: at.answered() >= 20, "20 answered problems")
        before = [
            process.pid for kind in ("worker", "pool", "reconciler") for process in at.processes()[kind]
        ]
        mend = break_down(emulator)
        watched = [psutil.Process(pid) for pid in before]
        time.sleep(5)
        started, used = time.monotonic(), {process: busy_s([process]) for process in watched}
        time.sleep(50)
        elapsed_s = time.monotonic() - started
        shares = [(busy_s([process]) - before_s) / elapsed_s for process, before_s in used.items()]
        share = sum(shares)
        time.sleep(5)
        answered = at.answered()
        mend()
        back = time.monotonic()
        wait_for(lambda: at.answered() > answered, "the next answered problem", 60)
        resumed_s = time.monotonic() - back
        at.finish(run, seconds=120)
        at.assert_every_image_once(run)
        at.assert_books_agree()
        assert all(process.is_running() for process in watched), "a process ended"
        each = ", ".join(f"{one:.1%}" for one in shares)
        begun_s = sum(used.values())
        say(
            f"{share:.1%} of a processor ({each}) in an outage, {share * elapsed_s:.1f} s after "
            f"{begun_s:.1f} s until then; resumed {resumed_s:.1f} s after its end"
        )
        # However fast the processor is: imports and the first problems take seconds of it.
        assert share * elapsed_s <= begun_s
        assert resumed_s <= 5


def test_a_server_that_fails_everything_is_asked_seldom(tmp_path: Path, database_url: str, say: Say) -> None:
    targets = ("submit", "poll", "list", "answer", "cancel", "solvers")
    with (
        lasting_emulator(tmp_path) as emulator,
        night(tmp_path / "home", database_url, emulator) as at,
    ):
        at.enqueue(200)
        wait_for(lambda: at.answered() >= 4, "the first answers")
        emulator.break_down(offline=["tiny"])  # what is sent now is waited for
        time.sleep(2)
        emulator.break_down(*({"target": target, "kind": "error", "status": 500} for target in targets))
        started = time.monotonic()
        time.sleep(20)
        counts = fired_by_target(emulator)
        rate = sum(counts.values()) / (time.monotonic() - started) / 2
        say(f"{rate:.1f} requests a second from each of two workers: {counts}")
        assert rate <= MOST_REQUESTS


def test_workers_killed_during_a_search_for_an_embedding_lose_nothing(
    tmp_path: Path, database_url: str
) -> None:
    """Seven workers in turn are killed 4 s after they began to search; five attempts are allowed."""
    env = {"ANNEALQ_WORKER_MAX_ATTEMPTS": "5", "ANNEALQ_WORKER_EMBEDDING_S": "60"}
    chip = "--solver=wide=pegasus:16:40:10"
    with (
        lasting_emulator(tmp_path, chip) as emulator,
        night(tmp_path / "home", database_url, emulator, workers=1, reconcilers=1, env=env) as at,
    ):
        # No shipped tiling, and more copies than 60 s can find.
        parameters = Parameters(reads=10, qpu="wide", visible=Visible.SAMPLED)
        run = at.enqueue(16, parameters=parameters)
        choice = random.Random(1)
        for _ in range(7):
            before = fence(at.database)
            wait_for(lambda before=before: fence(at.database) > before, "a search to be taken over")
            time.sleep(4)
            assert at.kill("pool", choice)
        at.finish(run, 120)
        at.assert_every_image_once(run)
        at.assert_books_agree()
        with at.database.reading() as session:
            method, seconds = session.execute(select(Embedding.method, Embedding.seconds)).one()
            assert max(session.execute(select(Batch.attempts)).scalars()) <= 2
        assert method == "resumed"
        assert 20 <= seconds <= 75


def fence(database: Database) -> int:
    """How often the search was claimed, 0 while nobody has begun."""
    with database.reading() as session:
        query = select(Embedding.fence).where(Embedding.state == EmbeddingState.SEARCHING)
        return session.execute(query).scalar() or 0
