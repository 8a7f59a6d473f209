"""Follows runs for any number of listeners in one process: what changed is asked for all of them at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

from sqlalchemy import select
from starlette.concurrency import run_in_threadpool

from producer.runs import queries
from producer.runs.queries import ImageProgress
from schema.database import Database
from schema.errors import NotFound, StorageError
from schema.states import FINISHED_RUNS
from schema.tables import Run

_EVERY_S = 0.05  # between two looks at the runs' rows
_DETAIL_S = 1.0  # between two looks at the images of a run whose row stays as it is
_AWAY_S = 1.0  # while the database does not answer
_AT_ONCE = 500  # runs in one query


@dataclass
class _Topic:
    """One run, and those who listen. row: what its row said last."""

    listeners: int = 0
    row: tuple[object, ...] = ()
    progress: ImageProgress | None = None
    read_at: float = 0.0
    is_gone: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Watch:
    """Use it in one event loop; it asks the database only while somebody listens."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._topics: dict[int, _Topic] = {}
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    async def follow(self, run: int, heartbeat_s: float) -> AsyncIterator[ImageProgress | None]:
        """How far a run is, at every change until its end; None when nothing changed for so long.

        Ends early when the process is to stop, or the run was deleted.
        """
        topic = self._topics.setdefault(run, _Topic())
        topic.listeners += 1
        self._look()
        seen: ImageProgress | None = None
        try:
            while not self._closed and not topic.is_gone:
                changed = topic.changed
                if topic.progress is not None and topic.progress != seen:
                    seen = topic.progress
                    yield seen
                    if seen.state in FINISHED_RUNS:
                        return
                    continue
                try:
                    await asyncio.wait_for(changed.wait(), heartbeat_s)
                except TimeoutError:
                    yield None
        finally:
            topic.listeners -= 1
            if not topic.listeners and self._topics.get(run) is topic:
                del self._topics[run]

    def close(self) -> None:
        """Let all listeners go. From the event loop only."""
        self._closed = True
        for topic in self._topics.values():
            _tell(topic)

    def _look(self) -> None:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._keep_looking())

    async def _keep_looking(self) -> None:
        while self._topics and not self._closed:
            topics = dict(self._topics)
            pause = _EVERY_S
            try:
                changed = await run_in_threadpool(self._read, topics)
            except StorageError:
                changed, pause = [], _AWAY_S
            for topic in changed:
                _tell(topic)
            await asyncio.sleep(pause)

    def _read(self, topics: dict[int, _Topic]) -> list[_Topic]:
        """Bring topics up to date; returns those that have changed. In a thread."""
        changed = []
        with self._database.reading() as session:
            rows: dict[int, tuple[object, ...]] = {}
            for some in _parts(topics):
                found = session.execute(_ROWS.where(Run.id.in_(some)))
                rows |= {row.id: tuple(row) for row in found}
            for run, topic in topics.items():
                if not self._is_due(topic, rows.get(run), len(topics)):
                    continue
                topic.row, topic.read_at = rows.get(run, ()), time.monotonic()
                try:
                    progress = queries.progress(session, run)
                except NotFound:
                    topic.is_gone = True
                    changed.append(topic)
                    continue
                if progress != topic.progress:
                    topic.progress = progress
                    changed.append(topic)
        return changed

    def _is_due(self, topic: _Topic, row: tuple[object, ...] | None, topics: int) -> bool:
        # Many runs are looked at more seldom, so that listeners cannot keep the database busy.
        detail_s = max(_DETAIL_S, topics / 100)
        return row != topic.row or time.monotonic() - topic.read_at > detail_s


_ROWS = select(Run.id, Run.state, Run.batches_scored, Run.batches_failed, Run.pause_reason)


def _parts(runs: Iterable[int]) -> list[list[int]]:
    numbers = list(runs)
    return [numbers[start : start + _AT_ONCE] for start in range(0, len(numbers), _AT_ONCE)]


def _tell(topic: _Topic) -> None:
    topic.changed.set()
    topic.changed = asyncio.Event()
