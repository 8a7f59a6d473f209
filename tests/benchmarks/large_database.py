"""A database that has grown for years, written straight into the tables.

Each run has 1,000 images of digits in 4 batches of 4 problems; by default there are 300 runs, and 10,000
(10^7 images) with ``ANNEALQ_BENCH_RUNS=10000``. The last twenty are unfinished: half of their batches are
scored, the others wait. Only the first and the last one have stored images, and none has reads. Each row of
work has two events.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import Insert, insert, select
from sqlalchemy.orm import Session

from schema.codecs import arrays
from schema.database import Database
from schema.parameters import Parameters, Solver
from schema.shapes import ImageShape
from schema.states import BatchState, ProblemState, RunState
from schema.tables import (
    Batch,
    BatchImages,
    Classification,
    Event,
    Network,
    Problem,
    Run,
    RunTag,
    Spending,
)
from schema.tables.columns import Base
from tests.integration.conftest import START, network_row
from tests.integration.rows import add_chip, add_embedding
from worker.compute.summary import summarise
from worker.records.runs import BatchTimestamps, Figures

RUNS = int(os.environ.get("ANNEALQ_BENCH_RUNS", "300"))
IMAGES, BATCHES, PROBLEMS = 1_000, 4, 4  # of a run, of a run, of a batch
OPEN = 20  # runs that are not finished
CLASSES, SIDE = 10, 8
_SIZE = IMAGES // BATCHES
_AT_ONCE = 500  # runs in a transaction
_TIMES = (BatchTimestamps(IMAGES, 0.0, 1.0, 2.0, 3.0, 1.0),)
_STATISTICS = summarise(Figures(_TIMES, 0, None, (), (), (), labelled=IMAGES, correct=IMAGES * 95 // 100))
_EVENT = {"source": None, "why": None, "actor": None, "request_id": None}


def fill(database: Database) -> None:
    """Write all runs into an empty, migrated database."""
    with database.transaction() as session:
        session.execute(insert(Network).values(network_row()))
        add_embedding(session, add_chip(session, name="chip", graph_id="0" * 64))
        _insert(session, Run, (_run(number) for number in range(1, RUNS + 1)))
        _insert(session, RunTag, ({"run_id": k, "tag": f"tag-{k % 100}"} for k in range(1, RUNS + 1)))
        _insert(session, Batch, (row for run in range(1, RUNS + 1) for row in _batches(run)))
        _insert(session, Spending, (_spending(k) for k in range(1, RUNS + 1)))
        _store_images(session)
        _insert(session, Classification, _classifications())
    for first in range(1, RUNS + 1, _AT_ONCE):
        runs = range(first, min(first + _AT_ONCE, RUNS + 1))
        with database.transaction() as session:
            _insert(session, Problem, (row for run in runs for row in _problems(run)))
            _insert(session, Event, (row for run in runs for row in _events(run)))
            session.execute(_copied(max(first, 2), runs[-1]))


def _is_open(run: int) -> bool:
    return run > RUNS - OPEN


def created(run: int) -> datetime:
    """When ``run`` was created: a run every quarter of an hour."""
    return START + run * timedelta(minutes=15)


def _run(run: int) -> dict[str, Any]:
    ended = None if _is_open(run) else created(run) + timedelta(minutes=1)
    scored = BATCHES // 2 if _is_open(run) else BATCHES
    return {
        "id": run,
        "name": f"night {run % 97}",
        "network_id": 1,
        "solver": Solver.EMULATOR,
        "parameters": Parameters(reads=100).to_dict(),
        "state": RunState.RUNNING if _is_open(run) else RunState.DONE,
        "priority": run % 5,
        "content_sha256": f"{run:064}",
        "qpu": "chip",
        "graph_id": "0" * 64,
        "images": IMAGES,
        "batches": BATCHES,
        "batches_scored": scored,
        "labelled": True,
        "statistics": None if _is_open(run) else _STATISTICS,
        "created_at": created(run),
        "started_at": created(run),
        "finished_at": ended,
    }


def _batches(run: int) -> Iterator[dict[str, Any]]:
    for ordinal in range(BATCHES):
        scored = None if _waits(run, ordinal) else created(run) + timedelta(seconds=30)
        yield {
            "id": (run - 1) * BATCHES + ordinal + 1,
            "run_id": run,
            "ordinal": ordinal,
            "first_image": ordinal * _SIZE,
            "count": _SIZE,
            "shape": f"{SIDE}x{SIDE}",
            "dtype": "uint8",
            "state": BatchState.PENDING if scored is None else BatchState.SCORED,
            "due_at": created(run),
            "created_at": created(run),
            "started_at": None if scored is None else created(run),
            "sampled_at": scored,
            "scored_at": scored,
            "embedding_id": None if scored is None else 1,
            "embedding_s": None if scored is None else 0.0,
        }


def _waits(run: int, ordinal: int) -> bool:
    return _is_open(run) and ordinal >= BATCHES // 2


def _problems(run: int) -> Iterator[dict[str, Any]]:
    at, size = created(run) + timedelta(seconds=20), _SIZE // PROBLEMS
    for ordinal in range(BATCHES):
        for part in range(0 if _waits(run, ordinal) else PROBLEMS):
            name = f"{run}-{ordinal}-{part}"
            yield {
                "batch_id": (run - 1) * BATCHES + ordinal + 1,
                "ordinal": part,
                "first_image": part * size,
                "count": size,
                "label": f"annealq:{name}",
                "sapi_id": name,
                "embedding_id": 1,
                "graph_id": "0" * 64,
                "qpu": "chip",
                "state": ProblemState.ANSWERED,
                "times_sent": 1,
                "measured": {"beta": 2.0, "chain_breaks": 0.1, "fields": 0.01},
                "estimated_us": 50_000,
                "charged_us": 50_000.0,
                "timing": {"qpu_access_time": 50_000, "qpu_programming_time": 15_000},
                "reserved_at": at,
                "sending_at": at,
                "sent_at": at,
                "answered_at": at,
            }


def _events(run: int) -> Iterator[dict[str, Any]]:
    states = (RunState.QUEUED, RunState.RUNNING) if _is_open(run) else (RunState.RUNNING, RunState.DONE)
    for state in states:
        yield _EVENT | {"at": created(run), "subject": "runs", "row": run, "target": state}
    for ordinal in range(BATCHES):
        batch = (run - 1) * BATCHES + ordinal + 1
        for name in (BatchState.SAMPLED, BatchState.SCORED):
            yield _EVENT | {"at": created(run), "subject": "batches", "row": batch, "target": name}
        for part in range(PROBLEMS):
            row = (batch - 1) * PROBLEMS + part + 1
            for sent in (ProblemState.SENT, ProblemState.ANSWERED):
                yield _EVENT | {"at": created(run), "subject": "problems", "row": row, "target": sent}


def _spending(run: int) -> dict[str, Any]:
    return {"run_id": run, "day": created(run).date(), "spent_us": 50_000.0 * BATCHES * PROBLEMS}


def _store_images(session: Session) -> None:
    """Store the images of the first and of the last run."""
    rng = np.random.default_rng(0)
    for batch in (*range(1, BATCHES + 1), *range((RUNS - 1) * BATCHES + 1, RUNS * BATCHES + 1)):
        pixels = rng.integers(0, 17, (_SIZE, SIDE, SIDE), dtype=np.uint8)
        packed, labels = arrays.encode_images(pixels), rng.integers(0, CLASSES, _SIZE).astype("<i2").tobytes()
        sha256 = arrays.batch_checksum(packed, ImageShape.of(pixels), labels)
        row = {"batch_id": batch, "images": packed, "images_sha256": sha256, "labels": labels}
        session.execute(insert(BatchImages).values(row))


def _classifications() -> Iterator[dict[str, Any]]:
    """Yield those of the first run, 95 % of them correct; the others have the same."""
    rng = np.random.default_rng(1)
    drawn = rng.random((IMAGES, CLASSES))
    scores = arrays.encode_scores(drawn)
    for image in range(IMAGES):
        label, certainty = image % CLASSES, float(rng.random())
        yield {
            "run_id": 1,
            "image": image,
            "label": label,
            "predicted": label if rng.random() < 0.95 else (label + 1) % CLASSES,
            "status": "decided",
            "scores": scores[image],
            "margin": certainty,
            "probability": certainty,
            "energy_gap": 1.0,
            "one_hot_fraction": 1.0,
            "lowest_energy": -3.0,
            "chain_break_fraction": 0.1,
            "reads": 100,
        }


def _copied(first: int, last: int) -> Insert:
    """Build the statement that gives runs ``first`` to ``last`` the classifications of the first run."""
    names = [column.name for column in Classification.__table__.columns if column.name != "run_id"]
    scored = select(Run.id, *(getattr(Classification, name) for name in names)).join_from(
        Classification,
        Run,
        (Run.id.between(first, last)) & (Classification.image < Run.batches_scored * _SIZE),
    )
    return insert(Classification).from_select(["run_id", *names], scored.where(Classification.run_id == 1))


def _insert(session: Session, table: type[Base], rows: Iterator[dict[str, Any]] | Sequence[Any]) -> None:
    held = list(rows)
    for first in range(0, len(held), 5_000):
        session.execute(insert(table), held[first : first + 5_000])
