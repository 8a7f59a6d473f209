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
from producer.doctor.limits import ExaminationLimits
from producer.doctor.solver_problems import SolverProblem
from schema.parameters import Solver
from schema.states import FINISHED_BATCHES, BatchState, ProblemState
from schema.tables import Batch, Problem, Run
from schema.tables.costs import IN_FLIGHT

SOLVER = "solver"

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
    charged_us: int | None
    wasted_us: int
    duplicates: int
    run: int
    batch_state: BatchState
    idle: bool


def read(session: Session, solver: Solver, now: datetime, limits: ExaminationLimits) -> dict[str, LedgerRow]:
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
        Problem.charged_us,
        Problem.wasted_us,
        Problem.duplicates,
        Batch.run_id,
        Batch.state,
        and_(~leased, changed < before),
    )
    query = select(*columns).join(Batch, Batch.id == Problem.batch_id).join(Run, Run.id == Batch.run_id)
    rows = (LedgerRow(*row) for row in session.execute(query.where(Run.solver == solver.value)))
    return {row.label: row for row in rows}


def sapi_ids(rows: Mapping[str, LedgerRow]) -> list[str]:
    """Return the solver's ids of ``rows``: the problems whose charge the solver is asked for."""
    return [row.sapi_id for row in rows.values() if row.sapi_id is not None]


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
        by_label[problem.label].append(problem)
    for label, namesakes in sorted(by_label.items()):
        if label not in labels:
            what = f"{solver} has {_ids(namesakes)} under label {label}, which is not in the ledger"
            hint = f"another database may have submitted it; if none has, {BACKUP}"
            yield Finding(SOLVER, "problems", None, what, hint)
    for label, row in sorted(before.items(), key=lambda item: item[1].id):
        if after.get(label) == row:
            for what, hint in _differences(row, by_label.get(label, []), solver):
                yield Finding(SOLVER, "problems", row.id, what, hint)


def _differences(
    row: LedgerRow, namesakes: Sequence[SolverProblem], solver: Solver
) -> Iterator[tuple[str, str]]:
    """Yield differences and hints for a row of the ledger, and the solver's problems with its label."""
    problem = next((each for each in namesakes if each.sapi_id == row.sapi_id), None)
    others = [each for each in namesakes if each is not problem]
    if row.state is ProblemState.ANSWERED:
        yield from _answered(row, problem, others, solver)
    elif row.state in IN_FLIGHT and row.idle:
        yield from _in_flight(row, problem, others, solver)
    elif row.state is ProblemState.RESERVED and namesakes and row.idle:
        what = f"the ledger says that it was not submitted, but {solver} has {_ids(namesakes)}"
        yield what, "it is counted as a duplicate once its batch is answered: `annealq up`"
    elif (
        row.state in (ProblemState.FAILED, ProblemState.CANCELLED)
        and row.wasted_us == 0
        and any(each.status == _COMPLETED for each in namesakes)
    ):
        what = f"it is {row.state} and cost nothing, but {solver} has completed, and charged, it"
        yield what, f"the charge stands; `annealq runs show {row.run}` does not include it"


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


def _answered(
    row: LedgerRow, problem: SolverProblem | None, others: Sequence[SolverProblem], solver: Solver
) -> Iterator[tuple[str, str]]:
    # A missing problem proves nothing: solvers delete old ones.
    if problem is not None and problem.status != _COMPLETED:
        what = f"it is answered, but {solver} says {problem.status}"
        yield what, f"its reads are those of another problem: {BACKUP}"
    elif problem is not None and problem.charged_us not in (None, row.charged_us):
        what = f"the ledger says it was charged {row.charged_us} us, {solver} says {problem.charged_us} us"
        yield what, f"the solver's figure counts; `annealq runs show {row.run}` has the ledger's"
    duplicates = [each for each in others if each.status != "CANCELLED"]
    is_sampled = row.batch_state in (*FINISHED_BATCHES, BatchState.SAMPLED)
    if is_sampled and len(duplicates) > row.duplicates:
        what = f"{solver} has {len(duplicates)} more under its label ({_ids(duplicates)}), "
        what += f"but the ledger counts {row.duplicates}"
        yield what, "they were charged as well; nothing needs their answers"


def _ids(problems: Sequence[SolverProblem]) -> str:
    return join_names(problem.sapi_id for problem in problems)
