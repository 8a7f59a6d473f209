"""All checks one after another, and the repairs of what they find."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from producer.doctor import (
    checksums,
    counters,
    ledger,
    relations,
    revision,
    solver_problems,
    spendings,
    states,
)
from producer.doctor.finding import Diagnosis, Finding
from producer.doctor.limits import ExaminationLimits
from schema.database import Database
from schema.errors import StaleState
from schema.parameters import Solver
from schema.settings import Settings
from schema.tables import Base

OnProgress = Callable[[int], None]
StartStep = Callable[[str, int], OnProgress]  # a step's name and its size: what is told of its progress

_TIMELESS: tuple[Callable[[Session], Iterator[Finding]], ...] = (
    counters.run_counts,
    counters.batch_gaps,
    counters.classifications,
    states.run_states,
    states.times,
    relations.orphans,
    relations.images,
    relations.coverage,
    relations.sample_sets,
    spendings.spendings,
)
_TIMED = (states.leases, states.sending)


def examine(
    database: Database,
    settings: Settings,
    limits: ExaminationLimits,
    expect: StartStep,
    solver: Solver | None = None,
) -> Diagnosis:
    """Compare a database with itself and, where a solver is named, with its list; nothing is written.

    Raises:
        StorageError: it cannot be read at all.
        AnnealqError: the solver cannot be asked.
    """
    outdated = tuple(revision.revision(database))
    if outdated:
        return Diagnosis({}, outdated)
    with database.reading() as session:
        sizes = {name: _size(session, name) for name in sorted(Base.metadata.tables)}
        bytes_held = checksums.count(session)
    findings = list(_structure(database, limits, expect("rows", len(_TIMELESS) + len(_TIMED))))
    findings += checksums.checksums(database, expect("stored bytes", bytes_held))
    if solver is not None:
        found = _against(database, settings, limits, solver, expect(f"problems of {solver}", 0))
        sizes[f"{solver} problems"] = found[0]
        findings += found[1]
    return Diagnosis(sizes, tuple(findings))


def repair(database: Database, diagnosis: Diagnosis) -> Diagnosis:
    """Repair what can be, each in a transaction of its own; what has changed meanwhile is left alone."""
    return replace(diagnosis, findings=tuple(_repaired(database, one) for one in diagnosis.findings))


def _repaired(database: Database, finding: Finding) -> Finding:
    if finding.repair is None:
        return finding
    try:
        with database.transaction() as session:
            finding.repair.apply(session, database.now(session))
    except StaleState as error:
        return replace(finding, hint=f"not repaired, {error}: look again")
    except IntegrityError:
        return replace(finding, hint="not repaired, other rows forbid it: repair those first, and look again")
    return replace(finding, repaired=True)


def _structure(database: Database, limits: ExaminationLimits, tick: OnProgress) -> Iterator[Finding]:
    for check in _TIMELESS:
        with database.reading() as session:
            yield from check(session)
        tick(1)
    for timed in _TIMED:
        with database.reading() as session:
            yield from timed(session, database.now(session), limits)
        tick(1)


def _against(
    database: Database, settings: Settings, limits: ExaminationLimits, solver: Solver, tick: OnProgress
) -> tuple[int, list[Finding]]:
    with database.reading() as session:
        now = database.now(session)
        before = ledger.read(session, solver, now, limits)
    seen = solver_problems.list_problems(settings, solver, ledger.sapi_ids(before), tick)
    with database.reading() as session:
        after = ledger.read(session, solver, now, limits)
        known = ledger.all_labels(session)
    return len(seen), list(ledger.compare(before, after, known, seen, solver))


def _size(session: Session, table: str) -> int:
    return session.execute(select(func.count()).select_from(Base.metadata.tables[table])).scalar_one()
