"""Charts and reports that take seconds: computed once for their content, and by a few threads at a time."""

from __future__ import annotations

import asyncio
import logging

from starlette.responses import Response

from producer.context import RunInThread
from producer.dashboard.web.drawing import Drawing, DrawingKey, LengthyAnswer
from schema.database import Database, renderings
from schema.errors import StorageError

_LOG = logging.getLogger("annealq.pages")


class Renderings:
    """Drawings in ``database``, or drawn by ``run``. Requests for the same one share one computation.

    Use it in one event loop.
    """

    def __init__(self, database: Database, run: RunInThread) -> None:
        self._database, self._run = database, run
        self._drawing: dict[DrawingKey, asyncio.Task[bytes]] = {}

    async def make(self, answer: LengthyAnswer) -> Response:
        """Return the response of ``answer``; raise what making it raises, or RequestRefused (503)."""
        return await self._run(answer.make)

    def find(self, drawing: Drawing) -> Response | None:
        """Return the stored ``drawing``, or None if its content has changed or it was never drawn."""
        with self._database.reading() as session:
            found = renderings.find(session, *drawing.key)
        return None if found is None or found.body is None else _response(drawing, found.body)

    async def get(self, drawing: Drawing) -> Response:
        """Return ``drawing``, drawn now; raise what drawing it raises, or RequestRefused (503)."""
        task = self._drawing.get(drawing.key)
        if task is None:
            task = self._drawing[drawing.key] = asyncio.create_task(self._run(self._draw, drawing))
            task.add_done_callback(lambda _task: self._drawing.pop(drawing.key))
        return _response(drawing, await asyncio.shield(task))

    def _draw(self, drawing: Drawing) -> bytes:
        body = drawing.draw()
        try:
            self._store(drawing, body)
        except StorageError as error:
            _LOG.warning("%s of run %d is not stored: %s", drawing.kind, drawing.run, error)
        return body

    def _store(self, drawing: Drawing, body: bytes) -> None:
        with self._database.transaction() as session:
            now = self._database.now(session)
            renderings.store(session, *drawing.key, drawing.media_type, body, now=now)


def _response(drawing: Drawing, body: bytes) -> Response:
    return Response(body, media_type=drawing.media_type, headers=dict(drawing.headers))
