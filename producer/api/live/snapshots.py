"""Runs as they are shown, rendered once for as long as their rows stay the same.

Whoever asks while the database is being asked waits for the next look, which is for all who came meanwhile: a
thousand readers cost one query at a time, and each sees the run as it was after they had asked.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from producer.api.live.links import links
from producer.runs import summary
from schema.database import Database
from schema.errors import AnnealqError
from schema.tables import Run

_MOST = 2_000  # rendered runs that are kept
_AT_ONCE = 500  # runs in one query

# All that changes of a run. Classifications are written with a count of their batches.
_ROWS = select(
    Run.id,
    Run.state,
    Run.priority,
    Run.batches_scored,
    Run.batches_failed,
    Run.budget_us,
    Run.pause_reason,
    Run.opened_until,
    Run.error,
    Run.started_at,
    Run.finished_at,
    Run.statistics.is_(None),
).where(Run.id.in_(bindparam("runs", expanding=True)))


class _Held(NamedTuple):
    """A text, good while the row stays the same, and before ``until``."""

    row: tuple[object, ...]
    text: bytes
    until: datetime | None


class Snapshots:
    """JSON texts by run; use it in one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held: OrderedDict[int, _Held] = OrderedDict()
        self._asked: dict[int, asyncio.Future[bytes]] = {}
        self._looking: asyncio.Task[None] | None = None

    async def get(self, run: int) -> bytes:
        """The run as it is now. Raises NotFound, StorageError."""
        if run not in self._asked:
            self._asked[run] = asyncio.get_running_loop().create_future()
        answer = self._asked[run]
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        return await asyncio.shield(answer)

    async def _look(self) -> None:
        while self._asked:
            asked = dict(list(self._asked.items())[:_AT_ONCE])
            for run in asked:
                del self._asked[run]
            try:
                found = await run_in_threadpool(self._read, list(asked))
            except AnnealqError as error:
                found = dict.fromkeys(asked, error)
            for run, answer in asked.items():
                _answer(answer, found[run])

    def _read(self, runs: Iterable[int]) -> dict[int, bytes | AnnealqError]:
        """In a thread, one at a time."""
        with self._database.reading() as session:
            rows = {row[0]: tuple(row) for row in session.execute(_ROWS, {"runs": list(runs)})}
            now = self._database.now(session)
            return {run: self._render(session, run, rows.get(run, ()), now) for run in runs}

    def _render(
        self, session: Session, run: int, row: tuple[object, ...], now: datetime
    ) -> bytes | AnnealqError:
        held = self._held.get(run)
        if held is not None and held.row == row and (held.until is None or now < held.until):
            self._held.move_to_end(run)
            return held.text
        try:
            shown = summary.run_object(session, run, now)
        except AnnealqError as error:
            return error
        text = json.dumps({**shown, "links": links(run)}).encode()
        self._held[run] = _Held(row, text, _turn(shown))
        while len(self._held) > _MOST:
            self._held.popitem(last=False)
        return text


def _turn(shown: dict[str, Any]) -> datetime | None:
    """When the run's window opens or closes: from then on the text says what was."""
    turn = shown["window_opens_at"] or shown["window_closes_at"]
    return None if turn is None else datetime.fromisoformat(turn)


def _answer(answer: asyncio.Future[bytes], found: bytes | AnnealqError) -> None:
    if isinstance(found, bytes):
        answer.set_result(found)
        return
    answer.set_exception(found)
    answer.exception()  # whoever asked may be gone
