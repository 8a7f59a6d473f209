"""Looks again for problems that a solver may have several times, long after they were sent."""

from __future__ import annotations

from sqlalchemy import select

from schema.parameters import Parameters
from schema.parameters import solver as solver_named
from schema.tables import Run
from worker.context import Context
from worker.scheduling import rechecks


def find_duplicates(context: Context, run: int) -> None:
    """Look for all problems that are due in ``context``: those of ``run``, and of others on the same QPU."""
    from worker.remote import duplicates

    with context.database.transaction() as session:
        now = context.database.now(session)
        row = session.execute(select(Run.solver, Run.parameters).where(Run.id == run)).first()
        if row is None:
            return
        due = rechecks.claim(session, run, now=now, recheck_s=context.settings.recheck_s)
    if due:
        parameters = Parameters.from_dict(row.parameters)
        duplicates.look_again(context, solver_named(row.solver), parameters, due)
