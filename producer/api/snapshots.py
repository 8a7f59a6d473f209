"""Runs as they are shown, rendered once for as long as their rows stay the same."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from producer import report
from producer.api.links import links
from schema.database import Database
from schema.tables import Run

_MOST = 2_000

# All that changes of a run. Classifications are written with a count of their batches.
_ROW = select(
    Run.state,
    Run.priority,
    Run.batches_scored,
    Run.batches_failed,
    Run.budget_us,
    Run.pause_reason,
    Run.error,
    Run.started_at,
    Run.finished_at,
    Run.statistics.is_(None),
).where(Run.id == bindparam("run"))


class Snapshots:
    """JSON texts by run; for any number of threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._held: OrderedDict[int, tuple[tuple[object, ...], bytes]] = OrderedDict()

    def get(self, run: int) -> bytes:
        """The run as it is now. Raises NotFound."""
        with self._database.reading() as session:
            found = session.execute(_ROW, {"run": run}).first()
            row = () if found is None else tuple(found)
            with self._lock:
                held = self._held.get(run)
                if held is not None and held[0] == row:
                    self._held.move_to_end(run)
                    return held[1]
            return self._render(session, run, row)

    def _render(self, session: Session, run: int, row: tuple[object, ...]) -> bytes:
        text = json.dumps({**report.run_object(session, run), "links": links(run)}).encode()
        with self._lock:
            self._held[run] = row, text
            while len(self._held) > _MOST:
                self._held.popitem(last=False)
        return text
