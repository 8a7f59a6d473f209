"""Follows runs for any number of listeners: one query finds what has changed for all of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from dataclasses import dataclass, field

from sqlalchemy import func, select

from producer.api.live.positions import has_changed
from producer.api.load.pools import Pool
from producer.progress.stages import ImageProgress, progress_of
from schema.database import Database
from schema.errors import NotFound, StorageError
from schema.states import FINISHED_RUNS
from schema.tables import Event, Run

_EVERY_S = 0.05  # between two queries of the runs' rows, while nothing changes
_SOON_S = 0.01  # between two, just after a change: the next one often follows
_PART = 0.25  # of the time since the latest change, for which the next query waits
_PAUSES = 4.0  # at least this many times as long as the query took, which bounds its load
_DETAIL_S = 1.0  # between two queries of the images of a run whose row is unchanged
_AWAY_S = 1.0  # while the database does not answer
_FIND_S = 1.0  # between two searches for new runs
_RUNS_PER_QUERY = 500
_ROWS = select(Run.id, Run.state, Run.images, Run.batches_scored, Run.batches_failed, Run.pause_reason)


@dataclass(frozen=True)
class RunUpdate:
    """The progress of a run, and the number of the newest event in the database when it was read."""

    run: int
    progress: ImageProgress
    position: int

    @property
    def is_end(self) -> bool:
        """Return whether the run is finished."""
        return self.progress.state in FINISHED_RUNS


@dataclass
class _Topic:
    """A run and its listeners. ``row``: the values of its row at the last query."""

    listeners: set[asyncio.Event] = field(default_factory=set)
    row: tuple[object, ...] = ()
    update: RunUpdate | None = None
    read_at: float = 0.0
    is_gone: bool = False

    def wake_listeners(self) -> None:
        for changed in self.listeners:
            changed.set()


class ProgressFeed:
    """Use it in one event loop. It queries ``database`` in ``pool``, only while there are listeners."""

    def __init__(self, database: Database, pool: Pool) -> None:
        self._database, self._pool = database, pool
        self._topics: dict[int, _Topic] = {}
        self._polling: asyncio.Task[None] | None = None
        self._changed_at = float("-inf")
        self._closed = False

    async def follow(
        self,
        runs: Collection[int],
        heartbeat_s: float,
        after: int | None = None,
        find: Callable[[], Collection[int]] | None = None,
    ) -> AsyncIterator[RunUpdate | None]:
        """Yield the progress of ``runs`` at every change, until all are finished.

        Yields None when nothing has changed for ``heartbeat_s`` seconds. Ends early when the process shuts
        down or all runs were deleted.

        Args:
            after: the position of the last update that the listener has seen; what has not changed since is
                not repeated.
            find: returns the runs that are followed, too; it is asked again and again, in a thread, and the
                listener stays when all runs are finished.
        """
        changed, topics, seen = asyncio.Event(), dict[int, _Topic](), dict[int, ImageProgress]()
        found_at = beat_at = time.monotonic()
        try:
            self._listen(runs, changed, topics)
            while not self._closed and (topics or find is not None):
                changed.clear()
                for run, topic in list(topics.items()):
                    update = topic.update
                    if update is not None and update.progress != seen.get(run):
                        is_first, seen[run] = run not in seen, update.progress
                        if not (is_first and after and await self._is_known(update, after)):
                            beat_at = time.monotonic()
                            yield update
                    if topic.is_gone or (update is not None and update.is_end):
                        self._leave(run, changed, topics)
                if not topics and find is None:
                    return
                now = time.monotonic()
                if find is not None and now - found_at >= _FIND_S:
                    self._listen(await self._pool.run(find), changed, topics)
                    found_at = time.monotonic()
                if now - beat_at >= heartbeat_s:
                    beat_at = now
                    yield None
                await _wait(changed, min(heartbeat_s, _FIND_S if find is not None else heartbeat_s))
        finally:
            for run in list(topics):
                self._leave(run, changed, topics)

    def listeners(self) -> int:
        """Return how many listeners there are."""
        return len({event for topic in list(self._topics.values()) for event in set(topic.listeners)})

    def close(self) -> None:
        """Disconnect all listeners. Call it from the event loop only."""
        self._closed = True
        for topic in self._topics.values():
            topic.wake_listeners()

    def _listen(self, runs: Iterable[int], changed: asyncio.Event, topics: dict[int, _Topic]) -> None:
        """Add ``runs`` to the ``topics`` of a listener, which is woken by ``changed``."""
        for run in runs:
            if run not in topics:
                topics[run] = topic = self._topics.setdefault(run, _Topic())
                topic.listeners.add(changed)
        if topics and (self._polling is None or self._polling.done()):
            self._polling = asyncio.create_task(self._poll())

    def _leave(self, run: int, changed: asyncio.Event, topics: dict[int, _Topic]) -> None:
        topic = topics.pop(run)
        topic.listeners.discard(changed)
        if not topic.listeners and self._topics.get(run) is topic:
            del self._topics[run]

    async def _is_known(self, update: RunUpdate, after: int) -> bool:
        """Return whether a listener that has seen the position ``after`` has seen ``update``."""
        if update.is_end or update.position < after:
            return False  # an end is repeated rather than lost

        def look() -> bool:
            with self._database.reading() as session:
                return not has_changed(session, update.run, after)

        return await self._pool.run(look)

    async def _poll(self) -> None:
        while self._topics and not self._closed:
            topics = dict(self._topics)
            begun = time.monotonic()
            try:
                changed = await self._pool.run(self._update, topics)
            except StorageError:
                await asyncio.sleep(_AWAY_S)
                continue
            now = time.monotonic()
            if changed:
                self._changed_at = now
            for topic in changed:
                topic.wake_listeners()
            await asyncio.sleep(_pause_s(now - begun, now - self._changed_at))

    def _update(self, topics: dict[int, _Topic]) -> list[_Topic]:
        """Update ``topics`` from the database, and return those that have changed. Runs in a thread."""
        changed = []
        with self._database.reading() as session:
            rows: dict[int, tuple[object, ...]] = {}
            for part in _parts(topics):
                rows |= {row.id: tuple(row) for row in session.execute(_ROWS.where(Run.id.in_(part)))}
            due = [run for run, topic in topics.items() if _is_due(topic, rows.get(run), len(topics))]
            # Read first: what changes afterwards is after this position.
            position = (session.execute(select(func.max(Event.id))).scalar() or 0) if due else 0
            for run in due:
                topic = topics[run]
                topic.row, topic.read_at = rows.get(run, ()), time.monotonic()
                try:
                    progress = progress_of(session, run, self._database.now(session))
                except NotFound:
                    topic.is_gone = True
                    changed.append(topic)
                    continue
                if topic.update is None or progress != topic.update.progress:
                    topic.update = RunUpdate(run, progress, position)
                    changed.append(topic)
        return changed


async def _wait(changed: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(changed.wait(), seconds)
    except TimeoutError:
        return


def _pause_s(took_s: float, unchanged_s: float) -> float:
    """Return how long to wait after a query that ``took_s``, when nothing has changed for ``unchanged_s``."""
    return min(max(_SOON_S, _PART * unchanged_s, _PAUSES * took_s), _EVERY_S)


def _is_due(topic: _Topic, row: tuple[object, ...] | None, topics: int) -> bool:
    # With many runs, each is read less often, so that listeners cannot overload the database.
    detail_s = max(_DETAIL_S, topics / 100)
    return row != topic.row or time.monotonic() - topic.read_at > detail_s


def _parts(runs: Iterable[int]) -> list[list[int]]:
    numbers = list(runs)
    return [numbers[start : start + _RUNS_PER_QUERY] for start in range(0, len(numbers), _RUNS_PER_QUERY)]
