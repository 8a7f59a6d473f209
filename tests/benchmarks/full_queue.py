"""A full queue, written straight into the tables: 10,000 batches wait, and 50,000 problems are in the ledger.

    paused       100 batches wait; half of them have a problem in flight
    cancelled    100 batches, the same
    large        one run with a budget: 100 batches wait, 4,490 are scored, of ten answered problems each
    live         97 runs of three priorities: 9,700 batches wait, 388 of them with a problem in flight
    old          one finished run: 460 batches, the same

A batch holds 32 images of 28 x 28 pixels. All problems were submitted today.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from schema.database import Database
from schema.parameters import Parameters, Solver
from schema.states import BatchState, PausedBy, ProblemState, RunState
from schema.tables import Batch, BatchImages, Network, Problem, Run, Spending
from schema.tables.costs import cost_us
from tests.integration.conftest import network_row

WAITING, PROBLEMS = 10_000, 50_000
_IMAGES = 32
_AT_ONCE = 1_000


@dataclass(frozen=True)
class Group:
    """Runs of one kind. sent: every so many-th waiting batch left a problem with the solver."""

    runs: int
    state: RunState
    waiting: int
    scored: int = 0
    sent_every: int = 0
    more: dict[str, Any] = field(default_factory=dict)


GROUPS = {
    "paused": Group(1, RunState.PAUSED, 100, sent_every=2, more={"paused_by": PausedBy.HAND}),
    "cancelled": Group(1, RunState.CANCELLED, 100, sent_every=2),
    "large": Group(1, RunState.RUNNING, 100, scored=4490, sent_every=8, more={"budget_us": 10**12}),
    "live": Group(97, RunState.RUNNING, 100, sent_every=25),
    "old": Group(1, RunState.DONE, 0, scored=460, more={"statistics": {}}),
}


def fill(database: Database) -> dict[str, list[int]]:
    """Write the queue into an empty, migrated database; returns the runs of each group."""
    ids: dict[str, list[int]] = {}
    with database.transaction() as session:
        now = database.now(session)
        session.execute(insert(Network).values(network_row()))
        for name, group in GROUPS.items():
            ids[name] = [_run(session, group, ordinal, now) for ordinal in range(group.runs)]
            for run in ids[name]:
                _insert(session, Batch, _batches(run, group, now))
                _insert(session, BatchImages, _images(session, run))
                _insert(session, Problem, _problems(session, run, group, now))
                spent_us = select(func.sum(cost_us())).join(Batch).where(Batch.run_id == run)
                row = {"run_id": run, "day": now.date(), "spent_us": session.execute(spent_us).scalar_one()}
                session.execute(insert(Spending).values(row))
        _check(session)
    return ids


def _run(session: Session, group: Group, ordinal: int, now: datetime) -> int:
    finished = group.state in (RunState.DONE, RunState.CANCELLED)
    row = {
        "name": f"{group.state} {ordinal}",
        "network_id": 1,
        "solver": Solver.EMULATOR,
        "parameters": Parameters(reads=100).to_dict(),
        "state": group.state,
        "priority": ordinal % 3,
        "content_sha256": "0" * 64,
        "images": (group.waiting + group.scored) * _IMAGES,
        "batches": group.waiting + group.scored,
        "batches_scored": group.scored,
        "labelled": False,
        "created_at": now,
        "started_at": now,
        "finished_at": now if finished else None,
    }
    return session.execute(insert(Run).values(row | group.more).returning(Run.id)).scalar_one()


def _batches(run: int, group: Group, now: datetime) -> Iterator[dict[str, Any]]:
    for ordinal in range(group.scored + group.waiting):
        scored = ordinal < group.scored
        yield {
            "run_id": run,
            "ordinal": ordinal,
            "first_image": ordinal * _IMAGES,
            "count": _IMAGES,
            "shape": "28x28",
            "dtype": "uint8",
            "state": BatchState.SCORED if scored else BatchState.PENDING,
            "due_at": now,
            "created_at": now,
            "sampled_at": now if scored else None,
            "scored_at": now if scored else None,
        }


def _images(session: Session, run: int) -> Iterator[dict[str, Any]]:
    for batch in session.execute(select(Batch.id).where(Batch.run_id == run)).scalars().all():
        yield {"batch_id": batch, "images": bytes(_IMAGES * 28 * 28), "images_sha256": "0" * 64}


def _problems(session: Session, run: int, group: Group, now: datetime) -> Iterator[dict[str, Any]]:
    rows = session.execute(select(Batch.id, Batch.state, Batch.ordinal).where(Batch.run_id == run)).all()
    for batch, state, ordinal in rows:
        if state is BatchState.SCORED:
            yield from (_problem(batch, part, ProblemState.ANSWERED, now) for part in range(10))
        elif group.sent_every and ordinal % group.sent_every == 0:
            yield _problem(batch, 0, ProblemState.SENT, now)


def _problem(batch: int, ordinal: int, state: ProblemState, now: datetime) -> dict[str, Any]:
    answered = state is ProblemState.ANSWERED
    name = f"{batch}-{ordinal}"
    return {
        "batch_id": batch,
        "ordinal": ordinal,
        "first_image": 0,
        "count": _IMAGES,
        "label": f"annealq:{name}",
        "sapi_id": name,
        "graph_id": "0" * 64,
        "state": state,
        "times_sent": 1,
        "chain_breaks": bytes(500),
        "estimated_us": 50_000,
        "charged_us": 50_000 if answered else None,
        "timing": {"qpu_access_time": 50_000, "qpu_programming_time": 15_000} if answered else None,
        "reserved_at": now,
        "sending_at": now,
        "sent_at": now,
        "answered_at": now if answered else None,
    }


def _insert(session: Session, table: type[Batch] | type[Problem], rows: Iterator[dict[str, Any]]) -> None:
    held = list(rows)
    for first in range(0, len(held), _AT_ONCE):
        session.execute(insert(table), held[first : first + _AT_ONCE])


def _check(session: Session) -> None:
    """The queue is as large as this file says."""
    waiting = select(func.count()).select_from(Batch).where(Batch.state == BatchState.PENDING)
    problems = select(func.count()).select_from(Problem)
    assert session.execute(waiting).scalar_one() == WAITING
    assert session.execute(problems).scalar_one() == PROBLEMS
