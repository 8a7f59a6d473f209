"""Follows runs for any number of listeners: one query finds what has changed for all of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

from sqlalchemy import select

from producer.api.load.pools import Pool
from producer.progress.stages import ImageProgress, progress_of
from schema.database import Database
from schema.errors import NotFound, StorageError
from schema.states import FINISHED_RUNS
from schema.tables import Run

_EVERY_S = 0.05  # between two queries of the runs' rows
_DETAIL_S = 1.0  # between two queries of the images of a run whose row is unchanged
_AWAY_S = 1.0  # while the database does not answer
_RUNS_PER_QUERY = 500
_ROWS = select(Run.id, Run.state, Run.batches_scored, Run.batches_failed, Run.pause_reason)


@dataclass
class _Topic:
    """A run and its listeners. ``row``: the values of its row at the last query."""

    listeners: int = 0
    row: tuple[object, ...] = ()
    progress: ImageProgress | None = None
    read_at: float = 0.0
    is_gone: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def wake_listeners(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


class ProgressFeed:
    """Use it in one event loop. It queries ``database`` in ``pool``, only while there are listeners."""

    def __init__(self, database: Database, pool: Pool) -> None:
        self._database, self._pool = database, pool
        self._topics: dict[int, _Topic] = {}
        self._polling: asyncio.Task[None] | None = None
        self._closed = False

    async def follow(self, run: int, heartbeat_s: float) -> AsyncIterator[ImageProgress | None]:
        """Yield the progress of ``run`` at every change until it is finished.

        Yields None when nothing has changed for ``heartbeat_s`` seconds. Ends early when the process shuts
        down or the run was deleted.
        """
        topic = self._topics.setdefault(run, _Topic())
        topic.listeners += 1
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll())
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

    def listeners(self) -> int:
        """Return how many listeners there are."""
        return sum(topic.listeners for topic in list(self._topics.values()))

    def close(self) -> None:
        """Disconnect all listeners. Call it from the event loop only."""
        self._closed = True
        for topic in self._topics.values():
            topic.wake_listeners()

    async def _poll(self) -> None:
        while self._topics and not self._closed:
            topics = dict(self._topics)
            pause_s = _EVERY_S
            try:
                changed = await self._pool.run(self._update, topics)
            except StorageError:
                changed, pause_s = [], _AWAY_S
            for topic in changed:
                topic.wake_listeners()
            await asyncio.sleep(pause_s)

    def _update(self, topics: dict[int, _Topic]) -> list[_Topic]:
        """Update ``topics`` from the database, and return those that have changed. Runs in a thread."""
        changed = []
        with self._database.reading() as session:
            rows: dict[int, tuple[object, ...]] = {}
            for part in _parts(topics):
                rows |= {row.id: tuple(row) for row in session.execute(_ROWS.where(Run.id.in_(part)))}
            for run, topic in topics.items():
                if not _is_due(topic, rows.get(run), len(topics)):
                    continue
                topic.row, topic.read_at = rows.get(run, ()), time.monotonic()
                try:
                    progress = progress_of(session, run, self._database.now(session))
                except NotFound:
                    topic.is_gone = True
                    changed.append(topic)
                    continue
                if progress != topic.progress:
                    topic.progress = progress
                    changed.append(topic)
        return changed


def _is_due(topic: _Topic, row: tuple[object, ...] | None, topics: int) -> bool:
    # With many runs, each is read less often, so that listeners cannot overload the database.
    detail_s = max(_DETAIL_S, topics / 100)
    return row != topic.row or time.monotonic() - topic.read_at > detail_s


def _parts(runs: Iterable[int]) -> list[list[int]]:
    numbers = list(runs)
    return [numbers[start : start + _RUNS_PER_QUERY] for start in range(0, len(numbers), _RUNS_PER_QUERY)]
