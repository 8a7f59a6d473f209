"""Compares the problems of the ledger with the solver's own list, by label."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, case, func, select
from sqlalchemy.orm import Session

from producer.doctor.finding import BACKUP, Finding, join_names
from producer.doctor.solver_problems import SolverProblem
from producer.doctor.spendings import BookDuplicates
from schema.parameters import Solver
from schema.settings.worker import WorkerSettings
from schema.states import FINISHED_BATCHES, BatchState, ProblemState
from schema.tables import Batch, Ledger, Problem, Run
from schema.tables.costs import IN_FLIGHT

SOLVER = "solver"

_ROUNDED_US = 0.5
_COMPLETED = "COMPLETED"
_ENDED = frozenset({_COMPLETED, "FAILED", "CANCELLED"})


@dataclass(frozen=True)
class LedgerRow:
    """A problem of the ledger.

    Attributes:
        idle: no worker holds its batch, and it has not changed for longer than the quarantine.
    """

    id: int
    label: str
    sapi_id: str | None
    state: ProblemState
    estimated_us: int
    charged_us: float | None
    charge_estimated: bool
    wasted_us: float
    duplicates: int
    batch: int
    run: int
    batch_state: BatchState
    idle: bool


def read(session: Session, solver: Solver, now: datetime, limits: WorkerSettings) -> dict[str, LedgerRow]:
    """Return the problems for ``solver`` in ``session`` by label; idle as of ``now``, by ``limits``."""
    before = now - timedelta(seconds=limits.quarantine_s)
    leased = and_(Batch.state == BatchState.SAMPLING, Batch.lease_until > now)
    last = func.coalesce(Problem.sending_at, Problem.reserved_at)
    changed = case((Problem.state == ProblemState.SENT, func.coalesce(Problem.sent_at, last)), else_=last)
    columns: tuple[Any, ...] = (
        Problem.id,
        Problem.label,
        Problem.sapi_id,
        Problem.state,
        func.coalesce(Problem.estimated_us, 0),
        Problem.charged_us,
        Problem.charge_estimated,
        Problem.wasted_us,
        Problem.duplicates,
        Problem.batch_id,
        Batch.run_id,
        Batch.state,
        and_(~leased, changed < before),
    )
    query = select(*columns).join(Batch, Batch.id == Problem.batch_id).join(Run, Run.id == Batch.run_id)
    rows = (LedgerRow(*row) for row in session.execute(query.where(Run.solver == solver.value)))
    return {row.label: row for row in rows}


def keys(session: Session) -> list[str]:
    """Return the keys of this database in ``session``, by which its labels begin."""
    return list(session.execute(select(Ledger.key)).scalars())


def all_labels(session: Session) -> set[str]:
    """Return the labels of all problems in ``session``, also of those whose batch is missing."""
    return set(session.execute(select(Problem.label)).scalars())


def compare(
    before: Mapping[str, LedgerRow],
    after: Mapping[str, LedgerRow],
    labels: set[str],
    problems: Sequence[SolverProblem],
    solver: Solver,
) -> Iterator[Finding]:
    """Compare the ledger with the ``problems`` of ``solver``.

    ``before`` and ``after`` are the ledger as it was read before and after the solver was asked: a problem
    that changed in between is being processed, and proves nothing. ``labels`` are all labels of the database.
    """
    by_label: dict[str, list[SolverProblem]] = defaultdict(list)
    for problem in problems:
        if problem.own:
            by_label[problem.label].append(problem)
    for label, namesakes in sorted(by_label.items()):
        if label not in labels:
            what = f"{solver} has {_ids(namesakes)} under label {label} of this database, which is not in it"
            yield Finding(SOLVER, "problems", None, what, BACKUP)
    for label, row in sorted(before.items(), key=lambda item: item[1].id):
        if after.get(label) == row:
            yield from _differences(row, by_label.get(label, []), solver)


def _differences(row: LedgerRow, namesakes: Sequence[SolverProblem], solver: Solver) -> Iterator[Finding]:
    """Yield differences between a row of the ledger and the solver's problems with its label."""
    problem = next((each for each in namesakes if each.sapi_id == row.sapi_id), None)
    others = [each for each in namesakes if each is not problem]
    if row.state is ProblemState.ANSWERED:
        differences = _answered(row, problem, solver)
    elif row.state in IN_FLIGHT and row.idle:
        differences = _in_flight(row, problem, others, solver)
    else:
        differences = iter(())
    for what, hint in differences:
        yield Finding(SOLVER, "problems", row.id, what, hint)
    is_sampled = row.batch_state in (*FINISHED_BATCHES, BatchState.SAMPLED)
    if row.state not in IN_FLIGHT and (is_sampled or row.idle):
        yield from _unbooked(row, problem, others, solver)


