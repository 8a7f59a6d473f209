"""Finds duplicate submissions of a batch, cancels them, and records to the microsecond what they were
charged.

A problem that had not arrived when it was looked up, and was sent again, may arrive after all: then it is
charged twice. This cannot be prevented, because a solver promises nothing about when a request arrives; it
is found here, once all problems of a batch are answered.
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

_POLL_EVERY_S = 0.2
_COMPLETED = "COMPLETED"
_FINISHED = frozenset({_COMPLETED, "FAILED", "CANCELLED"})


def resolve(context: Context, lease: leases.Lease, batch: int, qpu: SolverConnection) -> None:
    """Check each problem of ``batch`` that ``qpu`` may have received twice; under ``lease``, record the
    waste.

    Raises:
        Unavailable: the solver does not answer, or a duplicate does not finish: resolve the batch again
        later.
    """
    with context.database.reading() as session:
        candidates = problems.possible_duplicates(session, batch)
    for problem in candidates:
        others = _wait_for_others(context, qpu, problem)
        wasted_us = sum(_charge_us(qpu, other, problem) for other in others)
        duplicates = sum(other.sapi_id != problem.sapi_id for other in others)
        with (
            leases.transaction(context.database, lease, context.settings.lease_s) as (session, _),
            spending.booked(session, batch),
        ):
            problems.record_waste(session, problem.id, duplicates, wasted_us)
        if duplicates:
            log.warning(
                "duplicates",
                problem=problem.id,
                label=problem.label,
                duplicates=duplicates,
                wasted_us=wasted_us,
            )


def _wait_for_others(
    context: Context, qpu: SolverConnection, problem: problems.PossibleDuplicate
) -> list[ListedProblem]:
    """Return the problems with this label but the one whose answer is stored, once all have finished."""
    deadline = time.monotonic() + context.settings.solver_timeout_s
    others = _others(qpu, problem)
    if unfinished := [other.sapi_id for other in others if other.status not in _FINISHED]:
        qpu.cancel(unfinished)
    while any(other.status not in _FINISHED for other in others):
        if time.monotonic() > deadline:
            raise Unavailable(f"duplicates of problem {problem.label} do not finish: checking again later")
        time.sleep(_POLL_EVERY_S)
        others = _others(qpu, problem)
    return others


def _others(qpu: SolverConnection, problem: problems.PossibleDuplicate) -> list[ListedProblem]:
    return [listed for listed in qpu.find(problem.label) if listed.sapi_id != problem.answered_id]


def _charge_us(qpu: SolverConnection, finished: ListedProblem, problem: problems.PossibleDuplicate) -> int:
    """Return what a finished problem was charged; if its answer is lost, its estimate."""
    if finished.status != _COMPLETED:
        return 0
    charged_us = qpu.charge_us(finished.sapi_id)
    return problem.estimated_us if charged_us is None else charged_us
