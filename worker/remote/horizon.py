"""Tells how far back a solver's memory reaches.

D-Wave's service keeps the newest 1,000 problems of a project. That it does not know a label proves that the
problem never arrived only if it would still know it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from schema.database import Database
from schema.parameters import Solver
from worker.process import shutdown
from worker.records import problems

if TYPE_CHECKING:
    from worker.sapi.qpu import SolverConnection

_CLOCKS = timedelta(minutes=10)  # by which the service's clock may differ from ours


class MemoryHorizon:
    """What a solver still knows, asked at most once for each problem. Used by one submission."""

    def __init__(self, database: Database, solver: Solver, qpu: SolverConnection) -> None:
        """Compare what ``database`` has sent to ``solver`` with what it still knows, over ``qpu``."""
        self._database = database
        self._solver = solver
        self._qpu = qpu
        self._known: dict[str, bool] = {}

    def reaches(self, moment: datetime) -> bool:
        """Return whether the solver still knows all problems that it has accepted since ``moment``.

        It does if it knows one that this database has sent before. Without one, it must list an older
        problem, or all that it has, and know the next one that was sent.

        Raises:
            Unavailable: the solver does not answer.
        """
        with self._database.reading() as session:
            before, after = problems.accepted_around(session, self._solver, moment)
        if any(map(self._knows, before)):
            return True
        listed, are_all = shutdown.run_interruptible(self._qpu.newest)
        times = [problem.submitted_on for problem in listed if problem.submitted_on is not None]
        if min(times, default=moment) < moment - _CLOCKS:
            return True
        return are_all and not before and all(map(self._knows, after[:1]))

    def _knows(self, sapi_id: str) -> bool:
        if sapi_id not in self._known:
            self._known[sapi_id] = shutdown.run_interruptible(lambda: self._qpu.knows(sapi_id))
        return self._known[sapi_id]