def _unbooked(
    row: LedgerRow, problem: SolverProblem | None, others: Sequence[SolverProblem], solver: Solver
) -> Iterator[Finding]:
    """Yield a finding if the ledger lacks duplicates of a row, or what they or a failed problem cost."""
    wasted_us = sum(_charge_us(each, row) for each in others)
    if row.state in (ProblemState.FAILED, ProblemState.CANCELLED):
        if problem is not None and problem.status in (_COMPLETED, "FAILED"):
            wasted_us += _charge_us(problem, row)
        elif row.charge_estimated and (row.sapi_id is not None or not others):
            wasted_us += row.estimated_us
    wasted_us = round(wasted_us, 1)
    counted = sum(each.status != "CANCELLED" for each in others)
    if counted <= row.duplicates and wasted_us <= row.wasted_us:
        return
    what = (
        f"it is {row.state}, with {row.duplicates} duplicates and {row.wasted_us:,.1f} us wasted, but "
        f"{solver} has {counted} more under its label ({_ids(others) or row.sapi_id}), and charged "
        f"{wasted_us:,.1f} us for what has no answer"
    )
    before = (row.duplicates, row.wasted_us)
    after = (max(len(others), row.duplicates), max(wasted_us, row.wasted_us))
    book = BookDuplicates(row.id, row.batch, before, after)
    yield Finding(SOLVER, "problems", row.id, what, "enter them: --repair", book)


def _charge_us(problem: SolverProblem, row: LedgerRow) -> float:
    """Return what a problem was charged; if a completed one does not say so, the estimate."""
    if problem.charged_us is None:
        return row.estimated_us if problem.status == _COMPLETED else 0.0
    return problem.charged_us


def _in_flight(
    row: LedgerRow, problem: SolverProblem | None, others: Sequence[SolverProblem], solver: Solver
) -> Iterator[tuple[str, str]]:
    resume = f"`annealq up`, and `annealq runs resume {row.run}` if it has failed"
    if row.state is ProblemState.SENDING and others:
        yield f"it is sending, but {solver} has it as {_ids(others)}", f"a worker adopts it: {resume}"
    elif row.state is ProblemState.SENDING:
        what = f"it is sending, but {solver} has nothing under its label"
        yield what, f"a worker submits it again: {resume}"
    elif problem is None:
        what = f"it is sent as {row.sapi_id}, which {solver} does not know"
        yield what, f"a worker resolves it: {resume}"
    elif problem.status in _ENDED:
        yield f"it is sent, but {solver} says {problem.status}", f"a worker fetches the result: {resume}"


def _answered(row: LedgerRow, problem: SolverProblem | None, solver: Solver) -> Iterator[tuple[str, str]]:
    # A missing problem proves nothing: solvers delete old ones.
    if problem is not None and problem.status != _COMPLETED:
        what = f"it is answered, but {solver} says {problem.status}"
        yield what, f"its reads are those of another problem: {BACKUP}"
    elif problem is not None and not _agree(problem.charged_us, row.charged_us):
        what = f"the ledger says it was charged {row.charged_us} us, {solver} says {problem.charged_us} us"
        yield what, f"the solver's figure counts; `annealq runs show {row.run}` has the ledger's"


def _agree(told_us: float | None, charged_us: float | None) -> bool:
    """Return whether the ledger has the charge that was told; earlier versions rounded it to whole us."""
    return told_us is None or (charged_us is not None and abs(told_us - charged_us) <= _ROUNDED_US)


def _ids(problems: Sequence[SolverProblem]) -> str:
    return join_names(problem.sapi_id for problem in problems)
