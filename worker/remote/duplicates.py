"""What the solver has charged beside what was kept: duplicates are withdrawn, or counted to the microsecond.

A problem that had not arrived when it was looked for, and was sent again, may arrive after all: then it is
charged twice. That cannot be helped, for a solver promises nothing about when a request arrives; it is found
here, once all of a batch is answered.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from schema.errors import Unavailable
from worker.records import leases, problems, spending

if TYPE_CHECKING:
    from worker.context import Context
    from worker.sapi.problems import ListedProblem
    from worker.sapi.qpu import SolverConnection

log = structlog.get_logger()

_LOOK_EVERY_S = 0.2
_COMPLETED = "COMPLETED"
_ENDED = frozenset({_COMPLETED, "FAILED", "CANCELLED"})


def resolve(context: Context, lease: leases.Lease, batch: int, qpu: SolverConnection) -> None:
    """Look at every problem of a batch that may have left more than once, and write down what it wasted.

    Raises:
        Unavailable: the solver does not answer, or a duplicate does not end: the batch comes here again.
    """
    with context.database.reading() as session:
        doubtful = problems.possible_duplicates(session, batch)
    for problem in doubtful:
        others = _ended(context, qpu, problem)
        wasted_us = sum(_charge_us(qpu, one, problem) for one in others)
        duplicates = sum(one.sapi_id != problem.sapi_id for one in others)
        with context.database.transaction() as session:
            now = context.database.now(session)
            leases.renew(session, lease, now=now, lease_s=context.settings.lease_s)
            with spending.booked(session, batch):
                problems.record_waste(session, problem.id, duplicates, wasted_us)
        if duplicates:
            log.warning(
                "duplicates",
                problem=problem.id,
                label=problem.label,
                duplicates=duplicates,
                wasted_us=wasted_us,
            )


def _ended(
    context: Context, qpu: SolverConnection, problem: problems.PossibleDuplicate
) -> list[ListedProblem]:
    """The solver's problems of this label but for the one that is kept, all at their end."""
    deadline = time.monotonic() + context.settings.solver_timeout_s
    others = _others(qpu, problem)
    if any(one.status not in _ENDED for one in others):
        qpu.cancel(one.sapi_id for one in others if one.status not in _ENDED)
    while any(one.status not in _ENDED for one in others):
        if time.monotonic() > deadline:
            raise Unavailable(f"duplicates of problem {problem.label} do not end: they are looked at later")
        time.sleep(_LOOK_EVERY_S)
        others = _others(qpu, problem)
    return others


def _others(qpu: SolverConnection, problem: problems.PossibleDuplicate) -> list[ListedProblem]:
    return [one for one in qpu.find(problem.label) if one.sapi_id != problem.kept]


def _charge_us(qpu: SolverConnection, one: ListedProblem, problem: problems.PossibleDuplicate) -> int:
    """What an ended problem was charged; where its answer is lost, what it was expected to be."""
    if one.status != _COMPLETED:
        return 0
    charged_us = qpu.charge_us(one.sapi_id)
    return problem.estimated_us if charged_us is None else charged_us
