"""Runs as JSON, rendered once for as long as their rows are unchanged.

Requests that arrive during a query wait for the next query, which answers all of them: a thousand readers
cost one query at a time, and each sees the run as it was after its request.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from cachetools import LRUCache
from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from producer.api.live.links import links
from producer.api.load.pools import Pool
from producer.embeddings import chips
from producer.progress.reasons import current_outages
from producer.runs import queries, summary
from schema.database import Database
from schema.errors import AnnealqError
from schema.tables import Intake, Run

_MAX_SNAPSHOTS = 2_000
_RUNS_PER_QUERY = 500

# Every column of a run that changes. Classifications are written together with a count of their batches.
_ROWS = select(
    Run.id,
    Run.name,
    Run.state,
    Run.priority,
    Run.images,
    Run.batches_scored,
    Run.batches_failed,
    select(Intake.state).where(Intake.id == Run.id).scalar_subquery(),
    Run.round,
    Run.budget_us,
    Run.pause_reason,
    Run.window,
    Run.opened_until,
    Run.deadline_at,
    Run.error,
    Run.started_at,
    Run.finished_at,
    Run.statistics.is_(None),
).where(Run.id.in_(bindparam("runs", expanding=True)))


class _Snapshot(NamedTuple):
    """A text that is valid while ``row`` is unchanged, and before ``until``."""

    row: tuple[object, ...]
    text: bytes
    until: datetime | None


class Snapshots:
    """JSON texts of the runs in ``database``, read in ``pool``; use it in one event loop."""

    def __init__(self, database: Database, pool: Pool) -> None:
        self._database, self._pool = database, pool
        self._snapshots: LRUCache[int, _Snapshot] = LRUCache(_MAX_SNAPSHOTS)  # one thread at a time uses it
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def get(self, run: int) -> bytes:
        """Return ``run`` as it is now; raise NotFound or StorageError."""
        if run not in self._waiting:
            self._waiting[run] = asyncio.get_running_loop().create_future()
        answer = self._waiting[run]
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._answer_all())
        return await asyncio.shield(answer)

    async def _answer_all(self) -> None:
        while self._waiting:
            waiting = dict(list(self._waiting.items())[:_RUNS_PER_QUERY])
            for run in waiting:
                del self._waiting[run]
            try:
                texts = await self._pool.run(self._read, list(waiting))
            except AnnealqError as error:
                texts = dict.fromkeys(waiting, error)
            for run, answer in waiting.items():
                _answer(answer, texts[run])

    def _read(self, runs: Iterable[int]) -> dict[int, bytes | AnnealqError]:
        with self._database.reading() as session:
            rows = {row[0]: tuple(row) for row in session.execute(_ROWS, {"runs": list(runs)})}
            now = self._database.now(session)
            tags = queries.tags(session, rows)
            others = (tuple(current_outages(session).values()), tuple(chips.alarms(session).items()))
            return {
                run: self._render(session, run, (*rows.get(run, ()), tags.get(run), *others), now)
                for run in runs
            }

    def _render(
        self, session: Session, run: int, row: tuple[object, ...], now: datetime
    ) -> bytes | AnnealqError:
        snapshot = self._snapshots.get(run)
        if snapshot is not None and snapshot.row == row and (snapshot.until is None or now < snapshot.until):
            return snapshot.text
        try:
            values = summary.run_object(session, run, now)
        except AnnealqError as error:
            return error
        text = json.dumps({**values, "links": links(run)}).encode()
        self._snapshots[run] = _Snapshot(row, text, _window_change(values))
        return text


def _window_change(values: dict[str, Any]) -> datetime | None:
    """Return when the run's window opens or closes next: from then on its text is out of date."""
    change = values["window_opens_at"] or values["window_closes_at"]
    return None if change is None else datetime.fromisoformat(change)


def _answer(answer: asyncio.Future[bytes], text: bytes | AnnealqError) -> None:
    if isinstance(text, bytes):
        answer.set_result(text)
        return
    answer.set_exception(text)
    answer.exception()  # marks it as retrieved, because the client may have disconnected
