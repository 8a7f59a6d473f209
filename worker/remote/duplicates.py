"""Finds problems that a solver has several times, withdraws those that wait, and books what they cost.

A problem that had not arrived when it was looked up, and was sent again, may arrive after all: then it is
charged twice. This cannot be prevented, because a solver promises nothing about when a request arrives or is
listed. It is found once all problems of a batch are answered, and later.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import structlog

from schema.errors import SolverError, Unavailable
from schema.states import ProblemState
from worker.records import leases, spending
from worker.sapi.charges import charge_us
from worker.scheduling import rechecks
from worker.scheduling.rechecks import Look, PossibleDuplicate

if TYPE_CHECKING:
    from schema.parameters import Parameters, Solver
    from worker.context import Context
    from worker.sapi.problems import ListedProblem
    from worker.sapi.qpu import SolverConnection

log = structlog.get_logger()

_WAIT_S = 5.0  # for duplicates to finish, before they are looked for again later
_POLL_EVERY_S = 0.2
_COMPLETED = "COMPLETED"
_FINISHED = frozenset({_COMPLETED, "FAILED", "CANCELLED"})


def resolve(context: Context, lease: leases.Lease, batch: int, qpu: SolverConnection) -> None:
    """Look for each problem of ``batch`` that ``qpu`` may have several times; book the waste under ``lease``.

    Problems whose duplicates do not finish soon are looked for again later, and so are all of them if the
    solver does not answer.
    """
    with context.database.reading() as session:
        candidates = rechecks.of_batch(session, batch)
    if not candidates:
        return
    try:
        looks = _look(qpu, candidates)
    except Unavailable as error:
        log.warning("duplicates not looked for yet", problems=len(candidates), error=str(error))
        looks = [Look(each, each.duplicates, each.wasted_us, unfinished=True) for each in candidates]
    settings = context.settings
    with (
        leases.transaction(context.database, lease, settings.lease_s) as (session, now),
        spending.booked(session, batch),
    ):
        rechecks.store(session, looks, now=now, recheck_s=settings.recheck_s, claimed=False)
    _log(looks)


def look_again(
    context: Context, solver: Solver, parameters: Parameters, problems: Sequence[PossibleDuplicate]
) -> None:
    """Look for the claimed ``problems`` at ``solver``, and book what is found.

    If the solver does not answer, they are looked for again soon, and this look does not count.
    """
    try:
        looks = _look(context.solvers.connect(solver, parameters), problems)
    except SolverError as error:
        log.warning("duplicates not looked for", problems=len(problems), error=str(error))
        again = isinstance(error, Unavailable)
        looks = [Look(each, each.duplicates, each.wasted_us, unfinished=again) for each in problems]
    rechecks.store_claimed(context.database, looks, recheck_s=context.settings.recheck_s)
    _log(looks)


def _look(qpu: SolverConnection, problems: Sequence[PossibleDuplicate]) -> list[Look]:
    """Return what ``qpu`` has of each problem; withdraw what waits, and give it some seconds to finish."""
    deadline = time.monotonic() + _WAIT_S
    found = _find(qpu, problems)
    if waiting := _waiting(problems, found):
        qpu.cancel(waiting)
        while waiting and time.monotonic() < deadline:
            time.sleep(_POLL_EVERY_S)
            found = _find(qpu, problems)
            waiting = _waiting(problems, found)
    return [_weigh(qpu, problem, found[problem.label]) for problem in problems]


def _find(qpu: SolverConnection, problems: Sequence[PossibleDuplicate]) -> dict[str, list[ListedProblem]]:
    return qpu.find([problem.label for problem in problems])


def _waiting(
    problems: Sequence[PossibleDuplicate], found: Mapping[str, Sequence[ListedProblem]]
) -> list[str]:
    """Return the ids of duplicates that have not finished."""
    others = [each for problem in problems for each in _others(problem, found[problem.label])]
    return [other.sapi_id for other in others if not _finished(other)]


def _others(problem: PossibleDuplicate, listed: Sequence[ListedProblem]) -> list[ListedProblem]:
    """Return all of ``listed`` but the one whose fate the ledger has."""
    return [each for each in listed if each.sapi_id != problem.sapi_id]


def _weigh(qpu: SolverConnection, problem: PossibleDuplicate, listed: Sequence[ListedProblem]) -> Look:
    others = _others(problem, listed)
    wasted_us = sum(_charge_us(qpu, other, problem) for other in others) + _own_us(qpu, problem, listed)
    unfinished = not all(map(_finished, others))
    return Look(problem, len(others), round(wasted_us, 1), unfinished)


def _own_us(qpu: SolverConnection, problem: PossibleDuplicate, listed: Sequence[ListedProblem]) -> float:
    """Return what counts as charged for a problem without an answer itself."""
    if problem.state not in (ProblemState.FAILED, ProblemState.CANCELLED):
        return 0.0
    for each in listed:
        if each.sapi_id == problem.sapi_id and each.status == _COMPLETED:
            return _charge_us(qpu, each, problem)
    if problem.written_off:
        return 0.0 if problem.sapi_id is None and listed else problem.estimated_us
    if not problem.timing:
        return 0.0
    charged_us = charge_us(problem.timing, qpu.properties)
    return problem.estimated_us if charged_us is None else charged_us


def _charge_us(qpu: SolverConnection, other: ListedProblem, problem: PossibleDuplicate) -> float:
    """Return what a problem was charged; if a completed one does not say so, its estimate."""
    if other.status == "CANCELLED" or not _finished(other):
        return 0.0
    charged_us = qpu.charge_us(other.sapi_id)
    if charged_us is None:
        return problem.estimated_us if other.status == _COMPLETED else 0.0
    return charged_us


def _finished(listed: ListedProblem) -> bool:
    return listed.status in _FINISHED


def _log(looks: Sequence[Look]) -> None:
    for look in looks:
        if look.duplicates > look.problem.duplicates or look.wasted_us > look.problem.wasted_us:
            found = {"duplicates": look.duplicates, "wasted_us": look.wasted_us}
            log.warning("duplicates", problem=look.problem.id, label=look.problem.label, **found)
