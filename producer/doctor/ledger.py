"""Problems as the ledger has them, against the solver's own list, by label."""

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
    """A problem of the ledger, with what tells whether somebody is at work on it.

    idle: no worker holds its batch, and it has been as it is for longer than the quarantine.
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
    """The ledger's problems that were made for a solver, by label."""
    before = now - timedelta(seconds=limits.quarantine_s)
    held = and_(Batch.state == BatchState.SAMPLING, Batch.lease_until > now)
    last = func.coalesce(Problem.sending_at, Problem.reserved_at)
    moved = case((Problem.state == ProblemState.SENT, func.coalesce(Problem.sent_at, last)), else_=last)
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
        and_(~held, moved < before),
    )
    query = select(*columns).join(Batch, Batch.id == Problem.batch_id).join(Run, Run.id == Batch.run_id)
    found = (LedgerRow(*row) for row in session.execute(query.where(Run.solver == solver.value)))
    return {row.label: row for row in found}


def sapi_ids(rows: Mapping[str, LedgerRow]) -> list[str]:
    """The ids whose charge the solver is to be asked for."""
    return [row.sapi_id for row in rows.values() if row.sapi_id is not None]


def all_labels(session: Session) -> set[str]:
    """Labels of all problems, also of those whose batch is gone."""
    return set(session.execute(select(Problem.label)).scalars())


def compare(
    before: Mapping[str, LedgerRow],
    after: Mapping[str, LedgerRow],
    known: set[str],
    seen: Sequence[SolverProblem],
    solver: Solver,
) -> Iterator[Finding]:
    """What the two lists do not agree about.

    before, after: the ledger as it was read before and after the solver was asked; a problem that moved in
    between is under way, and proves nothing. known: all labels of the database.
    """
    by_label: dict[str, list[SolverProblem]] = defaultdict(list)
    for one in seen:
        by_label[one.label].append(one)
    for label, ones in sorted(by_label.items()):
        if label not in known:
            ids = join_names(one.sapi_id for one in ones)
            what = (
                f"{solver} has {ids} under label {label}, and the ledger does not: nothing was written down"
            )
            hint = f"another database may have sent it; if none has, {BACKUP}"
            yield Finding(SOLVER, "problems", None, what, hint)
    for label, row in sorted(before.items(), key=lambda item: item[1].id):
        if after.get(label) == row:
            yield from judge(row, by_label.get(label, []), solver)


def judge(row: LedgerRow, ones: Sequence[SolverProblem], solver: Solver) -> Iterator[Finding]:
    """What is wrong with one problem of the ledger, given what the solver has under its label."""
    kept = next((one for one in ones if one.sapi_id == row.sapi_id), None)
    others = [one for one in ones if one is not kept]
    what = hint = None
    if row.state is ProblemState.ANSWERED:
        yield from _answered(row, kept, solver)
    elif row.state in IN_FLIGHT:
        what, hint = _flying(row, kept, others, solver)
    elif row.state is ProblemState.RESERVED and ones and row.idle:
        ids = join_names(one.sapi_id for one in ones)
        what = f"the ledger says that it was not submitted, but {solver} has {ids}"
        hint = "it is counted as a duplicate once its batch is answered: `annealq up`"
    elif _unaccounted(row, ones):
        what = f"it is {row.state} and cost nothing, and {solver} has completed, and charged, it"
        hint = f"the charge stays; `annealq runs show {row.run}` does not count it"
    if what is not None and hint is not None:
        yield Finding(SOLVER, "problems", row.id, what, hint)
    extra = [one for one in others if one.status != "CANCELLED"]
    is_over = row.batch_state in (*FINISHED_BATCHES, BatchState.SAMPLED)
    if row.state is ProblemState.ANSWERED and is_over and len(extra) > row.duplicates:
        what = (
            f"{solver} has {len(extra)} more under its label ({join_names(one.sapi_id for one in extra)}), "
        )
        what += f"the ledger counts {row.duplicates}"
        hint = "they were charged as well; nothing waits for them"
        yield Finding(SOLVER, "problems", row.id, what, hint)


def _unaccounted(row: LedgerRow, ones: Sequence[SolverProblem]) -> bool:
    ended = row.state in (ProblemState.FAILED, ProblemState.CANCELLED)
    return ended and row.wasted_us == 0 and any(one.status == _COMPLETED for one in ones)


def _flying(
    row: LedgerRow, kept: SolverProblem | None, others: Sequence[SolverProblem], solver: Solver
) -> tuple[str, str] | tuple[None, None]:
    if not row.idle:
        return None, None
    resume = f"`annealq up`, and `annealq runs resume {row.run}` if it has failed"
    if row.state is ProblemState.SENDING and others:
        ids = join_names(one.sapi_id for one in others)
        return f"it is sending, and {solver} has it as {ids}", f"a worker adopts it: {resume}"
    if row.state is ProblemState.SENDING:
        return (
            f"it is sending, and {solver} has nothing under its label",
            f"a worker sends it again: {resume}",
        )
    if kept is None:
        return f"it is sent as {row.sapi_id}, which {solver} does not know", f"a worker settles it: {resume}"
    if kept.status in _ENDED:
        return f"it is sent, and {solver} says {kept.status}", f"a worker fetches what there is: {resume}"
    return None, None


def _answered(row: LedgerRow, kept: SolverProblem | None, solver: Solver) -> Iterator[Finding]:
    # Solvers do not keep problems for ever: one that is not there any more proves nothing.
    if kept is None:
        return
    if kept.status != _COMPLETED:
        what = f"it is answered, and {solver} says {kept.status}"
        yield Finding(SOLVER, "problems", row.id, what, f"its reads are not of this problem: {BACKUP}")
    elif kept.charged_us is not None and kept.charged_us != row.charged_us:
        what = f"the ledger says that it was charged {row.charged_us} us, {solver} says {kept.charged_us} us"
        hint = f"the solver's figure is the bill; `annealq runs show {row.run}` has the ledger's"
        yield Finding(SOLVER, "problems", row.id, what, hint)
